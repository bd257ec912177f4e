"""Virtual time: an event loop that jumps over the time between its callbacks, and dies where it is told to.

Everything inside of a process runs as asyncio runs it. What goes on outside - requests on their way, runs being filmed,
channels being deleted - stands on a `Timeline`, which goes on while no process is alive.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Died(SystemExit):
    """The process is gone: nothing of it runs any further."""


class Timeline:
    """The world's one clock, and what is going to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ahead: list[tuple[float, int, Callable[[], object]]] = []
        self._counted = 0

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen in so many seconds."""
        self._counted += 1
        heapq.heappush(self._ahead, (self.now + seconds, self._counted, event))

    def advance(self, seconds: float | None) -> None:
        """Go on to the next event, at most by so many seconds; None: as far as it takes. Asserts that there is one."""
        until = None if seconds is None else self.now + seconds
        if self._ahead and (until is None or self._ahead[0][0] <= until):
            at, _, event = heapq.heappop(self._ahead)
            self.now = max(self.now, at)
            event()
        else:
            assert until is not None, "nothing will ever happen again: whoever waits here waits for ever"
            self.now = until

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass, with all that happens in them."""
        until = self.now + seconds
        while self._ahead and self._ahead[0][0] <= until:
            self.advance(None)
        self.now = until


class VirtualLoop(asyncio.BaseEventLoop):
    """One process. After `steps_left` callbacks it dies between two of them; `dying` lets it die before the next."""

    def __init__(self, timeline: Timeline, steps_left: int | None = None) -> None:
        super().__init__()
        self._timeline = timeline
        self._selector = self  # this is what asyncio waits with, and here nobody waits
        self.steps_left = steps_left
        self.dying = False
        self.tasks_max = 0

    def time(self) -> float:
        return self._timeline.now

    def select(self, timeout: float | None) -> list[Any]:
        self._timeline.advance(timeout)
        return []

    def _process_events(self, _: object) -> None:
        """There are none: all events are the timeline's."""

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override] # the stub's type variables say no more
        return super().call_soon(self._step, callback, args, context=context)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override] # see call_soon
        return self.call_soon(callback, *args, context=context)

    def _step(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
        if self.dying or self.steps_left == 0:
            self.dying = True
            raise Died
        callback(*args)

    def bury(self) -> None:
        """Take away what is left of a process that died, without letting any of it act."""
        self.dying = True
        self.set_exception_handler(lambda loop, context: None)
        left = [task for task in asyncio.all_tasks(self) if not task.done()]
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # it was killed, not forgotten
            coroutine: Any = task.get_coro()
            for _ in range(5):  # whoever cleans up in vain is told again
                with suppress(BaseException):
                    coroutine.close()
        self._ready.clear()  # type: ignore[attr-defined] # what it still wanted to do
        self.close()
