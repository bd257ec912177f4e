"""The wall clock, and what it may be trusted with: it can be set, so how long something took is not its difference.

Dates, periods and what is stored are wall time. Whether a delay is over is asked of this clock, which compares the
wall with the time that the machine has been up, and so notices when the wall is set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bot.log import get_logger

log = get_logger("veo.clock")

SET_S = 2.0  # a wall that moves by so much against the machine's own time was set; less is slewing


def uptime() -> float:
    """Seconds that nobody sets, sleep of the machine included where the system tells it."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SystemClock:
    """`bot.ports.Clock` on the wall clock `wall` and on `steady`, which only ever goes on; both in seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = uptime) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        self._began = wall()
        self._latest = self._began  # that it ever showed
        self._twice_until = 0.0  # what it shows up to then it has shown before
        self.set_at: float | None = None

    def now(self) -> float:
        now = self._wall()
        ahead = now - self._steady()
        if abs(ahead - self._ahead) > SET_S:
            log.warning("clock was set; delays begin anew", by_s=round(ahead - self._ahead))
            self.set_at = now
            self._twice_until = self._latest
        self._ahead = ahead
        self._latest = max(self._latest, now)
        return now

    def elapsed(self, since: float) -> float:
        now = self.now()
        return now - since if self.set_at is None and since <= now else self.watched(since)

    def watched(self, since: float) -> float:
        now = self.now()
        return _lasted(since, now, self._began if self.set_at is None else self.set_at)

    def within(self, since: float, seconds: float) -> bool:
        now = self.now()
        known = self.set_at is None or (self.set_at <= since and self._twice_until < since)
        return known and since <= now < since + seconds


def _lasted(since: float, now: float, trusted_from: float) -> float:
    """From then to now, of which nothing counts that may lie before the clock is trusted."""
    return now - (since if trusted_from <= since <= now else trusted_from)
