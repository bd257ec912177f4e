"""What happens to every request: it is recorded and authenticated, and its reply is sent, delayed or broken."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow.faults import Break, Refusal
from sandbox.runflow.run import MODEL, SandboxRun
from sandbox.runflow.switches import Switches

CREATE_PATH = f"/v1/models/{MODEL}/runs"
DRIP_PIECES = 10
PATHS_WITHOUT_KEY = frozenset({"/v1/health", "/v1/readiness"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SWITCHES = web.RequestKey("switches", Switches)  # the switches that apply to the request
INTENDED_REPLY = web.RequestKey("intended_reply", object)  # the JSON that a fault cuts or replaces
CREATED = web.RequestKey("created", SandboxRun)  # the run that the request created


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request that the sandbox received; its Authorization header is replaced by ``***``."""

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: object
    """The JSON body, or None if there was none."""


class Front:
    """The middleware of the sandbox. ``switches`` returns the global switches, ``watch`` schedules a run's callback."""

    def __init__(
        self,
        *,
        clock: Clock,
        switches: Callable[[], Switches],
        api_key: str,
        admin_key: str,
        received: list[Received],
        post_counts: Counter[str | None],
        watch: Callable[[SandboxRun], None],
        closing: asyncio.Event,
    ) -> None:
        self._clock = clock
        self._switches = switches
        self._keys = {api_key, admin_key}
        self._admin_key = admin_key
        self._received = received
        self._post_counts = post_counts
        self._watch = watch
        self._closing = closing

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle one request to the API or the file host; those to the control plane pass through."""
        if request.path.startswith("/control/"):
            return await handler(request)
        request[SWITCHES] = self._switches()
        try:
            if request.path.startswith("/v1/"):
                return await self._send(request, await self._handle(request, handler))
            await self._record(request)
            return await handler(request)
        except ConnectionError:
            return web.Response()  # never arrives: the connection is closed
        finally:
            if CREATED in request:
                self._watch(request[CREATED])

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await self._record(request)
            self._authenticate(request)
            return await handler(request)
        except Refusal as refusal:
            return refusal.response(request[SWITCHES])
        except Break as fault:
            if fault.kind.isdecimal():
                return Refusal(int(fault.kind), "Temporary failure").response(request[SWITCHES])
            return await fault.answer(
                request,
                request.get(INTENDED_REPLY, {}),
                status=201 if request.method == "POST" else 200,
                closing=self._closing,
            )
        except web.HTTPException as problem:
            return Refusal(problem.status, problem.reason).response(request[SWITCHES])

    async def _send(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Send the whole reply before returning, so that the callback of a new run can't overtake it."""
        switches = request[SWITCHES]
        await self._clock.sleep_until(self._clock.now() + switches.reply_delay_s)
        if switches.drip_s and isinstance(response, web.Response) and isinstance(response.body, bytes):
            response = await self._drip(request, response, response.body)
        await response.prepare(request)
        await response.write_eof()
        return response

    async def _drip(self, request: web.Request, whole: web.Response, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        size = max(1, len(body) // DRIP_PIECES)
        for begin in range(0, len(body), size):
            await response.write(body[begin : begin + size])
            await self._clock.sleep_until(self._clock.now() + request[SWITCHES].drip_s / DRIP_PIECES)
        return response

    async def _record(self, request: web.Request) -> None:
        headers = dict(request.headers)
        if "Authorization" in headers:
            headers["Authorization"] = "***"
        body: object = None
        try:
            body = json.loads(await request.read() or b"null")
        except ValueError:
            pass  # recorded without a body; a route that needs one refuses the request
        finally:
            self._received.append(
                Received(
                    at=self._clock.now(),
                    method=request.method,
                    path=request.path,
                    query=dict(request.query),
                    headers=headers,
                    body=body,
                )
            )
        if request.method == "POST" and request.path == CREATE_PATH:
            self._post_counts[client_ref_of(body)] += 1

    def _authenticate(self, request: web.Request) -> None:
        if request.path in PATHS_WITHOUT_KEY:
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or key not in self._keys or self._switches().auth == "401":
            raise Refusal(401, "The API key is missing or not valid")
        if self._switches().auth == "403":
            raise Refusal(403, "The API key lacks the scope for this")
        if request.path.startswith("/v1/admin/") and key != self._admin_key:
            raise Refusal(403, "This requires an admin key")


def client_ref_of(body: object) -> str | None:
    """The ``client_ref`` of a request's body, or None."""
    reference = body.get("client_ref") if isinstance(body, dict) else None
    return reference if isinstance(reference, str) else None
