"""The public web server: Runflow's callbacks, and clips that are too large to attach. Nothing else.

A callback only wakes its run: the signature is checked, the run is made due, and the engine then asks Runflow itself.
Paths here carry secrets, so no path is ever logged.
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
from bot.web.listener import BadRequestLog, Bounds, listening

CALLBACK_READ_S = 5.0
TOKEN_CHARS_MAX = 64


class WebServer:
    """Serves callbacks and clips. `secrets` are the signing secrets; without any, signatures are not checked."""

    def __init__(self, *, engine: Engine, media: Media, secrets: Sequence[str], bounds: Bounds) -> None:
        self._engine = engine
        self._media = media
        self._secrets = secrets
        self._bounds = bounds
        self._bad_requests = BadRequestLog()

    def listening(self, host: str, port: int) -> AbstractAsyncContextManager[int]:
        """Serve until the end of the block; gives the port. Raises PortError."""
        routes = [
            web.post("/callbacks/runflow/{token}", self._callback, expect_handler=_answer_expect),
            web.get("/media/{token}/{name}", self._clip),
        ]
        return listening(routes, host, port, settings="WEB", bounds=self._bounds, bad_requests=self._bad_requests)

    async def _callback(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CALLBACK_READ_S):
                body = await request.read()  # answers 413 above REQUEST_BYTES_MAX, chunked or not
        except TimeoutError:
            return web.Response(status=408)
        if self._secrets and not is_signed(body, request.headers.get("Runflow-Signature"), self._secrets):
            self._bad_requests.count("callbacks with a wrong signature")
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
            return web.Response(status=404, text="This link has expired. Use /veo-show to post the video again.\n")
        video_format = await asyncio.to_thread(format_of, path)
        headers = {
            "Content-Type": video_format.media_type,
            "Cache-Control": "private",
            "X-Content-Type-Options": "nosniff",
        }
        if (file_name := video_format.file_name(name)) != name:
            headers["Content-Disposition"] = f'inline; filename="{file_name}"'
        return web.FileResponse(path, headers=headers)


async def _answer_expect(request: web.Request) -> None:
    """Answer the `Expect` header. The library's own handler fails on a value that it cannot encode."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
