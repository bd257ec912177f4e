"""Moves runs from the admitted wish to the posted video: submit, look up, observe, settle, recover.

The run's row is the state machine and `due_at` the only timer: one loop sleeps until the nearest due
row or a wake-up and takes each due run one step on. Intent is committed before each outside call, the
answer after it, so a process that dies anywhere is continued by the next one. Whether a poll or a
callback woke a run makes no difference: the answer is always Runflow's own record.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from bot.domain.limits import Policy, Spender
from bot.domain.lookup import FRESH_SHARE, LOOKUP_SHARES, UNCLEAR_POSTS_MAX, Silence, Verdict, judge, next_look_s
from bot.domain.records import Accepted, End, NotSent, Refused, RunChanges, Unclear
from bot.domain.runs import (
    EMPTY_S,
    MISSING,
    MISSING_S,
    PAUSE_MAX_S,
    Delivery,
    Ending,
    Notice,
    Observation,
    Run,
    RunState,
    growing_pause,
    jittered,
    polling_pause,
)
from bot.errors import InvariantError, StoreDown, Unreadable
from bot.ports import Clock, Front, Provider, Runs
from bot.services.delivery import Deliverer, cost_wait_s

log = logging.getLogger("veo.engine")

LEASE_S = 90.0  # a claimed run whose step came to nothing is looked at again after this
STEPS_AT_ONCE = 32
PROGRESS_TIMEOUT_S = 10.0
STOP_GRACE_S = 5.0  # for steps that are under way when the bot is told to stop
SET_AGAIN_S = 1.0  # after the clock was set: so long somebody may still write a time of before
STORE_PAUSE_S = 1.0  # while the store is down


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the operator allows: runs at a time, and the rhythm of looking."""

    runs_total: int
    poll_first_s: float
    poll_longest_s: float
    deadline_s: float
    settle_s: float
    steps_per_s: float = 25.0  # of all runs together, after a first STEPS_AT_ONCE: an outage ends without a flood


class Engine:
    """The one mover of runs. `async with engine.running(front):` starts it and stops it again."""

    def __init__(
        self,
        *,
        store: Runs,
        provider: Provider,
        policy: Policy,
        limits: Limits,
        clock: Clock,
        chance: random.Random,
        deliverer: Deliverer,
    ) -> None:
        self._store = store
        self._provider = provider
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._deliverer = deliverer
        self._woken = asyncio.Event()
        self._pace = Pace(limits.steps_per_s, STEPS_AT_ONCE)
        self._set_at: float | None = None  # the clock's, as far as the timers are adjusted to it
        self._old_steps: set[asyncio.Task[None]] | None = None  # that began before it was set
        self._old_until = 0.0
        self._busy: dict[str, bool] = {}  # run id -> whether it was woken again while a step was under way
        self._steps: set[asyncio.Task[None]] = set()

    # What the front and the web server call

    def look(self) -> None:
        """There may be a new run: look for it now."""
        self._woken.set()

    async def wake(self, callback_token: str, candidate_id: str | None) -> bool:
        """Look at the token's run now. False: no run has this token."""
        run_id = await self._store.wake(callback_token, candidate_id)
        if run_id is None:
            return False
        if run_id in self._busy:
            self._busy[run_id] = True
        self._woken.set()
        return True

    @asynccontextmanager
    async def running(self, front: Front) -> AsyncIterator[None]:
        """Go on with every open run, and with all that come, until the block is left."""
        waiting = await self._store.recover(self._clock.now(), deadline_s=self._limits.deadline_s)
        log.info("recovered open_runs=%d", waiting)
        loop = asyncio.create_task(self._loop(front), name="engine")
        try:
            yield
        finally:
            loop.cancel()
            await asyncio.wait({loop})
            if self._steps:
                # A POST that is let finish now need not be looked for at the next start.
                _, late = await asyncio.wait(self._steps, timeout=STOP_GRACE_S)
                for step in late:
                    step.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    # The loop

    async def _loop(self, front: Front) -> None:
        failures = 0  # in a row; told are the first, the second, the fourth and so on
        while True:
            try:
                await self._tick(front)
            except Exception as error:
                failures += 1
                told = failures & (failures - 1) == 0
                if told and isinstance(error, StoreDown):
                    log.error("the store is down (%s); nothing moves until it is back", error.__cause__)
                elif told:
                    log.exception("the engine could not look at its runs; it tries again")
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                failures = 0

    async def _tick(self, front: Front) -> None:
        self._woken.clear()
        now = self._clock.now()
        await self._follow_clock(front, now)
        free = min(STEPS_AT_ONCE - len(self._busy), self._pace.free())
        if free > 0:
            claimed = await self._store.claim_due(
                now, lease_until=now + LEASE_S, limit=free, total_max=self._limits.runs_total
            )
            self._pace.use(len(claimed))
            for run in claimed:
                if run.run_id in self._busy:
                    self._busy[run.run_id] = True
                else:
                    self._busy[run.run_id] = False
                    step = asyncio.create_task(self._take_steps(front, run), name=f"step {run.run_id}")
                    self._steps.add(step)
                    step.add_done_callback(self._steps.discard)
            due = await self._store.next_due()
            if due is not None and self._pace.free() == 0:
                due = max(due, now + self._pace.wait_s)
        else:
            due = now + self._pace.wait_s  # a finished step wakes the loop before that
        wait_s = None if due is None else max(0.0, due - self._clock.now())
        if self._clock.set_at != self._set_at or self._old_steps is not None:
            wait_s = min(SET_AGAIN_S, SET_AGAIN_S if wait_s is None else wait_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._woken.wait()

    async def _follow_clock(self, front: Front, now: float) -> None:
        """Where the clock was set, make what is open due: what was due in an hour may be due in a day by now.

        Once more when all that was under way is over, for it may have written times of before.
        """
        loop_time = asyncio.get_running_loop().time()
        if self._clock.set_at != self._set_at:
            self._set_at = self._clock.set_at
            self._old_steps, self._old_until = set(self._steps), loop_time + SET_AGAIN_S
            await self._forget_times(front, now)
        elif self._old_steps is not None and loop_time >= self._old_until and not self._old_steps & self._steps:
            await self._forget_times(front, now)
            self._old_steps = None

    async def _forget_times(self, front: Front, now: float) -> None:
        await self._store.recover(now, deadline_s=self._limits.deadline_s)
        await self._store.forget_first_tries(now - front.repeat_s)

    async def _take_steps(self, front: Front, run: Run) -> None:
        """Take one run a step on, and again as long as it was woken meanwhile."""
        current: Run | None = run
        try:
            while current is not None:
                self._busy[run.run_id] = False
                await self._step(front, current)
                current = await self._store.get(run.run_id) if self._busy[run.run_id] else None
        except Exception as error:
            trouble = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if isinstance(trouble, StoreDown):  # what the disk does not keep now is found out when it does again
                log.error("step not kept run=%s state=%s: the store is down", run.run_id, run.state)
            else:
                log.exception("step failed run=%s state=%s", run.run_id, run.state)
        finally:
            del self._busy[run.run_id]
            self._woken.set()

    async def _step(self, front: Front, run: Run) -> None:
        before = (run.state, run.provider_status)
        match run.state:
            case RunState.RESERVED:
                after = await self._submit(front, run)
            case RunState.SUBMITTING | RunState.AMBIGUOUS:
                after = await self._look_up(run)
            case RunState.UNKNOWN:
                after = await (self._look_up(run) if run.provider_id is None else self._observe(run))
            case RunState.RUNNING:
                after = await self._observe(run)
            case RunState.SUCCEEDED | RunState.FAILED | RunState.CANCELLED:
                after = await self._after_end(run)
        if after is None:
            return  # somebody else moved it; the row says what is next
        held_up = after.state == RunState.RESERVED and (after.tries == 1 or after.posts > run.posts)
        if held_up or (after.state, after.provider_status) != before:
            await self._show_progress(front, after)
        if after.delivery_open:
            delivered = await self._deliverer.deliver(front, after)
            if delivered is not None and not delivered.delivery_open:
                await self._show_progress(front, delivered)

    async def _show_progress(self, front: Front, run: Run) -> None:
        """Update the card if it can still be had; whatever becomes of it, the run goes on."""
        if run.reply_to is None or run.reply_until is None or run.reply_until <= self._clock.now():
            return
        try:
            async with asyncio.timeout(PROGRESS_TIMEOUT_S):
                levels = self._policy.levels(Spender.of(run), self._clock.now())
                await front.show_progress(run, await self._store.standings(Spender.of(run), levels))
        except Exception as error:
            trace = None if isinstance(error, (TimeoutError, StoreDown)) else error
            log.warning("progress not shown run=%s: %s", run.run_id, type(error).__name__, exc_info=trace)

    # Submitting

    async def _submit(self, front: Front, run: Run) -> Run | None:
        now = self._clock.now()
        left_s = self._limits.deadline_s - self._clock.watched(run.created_at)  # to be down for long is no waiting
        try:
            named = await self._candidate(run)
        except Unreadable as error:
            log.warning("not sent again run=%s: the run that a callback named cannot be read (%s)", run.run_id, error)
            if left_s <= 0:  # perhaps it was bought
                return await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=RunChanges(due_at=now))
            return await self._stay(run, due_at=now + self._pause(run, error.wait_s), tries=run.tries + 1)
        if named is not None:
            return await self._adopt(run, named)
        if left_s <= 0:
            return await self._give_up(run)
        begun = await self._store.begin_submit(run, now=now, total_max=self._limits.runs_total)
        if begun is None:
            changes = RunChanges(in_line=True, due_at=now + left_s, tries=run.tries + 1)
            return await self._store.advance(run, run.state, now=now, changes=changes)
        async with asyncio.TaskGroup() as group:  # the member sees meanwhile that the wish was understood
            group.create_task(self._show_progress(front, begun))
            # The answer is on disk before the card is waited for.
            after = await self._answered(begun, await self._provider.submit(begun))
            if after is not None and after.state == RunState.RUNNING:
                await self._prove_look_up(after)
            return after

    async def _answered(self, run: Run, answer: Accepted | Refused | NotSent | Unclear) -> Run | None:
        now = self._clock.now()
        match answer:
            case Accepted(observation=seen):
                return await self._adopt(run, seen)
            case Refused(code=code, message=message):
                log.warning("refused run=%s code=%s", run.run_id, code)
                end = End(ending=Ending.FAILED, cost_u=0, failure_code=code, failure_message=message)
                if (settled := await self._store.settle(run, end, now=now)) is not None:
                    return settled
                # A callback named a run meanwhile: that is looked at first, as before each order.
                changes = RunChanges(due_at=now, tries=run.tries + 1)
                return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)
            case NotSent(reason=reason, wait_s=wait_s):
                log.warning("not sent run=%s: %s; will try again", run.run_id, reason)
                pause = growing_pause(self._limits.poll_first_s, run.posts - 1, 60.0)
                due_at = now + (wait_s if wait_s is not None else jittered(self._chance, pause))
                changes = RunChanges(due_at=due_at, tries=run.tries + 1)
                return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)
            case Unclear(reason=reason):
                log.warning("submission unclear run=%s: %s; looking it up", run.run_id, reason)
                first = LOOKUP_SHARES[0] * self._limits.settle_s
                changes = RunChanges(due_at=now + first, tries=0, unclear_posts=run.unclear_posts + 1)
                return await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=changes)

    async def _give_up(self, run: Run) -> Run | None:
        """End a wish that could not be ordered by its deadline; it costs nothing."""
        code, message = ("UNREACHABLE", "not reached in time") if run.posts else ("NO_TURN", "no free place in time")
        log.warning("gave up run=%s: %s", run.run_id, message)
        end = End(ending=Ending.FAILED, cost_u=0, failure_code=code, failure_message=message)
        return await self._store.settle(run, end, now=self._clock.now())

    async def _adopt(self, run: Run, seen: Observation) -> Run | None:
        """The run has its id at Runflow: from here on its own record is what counts."""
        log.info("adopted run=%s provider_id=%s request_id=%s", run.run_id, seen.provider_id, seen.request_id)
        now = self._clock.now()
        changes = RunChanges(
            due_at=now if seen.ending else now + jittered(self._chance, self._limits.poll_first_s),
            tries=0,
            provider_id=seen.provider_id,
            provider_request_id=seen.request_id,
            provider_status=seen.status,
            provider_status_at=now,
        )
        if run.notice == Notice.UNKNOWN and run.delivery == Delivery.PENDING:  # it is known before it was told
            changes |= RunChanges(delivery=Delivery.NONE, unknown_told=False)
        return await self._store.advance(run, RunState.RUNNING, now=now, changes=changes)

    # Finding out what an unclear submission bought

    async def _look_up(self, run: Run) -> Run | None:
        """Search by our reference and by the id that a callback named."""
        now = self._clock.now()
        if run.state == RunState.SUBMITTING:  # the process died, or lost its store, after the intent
            changes = RunChanges(tries=0, unclear_posts=run.unclear_posts + 1)
            doubted = await self._store.advance(run, RunState.AMBIGUOUS, now=now, changes=changes)
            if doubted is None:
                return None
            run = doubted
        try:
            found = await self._found(run)
        except Unreadable as error:
            log.warning("cannot be looked up run=%s: %s", run.run_id, error)
            if run.state == RunState.AMBIGUOUS and self._is_late(run):
                return await self._give_notice(run, RunState.UNKNOWN, Notice.UNKNOWN)
            return await self._stay(run, due_at=now + self._pause(run, error.wait_s), tries=run.tries + 1)
        if not found:
            return await self._not_found(run)
        for extra in found[1:]:
            log.error("Runflow has a second run for run=%s: provider_id=%s", run.run_id, extra.provider_id)
        return await self._adopt(run, found[0])

    async def _found(self, run: Run) -> list[Observation]:
        """What Runflow has under our reference. Raises Unreadable where that is nothing that can be relied on."""
        trouble: Unreadable | None = None
        try:
            if (named := await self._candidate(run)) is not None:
                return [named]
        except Unreadable as error:  # a hint, perhaps a forged one: the list may show the run all the same
            trouble = error
        found = await self._provider.find(run.client_ref)
        if found and run.lookup_fresh is None and run.unclear_posts == 1:  # of several nobody knows which it is
            fresh = self._is_fresh(run)
            if fresh or run.tries > 0:  # a first look may have been too late to tell
                await self._store.looked_up(run.run_id, fresh=fresh)
        if not found and trouble is not None:
            raise trouble
        return found

    async def _candidate(self, run: Run) -> Observation | None:
        """The run that a callback named, if it carries our reference. Raises Unreadable."""
        if run.candidate_id is None:
            return None
        seen = await self._provider.read(run.candidate_id)
        return seen if seen is not None and seen.client_ref == run.client_ref else None

    async def _not_found(self, run: Run) -> Run | None:
        """What a clean empty answer means is said by `bot.domain.lookup`; here it is carried out."""
        now, posted_at = self._clock.now(), run.posted_at or run.created_at
        silence = Silence(
            held=run.state == RunState.UNKNOWN,
            settle_s=self._limits.settle_s,
            waited_s=self._clock.watched(posted_at),
            passed_s=self._clock.elapsed(posted_at),
            empty_s=None if run.empty_since is None else self._clock.watched(run.empty_since),
            repeatable=self._may_be_sent_again(run),
            proven=await self._store.lookup_proven(),
        )
        look_s = next_look_s(silence)
        changes = RunChanges(due_at=now + (self._pause(run, None) if look_s is None else look_s), tries=run.tries + 1)
        if silence.counts and run.empty_since is None:
            changes["empty_since"] = now
        match judge(silence):
            case Verdict.WAIT:
                return await self._store.advance(run, run.state, now=now, changes=changes)
            case Verdict.SEND_AGAIN:
                log.warning("sent again run=%s: not found %.0f s after its POST", run.run_id, silence.waited_s)
                changes |= RunChanges(due_at=now, tries=0)
                return await self._store.advance(run, RunState.RESERVED, now=now, changes=changes)
            case Verdict.UNKNOWN:
                log.error(
                    "run=%s is unknown: not found %.0f s after its POST; its hold stays", run.run_id, silence.waited_s
                )
                changes["due_at"] = now + self._pause(run, None)
                return await self._give_notice(run, RunState.UNKNOWN, Notice.UNKNOWN, changes)
            case Verdict.NEVER_ARRIVED:
                log.error("given up run=%s: it never arrived at Runflow", run.run_id)
                reason = "the order never arrived there"
                end = End(ending=Ending.FAILED, cost_u=0, failure_code="NEVER_ARRIVED", failure_message=reason)
                return await self._store.settle(run, end, now=now)

    def _may_be_sent_again(self, run: Run) -> bool:
        """Not too often, not too late, and not where a callback says that some order did arrive."""
        return run.unclear_posts < UNCLEAR_POSTS_MAX and not self._is_late(run) and run.candidate_id is None

    async def _prove_look_up(self, run: Run) -> None:
        """Ask whether the look-up shows a run that is surely there: its silence is worth what this says.

        Asked once after each POST until the look-up has proven itself, and later for a sample. A look-up that does not
        show the run yet is asked again at the next looks, as long as that would still be soon enough.
        """
        if run.lookup_fresh is not None or not self._is_fresh(run):
            return
        if not run.in_sample and await self._store.lookup_proven():
            return
        try:
            fresh = any(seen.provider_id == run.provider_id for seen in await self._provider.find(run.client_ref))
        except Unreadable as error:  # no answer is no verdict
            log.warning("the look-up cannot be proven by run=%s: %s", run.run_id, error)
            return
        in_time = self._is_fresh(run)
        if fresh and in_time:
            await self._store.looked_up(run.run_id, fresh=True)
        elif not in_time or not self._is_fresh(run, later_s=self._limits.poll_longest_s):
            log.warning("the look-up did not show run=%s in time", run.run_id)
            await self._store.looked_up(run.run_id, fresh=False)

    def _is_fresh(self, run: Run, later_s: float = 0.0) -> bool:
        """Whether a look-up that shows the run now would be soon enough."""
        posted_at = run.posted_at or run.created_at
        return self._clock.within(posted_at, FRESH_SHARE * self._limits.settle_s - later_s)

    # Watching

    async def _observe(self, run: Run) -> Run | None:
        now = self._clock.now()
        try:
            seen = await self._provider.read(_provider_id(run))
        except Unreadable as error:
            log.warning("not readable run=%s: %s", run.run_id, error)
            if run.state == RunState.RUNNING and self._is_late(run) and not run.overdue:
                return await self._give_notice(run, RunState.RUNNING, Notice.OVERDUE)
            return await self._stay(run, due_at=now + self._pause(run, error.wait_s), tries=run.tries + 1)
        if seen is None:
            return await self._missing(run)
        if run.state == RunState.UNKNOWN:
            return await self._adopt(run, seen)
        if seen.ending == Ending.EMPTY and self._may_be_early(run, seen):
            changes = RunChanges(due_at=now + jittered(self._chance, min(self._limits.poll_first_s, EMPTY_S / 4)))
            if seen.status != run.provider_status:
                changes |= RunChanges(provider_status=seen.status, provider_status_at=now)
            return await self._store.advance(run, run.state, now=now, changes=changes)
        if seen.ending is not None:
            return await self._settle(run, seen, seen.ending)
        await self._prove_look_up(run)
        if self._is_late(run) and not run.overdue:
            log.warning("overdue run=%s status=%s", run.run_id, seen.status)
            return await self._give_notice(run, RunState.RUNNING, Notice.OVERDUE)
        changes = RunChanges(due_at=now + self._pause(run, None), tries=run.tries + 1)
        if seen.status != run.provider_status:
            changes["provider_status"] = seen.status
            changes["provider_status_at"] = now
        return await self._store.advance(run, run.state, now=now, changes=changes)

    def _may_be_early(self, run: Run, seen: Observation) -> bool:
        """Whether this success was first read so lately that what it made may still be on its way."""
        since = run.provider_status_at if seen.status == run.provider_status else None
        return since is None or self._clock.watched(since) < EMPTY_S

    async def _missing(self, run: Run) -> Run | None:
        """Runflow does not know the id that it gave us: for a moment that is normal."""
        now = self._clock.now()
        changes = RunChanges(due_at=now + self._pause(run, None), tries=run.tries + 1)
        if run.provider_status != MISSING:
            changes["provider_status"] = MISSING
            changes["provider_status_at"] = now
        elif run.state == RunState.RUNNING and self._clock.watched(run.provider_status_at or now) >= MISSING_S:
            log.error("run=%s is unknown: Runflow does not know %s; its hold stays", run.run_id, run.provider_id)
            return await self._give_notice(run, RunState.UNKNOWN, Notice.UNKNOWN)
        return await self._store.advance(run, run.state, now=now, changes=changes)

    async def _settle(self, run: Run, seen: Observation, ending: Ending) -> Run | None:
        end = End(
            ending=ending,
            cost_u=seen.cost_u,
            seed_used=seen.seed_used,
            took_ms=seen.took_ms,
            failure_code=seen.failure_code,
            failure_message=seen.failure_message,
        )
        settled = await self._store.settle(run, end, now=self._clock.now())
        if settled is not None:
            log.info(
                "settled run=%s ending=%s price_u=%d charged_u=%d",
                run.run_id,
                ending,
                run.price_u,
                settled.charged_u,
            )
            _tell_off_quote(settled)
        return settled

    async def _give_notice(
        self, run: Run, state: RunState, notice: Notice, beside: RunChanges | None = None
    ) -> Run | None:
        """Something to tell the channel although the run is not over; each notice once."""
        now = self._clock.now()
        changes = beside or RunChanges()
        if notice == Notice.UNKNOWN and run.unknown_told:
            changes["due_at"] = now + self._pause(run, None)
            return await self._store.advance(run, state, now=now, changes=changes)
        changes |= RunChanges(
            due_at=now,
            notice=notice,
            delivery=Delivery.PENDING,
            delivery_tries=0,
            first_try_at=None,
            direct=False,
        )
        changes |= RunChanges(overdue=True) if notice == Notice.OVERDUE else RunChanges(unknown_told=True)
        return await self._store.advance(run, state, now=now, changes=changes)

    async def _after_end(self, run: Run) -> Run | None:
        """An ended run needs attention while its cost is not known or its result not delivered."""
        asked = await self._ask_cost(run) if cost_wait_s(run, self._clock) == 0.0 else run
        if asked is None or asked.delivery_open:
            return asked
        wait_s = cost_wait_s(asked, self._clock)
        if wait_s == 0.0:  # Runflow could not be read
            wait_s = self._pause(asked, None)
        due_at = None if wait_s is None else self._clock.now() + wait_s
        return await self._stay(asked, due_at=due_at, tries=asked.tries + 1)

    async def _ask_cost(self, run: Run) -> Run | None:
        """Read a run again whose end came without a cost, and book the difference once it is named."""
        try:
            seen = await self._provider.read(_provider_id(run))
        except Unreadable as error:
            log.warning("cost not readable run=%s: %s", run.run_id, error)
            return run
        if seen is not None and seen.cost_u is not None:
            run = await self._store.correct(run, seen.cost_u, now=self._clock.now())
            log.info("cost named late run=%s charged_u=%d", run.run_id, run.charged_u)
            _tell_off_quote(run)
        now = self._clock.now()
        changes = RunChanges(cost_checks=run.cost_checks + 1, cost_checked_at=now, tries=0)
        return await self._store.advance(run, run.state, now=now, changes=changes)

    # Small helpers

    async def _stay(self, run: Run, *, due_at: float | None, tries: int) -> Run | None:
        changes = RunChanges(due_at=due_at, tries=tries)
        return await self._store.advance(run, run.state, now=self._clock.now(), changes=changes)

    def _is_late(self, run: Run) -> bool:
        return self._clock.elapsed(run.created_at) >= self._limits.deadline_s

    def _pause(self, run: Run, wait_s: float | None) -> float:
        """Seconds until the next look at a run that is not over."""
        limits = self._limits
        pause = polling_pause(
            age_s=self._clock.elapsed(run.created_at),
            tries=run.tries,
            first_s=limits.poll_first_s,
            longest_s=limits.poll_longest_s,
            deadline_s=limits.deadline_s,
        )
        # Spread the retries: otherwise a run that is always refused would come first each time.
        return max(jittered(self._chance, pause), min(wait_s or 0.0, PAUSE_MAX_S) * self._chance.uniform(1.0, 1.5))


class Pace:
    """So many steps a second, after a burst: a token bucket over the loop's time, which is never set back."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.wait_s = 1.0 / per_s  # until the next step may be taken, at most
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = 0.0

    def free(self) -> int:
        """How many steps may be taken now."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        return int(self._left)

    def use(self, steps: int) -> None:
        """So many were taken."""
        self._left -= steps


def _provider_id(run: Run) -> str:
    if run.provider_id is None:
        raise InvariantError(f"run {run.run_id} is {run.state} and has no id at Runflow")
    return run.provider_id


def _tell_off_quote(run: Run) -> None:
    """Tell the operator that the price table is not what Runflow bills; above the quote that passes limits."""
    if run.cost_u is not None and run.cost_u > run.price_u:
        log.error("run=%s cost_u=%d is above its quote of %d: mend PRICE_USD_PER_SECOND", *_off_quote(run))
    elif run.cost_u is not None and 0 < run.cost_u < run.price_u:
        log.warning("run=%s cost_u=%d is below its quote of %d: PRICE_USD_PER_SECOND is too high", *_off_quote(run))


def _off_quote(run: Run) -> tuple[str, int | None, int]:
    return run.run_id, run.cost_u, run.price_u
