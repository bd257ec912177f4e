"""Error replies in every format, broken connections, and the counter that limits how often a fault happens."""

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
    """Raised to answer a request with an error."""

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
        """The error reply in the format that the switches select (docs.runflow.io /concepts/errors)."""
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
    """Raised to break a request's connection or reply; ``kind`` says how."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind

    async def answer(
        self, request: web.Request, record: object, *, status: int, closing: asyncio.Event
    ) -> web.Response:
        """Break the reply that would have had this ``record`` and ``status``."""
        text = json.dumps(record)
        if self.kind == "truncated":
            return web.Response(status=status, text=text[: len(text) // 2], content_type="application/json")
        if self.kind == "no-body":
            return web.Response(status=status, content_type="application/json")
        if self.kind == "timeout":
            await closing.wait()  # a client that gives up cancels this earlier
        cut(request)
        return web.Response(status=500)  # never arrives


class FaultCounter:
    """Counts faults, so that only the first ``times`` requests of each kind and key are affected."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str | None]] = Counter()

    def take(self, kind: str, key: str | None, times: int) -> bool:
        """Whether to apply the fault: True for the first ``times`` calls with this kind and key."""
        if self._counts[kind, key] >= times:
            return False
        self._counts[kind, key] += 1
        return True


def cut(request: web.Request) -> None:
    """Reset the connection; data that wasn't sent yet is lost."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
