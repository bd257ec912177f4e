"""The clock, and how far it can be trusted: it may be set at any moment, so a difference is not how long it took.

Dates, periods and everything stored are wall time. Whether a delay is over is asked of this clock: it compares the wall
clock with the time that the machine has been up, and so notices when the wall clock was set.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bot.log import get_logger

log = get_logger("veo.clock")

SET_S = 2.0  # a wall clock that moves this far against the machine's own time was set; less is slewing


def uptime() -> float:
    """Seconds that nobody can set, including the time that the machine slept where the system knows it."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class SystemClock:
    """`bot.ports.Clock` from a wall clock and a steady one, which never goes back; both in seconds."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = uptime) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._started_at = wall()
        self._latest = self._started_at  # the latest time that it ever showed
        self._ambiguous_until = 0.0  # it may have shown any time up to here twice
        self.set_at: float | None = None

    def now(self) -> float:
        now = self._wall()
        offset = now - self._steady()
        if abs(offset - self._offset) > SET_S:
            log.warning("clock was set; delays begin again", by_s=round(offset - self._offset))
            self.set_at = now
            self._ambiguous_until = self._latest
        self._offset = offset
        self._latest = max(self._latest, now)
        return now

    def elapsed(self, since: float) -> float:
        now = self.now()
        return now - since if self.set_at is None and since <= now else self.watched(since)

    def watched(self, since: float) -> float:
        now = self.now()
        trusted_from = self._started_at if self.set_at is None else self.set_at
        # Nothing counts that may lie before the clock can be trusted.
        return now - (since if trusted_from <= since <= now else trusted_from)

    def within(self, since: float, seconds: float) -> bool:
        now = self.now()
        is_known = self.set_at is None or (self.set_at <= since and self._ambiguous_until < since)
        return is_known and since <= now < since + seconds
