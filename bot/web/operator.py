"""For the operator only: whether the process is alive, whether `/veo` would work now, and the metrics.

It has a listener of its own, so that nothing of it can be had where callbacks and clips are served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from bot.errors import StoreDown
from bot.telemetry.metrics import Metrics
from bot.web.listener import Bounds, Strangers, listening

KEPT_S = 2.0  # to find out costs the disk a write, however often it is asked for
CHECK_S = 5.0  # a disk that takes longer does not work


class Readiness:
    """Tells part by part whether `/veo` would work now.

    `gateway` is asked each time. The `checks` are asked anew once their answers are KEPT_S old by `now`, in seconds;
    one that takes longer than CHECK_S counts as failed.
    """

    def __init__(
        self,
        *,
        gateway: Callable[[], bool],
        checks: Mapping[str, Callable[[], Awaitable[bool]]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._checks = checks
        self._now = now
        self._asking = asyncio.Lock()
        self._found: dict[str, bool] = {}
        self._found_at = float("-inf")

    async def __call__(self) -> dict[str, bool]:
        async with self._asking:
            if self._now() - self._found_at >= KEPT_S:
                answers = await asyncio.gather(*(_in_time(check) for check in self._checks.values()))
                self._found = dict(zip(self._checks, answers, strict=True))
                self._found_at = self._now()
        return {"discord": self._gateway(), **self._found}


async def _in_time(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check()
    except TimeoutError:
        return False


class OperatorServer:
    """The routes, with what they need handed in. `ready` tells part by part whether `/veo` would work now."""

    def __init__(
        self,
        *,
        ready: Callable[[], Awaitable[dict[str, bool]]],
        metrics: Metrics,
        bounds: Bounds,
    ) -> None:
        self._ready = ready
        self._metrics = metrics
        self._bounds = bounds

    def listening(self, host: str, port: int) -> AbstractAsyncContextManager[int]:
        """Serve until the block is left; the port that it listens on. Raises PortError where it cannot."""
        routes = [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._scrape),
        ]
        return listening(routes, host, port, settings="OPERATOR", bounds=self._bounds, strangers=Strangers())

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        parts = await self._ready()
        return web.json_response(parts, status=200 if all(parts.values()) else 503)

    async def _scrape(self, request: web.Request) -> web.Response:
        try:
            page, content_type = await self._metrics.scrape(request.headers.get("Accept", ""))
        except StoreDown:
            return web.Response(status=503)
        return web.Response(body=page, headers={"Content-Type": content_type})
