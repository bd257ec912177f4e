"""The step of each state: what is done with a run that is due, from the admitted wish to the known cost.

Intent is committed before each outside call and the answer after it, so a process that dies anywhere is continued by
the next one. Whether a poll or a callback woke a run makes no difference: the answer is the provider's own record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from bot.domain.history import Lengths
from bot.domain.limits import Standing
from bot.domain.lookup import LOOKUP_SHARES, Decision, decide, next_look_s
from bot.domain.records import Accepted, End, NotSent, Refused, RunChanges, Unclear
from bot.domain.runs import EMPTY_S, MISSING, MISSING_S, Delivery, Ending, Notice, Observation, Run, RunState
from bot.errors import InvariantError, Unreadable
from bot.log import get_logger
from bot.ports import Clock, Front, Provider, Runs
from bot.services.cards import Cards
from bot.services.delivery import Deliverer, cost_wait_s
from bot.services.pace import LEASE_S, Limits, Schedule
from bot.services.search import Search

log = get_logger("veo.engine")

Moved = Callable[[Run, Run | None], None]  # the run before a step and after it; None: somebody else moved it

MOVES_AT_ONCE = 64  # more wait in the order in which they were begun
LENGTHS_READ = 500  # ended runs from which a start learns how long videos take
# A card shows what lasts: a POST that is answered sooner, or a video that is posted sooner, is shown when it is.
POST_SHOWN_AFTER_S, END_SHOWN_AFTER_S = 1.0, 2.0


class Steps:
    """Takes a run one step further. A move is made only if the run still stands where it was seen."""

    def __init__(
        self,
        *,
        store: Runs,
        provider: Provider,
        cards: Cards,
        limits: Limits,
        schedule: Schedule,
        search: Search,
        clock: Clock,
        deliverer: Deliverer,
    ) -> None:
        self._store = store
        self._provider = provider
        self._cards = cards
        self._limits = limits
        self._schedule = schedule
        self._search = search
        self._clock = clock
        self._deliverer = deliverer
        self._moves = asyncio.Semaphore(MOVES_AT_ONCE)

    @property
    def has_room(self) -> bool:
        """Whether a step that begins now need not wait for others."""
        return not self._moves.locked()

    async def remember(self) -> None:
        """Learn from the runs of before how long videos take. Raises StoreDown."""
        self._schedule.lengths = Lengths(await self._store.lengths(LENGTHS_READ))

    def announce(self, run: Run) -> None:
        """A callback is about this run, which is looked at now."""
        self._schedule.announce(run)

    async def begin(self, front: Front, run: Run, moved: Moved, *, standings: list[Standing]) -> Run | None:
        """The first step of a run that was just admitted: the order where its intent is on disk.

        Like `take`, but only once, right after the intent was committed: a later step must look up what became of it.
        """
        if run.state != RunState.SUBMITTING:
            return await self.take(front, run, moved)
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Never wait here: if no answer comes, the look-up counts from the time at which the intent was written.
        async with nullcontext() if self._moves.locked() else self._moves:
            after = await self._order(front, run)
        moved(run, after)
        is_quick = loop.time() < began + POST_SHOWN_AFTER_S
        return await self._tell(front, run, after, standings if is_quick else None)

    async def take(self, front: Front, run: Run, moved: Moved) -> Run | None:
        """Take the step of the run's state, update its card, and post what there is to say; the run after it.

        None if something else moved it in the meantime; its row says what is next. `moved` is called as soon as the row
        is written, because posting may take minutes.
        """
        async with self._moves:
            after = await self._move(front, run)
        moved(run, after)
        return await self._tell(front, run, after)

    async def _tell(
        self, front: Front, before: Run, after: Run | None, standings: list[Standing] | None = None
    ) -> Run | None:
        """Show and post what a step has brought. `standings`: where the levels stand, if that was just read."""
        if after is None:
            return None
        is_news = _shows_on_card(before, after)
        if after.delivery_open:
            ends = after.terminal and not before.terminal
            return await self._deliver(front, after, is_news=is_news, is_begun=ends)
        if is_news and not after.in_line:
            await self._cards.show(front, after, standings)
        if after.state == RunState.RUNNING and await self._search.measure_list_freshness(after):
            return await self._look_soon(after)
        return after

    async def _deliver(self, front: Front, run: Run, *, is_news: bool, is_begun: bool) -> Run | None:
        """Post what there is to say, and show on the card that it was; where that takes a while, that it will be."""
        async with self._shown_after(END_SHOWN_AFTER_S if is_news else None, front, run) as shown:
            delivered = await self._deliverer.deliver(front, run, is_begun=is_begun)
        if delivered is not None and (not delivered.delivery_open or (is_news and not shown.is_set())):
            await self._cards.show(front, delivered)
        return delivered

    @asynccontextmanager
    async def _shown_after(self, wait_s: float | None, front: Front, run: Run) -> AsyncIterator[asyncio.Event]:
        """Show the run on its card where the block takes longer than so many seconds; None: never. Tells if it did."""
        shown, cards = asyncio.Event(), list[asyncio.Task[None]]()

        def show() -> None:
            shown.set()
            cards.append(asyncio.create_task(self._cards.show(front, run)))

        timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, show)
        try:
            yield shown
            await asyncio.gather(*cards)  # one edit after the other, so that the last is what stays
        finally:
            if timer is not None:
                timer.cancel()
            for card in cards:
                card.cancel()

    async def _look_soon(self, run: Run) -> Run | None:
        """Look at a run again as if it were polled: the list is still to be asked for it."""
        due_at = self._clock.now() + self._schedule.poll_s(run)
        if run.due_at is not None and run.due_at <= due_at:
            return run
        return await self._store.advance(run, run.state, now=self._clock.now(), changes=RunChanges(due_at=due_at))

    async def _move(self, front: Front, run: Run) -> Run | None:
        """The step of each state; the run after it, or None where somebody else moved it meanwhile."""
        match run.state:
            case RunState.RESERVED:
                return await self._submit(front, run)
            case RunState.SUBMITTING:
                return await self._resume_submission(run)
            case RunState.AMBIGUOUS:
                return await self._look_up(run)
            case RunState.UNKNOWN:
                return await (self._look_up(run) if run.provider_id is None else self._observe(run))
            case RunState.RUNNING:
                return await self._observe(run)
            case RunState.SUCCEEDED | RunState.FAILED | RunState.CANCELLED:
                return await self._follow_up(run)

    # Reserved: send the order

    async def _submit(self, front: Front, run: Run) -> Run | None:
        now, left_s = self._clock.now(), self._schedule.time_left_s(run)
        try:
            named = await self._search.named_by_callback(run)
        except Unreadable as error:
            log.warning("not sent again: the run that a callback named cannot be read", reason=str(error))
            if left_s <= 0:  # it may have been bought
                return await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=RunChanges(due_at=now))
            return await self._retry(run, due_at=now + self._schedule.poll_s(run, error.wait_s))
        if named is not None:
            return await self._mark_running(run, named)
        if left_s <= 0:
            return await self._fail_unsent(run)
        # By now, for to read what a callback named may have taken a while.
        begun = await self._store.begin_submit(run, now=self._clock.now(), total_max=self._limits.runs_total)
        if begun is None:
            return await self._wait_in_line(run, give_up_at=now + left_s)
        return await self._order(front, begun)

    async def _order(self, front: Front, begun: Run) -> Run | None:
        """Send the order of a run whose intent is on disk; where it takes a while, the card says that it is sent."""
        async with self._shown_after(POST_SHOWN_AFTER_S, front, begun):
            # The answer is on disk before the card is waited for.
            return await self._handle_answer(begun, await self._provider.submit(begun))

    async def _wait_in_line(self, run: Run, *, give_up_at: float) -> Run | None:
        """Wait until a place is free, which the store notices by itself; until then only the deadline matters."""
        changes = RunChanges(in_line=True, due_at=give_up_at, tries=run.tries + 1)
        return await self._store.advance(run, run.state, now=self._clock.now(), changes=changes)

    async def _fail_unsent(self, run: Run) -> Run | None:
        """End a wish that could not be ordered by its deadline; it costs nothing."""
        code, message = ("UNREACHABLE", "not reached in time") if run.posts else ("NO_TURN", "no free place in time")
        log.warning("given up before it was ordered", reason=message)
        return await self._fail_for_nothing(run, code, message)

    async def _handle_answer(self, run: Run, answer: Accepted | Refused | NotSent | Unclear) -> Run | None:
        match answer:
            case Accepted(observation=seen):
                return await self._mark_running(run, seen)
            case Refused():
                return await self._handle_refusal(run, answer)
            case NotSent():
                return await self._send_later(run, answer)
            case Unclear():
                return await self._mark_ambiguous(run, answer)

    async def _handle_refusal(self, run: Run, answer: Refused) -> Run | None:
        log.warning("order refused", code=answer.code)
        if (settled := await self._fail_for_nothing(run, answer.code, answer.message)) is not None:
            return settled
        # A callback named a run meanwhile, and that is looked at first, as before each order.
        now = self._clock.now()
        changes = RunChanges(due_at=now, tries=run.tries + 1)
        return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)

    async def _send_later(self, run: Run, answer: NotSent) -> Run | None:
        """Nothing was bought: the order is sent again after a pause."""
        log.warning("order not sent; it is sent again", reason=answer.reason)
        now = self._clock.now()
        changes = RunChanges(due_at=now + self._schedule.resend_s(run, answer.wait_s), tries=run.tries + 1)
        return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)

    async def _mark_ambiguous(self, run: Run, answer: Unclear) -> Run | None:
        """It may have been bought: it is looked for before anything else is done."""
        log.warning("order without a clear answer; it is looked up", reason=answer.reason)
        now = self._clock.now()
        first_look_at = now + LOOKUP_SHARES[0] * self._limits.settle_s
        changes = RunChanges(due_at=first_look_at, tries=0, unclear_posts=run.unclear_posts + 1)
        return await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=changes)

    # Submitting, ambiguous, unknown: find out what an order without a clear answer bought

    async def _resume_submission(self, run: Run) -> Run | None:
        """The process died, or lost its store, after the intent: the order may have been sent."""
        changes = RunChanges(tries=0, unclear_posts=run.unclear_posts + 1)
        ambiguous = await self._store.advance(run, RunState.AMBIGUOUS, now=self._clock.now(), changes=changes)
        return None if ambiguous is None else await self._look_up(ambiguous)

    async def _look_up(self, run: Run) -> Run | None:
        """Look for the run by our reference, and by the id that a callback named."""
        now = self._clock.now()
        try:
            found = await self._search.find(run)
        except Unreadable as error:
            log.warning("lookup failed", reason=str(error))
            if run.state == RunState.AMBIGUOUS and self._schedule.past_deadline(run):
                return await self._queue_notice(run, RunState.UNKNOWN, Notice.UNKNOWN)
            return await self._retry(run, due_at=now + self._schedule.poll_s(run, error.wait_s))
        if not found:
            return await self._handle_absence(run)
        for extra in found[1:]:
            log.error("bought a second time", provider_id=extra.provider_id)
        return await self._mark_running(run, found[0])

    async def _handle_absence(self, run: Run) -> Run | None:
        """Carry out what `bot.domain.lookup` decides about a run that was not found."""
        now, lookup = self._clock.now(), await self._search.empty_lookup(run)
        look_s = next_look_s(lookup)
        due_at = now + (self._schedule.poll_s(run) if look_s is None else look_s)
        changes = RunChanges(due_at=due_at, tries=run.tries + 1)
        if lookup.counts and run.empty_since is None:
            changes["empty_since"] = now
        match decide(lookup):
            case Decision.WAIT:
                return await self._store.advance(run, run.state, now=now, changes=changes)
            case Decision.SEND_AGAIN:
                log.warning("order not found; it is sent again", after_s=round(lookup.watched_s))
                changes |= RunChanges(due_at=now, tries=0)
                return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)
            case Decision.UNKNOWN:
                log.error("order not found; it is unknown and its money stays held", after_s=round(lookup.watched_s))
                changes["due_at"] = now + self._schedule.poll_s(run)
                return await self._queue_notice(run, RunState.UNKNOWN, Notice.UNKNOWN, changes)
            case Decision.NEVER_ARRIVED:
                log.error("order never arrived; its money is given back")
                return await self._fail_for_nothing(run, "NEVER_ARRIVED", "the order never arrived there")

    # Running: read the run's record until it has an end

    async def _mark_running(self, run: Run, seen: Observation) -> Run | None:
        """The run has an id at the provider: from here on the provider's record is what counts."""
        log.info("running at the provider", provider_id=seen.provider_id, request_id=seen.request_id)
        now = self._clock.now()
        changes = RunChanges(
            due_at=now if seen.ending else now + self._schedule.first_look_s(run),
            tries=0,
            provider_id=seen.provider_id,
            provider_request_id=seen.request_id,
            provider_status=seen.status,
            provider_status_at=now,
        )
        if run.notice == Notice.UNKNOWN and run.delivery == Delivery.PENDING:  # found before anybody was told
            changes |= RunChanges(delivery=Delivery.NONE, unknown_told=False)
        return await self._store.advance(run, RunState.RUNNING, now=now, changes=changes)

    async def _observe(self, run: Run) -> Run | None:
        now = self._clock.now()
        try:
            seen = await self._provider.read(_provider_id(run))
        except Unreadable as error:
            log.warning("record not readable", reason=str(error))
            if run.state == RunState.RUNNING and self._schedule.past_deadline(run) and not run.overdue:
                return await self._queue_notice(run, RunState.RUNNING, Notice.OVERDUE)
            return await self._retry(run, due_at=now + self._schedule.poll_s(run, error.wait_s))
        if seen is None:
            return await self._handle_missing_record(run)
        if run.state == RunState.UNKNOWN:
            return await self._mark_running(run, seen)
        if seen.ending == Ending.EMPTY and self._clip_may_follow(run, seen):
            changes = RunChanges(due_at=now + self._schedule.missing_clip_s())
            return await self._store.advance(run, run.state, now=now, changes=changes | _new_status(run, seen, now))
        if seen.ending is not None:
            return await self._settle(run, seen, seen.ending)
        if self._schedule.past_deadline(run) and not run.overdue:
            log.warning("overdue", status=seen.status)
            return await self._queue_notice(run, RunState.RUNNING, Notice.OVERDUE)
        changes = RunChanges(due_at=now + self._schedule.look_s(run), tries=run.tries + 1)
        return await self._store.advance(run, run.state, now=now, changes=changes | _new_status(run, seen, now))

    def _clip_may_follow(self, run: Run, seen: Observation) -> bool:
        """Whether this success was first read so recently that its clip may still be on its way."""
        since = run.provider_status_at if seen.status == run.provider_status else None
        return since is None or self._clock.watched(since) < EMPTY_S

    async def _handle_missing_record(self, run: Run) -> Run | None:
        """The provider does not know the id that it gave us: for a moment that is normal."""
        now = self._clock.now()
        changes = RunChanges(due_at=now + self._schedule.poll_s(run), tries=run.tries + 1)
        if run.provider_status != MISSING:
            changes |= RunChanges(provider_status=MISSING, provider_status_at=now)
        elif run.state == RunState.RUNNING and self._clock.watched(run.provider_status_at or now) >= MISSING_S:
            log.error("record missing; the run is unknown and its money stays held", provider_id=run.provider_id)
            return await self._queue_notice(run, RunState.UNKNOWN, Notice.UNKNOWN)
        return await self._store.advance(run, run.state, now=now, changes=changes)

    async def _settle(self, run: Run, seen: Observation, ending: Ending) -> Run | None:
        """End the run as the provider says, and charge what the provider billed."""
        end = End(
            ending=ending,
            cost_u=seen.cost_u,
            seed_used=seen.seed_used,
            took_ms=seen.took_ms,
            failure_code=seen.failure_code,
            failure_message=seen.failure_message,
        )
        settled = await self._end(run, end)
        if settled is not None:
            self._schedule.learn(settled)
            if seen.clip_address is not None:
                self._deliverer.expect(run.run_id, seen.clip_address)
            log.info("settled", ending=ending, price_u=run.price_u, charged_u=settled.charged_u)
            _log_cost_difference(settled)
        return settled

    # Succeeded, failed, cancelled: ask for a cost that was not known at the end

    async def _follow_up(self, run: Run) -> Run | None:
        """An ended run needs attention while its cost is not known or its result is not delivered."""
        after = await self._ask_cost(run) if cost_wait_s(run, self._clock) == 0.0 else run
        if after is None or after.delivery_open:
            return after
        wait_s = cost_wait_s(after, self._clock)
        if wait_s == 0.0:  # the provider could not be read
            wait_s = self._schedule.poll_s(after)
        return await self._retry(after, due_at=None if wait_s is None else self._clock.now() + wait_s)

    async def _ask_cost(self, run: Run) -> Run | None:
        """Read the record again, and book the difference once it names the cost."""
        try:
            seen = await self._provider.read(_provider_id(run))
        except Unreadable as error:
            log.warning("cost not readable", reason=str(error))
            return run
        if seen is not None and seen.cost_u is not None:
            run = await self._store.correct(run, seen.cost_u, now=self._clock.now())
            log.info("cost named late", charged_u=run.charged_u)
            _log_cost_difference(run)
        now = self._clock.now()
        changes = RunChanges(cost_checks=run.cost_checks + 1, cost_checked_at=now, tries=0)
        return await self._store.advance(run, run.state, now=now, changes=changes)

    # What several steps do

    async def _retry(self, run: Run, *, due_at: float | None) -> Run | None:
        """Stay in this state and take its step again; None: never."""
        changes = RunChanges(due_at=due_at, tries=run.tries + 1)
        return await self._store.advance(run, run.state, now=self._clock.now(), changes=changes)

    async def _fail_for_nothing(self, run: Run, code: str, message: str) -> Run | None:
        """End a run that surely bought nothing."""
        end = End(ending=Ending.FAILED, cost_u=0, failure_code=code, failure_message=message)
        return await self._end(run, end)

    async def _end(self, run: Run, end: End) -> Run | None:
        now = self._clock.now()
        return await self._store.settle(run, end, now=now, lease_until=now + LEASE_S)

    async def _queue_notice(
        self, run: Run, state: RunState, notice: Notice, changes: RunChanges | None = None
    ) -> Run | None:
        """Make a message to the channel due although the run has not ended; each notice is posted once."""
        now, changes = self._clock.now(), changes or RunChanges()
        if notice == Notice.UNKNOWN and run.unknown_told:
            changes["due_at"] = now + self._schedule.poll_s(run)
            return await self._store.advance(run, state, now=now, changes=changes)
        changes |= RunChanges(
            due_at=now,
            notice=notice,
            delivery=Delivery.PENDING,
            delivery_tries=0,
            first_try_at=None,
            direct=False,
            post_handle=None,
        )
        changes |= RunChanges(overdue=True) if notice == Notice.OVERDUE else RunChanges(unknown_told=True)
        return await self._store.advance(run, state, now=now, changes=changes)


def _shows_on_card(run: Run, after: Run) -> bool:
    """Whether the step changed what the card says: another state, or a first or one more delay."""
    delayed = after.state == RunState.RESERVED and (after.tries == 1 or after.posts > run.posts)
    return delayed or (after.state, after.overdue) != (run.state, run.overdue)


def _new_status(run: Run, seen: Observation, now: float) -> RunChanges:
    """What to keep of the provider's status, if it is another than before."""
    if seen.status == run.provider_status:
        return RunChanges()
    return RunChanges(provider_status=seen.status, provider_status_at=now)


def _provider_id(run: Run) -> str:
    if run.provider_id is None:
        raise InvariantError(f"run {run.run_id} is {run.state} and has no id at the provider")
    return run.provider_id


def _log_cost_difference(run: Run) -> None:
    """Tell the operator that the price table is not what the provider bills; a cost above its quote passes limits."""
    if run.cost_u is None or run.cost_u in (0, run.price_u):
        return
    if run.cost_u > run.price_u:
        log.error("cost above its quote: PRICE_USD_PER_SECOND is too low", cost_u=run.cost_u, price_u=run.price_u)
    else:
        log.warning("cost below its quote: PRICE_USD_PER_SECOND is too high", cost_u=run.cost_u, price_u=run.price_u)
