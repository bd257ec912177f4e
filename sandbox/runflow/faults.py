"""Replies that are none: refusals in every dress, connections that break, and whose turn it is to suffer them."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aiohttp import web

from sandbox.runflow.schema import Problem
from sandbox.runflow.switches import Switches

CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "BAD_REQUEST",
        401: "UNAUTHORIZED",
        402: "INSUFFICIENT_CREDIT",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        405: "METHOD_NOT_ALLOWED",
        408: "REQUEST_TIMEOUT",
        409: "CONFLICT",
        413: "PAYLOAD_TOO_LARGE",
        422: "validation_error",
        429: "RATE_LIMITED",
        500: "INTERNAL_ERROR",
        502: "BAD_GATEWAY",
        503: "MODEL_UNAVAILABLE",
        504: "GATEWAY_TIMEOUT",
    }
)


class Refusal(Exception):
    """A request is answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        problems: Sequence[Problem] = (),
        error_type: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "ERROR")
        self.problems = problems
        self.error_type = error_type

    def response(self, switches: Switches) -> web.Response:
        """The reply in the form that the switches ask for (docs.runflow.io /concepts/errors)."""
        headers = self._rate_headers(switches) if self.status == 429 else {}
        form = switches.error_body
        if form == "empty":
            return web.Response(status=self.status, headers=headers)
        if form == "text":
            return web.Response(status=self.status, headers=headers, text=self.message)
        if form == "html":
            page = f"<html><head><title>{self.status}</title></head><body><h1>{self.message}</h1></body></html>"
            return web.Response(status=self.status, headers=headers, text=page, content_type="text/html")
        body: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "errors": self._errors(switches),
        }
        if self.error_type:
            body["error_type"] = self.error_type
        if form == "nested":
            body = {"error": body}
        return web.json_response(body, status=self.status, headers=headers)

    def _errors(self, switches: Switches) -> list[dict[str, object]] | None:
        if not self.problems or switches.error_items == "null":
            return None
        if switches.error_items == "field":
            return [{"field": ".".join(item.path), "message": item.message} for item in self.problems]
        return [{"loc": ["body", *item.path], "msg": item.message, "type": item.kind} for item in self.problems]

    def _rate_headers(self, switches: Switches) -> dict[str, str]:
        headers = {"Retry-After": switches.retry_after} if switches.retry_after else {}
        if switches.rate_headers:
            headers |= {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}
        return headers


class Break(Exception):
    """A request gets no proper answer: its connection or its reply is broken in the way ``kind`` says."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    async def answer(
        self, request: web.Request, record: object, *, status: int, closing: asyncio.Event
    ) -> web.Response:
        """Break it; ``record`` and ``status`` are what the true answer would have been."""
        text = json.dumps(record)
        if self.kind == "truncated":
            return web.Response(status=status, text=text[: len(text) // 2], content_type="application/json")
        if self.kind == "no-body":
            return web.Response(status=status, content_type="application/json")
        if self.kind == "timeout":
            await closing.wait()  # or until the client gives up, which cancels this
        cut(request)
        return web.Response(status=500)  # goes nowhere


class Turns:
    """Counts who has suffered what: the first ``times`` of each kind and key do."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, str | None]] = Counter()

    def take(self, kind: str, key: str | None, times: int) -> bool:
        """Whether this one is still among the first ``times``; it counts if so."""
        if self._taken[kind, key] >= times:
            return False
        self._taken[kind, key] += 1
        return True


def cut(request: web.Request) -> None:
    """Reset the connection: what was not yet sent is lost."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
