"""The event stream of a sandbox: for the chat page, for scripts, and for code that waits for a condition."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from sandbox.clock import Clock
from sandbox.discord.errors import JsonObject

T = TypeVar("T")


class Snowflakes:
    """Generates snowflakes: ids that encode the clock's time and always increase (docs: Reference, Snowflakes)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """A new id."""
        now = (int(self._clock.now() * 1000) - 1_420_070_400_000) << 22
        self._last = max(now, self._last + 1)
        return str(self._last)


class Subscription(AsyncIterator[JsonObject]):
    """The events from now on: all of them, or only those that ``viewer`` (a user id) may see."""

    def __init__(self, events: "Events", viewer: str | None, *, everything: bool) -> None:
        self._events = events
        self._viewer = viewer
        self._everything = everything
        self._queue: asyncio.Queue[JsonObject | None] = asyncio.Queue()

    def offer(self, event: JsonObject | None) -> None:
        """Queue an event if this subscriber may see it; None ends the stream."""
        if event is None or self._everything or event.get("viewer") in (None, self._viewer):
            self._queue.put_nowait(event)

    async def __anext__(self) -> JsonObject:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Stop receiving events."""
        self._events.unsubscribe(self)


class Events:
    """Publishes events to subscribers, and wakes code that waits for a condition."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._waiting: set[asyncio.Future[None]] = set()

    def publish(self, kind: str, *, viewer: str | None = None, **fields: object) -> None:
        """Send an event to every subscriber; with ``viewer`` (a user id) only that member may see it."""
        event: JsonObject = {"type": kind, "viewer": viewer, **fields}
        for subscription in self._subscriptions:
            subscription.offer(event)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def subscribe(self, viewer: str | None = None, *, everything: bool = True) -> Subscription:
        """Subscribe to every event, or with ``everything=False`` to those that ``viewer`` may see."""
        subscription = Subscription(self, viewer, everything=everything)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop sending events to ``subscription``."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in self._subscriptions:
            subscription.offer(None)
        self._subscriptions.clear()

    async def wait(self, check: Callable[[], T | None], timeout: float) -> T:
        """Call ``check`` now and after each event, and return its first result that isn't None.

        TimeoutError after ``timeout`` seconds of real time.
        """
        async with asyncio.timeout(timeout):
            while (found := check()) is None:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiting.discard(waiter)
        return found
