"""One port of the bot's, and what anybody may do to it: how long they are waited for, and how many at a time.

It listens for as long as a block lasts, and says in a sentence where it cannot.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from bot.errors import PortError
from bot.log import get_logger

log = get_logger("veo.web")

REQUEST_BYTES_MAX = 64 * 1024
TOLD_EVERY_S = 60.0
_LOST = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})  # a connection; no ConnectionError each


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a listener allows its clients."""

    head_s: float = 10.0  # until the head of the request is there, whole
    rest_s: float = 5.0  # for a body that nobody asked for
    stall_s: float = 60.0  # so long a reply may wait for its reader to take the next piece of it
    connections: int = 1000  # at a time, and a hundred more at most where they come in one moment


class Strangers:
    """Counts the bad requests of strangers and logs them, at most one line a minute.

    Whoever can be reached by all can have its disk filled by any of them.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._quiet: asyncio.TimerHandle | None = None

    def note(self, what: str) -> None:
        """One more of these, in the plural."""
        self._counts[what] += 1
        if self._quiet is None:
            self._tell()

    def close(self) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    def _tell(self) -> None:
        self._quiet = None
        if self._counts:
            log.warning("requests refused", counts=dict(self._counts))
            self._counts.clear()
            self._quiet = asyncio.get_running_loop().call_later(TOLD_EVERY_S, self._tell)


class _OurFaultsOnly(logging.Filter):
    """Counts requests that are none, and leaves out callers who hang up: their lines would hold addresses, too."""

    def __init__(self, strangers: Strangers) -> None:
        super().__init__()
        self._strangers = strangers

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._strangers.note("malformed requests")
            return False
        return not isinstance(error, ConnectionError) and getattr(error, "errno", None) not in _LOST


class _Door:
    """Makes the protocol of each connection; beyond the bound one that hangs up at once."""

    def __init__(self, runner: web.AppRunner, bounds: Bounds, strangers: Strangers) -> None:
        self._runner = runner
        self._bounds = bounds
        self._strangers = strangers

    def __call__(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is not None and len(server.connections) < self._bounds.connections:
            return server()
        self._strangers.note("connections beyond the bound")
        return _HangUp()


class _HangUp(asyncio.Protocol):
    """Has nothing to say."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def listening(
    routes: Iterable[web.RouteDef], host: str, port: int, *, settings: str, bounds: Bounds, strangers: Strangers
) -> AsyncIterator[int]:
    """Serve these routes until the block is left; the port that it listens on, a free one where `port` is 0.

    `settings`: what the names of its settings begin with. Raises PortError where it cannot listen there.
    """
    application = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[_one_request_each])
    application.add_routes(routes)
    server_log = logging.getLogger(f"veo.web.{settings.lower()}")
    our_faults_only = _OurFaultsOnly(strangers)
    server_log.addFilter(our_faults_only)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=server_log,
        handle_signals=False,
        shutdown_timeout=2.0,
        auto_decompress=False,
        # For aiohttp 3.14 a connection is idle until the head of a request is whole, whatever has come of it.
        keepalive_timeout=bounds.head_s,
        lingering_time=bounds.rest_s,
    )
    await runner.setup()
    try:
        server = await asyncio.get_running_loop().create_server(_Door(runner, bounds, strangers), host, port)
    except OSError as error:
        await runner.cleanup()
        raise PortError(
            f"The web server cannot listen on {host}:{port} ({error.strerror}); "
            f"set {settings}_PORT or {settings}_HOST to an address that is free."
        ) from error
    try:
        for listener in server.sockets:
            _bound_stalls(listener, bounds.stall_s)
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()
        strangers.close()
        server_log.removeFilter(our_faults_only)


@web.middleware
async def _one_request_each(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A connection is closed after its answer: one that is kept would have to be told from one that is held."""
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        answer.force_close()
        raise
    response.force_close()
    return response


def _bound_stalls(listener: socket.socket, stall_s: float) -> None:
    """End connections whose other end takes nothing for so long, or is gone; accepted ones inherit it (tcp(7)).

    Whoever takes a little now and then is not cut, however long all of it takes.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere the system's own patience holds
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stall_s * 1000))
