"""The sandbox itself: one HTTP server with the API under ``/v1``, the files and the control plane.

What a run is stands in ``run.py``, what may be sent in ``schema.py``, what can go wrong in ``switches.py``.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow.callbacks import Courier
from sandbox.runflow.control import control_routes
from sandbox.runflow.faults import Break, Refusal, Turns
from sandbox.runflow.files import FileHost
from sandbox.runflow.listing import page
from sandbox.runflow.run import MODEL, STATUSES, Ids, SandboxRun
from sandbox.runflow.schema import Problem, body_problems, input_problems
from sandbox.runflow.switches import Switches, changed, marked

BODY_MAX_BYTES = 1_000_000
DRIP_PIECES = 10
SHUTDOWN_S = 0.2
CREATE_PATH = f"/v1/models/{MODEL}/runs"
WITHOUT_KEY = frozenset({"/v1/health", "/v1/readiness"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SWITCHES = web.RequestKey("switches", Switches)
TRUE_ANSWER = web.RequestKey("true_answer", object)
CREATED = web.RequestKey("created", SandboxRun)


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request that reached the sandbox; an Authorization header is kept as ``***``."""

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: object
    """The JSON, or None where there was none."""


class RunflowSandbox:
    """The emulator, listening while its ``async with`` lasts. Port 0 takes a free one.

    ``queue_s`` and ``run_s`` are seconds of ``clock``; ``callback_secret`` None sends callbacks unsigned.
    Ids, clips and signatures repeat for the same ``seed``, time and requests.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "rf_live_sandbox",
        admin_key: str = "rf_svc_sandbox",
        clock: Clock | None = None,
        switches: Switches | None = None,
        queue_s: float = 0.0,
        run_s: float = 0.0,
        seed: int = 0,
        callback_secret: str | None = "whsec_sandbox",  # noqa: S107 - a secret for the sandbox only
        balance_cents: int = 100_000_000,
    ) -> None:
        self.clock = clock or Clock()
        self.switches = switches or Switches()
        self.runs: dict[str, SandboxRun] = {}
        """By id, in order of creation."""
        self.received: list[Received] = []
        """Every request but those to the control plane, in order of arrival."""
        self._host, self._port = host, port
        self._keys = {api_key, admin_key}
        self._admin_key = admin_key
        self._queue_s, self._run_s = queue_s, run_s
        self._balance_cents = balance_cents
        self._spent_usd = Decimal(0)
        self._unbilled: list[SandboxRun] = []
        self._plans: list[Mapping[str, object]] = []
        self._planned: dict[str, Mapping[str, object]] = {}
        self._post_counts: Counter[str | None] = Counter()
        self._turns = Turns()
        self._ids = Ids(self.clock, seed)
        self._closing = asyncio.Event()
        self._files = FileHost(
            self.clock,
            seed=seed,
            runs=self.runs,
            switches=self.switches_of,
            base_url=lambda: self.url,
            closing=self._closing,
        )
        self.courier = Courier(
            self.clock, self._ids, secret=callback_secret, switches=self.switches_of, url=self._files.url
        )
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._front], client_max_size=BODY_MAX_BYTES)
        app.add_routes(self._routes())
        app.add_routes(control_routes(self))
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        await self.courier.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        self._closing.set()
        await self._runner.cleanup()
        await self.courier.close()  # afterwards: a request that ends may still have a callback to send
        await self._files.close()

    @property
    def url(self) -> str:
        """The base address, without a slash at the end."""
        return f"http://{self._host}:{self._port}"

    @property
    def balance_usd(self) -> Decimal:
        """What is left after all that was charged; it may fall below zero, since nothing is reserved."""
        ended = [run for run in self._unbilled if run.ended]
        self._unbilled = [run for run in self._unbilled if not run.ended]
        self._spent_usd += sum((run.charged for run in ended), Decimal(0))
        return Decimal(self._balance_cents) / 100 - self._spent_usd

    def posts(self, client_ref: str) -> int:
        """How many POSTs for a run carried this ``client_ref``, whatever became of them."""
        return self._post_counts[client_ref]

    def next_run(self, **changes: object) -> None:
        """Set switches for the next ``client_ref`` that was never seen before, over the global ones.

        Called several times, it speaks for as many. Markers in the prompt win. ValueError: no such switch.
        """
        changed(self.switches, changes)
        self._plans.append(changes)

    def switches_of(self, run: SandboxRun) -> Switches:
        """What holds for this run now: the global switches under its own."""
        return changed(self.switches, run.overrides) if run.overrides else self.switches

    async def finish(self, run_id: str, **outcome: object) -> None:
        """End this run now, with these switches for its outcome, and wait for its callback to be sent."""
        run = self.runs[run_id]
        if not run.ended:
            run.switches = changed(run.switches, outcome)
            run.end_now()
            self.courier.watch(run)
        await self.courier.idle(run)

    async def finish_all(self) -> None:
        """End every run that has not ended, and wait until no callback is being sent."""
        for run in list(self.runs.values()):
            await self.finish(run.id)
        await self.idle()

    async def idle(self) -> None:
        """Until no callback is being sent or due; one that waits for a later moment does not count."""
        await self.courier.idle()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.post(CREATE_PATH, self._create),
            web.get("/v1/runs", self._list),
            web.get("/v1/runs/statuses", self._statuses),
            web.get("/v1/runs/{id}", self._read),
            web.get("/v1/runs/{id}/callback", self._deliveries),
            web.post("/v1/runs/{id}/callback-redeliveries", self._redeliver),
            web.post("/v1/callback-secrets", self._add_secret),
            web.post("/v1/admin/runs/{id}/cancellation", self._cancel),
            web.get("/v1/auth/me", self._me),
            web.get("/v1/health", self._health),
            web.get("/v1/readiness", self._health),
            web.get("/v1/billing/balance", self._balance),
            web.get("/files/{id}/0.mp4", self._files.serve),
        ]

    # The front: what happens to every request.

    @web.middleware
    async def _front(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/control/"):
            return await handler(request)
        request[SWITCHES] = self.switches
        try:
            if request.path.startswith("/v1/"):
                return await self._send(request, await self._answer(request, handler))
            await self._note(request)
            return await handler(request)
        except ConnectionError:
            return web.Response()  # goes nowhere: the connection is gone
        finally:
            if CREATED in request:
                self.courier.watch(request[CREATED])

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            await self._note(request)
            self._authenticate(request)
            return await handler(request)
        except Refusal as refusal:
            return refusal.response(request[SWITCHES])
        except Break as fault:
            if fault.kind.isdecimal():
                return Refusal(int(fault.kind), "The service has a bad moment").response(request[SWITCHES])
            return await fault.answer(
                request,
                request.get(TRUE_ANSWER, {}),
                status=201 if request.method == "POST" else 200,
                closing=self._closing,
            )
        except web.HTTPException as problem:
            return Refusal(problem.status, problem.reason).response(request[SWITCHES])

    async def _send(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Send the whole reply before returning, so that a callback can follow it and not overtake it."""
        switches = request[SWITCHES]
        await self.clock.sleep_until(self.clock.now() + switches.reply_delay_s)
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
            await self.clock.sleep_until(self.clock.now() + request[SWITCHES].drip_s / DRIP_PIECES)
        return response

    async def _note(self, request: web.Request) -> None:
        headers = dict(request.headers)
        if "Authorization" in headers:
            headers["Authorization"] = "***"
        body: object = None
        try:
            body = json.loads(await request.read() or b"null")
        except ValueError:
            pass  # noted without a body, and refused where one is needed
        finally:
            self.received.append(
                Received(
                    at=self.clock.now(),
                    method=request.method,
                    path=request.path,
                    query=dict(request.query),
                    headers=headers,
                    body=body,
                )
            )
        if request.method == "POST" and request.path == CREATE_PATH:
            self._post_counts[_reference(body)] += 1

    def _authenticate(self, request: web.Request) -> None:
        if request.path in WITHOUT_KEY:
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or key not in self._keys or self.switches.auth == "401":
            raise Refusal(401, "The API key is missing or not valid")
        if self.switches.auth == "403":
            raise Refusal(403, "The API key lacks the scope for this")
        if request.path.startswith("/v1/admin/") and key != self._admin_key:
            raise Refusal(403, "This needs an administration key")

    # The routes.

    async def _create(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        given = body.get("input")
        reference = _reference(body)
        prompt = given.get("prompt") if isinstance(given, dict) else None
        overrides = {**self._plan(reference), **marked(prompt)}
        switches = request[SWITCHES] = changed(self.switches, overrides)
        self._refuse(switches, reference)
        if switches.before and self._turns.take("before", reference, switches.post_fault_times):
            raise Break(switches.before)
        late = self._check(body, switches)
        assert isinstance(given, dict)
        run = self._new_run(body, given, switches, overrides)
        if late:
            run.switches.end, run.failure_message = "invalid", late
        self.runs[run.id] = request[CREATED] = run
        self._unbilled.append(run)
        record = request[TRUE_ANSWER] = run.record(self._files.url(run), as_queued=True)
        if switches.callback_early:
            await self.finish(run.id)
        if switches.after and self._turns.take("after", reference, switches.post_fault_times):
            self.courier.watch(run)  # the run goes on, however long the client waits for its answer
            raise Break(switches.after)
        return web.json_response(record, status=201)

    def _plan(self, reference: str | None) -> Mapping[str, object]:
        if reference is not None and reference in self._planned:
            return self._planned[reference]
        plan = self._plans.pop(0) if self._plans else {}
        if reference is not None:
            self._planned[reference] = plan
        return plan

    def _refuse(self, switches: Switches, reference: str | None) -> None:
        """Refuse a POST that makes no run, in the order of a gateway: rate, key, credit."""
        if self._turns.take("post 429", reference, switches.post_429):
            raise Refusal(429, "Too many requests")
        if switches.auth:
            raise Refusal(int(switches.auth), "The API key may not do this")
        after = switches.no_credit_after
        if self.balance_usd <= 0 or (after is not None and len(self.runs) >= after):
            raise Refusal(402, "There is not enough credit")

    def _check(self, body: Mapping[str, object], switches: Switches) -> str:
        """Refuse a bad body; what is to make the run fail later instead is returned as text."""
        problems = body_problems(body)
        given = body.get("input")
        values: list[Problem] = []
        if isinstance(given, dict):
            values = input_problems(
                given, strict_veo=switches.strict_veo, refuse_unknown=switches.unknown_input == "refused"
            )
        if switches.refuse_field:
            outside = switches.refuse_field in ("callback_url", "metadata", "client_ref")
            path = (switches.refuse_field,) if outside else ("input", switches.refuse_field)
            problems.append(Problem(path, "This value is not accepted"))
        if values and not problems and switches.bad_value == "late":
            return "; ".join(f"{'.'.join(item.path)}: {item.message}" for item in values)
        if problems or values:
            raise Refusal(422, "The request is not valid", problems=[*problems, *values])
        return ""

    def _new_run(
        self,
        body: Mapping[str, object],
        given: Mapping[str, object],
        switches: Switches,
        overrides: Mapping[str, object],
    ) -> SandboxRun:
        metadata, url = body.get("metadata"), body.get("callback_url")
        return SandboxRun(
            id=self._ids.next(),
            request_id=self._ids.next(),
            input=given,
            client_ref=_reference(body),
            metadata=metadata if isinstance(metadata, dict) else None,
            callback_url=url if isinstance(url, str) else None,
            switches=switches,
            overrides=overrides,
            clock=self.clock,
            queue_s=self._queue_s if switches.queue_s is None else switches.queue_s,
            run_s=self._run_s if switches.run_s is None else switches.run_s,
            created_at=self.clock.now(),
            post_counts=self._post_counts,
        )

    async def _read(self, request: web.Request) -> web.Response:
        run = self._find(request)
        switches = request[SWITCHES] = self.switches_of(run)
        record = request[TRUE_ANSWER] = run.record(self._files.url(run))
        if self._turns.take("read 429", run.id, switches.read_429):
            raise Refusal(429, "Too many requests")
        if switches.read and self._turns.take("read", run.id, switches.read_fault_times):
            raise Break(switches.read)
        return web.json_response(record)

    async def _list(self, request: web.Request) -> web.Response:
        switches, now = self.switches, self.clock.now()
        if switches.list_fault and self._turns.take("list", None, switches.list_fault_times):
            raise Break(switches.list_fault)
        seen = [run for run in self.runs.values() if now >= run.created_at + self.switches_of(run).list_lag_s]
        shown, cursors = page(seen, request.query, switches)
        items = [run.record(self._files.url(run)) for run in shown]
        wanted = {name for name in request.query.get("fields", "").split(",") if name}
        if wanted:
            items = [{name: value for name, value in item.items() if name in wanted} for item in items]
        return web.json_response({"items": items, **cursors})

    async def _statuses(self, request: web.Request) -> web.Response:
        return web.json_response(list(STATUSES))

    async def _deliveries(self, request: web.Request) -> web.Response:
        run = self._find(request)
        return web.json_response([delivery.record() for delivery in self.courier.deliveries.get(run.id, [])])

    async def _redeliver(self, request: web.Request) -> web.Response:
        run = self._find(request)
        delivery = self.courier.redeliver(run) if run.ended and run.callback_url is not None else None
        if delivery is None:
            raise Refusal(422, "The run has not ended, has no address or is being delivered", error_type="conflict")
        return web.json_response(delivery.record(), status=201)

    async def _add_secret(self, request: web.Request) -> web.Response:
        label = (await _json_object(request)).get("label")
        if not isinstance(label, str) or len(label) > 255:
            raise Refusal(422, "label should be a text of at most 255 characters")
        secret = self.courier.add_secret(label, "whsec_" + self._ids.next().replace("-", ""))
        return web.json_response(
            {
                "id": secret.id,
                "key_prefix": secret.plain[:10],
                "is_current": True,
                "label": label,
                "disabled_at": None,
                "last_used_at": None,
                "created_at": secret.created_at,
                "updated_at": secret.created_at,
                "plain_secret": secret.plain,
            },
            status=201,
        )

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._find(request)
        reason = (await _json_object(request)).get("reason")
        if reason is not None and not (isinstance(reason, str) and 3 <= len(reason) <= 500):
            raise Refusal(422, "reason should have 3 to 500 characters")
        stopped = run.stop()
        if stopped:
            self.courier.watch(run)
        return web.json_response(run.record(self._files.url(run)), status=201 if stopped else 200)

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"org_id": "0198c0de-0000-7000-8000-000000000001", "scopes": ["runs:create", "runs:read"]}
        )

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _balance(self, request: web.Request) -> web.Response:
        form = self.switches.balance
        if form in ("403", "404"):
            raise Refusal(int(form), "There is no balance for this key")
        if form == "shape":
            return web.json_response({"credits": [{"amount": str(self.balance_usd)}]})
        return web.json_response({"balance_cents": int(self.balance_usd * 100), "currency": "USD"})

    def _find(self, request: web.Request) -> SandboxRun:
        run = self.runs.get(request.match_info["id"])
        if run is None:
            raise Refusal(404, "There is no such run", code="RUN_NOT_FOUND")
        return run


def _reference(body: object) -> str | None:
    reference = body.get("client_ref") if isinstance(body, dict) else None
    return reference if isinstance(reference, str) else None


async def _json_object(request: web.Request) -> dict[str, object]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise Refusal(400, "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body is not a JSON object")
    return body
