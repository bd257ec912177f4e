"""How often runs are looked at: so many steps a second for all of them, and a pause after each step for one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from bot.domain.pauses import PAUSE_MAX_S, growing_pause, jittered, polling_pause
from bot.domain.runs import EMPTY_S, Run
from bot.ports import Clock

RESEND_PAUSE_MAX_S = 60.0  # between two tries to send an order that surely did not arrive
STEPS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the operator allows: runs at a time, and how often and how long they are looked at."""

    runs_total: int
    poll_first_s: float
    poll_longest_s: float
    deadline_s: float
    settle_s: float
    steps_per_s: float = 25.0  # for all runs together, after a burst of STEPS_AT_ONCE: no flood after an outage


class StepRate:
    """Allows so many steps a second, after a burst: a token bucket over the loop's time, which is never set back."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.wait_s = 1.0 / per_s  # at most this long until the next step is allowed
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = 0.0

    def free(self) -> int:
        """How many steps are allowed now."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        return int(self._left)

    def use(self, steps: int) -> None:
        """Count steps that were begun."""
        self._left -= steps


class Schedule:
    """When a run is looked at next, in seconds from now, and how much of its time is left.

    Pauses are spread a little at random, so that many runs do not ask at the same moment.
    """

    def __init__(self, limits: Limits, clock: Clock, chance: random.Random) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance

    def past_deadline(self, run: Run) -> bool:
        """Whether a video should have come of it by now."""
        return self._clock.elapsed(run.created_at) >= self._limits.deadline_s

    def time_left_s(self, run: Run) -> float:
        """How long it may still wait to be ordered. Time in which the bot was down does not count."""
        return self._limits.deadline_s - self._clock.watched(run.created_at)

    def first_poll_s(self) -> float:
        """Until the first look at a run that the provider has just accepted."""
        return jittered(self._chance, self._limits.poll_first_s)

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
