"""The operator's web server: whether the process is alive, whether `/veo` would work now, and the metrics.

It listens on a port of its own, so that nothing of it can be reached through the public one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from bot.errors import StoreDown
from bot.telemetry.metrics import Metrics
from bot.web.listener import BadRequestLog, Bounds, listening

RESULTS_KEPT_S = 2.0  # checks write to the disk, and anybody who reaches this port may ask often
CHECK_TIMEOUT_S = 5.0  # a disk that takes longer does not work


class Readiness:
    """Tells for each part whether it would work now.

    `gateway` is asked each time. The results of `checks` are kept for RESULTS_KEPT_S, by the seconds of `now`; a check
    that takes longer than CHECK_TIMEOUT_S has failed.
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
        self._checking = asyncio.Lock()
        self._results: dict[str, bool] = {}
        self._checked_at = float("-inf")

    async def __call__(self) -> dict[str, bool]:
        async with self._checking:
            if self._now() - self._checked_at >= RESULTS_KEPT_S:
                results = await asyncio.gather(*(_passes(check) for check in self._checks.values()))
                self._results = dict(zip(self._checks, results, strict=True))
                self._checked_at = self._now()
        return {"discord": self._gateway(), **self._results}


async def _passes(check: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return False


class OperatorServer:
    """Serves health and metrics. `ready` tells for each part whether it would work now."""

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
        """Serve until the end of the block; gives the port. Raises PortError."""
        routes = [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._scrape),
        ]
        return listening(routes, host, port, settings="OPERATOR", bounds=self._bounds, bad_requests=BadRequestLog())

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
