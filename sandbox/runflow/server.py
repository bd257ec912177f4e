"""The whole sandbox Runflow: an HTTP server with the API under ``/v1``, the file host and the control plane.

``run.py`` describes a run, ``schema.py`` what a request may contain, ``switches.py`` what can go wrong.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow.callbacks import Courier
from sandbox.runflow.control import control_routes
from sandbox.runflow.faults import Break, FaultCounter, Refusal
from sandbox.runflow.files import FileHost
from sandbox.runflow.front import CREATE_PATH, CREATED, INTENDED_REPLY, SWITCHES, Front, Received, client_ref_of
from sandbox.runflow.listing import page
from sandbox.runflow.run import STATUSES, Ids, SandboxRun
from sandbox.runflow.schema import Problem, body_problems, input_problems
from sandbox.runflow.switches import Switches, changed, marked

BODY_MAX_BYTES = 1_000_000
SHUTDOWN_S = 0.2


class RunflowSandbox:
    """A Runflow on a local port: ``async with RunflowSandbox() as runflow``. Port 0 picks a free one.

    A run is queued for ``queue_s`` and runs for ``run_s``, in seconds of ``clock``. Without ``callback_secret``,
    callbacks are unsigned. The same ``seed``, time and requests give the same ids, clips and signatures.
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
        callback_secret: str | None = "whsec_sandbox",  # noqa: S107 - valid in the sandbox only
        balance_cents: int = 100_000_000,
    ) -> None:
        self.clock = clock or Clock()
        self.switches = switches or Switches()
        self.runs: dict[str, SandboxRun] = {}
        """By id, in order of creation."""
        self.received: list[Received] = []
        """Every request in order of arrival, except those to the control plane."""
        self._host, self._port = host, port
        self._queue_s, self._run_s = queue_s, run_s
        self._balance_cents = balance_cents
        self._spent_usd = Decimal(0)
        self._unbilled: list[SandboxRun] = []
        self._plans: list[Mapping[str, object]] = []
        self._plans_by_ref: dict[str, Mapping[str, object]] = {}
        self._post_counts: Counter[str | None] = Counter()
        self._fault_counter = FaultCounter()
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
        self._front = Front(
            clock=self.clock,
            switches=lambda: self.switches,
            api_key=api_key,
            admin_key=admin_key,
            received=self.received,
            post_counts=self._post_counts,
            watch=self.courier.watch,
            closing=self._closing,
        )
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._front.middleware], client_max_size=BODY_MAX_BYTES)
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
        await self.courier.close()  # last, because a request that ends may still send a callback
        await self._files.close()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self._host}:{self._port}"

    @property
    def balance_usd(self) -> Decimal:
        """The account's balance after all charges. It can become negative, because runs don't reserve money."""
        ended = [run for run in self._unbilled if run.ended]
        self._unbilled = [run for run in self._unbilled if not run.ended]
        self._spent_usd += sum((run.charged for run in ended), Decimal(0))
        return Decimal(self._balance_cents) / 100 - self._spent_usd

    def posts(self, client_ref: str) -> int:
        """How many POSTs for a run had this ``client_ref``, including those that failed."""
        return self._post_counts[client_ref]

    def next_run(self, **changes: object) -> None:
        """Set switches for the next new ``client_ref``; they override the global ones.

        Each call applies to one more ``client_ref``. Markers in the prompt override both. ValueError for an unknown
        switch.
        """
        changed(self.switches, changes)
        self._plans.append(changes)

    def switches_of(self, run: SandboxRun) -> Switches:
        """The switches that apply to this run now: the global ones, overridden by its own."""
        return changed(self.switches, run.overrides) if run.overrides else self.switches

    async def finish(self, run_id: str, **outcome: object) -> None:
        """End this run now with these switches for its outcome, and wait until its callback was sent."""
        run = self.runs[run_id]
        if not run.ended:
            run.switches = changed(run.switches, outcome)
            run.end_now()
            self.courier.watch(run)
        await self.courier.idle(run)

    async def finish_all(self) -> None:
        """End every run that is still open, and wait until no callback is being sent."""
        for run in list(self.runs.values()):
            await self.finish(run.id)
        await self.idle()

    async def idle(self) -> None:
        """Wait until no callback is due or being sent; callbacks that are scheduled for later don't count."""
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

    async def _create(self, request: web.Request) -> web.Response:
        body = await _json_object(request)
        given = body.get("input")
        reference = client_ref_of(body)
        prompt = given.get("prompt") if isinstance(given, dict) else None
        overrides = {**self._planned_switches(reference), **marked(prompt)}
        switches = request[SWITCHES] = changed(self.switches, overrides)
        self._check_account(switches, reference)
        if switches.before and self._fault_counter.take("before", reference, switches.post_fault_times):
            raise Break(switches.before)
        late_failure = self._check_body(body, switches)
        assert isinstance(given, dict)
        run = self._new_run(body, given, switches, overrides)
        if late_failure:
            run.switches.end, run.failure_message = "invalid", late_failure
        self.runs[run.id] = request[CREATED] = run
        self._unbilled.append(run)
        record = request[INTENDED_REPLY] = run.record(self._files.url(run), as_queued=True)
        if switches.callback_early:
            await self.finish(run.id)
        if switches.after and self._fault_counter.take("after", reference, switches.post_fault_times):
            self.courier.watch(run)  # the run goes on while the client waits for its reply
            raise Break(switches.after)
        return web.json_response(record, status=201)

    def _planned_switches(self, reference: str | None) -> Mapping[str, object]:
        if reference is not None and reference in self._plans_by_ref:
            return self._plans_by_ref[reference]
        plan = self._plans.pop(0) if self._plans else {}
        if reference is not None:
            self._plans_by_ref[reference] = plan
        return plan

    def _check_account(self, switches: Switches, reference: str | None) -> None:
        """Refuse a POST for its rate, key or credit, in this order, as an API gateway does."""
        if self._fault_counter.take("post 429", reference, switches.post_429):
            raise Refusal(429, "Too many requests")
        if switches.auth:
            raise Refusal(int(switches.auth), "The API key isn't allowed to do this")
        after = switches.no_credit_after
        if self.balance_usd <= 0 or (after is not None and len(self.runs) >= after):
            raise Refusal(402, "Insufficient credit")

    def _check_body(self, body: Mapping[str, object], switches: Switches) -> str:
        """Refuse an invalid body, or return the message with which its run fails later; empty if it is valid."""
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
            client_ref=client_ref_of(body),
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
        record = request[INTENDED_REPLY] = run.record(self._files.url(run))
        if self._fault_counter.take("read 429", run.id, switches.read_429):
            raise Refusal(429, "Too many requests")
        if switches.read and self._fault_counter.take("read", run.id, switches.read_fault_times):
            raise Break(switches.read)
        return web.json_response(record)

    async def _list(self, request: web.Request) -> web.Response:
        switches, now = self.switches, self.clock.now()
        if switches.list_fault and self._fault_counter.take("list", None, switches.list_fault_times):
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
            raise Refusal(
                422, "The run hasn't ended, has no callback URL, or is being delivered", error_type="conflict"
            )
        return web.json_response(delivery.record(), status=201)

    async def _add_secret(self, request: web.Request) -> web.Response:
        label = (await _json_object(request)).get("label")
        if not isinstance(label, str) or len(label) > 255:
            raise Refusal(422, "label should be a string of at most 255 characters")
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
        cancelled = run.cancel()
        if cancelled:
            self.courier.watch(run)
        return web.json_response(run.record(self._files.url(run)), status=201 if cancelled else 200)

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
            raise Refusal(404, "Run not found", code="RUN_NOT_FOUND")
        return run


async def _json_object(request: web.Request) -> dict[str, object]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise Refusal(400, "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body is not a JSON object")
    return body
