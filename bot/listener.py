"""One port of the bot's: it listens for as long as a block lasts, and says in a sentence where it cannot."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bot.errors import PortError

REQUEST_BYTES_MAX = 64 * 1024
_THEIR_FAULTS = (HttpProcessingError, ConnectionError)


class _OurFaultsOnly(logging.Filter):
    """Leaves out requests that are none and callers who hang up: strangers would fill the log, also with addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or not isinstance(record.exc_info[1], _THEIR_FAULTS)


_OUR_FAULTS_ONLY = _OurFaultsOnly()


@asynccontextmanager
async def listening(routes: Iterable[web.RouteDef], host: str, port: int, *, settings: str) -> AsyncIterator[int]:
    """Serve these routes until the block is left; the port that it listens on, a free one where `port` is 0.

    `settings`: what the names of its settings begin with. Raises PortError where it cannot listen there.
    """
    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application.add_routes(routes)
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
            f"set {settings}_PORT or {settings}_HOST to an address that is free."
        ) from error
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
