"""How often runs are looked at: so many looks a second for all of them, and a pause after each look for one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from bot.domain.history import Kind, Lengths, Usual, kind_of
from bot.domain.pauses import PAUSE_MAX_S, growing_pause, jittered, polling_pause
from bot.domain.queue import Turn, turn_at_work
from bot.domain.runs import EMPTY_S, Run, RunState
from bot.ports import Clock

LEASE_S = 90.0  # a run whose step came to nothing is due again after this
RESEND_PAUSE_MAX_S = 60.0  # between two tries to send an order that surely did not arrive
LOOKS_AT_ONCE = 32
# Between two looks at a run of which a callback is to tell, and until the first of them where nothing is known of how
# long such a run takes: a minute and two, in longest pauses between two polls.
CALLED_LOOK, CALLED_FIRST_LOOK = 4, 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the operator allows: runs at a time, and how often and how long they are looked at."""

    runs_total: int
    poll_first_s: float
    poll_longest_s: float
    deadline_s: float
    settle_s: float
    callbacks: bool = False  # whether Runflow is asked to call back
    looks_per_s: float = 25.0  # for all runs together, after a burst of LOOKS_AT_ONCE: no flood after an outage


class LookRate:
    """Allows so many looks a second, after a burst: a token bucket over the loop's time, which is never set back."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.wait_s = 1.0 / per_s  # at most this long until the next look is allowed
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = 0.0

    def free(self) -> int:
        """How many looks are allowed now."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        return int(self._left)

    def use(self, looks: int) -> None:
        """Count looks that were begun."""
        self._left -= looks


class Schedule:
    """When a run is looked at next, in seconds from now, and how much of its time is left.

    Where callbacks tell of ends, looks are rare: they are for callbacks that got lost. An end that a look found, and no
    callback told of, says that none come; from then on runs are polled, until one comes again.

    Pauses are spread a little at random, so that many runs do not ask at the same moment.
    """

    def __init__(self, limits: Limits, clock: Clock, chance: random.Random) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self.lengths = Lengths()
        self._callbacks_come = limits.callbacks
        self._announced: set[str] = set()  # runs of which a callback has told, and whose end is not known yet

    # What is learned

    def announce(self, run: Run) -> None:
        """A callback is about this run."""
        self._callbacks_come = self._limits.callbacks
        if not run.terminal:
            self._announced.add(run.run_id)

    def learn(self, run: Run) -> None:
        """The run, which the provider had, has just ended."""
        if run.run_id in self._announced:
            self._announced.discard(run.run_id)
        else:
            self._callbacks_come = False
        if run.shows_video and run.posted_at is not None and run.ended_at is not None:
            self.lengths.add(run.request, run.ended_at - run.posted_at)

    # What is to be expected

    def usual(self, kind: Kind | None) -> Usual:
        """How long runs of this kind take from the order to the end."""
        return self.lengths.usual(kind)

    def turn(self, run: Run) -> Turn | None:
        """When a run that the provider has is likely to be ready; None where nobody can tell."""
        if run.state != RunState.RUNNING or run.overdue or run.posted_at is None:
            return None
        return turn_at_work(run.posted_at, self.usual(kind_of(run.request)), self._clock.now())

    # What is left

    def past_deadline(self, run: Run) -> bool:
        """Whether a video should have come of it by now."""
        return self._clock.elapsed(run.created_at) >= self._limits.deadline_s

    def time_left_s(self, run: Run) -> float:
        """How long it may still wait to be ordered. Time in which the bot was down does not count."""
        return self._limits.deadline_s - self._clock.watched(run.created_at)

    # When it is looked at next

    def first_look_s(self, run: Run) -> float:
        """Until the first look at a run that the provider has just accepted."""
        if self._callbacks_come:
            return self._called_look_s(run)
        usual_s = self.lengths.shortest_s(run.request)
        return jittered(self._chance, max(self._limits.poll_first_s, usual_s or 0.0))

    def look_s(self, run: Run) -> float:
        """Until the next look at a run that the provider has and that goes on."""
        if self._callbacks_come and not self.past_deadline(run):
            return self._called_look_s(run)
        return self.poll_s(run)

    def _called_look_s(self, run: Run) -> float:
        """Until shortly after such a run usually ends, and then once a minute."""
        usual_s = self.lengths.longest_s(run.request) or CALLED_FIRST_LOOK * self._limits.poll_longest_s
        left_s = usual_s - self._clock.elapsed(run.posted_at or run.created_at)
        return jittered(self._chance, max(CALLED_LOOK * self._limits.poll_longest_s, 1.1 * left_s))

    def poll_s(self, run: Run, asked_s: float | None = None) -> float:
        """Until the next look at a run without an end; at least `asked_s`, which is what the provider asked for."""
        limits = self._limits
        pause_s = polling_pause(
            age_s=self._clock.elapsed(run.created_at),
            tries=run.tries,
            first_s=limits.poll_first_s,
            longest_s=limits.poll_longest_s,
            deadline_s=limits.deadline_s,
        )
        # Spread the retries: otherwise a run that is refused each time would come first each time.
        return max(jittered(self._chance, pause_s), min(asked_s or 0.0, PAUSE_MAX_S) * self._chance.uniform(1.0, 1.5))

    def resend_s(self, run: Run, asked_s: float | None) -> float:
        """Until an order that surely did not arrive is sent again; `asked_s` where the provider asked for that."""
        if asked_s is not None:
            return asked_s
        return jittered(self._chance, growing_pause(self._limits.poll_first_s, run.posts - 1, RESEND_PAUSE_MAX_S))

    def missing_clip_s(self) -> float:
        """Until the next look at a success whose clip may follow in a moment."""
        return jittered(self._chance, min(self._limits.poll_first_s, EMPTY_S / 4))
