"""Finds out what an order without a clear answer bought, and how soon the provider's list shows a new run."""

from __future__ import annotations

import asyncio

from bot.domain.lookup import FRESH_SHARE, PROOF_RUNS, UNCLEAR_POSTS_MAX, EmptyLookup
from bot.domain.runs import Observation, Run, RunState
from bot.errors import Unreadable
from bot.log import get_logger
from bot.ports import Clock, Provider, Runs
from bot.services.pace import Limits, Schedule

log = get_logger("veo.engine")

SAMPLE_PAUSE_S = 60.0  # between two checks of a list that is proven


class Search:
    """Looks for runs under our reference. It moves none of them."""

    def __init__(self, *, store: Runs, provider: Provider, limits: Limits, schedule: Schedule, clock: Clock) -> None:
        self._store = store
        self._provider = provider
        self._limits = limits
        self._schedule = schedule
        self._clock = clock
        self._measured: dict[str, float] = {}  # runs by which the list is checked, and when it was last asked for them
        self._sampled_at = -SAMPLE_PAUSE_S  # when a proven list was last checked, by the loop's time
        self._proven = False  # whether the list was proven when it was last looked for

    async def find(self, run: Run) -> list[Observation]:
        """What the provider has under our reference. Raises Unreadable where an empty answer would prove nothing."""
        unread: Unreadable | None = None
        try:
            if (named := await self.named_by_callback(run)) is not None:
                return [named]
        except Unreadable as error:  # only a hint, perhaps a forged one: the list may show the run all the same
            unread = error
        found = await self._provider.find(run.client_ref)
        if found and run.lookup_fresh is None and run.unclear_posts == 1:  # of several POSTs nobody knows which it was
            in_time = self._shows_in_time(run)
            if in_time or run.tries > 0:  # a first look may have come too late to tell
                await self._keep(run, fresh=in_time)
        if not found and unread is not None:
            raise unread
        return found

    async def named_by_callback(self, run: Run) -> Observation | None:
        """The run that a callback named, if it carries our reference. Raises Unreadable."""
        if run.candidate_id is None:
            return None
        seen = await self._provider.read(run.candidate_id)
        return seen if seen is not None and is_ours(seen, run) else None

    async def empty_lookup(self, run: Run) -> EmptyLookup:
        """What is known about a run that was just not found."""
        posted_at = run.posted_at or run.created_at
        return EmptyLookup(
            is_unknown=run.state == RunState.UNKNOWN,
            settle_s=self._limits.settle_s,
            watched_s=self._clock.watched(posted_at),
            elapsed_s=self._clock.elapsed(posted_at),
            since_empty_s=None if run.empty_since is None else self._clock.watched(run.empty_since),
            may_resend=self.may_resend(run),
            list_is_proven=await self._store.lookup_proven(),
        )

    def may_resend(self, run: Run) -> bool:
        """Whether the order may be sent again: not too often, not too late, and not if a callback says it arrived."""
        on_time = not self._schedule.past_deadline(run)
        return run.unclear_posts < UNCLEAR_POSTS_MAX and on_time and run.candidate_id is None

    async def measure_list_freshness(self, run: Run) -> bool:
        """Check that the provider's list shows a run that we know exists, and keep the result.

        Only then may an empty list be taken as proof of absence. Runs are checked until the list is proven, so many at
        a time as that takes, and a sample of them afterwards, now and then. True: the list does not show the run yet
        and is to be asked again soon, as long as that would still be in time.
        """
        if run.lookup_fresh is not None or not self._shows_in_time(run):
            return False
        now = asyncio.get_running_loop().time()
        begun = self._measured.pop(run.run_id, None) is not None
        if not begun and self._are_enough(now):
            return False
        self._measured[run.run_id], again = now, False
        try:
            if begun or await self._is_wanted(run, now):
                again = await self._measure(run)
        finally:
            if not again:
                self._measured.pop(run.run_id, None)
        return again

    def _are_enough(self, now: float) -> bool:
        """Whether so many runs are being checked that they can prove the list; of one that has ended nothing comes."""
        late = now - self._limits.settle_s
        self._measured = {run_id: at for run_id, at in self._measured.items() if at > late}
        return len(self._measured) >= PROOF_RUNS

    async def _is_wanted(self, run: Run, now: float) -> bool:
        """Whether the list is to be checked by this run."""
        if not await self._is_proven():
            return True
        if not run.in_sample or now < self._sampled_at + SAMPLE_PAUSE_S:
            return False
        self._sampled_at = now
        return True

    async def _is_proven(self) -> bool:
        """Whether the list is proven; once it was, nothing but what is kept here can change that."""
        self._proven = self._proven or await self._store.lookup_proven()
        return self._proven

    async def _keep(self, run: Run, *, fresh: bool) -> None:
        self._proven = self._proven and fresh
        await self._store.looked_up(run.run_id, fresh=fresh)

    async def _measure(self, run: Run) -> bool:
        """Ask the list for a run; True: again soon."""
        try:
            shown = any(seen.provider_id == run.provider_id for seen in await self._provider.find(run.client_ref))
        except Unreadable as error:  # no answer proves nothing
            log.warning("list not readable, so its freshness is not measured", reason=str(error))
            return True
        in_time = self._shows_in_time(run)
        if shown and in_time:
            await self._keep(run, fresh=True)
        elif not in_time or not self._shows_in_time(run, later_s=self._limits.poll_longest_s):
            log.warning("list did not show the run in time")
            await self._keep(run, fresh=False)
        else:
            return True
        return False

    def _shows_in_time(self, run: Run, later_s: float = 0.0) -> bool:
        """Whether a list that shows the run now, or so many seconds later, shows it soon enough after its POST."""
        posted_at = run.posted_at or run.created_at
        return self._clock.within(posted_at, FRESH_SHARE * self._limits.settle_s - later_s)


def is_ours(seen: Observation, run: Run) -> bool:
    """Whether the provider's record carries our reference to this run. A callback may name any run."""
    return seen.client_ref == run.client_ref
