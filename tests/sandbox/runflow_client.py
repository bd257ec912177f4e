"""A client of the sandbox Runflow and a receiver of its callbacks; neither shares code with it."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow import RunflowSandbox, Switches

KEY = {"Authorization": "Bearer rf_live_sandbox"}
ADMIN = {"Authorization": "Bearer rf_svc_sandbox"}
CREATE = "/v1/models/google/veo3.1/runs"
START = 1_800_000_000.0


@dataclass
class Got:
    """A complete reply."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Lab:
    """A sandbox, a client for it, and a clock that only moves when a test advances it."""

    box: RunflowSandbox
    clock: Clock
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Got:
        url = path if path.startswith("http") else self.box.url + path
        headers = KEY if headers is None else headers
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **more) as response:
            return Got(response.status, response.headers, await response.read())

    async def post(self, prompt: str = "a red fox", ref: str | None = "r1", **more: Any) -> Got:
        options = more.pop("options", {})
        reference = {} if ref is None else {"client_ref": ref}
        return await self.call("POST", CREATE, json={"input": {"prompt": prompt, **options}, **reference, **more})

    async def created(self, prompt: str = "a red fox", ref: str | None = "r1", **more: Any) -> str:
        got = await self.post(prompt, ref, **more)
        assert got.status == 201, got.content
        return str(got.json["id"])

    async def read(self, run_id: str) -> Any:
        got = await self.call("GET", f"/v1/runs/{run_id}")
        assert got.status == 200, got.content
        return got.json

    async def clip_url(self, prompt: str = "a red fox", **more: Any) -> str:
        record = await self.read(await self.created(prompt, **more))
        return str(record["output"]["outputs"][0]["url"])

    async def fetch(self, url: str, method: str = "GET", **headers: str) -> Got:
        return await self.call(method, url, headers)


@asynccontextmanager
async def laboratory(**options: Any) -> AsyncIterator[Lab]:
    clock = Clock(lambda: START)
    switches = options.pop("switches", None) or Switches(clip="stored")
    async with (
        RunflowSandbox(clock=clock, switches=switches, **options) as box,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        yield Lab(box, clock, session)


@dataclass
class Mailbox:
    """Receives callbacks, and answers with the planned statuses."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    received: list[tuple[bytes, Any]] = field(default_factory=list)
    silent: bool = False

    async def receive(self, request: web.Request) -> web.Response:
        self.received.append((await request.read(), request.headers))
        if self.silent:
            await asyncio.sleep(0.2)
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    @property
    def payloads(self) -> list[Any]:
        return [json.loads(body) for body, _ in self.received]

    @property
    def signatures(self) -> list[str | None]:
        return [headers.get("Runflow-Signature") for _, headers in self.received]


def expected_signature(body: bytes, key: str = "whsec_sandbox") -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.002)
