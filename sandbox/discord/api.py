"""Serves the REST routes: records requests, applies faults, authentication and rate limits, and reads bodies.

Every request goes through the same steps, and every reply is exactly ``application/json``. Handlers are plain
functions, so nothing else runs between reading a body and building its reply.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import BodyPartReader, web

from sandbox.clock import Clock
from sandbox.discord.cdn import Cdn
from sandbox.discord.content import Body
from sandbox.discord.errors import ApiError, invalid
from sandbox.discord.ratelimit import Buckets
from sandbox.discord.spec import Spec
from sandbox.discord.switches import Fault, RecordedRequest, Switches

PREFIX = "/api/v10"
VIA = "1.1 google"


@dataclass(kw_only=True)
class Call:
    """A request as a handler receives it."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Body


@dataclass(kw_only=True)
class Reply:
    """A handler's reply; with the status 204 it has no body."""

    payload: Any = None
    status: int = 200


Handler = Callable[[Call], Reply]


@dataclass(kw_only=True)
class Route:
    """A method and a path template, written as in the API description."""

    method: str
    template: str
    handler: Handler
    with_token: bool = True
    bucket: str = "default"


class Api:
    """Serves the routes below ``/api/v10``, records requests and violations, and applies planned faults."""

    def __init__(self, *, token: str, clock: Clock, switches: Switches, cdn: Cdn, spec: Spec | None) -> None:
        self.requests: list[RecordedRequest] = []
        self.violations: list[str] = []
        self.faults: list[Fault] = []
        self._token = token
        self._clock = clock
        self._switches = switches
        self._cdn = cdn
        self._spec = spec
        self._buckets = Buckets(clock=clock, switches=switches)

    def mount(self, app: web.Application, routes: list[Route]) -> None:
        """Add the routes, and a 404 for everything else below ``/api``."""
        for route in routes:
            app.router.add_route(route.method, PREFIX + route.template, partial(self._serve, route))
        fallback = Route(method="*", template="", handler=_not_found, with_token=False)
        app.router.add_route("*", "/api{tail:.*}", partial(self._serve, fallback))

    async def _serve(self, route: Route, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PREFIX)
        record = RecordedRequest(method=request.method, path=path, query=dict(request.query), at=self._clock.now())
        self.requests.append(record)
        fault = next((each for each in self.faults if each.matches(request.method, path)), None)
        if fault:
            fault.times -= 1
        delay_s = self._switches.latency_s + (fault.delay_s if fault else 0)
        if delay_s:
            await self._clock.sleep_until(self._clock.now() + delay_s)
        if fault and fault.cut == "before":
            return self._cut(request, record)
        body = Body()
        try:
            headers, rate_limited = self._count(route, request)
            reply = await self._answer(route, request, record, body, fault, rate_limited)
        finally:
            for upload in body.files.values():
                self._cdn.discard(upload)
        if fault and fault.cut == "after":
            return self._cut(request, record)
        record.status, record.reply = reply.status, reply.payload
        return self._respond(reply, headers, fault)

    async def _answer(
        self,
        route: Route,
        request: web.Request,
        record: RecordedRequest,
        body: Body,
        fault: Fault | None,
        rate_limited: ApiError | None,
    ) -> Reply:
        """Read the body into ``body``; return the reply of the handler, an error or a planned fault."""
        planned = fault is not None and not fault.cut and not fault.only_delay
        try:
            await self._read(request, body)
            record.json = body.json
            record.files = [(upload.name, upload.size) for upload in body.files.values()]
            if fault and planned and not fault.effect:
                return _fault_reply(fault)
            self._authenticate(route, request)
            if rate_limited:
                raise rate_limited
            if self._spec and route.template:
                self._check_request(route, body)
            call = Call(params=dict(request.match_info), query=dict(request.query), body=body)
            reply = route.handler(call)
        except ApiError as error:
            record.json = body.json
            reply = Reply(status=error.status, payload=error.body)
        if fault and planned:
            return _fault_reply(fault)
        if self._spec and route.template and (reply.status != 429 or "retry_after" in reply.payload):
            self.violations += self._spec.check_reply(route.method, route.template, reply.status, reply.payload)
        return reply

    def _check_request(self, route: Route, body: Body) -> None:
        assert self._spec
        errors = self._spec.check_request(route.method, route.template, body.json)
        if errors:
            self.violations.append(f"{route.method} {route.template}: {json.dumps(errors)}")
            raise ApiError(400, 50035, errors=errors)

    def _authenticate(self, route: Route, request: web.Request) -> None:
        if not route.with_token:
            return
        if request.headers.get("Authorization") != f"Bot {self._token}":
            raise ApiError(401, 0)
        if not request.headers.get("User-Agent"):
            raise ApiError(403, 40333)

    def _count(self, route: Route, request: web.Request) -> tuple[dict[str, str], ApiError | None]:
        """Count the request against its rate limits; return the reply's headers, and a 429 if a limit is exceeded."""
        name = f"{route.method} {route.template}"
        headers, wait_s = self._buckets.take(route.bucket, name, request.match_info)
        global_wait_s = self._buckets.take_global() if route.with_token else None
        if wait_s is None and global_wait_s is None:
            return headers, None
        after_s = round(max(wait_s or 0, global_wait_s or 0), 3)
        everywhere = global_wait_s is not None
        headers["X-RateLimit-Scope"] = "global" if everywhere else "user"
        if everywhere:
            headers["X-RateLimit-Global"] = "true"
        error = ApiError(429, 0, "You are being rate limited.")
        error.body |= {"retry_after": after_s, "global": everywhere}
        return headers, error

    async def _read(self, request: web.Request, body: Body) -> None:
        """Read the request into ``body``; one that is too large is read to its end, so the client gets the reply."""
        limit = self._switches.request_limit
        if request.method in ("GET", "DELETE", "HEAD") or not request.can_read_body:
            return
        kind = request.content_type
        if kind == "multipart/form-data":
            size = await self._read_parts(request, body)
        elif kind == "application/json":
            try:
                raw = await request.read()
            except web.HTTPRequestEntityTooLarge as error:
                raise ApiError(413, 40005) from error
            size = len(raw)
            body.json = _parse(raw)
        else:
            await request.read()
            text = 'Expected "Content-Type" header to be one of {"application/json", "multipart/form-data"}.'
            raise invalid((), "CONTENT_TYPE_INVALID", text)
        if limit is not None and size > limit:
            raise ApiError(413, 40005)

    async def _read_parts(self, request: web.Request, body: Body) -> int:
        """Read ``payload_json`` and ``files[n]`` (docs: Reference, Uploading Files); return the number of bytes."""
        limits = [self._switches.upload_limit, self._switches.interaction_upload_limit or 0]
        size, problem = 0, None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                problem = invalid((), "MULTIPART_INVALID", "Nested parts aren't supported")
                continue
            index = re.fullmatch(r"files\[(\d+)\]", part.name or "")
            if part.name == "payload_json":
                raw = bytes(await part.read())
                size += len(raw)
                body.json = _parse(raw)
            elif index and part.filename:
                upload = await self._cdn.receive(part, part.filename, max(limits))
                size += upload.size
                body.files[int(index[1])] = upload
            else:
                text = "A part must be payload_json, or files[n] with a filename"
                problem = invalid((part.name or "?",), "MULTIPART_INVALID", text)
        if problem:
            raise problem
        return size

    def _respond(self, reply: Reply, headers: dict[str, str], fault: Fault | None) -> web.Response:
        if reply.status == 429 and "retry_after" in reply.payload:
            headers["Retry-After"] = str(math.ceil(reply.payload["retry_after"]))
        if self._switches.with_via and not (fault and not fault.via):
            headers["Via"] = VIA
        html = reply.status == 413 and self._switches.too_large_as_html
        if html or (fault and fault.html):
            page = f"<html><body><h1>{reply.status}</h1></body></html>".encode()
            return web.Response(status=reply.status, body=page, content_type="text/html", headers=headers)
        if reply.status == 204:
            return web.Response(status=204, headers=headers)
        raw = json.dumps(reply.payload).encode()
        return web.Response(status=reply.status, body=raw, content_type="application/json", headers=headers)

    def _cut(self, request: web.Request, record: RecordedRequest) -> web.Response:
        record.status = 0
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as problem:
        raise ApiError(400, 50109) from problem


def _fault_reply(fault: Fault) -> Reply:
    payload: dict[str, Any] = {"message": f"{fault.status}: planned fault", "code": fault.code}
    if fault.retry_after is not None:
        payload |= {"retry_after": fault.retry_after, "global": False}
    return Reply(status=fault.status, payload=payload)


def _not_found(_: Call) -> Reply:
    return Reply(status=404, payload={"message": "404: Not Found", "code": 0})
