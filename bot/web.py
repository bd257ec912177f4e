"""The bot's own web server: Runflow's callbacks, health, and clips that are too large to attach.

A callback is only a wake-up: it is checked, its run is made due, and it is answered; the engine then
asks Runflow itself. Addresses here carry secrets, so nothing of a request's path is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.engine import Engine
from bot.errors import PortError, StoreDown
from bot.media import Media, film_on
from bot.ports import Figures
from bot.runflow import named_run, signed_by

log = logging.getLogger("veo.web")

CALLBACK_BYTES_MAX = 64 * 1024
CALLBACK_READ_S = 5.0
TOKEN_CHARS_MAX = 64
_THEIR_FAULTS = (HttpProcessingError, ConnectionError)


class _OurFaultsOnly(logging.Filter):
    """Leaves out requests that are none and callers who hang up: strangers would fill the log, also with addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], _THEIR_FAULTS)


_OUR_FAULTS_ONLY = _OurFaultsOnly()


class WebServer:
    """The routes, with what they need handed in. `ready` tells whether `/veo` would work now."""

    def __init__(
        self,
        *,
        engine: Engine,
        media: Media,
        secrets: Sequence[str],
        ready: Callable[[], Awaitable[dict[str, bool]]],
        figures: Callable[[], Awaitable[Figures]],
    ) -> None:
        self._engine = engine
        self._media = media
        self._secrets = secrets
        self._ready = ready
        self._figures = figures

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve until the block is left; the port that it listens on. Raises PortError where it cannot."""
        application = web.Application(client_max_size=CALLBACK_BYTES_MAX)
        application.add_routes(
            [
                web.post("/callbacks/runflow/{token}", self._callback, expect_handler=_expected),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/media/{token}/{name}", self._clip),
            ]
        )
        server_log = logging.getLogger("veo.web.server")
        server_log.addFilter(_OUR_FAULTS_ONLY)
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=server_log,
            handle_signals=False,
            shutdown_timeout=2.0,
            auto_decompress=False,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise PortError(
                f"The web server cannot listen on {host}:{port} ({error.strerror}); "
                "set WEB_PORT or WEB_HOST to an address that is free."
            ) from error
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()

    async def _callback(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CALLBACK_READ_S):
                body = await request.read()  # counts the bytes and raises 413 above the limit, chunked or not
        except TimeoutError:
            return web.Response(status=408)
        if self._secrets and not signed_by(self._secrets, body, request.headers.get("Runflow-Signature")):
            log.warning("callback refused: its signature does not fit")
            return web.Response(status=401)
        token = request.match_info["token"]
        try:
            known = len(token) <= TOKEN_CHARS_MAX and await self._engine.wake(token, named_run(body))
        except StoreDown:
            return web.Response(status=503)
        return web.Response(status=202 if known else 404)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        parts = await self._ready()
        return web.json_response(parts, status=200 if all(parts.values()) else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        """Gauges in Prometheus' text format (its docs, Exposition formats)."""
        try:
            figures = await self._figures()
        except StoreDown:
            return web.Response(status=503)
        lines = [f"# TYPE veo_{name} gauge\nveo_{name} {int(value)}\n" for name, value in _gauges(figures)]
        return web.Response(body="".join(lines).encode(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = self._media.find(request.match_info["token"], name)
        if path is None:
            return web.Response(status=404, text="This link has expired. Post the video again with /veo-show.\n")
        film = await asyncio.to_thread(film_on, path)
        headers = {"Content-Type": film.media_type, "Cache-Control": "private", "X-Content-Type-Options": "nosniff"}
        if film.named(name) != name:
            headers["Content-Disposition"] = f'inline; filename="{film.named(name)}"'
        return web.FileResponse(path, headers=headers)


def _gauges(figures: Figures) -> list[tuple[str, int]]:
    return [
        ("runs_open", figures.open),
        ("runs_unknown", figures.unknown),
        ("runs_overdue", figures.overdue),
        ("runs_unreadable", figures.unreadable),
        ("lookup_proven", figures.lookup_proven),
    ]


async def _expected(request: web.Request) -> None:
    """Answer `Expect`; the library's own handler repeats a value that it may not be able to encode."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
