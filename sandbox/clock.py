"""The time that the emulators live in: real time that a test or a person may push forward."""

import asyncio
import time
from collections.abc import Callable

LONGEST_NAP_S = 3600.0  # event loops do not take infinity for an answer


class Clock:
    """Wall time in seconds since 1970 that can be moved forward, never back.

    One clock belongs to one event loop: ``advance`` is called in the loop whose tasks sleep on it.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Start at ``now()``, which is to return seconds since 1970."""
        self._now = now
        self._offset = 0.0
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        """The time here: that of the source plus everything advanced so far."""
        return self._now() + self._offset

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``; whoever slept until a time now passed goes on in the next turns."""
        if seconds < 0:
            raise ValueError("a clock cannot be moved back")
        self._offset += seconds
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep_until(self, at: float) -> None:
        """Return when ``now()`` has reached ``at``: by waiting, or at once when ``advance`` passes it."""
        while (left := at - self.now()) > 0:
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.add(sleeper)
            try:
                await asyncio.wait([sleeper], timeout=min(left, LONGEST_NAP_S))
            finally:
                self._sleepers.discard(sleeper)
