"""One listening port, with limits on its clients: how long it waits for them, and how many may connect at a time."""

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
LOG_EVERY_S = 60.0
# A lost connection, but not as a ConnectionError.
_CONNECTION_LOST = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH})


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The limits of a listener."""

    head_s: float = 10.0  # for a client to send the whole head of its request
    rest_s: float = 5.0  # for the rest of a body that no handler reads
    stall_s: float = 60.0  # for a client to take the next piece of a reply
    connections: int = 1000  # at a time; a burst may add up to a hundred


class BadRequestLog:
    """Counts bad requests and logs the counts, one line a minute at most, so that strangers cannot fill the disk."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._next_line: asyncio.TimerHandle | None = None

    def count(self, what: str) -> None:
        """Count one of these, named in the plural."""
        self._counts[what] += 1
        if self._next_line is None:
            self._log()

    def close(self) -> None:
        if self._next_line is not None:
            self._next_line.cancel()
            self._next_line = None

    def _log(self) -> None:
        self._next_line = None
        if self._counts:
            log.warning("requests refused", counts=dict(self._counts))
            self._counts.clear()
            self._next_line = asyncio.get_running_loop().call_later(LOG_EVERY_S, self._log)


class _DropClientErrors(logging.Filter):
    """Drops log records of malformed requests and lost connections: they may hold callback tokens.

    Malformed requests are counted.
    """

    def __init__(self, bad_requests: BadRequestLog) -> None:
        super().__init__()
        self._bad_requests = bad_requests

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            self._bad_requests.count("malformed requests")
            return False
        return not isinstance(error, ConnectionError) and getattr(error, "errno", None) not in _CONNECTION_LOST


class _ProtocolFactory:
    """Makes the protocol of each new connection. Above the limit it makes one that hangs up at once."""

    def __init__(self, runner: web.AppRunner, connections_max: int, bad_requests: BadRequestLog) -> None:
        self._runner = runner
        self._connections_max = connections_max
        self._bad_requests = bad_requests

    def __call__(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is not None and len(server.connections) < self._connections_max:
            return server()
        self._bad_requests.count("connections above the limit")
        return _HangUp()


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


@asynccontextmanager
async def listening(
    routes: Iterable[web.RouteDef], host: str, port: int, *, settings: str, bounds: Bounds, bad_requests: BadRequestLog
) -> AsyncIterator[int]:
    """Serve these routes until the end of the block. Gives the port, which the system chooses if `port` is 0.

    `settings` is the prefix of the settings for this listener, `WEB` or `OPERATOR`. Raises PortError.
    """
    application = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[_close_after_reply])
    application.add_routes(routes)
    server_log = logging.getLogger(f"veo.web.{settings.lower()}")
    drop_client_errors = _DropClientErrors(bad_requests)
    server_log.addFilter(drop_client_errors)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=server_log,
        handle_signals=False,
        shutdown_timeout=2.0,
        auto_decompress=False,
        # To aiohttp 3.14 a connection is idle until the whole head of a request has arrived.
        keepalive_timeout=bounds.head_s,
        lingering_time=bounds.rest_s,
    )
    await runner.setup()
    protocol_factory = _ProtocolFactory(runner, bounds.connections, bad_requests)
    try:
        server = await asyncio.get_running_loop().create_server(protocol_factory, host, port)
    except OSError as error:
        await runner.cleanup()
        raise PortError(
            f"The web server cannot listen on {host}:{port} ({error.strerror}); "
            f"set {settings}_HOST and {settings}_PORT to an address of this machine that is free."
        ) from error
    try:
        for listener in server.sockets:
            _limit_stalls(listener, bounds.stall_s)
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()
        bad_requests.close()
        server_log.removeFilter(drop_client_errors)


@web.middleware
async def _close_after_reply(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close each connection after its reply, so that a kept connection cannot be mistaken for one that is held open."""
    try:
        response = await handler(request)
    except web.HTTPException as answer:
        answer.force_close()
        raise
    response.force_close()
    return response


def _limit_stalls(listener: socket.socket, stall_s: float) -> None:
    """End connections whose client takes no data for this long; accepted sockets inherit the option (tcp(7)).

    A client that takes a little now and then is not cut off, however long its download takes.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere the system's own timeout applies
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stall_s * 1000))
