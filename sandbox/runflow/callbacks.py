"""Runflow's callbacks: signs them, sends them when runs end, retries, and records every delivery."""

import asyncio
import hashlib
import hmac
import json
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from sandbox.clock import Clock
from sandbox.runflow.run import Ids, SandboxRun
from sandbox.runflow.switches import Switches

RETRY_WAITS_S = (1.0, 2.0)  # docs.runflow.io /models/google/veo3.1; the last one repeats for further attempts
RESPONSE_KEPT_CHARS = 1000


def sign(secret: str, body: bytes) -> str:
    """``Runflow-Signature`` (docs.runflow.io /guides/verify-callback-signatures).

    HMAC-SHA256 of the raw body in lowercase hex, without a prefix. The key is the whole secret, including ``whsec_``.
    """
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass(kw_only=True)
class Secret:
    """A signing secret of the organization."""

    id: str
    plain: str
    label: str | None
    created_at: str


@dataclass(kw_only=True)
class Delivery:
    """A delivery of a callback with all its attempts, as listed by ``GET /v1/runs/{id}/callback``."""

    id: str
    run: SandboxRun
    url: str
    body: bytes
    secret: Secret | None
    automatic: bool
    max_attempts: int
    created_at: str
    status: str = "pending"
    failure: str | None = None
    next_attempt_at: float | None = None
    completed_at: str | None = None
    attempts: list[dict[str, object]] = field(default_factory=list)

    def record(self) -> dict[str, object]:
        """The delivery object of the API reference."""
        return {
            "id": self.id,
            "run_id": self.run.id,
            "request_id": self.run.request_id,
            "callback_url": self.url,
            "payload_bytes": len(self.body),
            "payload": json.loads(self.body),
            "signing_secret_id": self.secret.id if self.secret else None,
            "is_automatic": self.automatic,
            "status_code": self.status,
            "failure_reason_code": "delivery_failed" if self.failure else None,
            "failure_detail": self.failure,
            "attempt_count": len(self.attempts),
            "max_attempts": self.max_attempts,
            "next_attempt_at": _stamp(self.next_attempt_at) if self.next_attempt_at else None,
            "created_at": self.created_at,
            "updated_at": self.attempts[-1]["created_at"] if self.attempts else self.created_at,
            "completed_at": self.completed_at,
            "attempts": self.attempts,
        }


@dataclass
class _Job:
    """What a task of the courier works on, and when it continues."""

    run: SandboxRun
    due_at: float = -math.inf


class Courier:
    """Sends callbacks when runs end. ``switches`` returns a run's switches, ``url`` a presigned URL of its clip."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        *,
        secret: str | None,
        switches: Callable[[SandboxRun], Switches],
        url: Callable[[SandboxRun], str],
    ) -> None:
        self.deliveries: dict[str, list[Delivery]] = {}
        """By run id, oldest first."""
        self._clock = clock
        self._ids = ids
        self._switches = switches
        self._url = url
        self._secrets: list[Secret] = []
        self._jobs: dict[asyncio.Task[None], _Job] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._announced: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        if secret is not None:
            self.add_secret("first", secret)

    async def open(self) -> None:
        """Open the HTTP session."""
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Cancel all deliveries."""
        tasks = list(self._jobs)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def add_secret(self, label: str | None, plain: str) -> Secret:
        """Add a signing secret; it signs all callbacks from now on."""
        self._secrets.append(
            Secret(id=self._ids.next(), plain=plain, label=label, created_at=_stamp(self._clock.now()))
        )
        return self._secrets[-1]

    def watch(self, run: SandboxRun) -> None:
        """Send the run's callback once, when it ends. Call this again if its end has moved."""
        if run.callback_url is None or run.id in self._announced:
            return
        earlier = self._waiting.pop(run.id, None)
        if earlier is not None:
            earlier.cancel()
        self._waiting[run.id] = self._start(run, lambda job: self._wait(run, job))

    def redeliver(self, run: SandboxRun) -> Delivery | None:
        """Send the callback again (docs.runflow.io /concepts/callbacks); None if it is still being delivered."""
        assert run.callback_url is not None, "the run has no callback URL"
        earlier = self.deliveries.get(run.id, [])
        if any(delivery.completed_at is None for delivery in earlier):
            return None
        switches = self._switches(run)
        body = self._body(run, switches)
        if earlier and switches.redelivery == "same":
            body = earlier[0].body
        delivery = self._delivery(run, body, switches, automatic=False)
        self._start(run, lambda job: self._deliver(delivery, job))
        return delivery

    async def idle(self, run: SandboxRun | None = None) -> None:
        """Wait until no callback (of this run) is due or being sent; those scheduled for later don't count."""
        while any(  # noqa: ASYNC110 - what is due depends on the clock, which has no event
            job.due_at <= self._clock.now() and (run is None or job.run is run) for job in self._jobs.values()
        ):
            await asyncio.sleep(0.002)

    def _start(self, run: SandboxRun, work: Callable[[_Job], Coroutine[None, None, None]]) -> asyncio.Task[None]:
        job = _Job(run)
        task = asyncio.create_task(work(job), name=f"callback of {run.id}")
        self._jobs[task] = job
        task.add_done_callback(self._jobs.pop)
        return task

    async def _sleep(self, job: _Job, at: float) -> None:
        job.due_at = at
        await self._clock.sleep_until(at)
        job.due_at = -math.inf

    async def _wait(self, run: SandboxRun, job: _Job) -> None:
        await self._sleep(job, run.ends_at)
        self._waiting.pop(run.id, None)
        self._announced.add(run.id)
        self._start(run, lambda sender: self._announce(run, sender))

    async def _announce(self, run: SandboxRun, job: _Job) -> None:
        switches = self._switches(run)
        if switches.callback_lost:
            return
        await self._sleep(job, self._clock.now() + switches.callback_delay_s)
        body = self._body(run, switches)
        copies = [self._delivery(run, body, switches, automatic=True) for _ in range(1 + switches.callback_duplicates)]
        if switches.callback_concurrent:
            for delivery in copies:
                self._start(run, lambda sender, delivery=delivery: self._deliver(delivery, sender))  # type: ignore[misc] # mypy cannot infer a lambda with a default
            return
        for delivery in copies:
            await self._deliver(delivery, job)
        if switches.callback_stale:
            stale = self._delivery(run, _encoded(run.stale_callback()), switches, automatic=True)
            await self._deliver(stale, job)

    def _body(self, run: SandboxRun, switches: Switches) -> bytes:
        return _encoded(run.callback(self._url(run), switches))

    def _delivery(self, run: SandboxRun, body: bytes, switches: Switches, *, automatic: bool) -> Delivery:
        assert run.callback_url is not None
        secret = self._secrets[-1] if self._secrets else None
        if switches.callback_signature == "second" and len(self._secrets) > 1:
            secret = self._secrets[-2]
        delivery = Delivery(
            id=self._ids.next(),
            run=run,
            url=run.callback_url,
            body=body,
            secret=secret,
            automatic=automatic,
            max_attempts=switches.callback_attempts,
            created_at=_stamp(self._clock.now()),
        )
        self.deliveries.setdefault(run.id, []).append(delivery)
        return delivery

    async def _deliver(self, delivery: Delivery, job: _Job) -> None:
        while True:
            switches = self._switches(delivery.run)
            answer = await self._attempt(delivery, switches)
            number = len(delivery.attempts)
            if answer is not None and 200 <= answer < 300:
                delivery.status = "succeeded"
                break
            retried = switches.callback_retry_on == "non-2xx" or answer is None or answer >= 500
            if switches.callback_retry_on == "nothing" or not retried or number >= delivery.max_attempts:
                delivery.status = "failed"
                delivery.failure = str(delivery.attempts[-1]["error_message"] or f"answered {answer}")
                break
            wait_s = RETRY_WAITS_S[min(number, len(RETRY_WAITS_S)) - 1]
            delivery.next_attempt_at = self._clock.now() + wait_s
            await self._sleep(job, delivery.next_attempt_at)
            delivery.next_attempt_at = None
        delivery.completed_at = _stamp(self._clock.now())

    async def _attempt(self, delivery: Delivery, switches: Switches) -> int | None:
        assert self._session is not None, "the courier is not open"
        body, headers = _body_and_headers(delivery, switches)
        began, status, text, error = time.monotonic(), None, None, None
        try:
            async with self._session.post(
                delivery.url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=switches.callback_timeout_s),
            ) as response:
                status = response.status
                text = (await response.content.read(RESPONSE_KEPT_CHARS)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        delivery.attempts.append(
            {
                "id": self._ids.next(),
                "delivery_id": delivery.id,
                "attempt_number": len(delivery.attempts) + 1,
                "status_code": status,
                "response_body": text,
                "response_time_ms": round((time.monotonic() - began) * 1000),
                "error_message": error,
                "created_at": _stamp(self._clock.now()),
            }
        )
        return status


def _body_and_headers(delivery: Delivery, switches: Switches) -> tuple[bytes, Mapping[str, str]]:
    """The body and headers to send, with the kind of signature that the switch selects."""
    body = delivery.body
    headers = {"Content-Type": "application/json", "Runflow-Request-Id": delivery.run.request_id}
    if delivery.secret is None or switches.callback_signature == "missing":
        return body, headers
    signature = sign(delivery.secret.plain, body)
    if switches.callback_signature == "wrong":
        signature = sign(delivery.secret.plain + "x", body)
    elif switches.callback_signature == "upper":
        signature = signature.upper()
    elif switches.callback_signature == "altered":
        body += b"\n"
    return body, headers | {"Runflow-Signature": signature}


def _encoded(payload: Mapping[str, object]) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
