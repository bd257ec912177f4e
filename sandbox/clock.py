"""The clock of both sandboxes: real time, which a test or a person can move forward."""

import asyncio
import time
from collections.abc import Callable

LONGEST_WAIT_S = 3600.0  # event loops can't wait for an infinite time


class Clock:
    """Wall time in seconds since 1970 that can be moved forward, never back.

    A clock belongs to one event loop: call ``advance`` in the loop whose tasks sleep on it.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """``now`` is the time source; it returns seconds since 1970."""
        self._now = now
        self._offset = 0.0
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        """The current time: that of the source plus everything that was advanced."""
        return self._now() + self._offset

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` and wake every task that sleeps until a time that has now passed."""
        if seconds < 0:
            raise ValueError("a clock cannot be moved back")
        self._offset += seconds
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep_until(self, at: float) -> None:
        """Return once ``now()`` has reached ``at``, whether by waiting or by ``advance``."""
        while (left := at - self.now()) > 0:
            sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._sleepers.add(sleeper)
            try:
                await asyncio.wait([sleeper], timeout=min(left, LONGEST_WAIT_S))
            finally:
                self._sleepers.discard(sleeper)
