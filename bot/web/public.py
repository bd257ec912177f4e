"""The bot's public web server: Runflow's callbacks, and clips that are too large to attach. Nothing else.

A callback is only a wake-up: it is checked, its run is made due, and it is answered; the engine then
asks Runflow itself. Addresses here carry secrets, so nothing of a request's path is ever logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from bot.errors import StoreDown
from bot.media import Media, format_of
from bot.runflow import is_signed, run_id_in
from bot.services.engine import Engine
from bot.web.listener import Bounds, Strangers, listening

CALLBACK_READ_S = 5.0
TOKEN_CHARS_MAX = 64


class WebServer:
    """The routes, with what they need handed in."""

    def __init__(self, *, engine: Engine, media: Media, secrets: Sequence[str], bounds: Bounds) -> None:
        self._engine = engine
        self._media = media
        self._secrets = secrets
        self._bounds = bounds
        self._strangers = Strangers()

    def listening(self, host: str, port: int) -> AbstractAsyncContextManager[int]:
        """Serve until the block is left; the port that it listens on. Raises PortError where it cannot."""
        routes = [
            web.post("/callbacks/runflow/{token}", self._callback, expect_handler=_expected),
            web.get("/media/{token}/{name}", self._clip),
        ]
        return listening(routes, host, port, settings="WEB", bounds=self._bounds, strangers=self._strangers)

    async def _callback(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CALLBACK_READ_S):
                body = await request.read()  # counts the bytes and raises 413 above the limit, chunked or not
        except TimeoutError:
            return web.Response(status=408)
        if self._secrets and not is_signed(body, request.headers.get("Runflow-Signature"), self._secrets):
            self._strangers.note("callbacks whose signature does not fit")
            return web.Response(status=401)
        token = request.match_info["token"]
        try:
            known = len(token) <= TOKEN_CHARS_MAX and await self._engine.wake(token, run_id_in(body))
        except StoreDown:
            return web.Response(status=503)
        return web.Response(status=202 if known else 404)

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = self._media.find(request.match_info["token"], name)
        if path is None:
            return web.Response(status=404, text="This link has expired. Post the video again with /veo-show.\n")
        video_format = await asyncio.to_thread(format_of, path)
        headers = {
            "Content-Type": video_format.media_type,
            "Cache-Control": "private",
            "X-Content-Type-Options": "nosniff",
        }
        if (file_name := video_format.file_name(name)) != name:
            headers["Content-Disposition"] = f'inline; filename="{file_name}"'
        return web.FileResponse(path, headers=headers)


async def _expected(request: web.Request) -> None:
    """Answer `Expect`; the library's own handler repeats a value that it may not be able to encode."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
