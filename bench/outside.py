"""A quick stand-in for Discord and Runflow, and the members who click.

It runs in the bench's own process, which does nothing else while a bot is measured, and costs a small part of what the
bots spend: raw handlers, replies rendered beforehand. Nothing is checked here; the sandboxes and the tests do that.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Literal

import aiohttp

from bench import payloads
from bench.wire import Request, Wire, reply
from sandbox.clock import Clock
from sandbox.runflow.run import Ids, SandboxRun
from sandbox.runflow.switches import Switches

API_KEY, SECRET, TOKEN = "rf_live_bench", "whsec_bench_0123456789", "bench.token"
WAIT_S = 120.0
JSON = {"Content-Type": "application/json"}
# A bucket that is never empty; without these headers the library sends one request at a time.
LIMITS = "X-RateLimit-Limit: 9999\r\nX-RateLimit-Remaining: 9998\r\nX-RateLimit-Reset-After: 1.000\r\n"

# What becomes of a click, in this order: acknowledged; its order has reached Runflow; its first message edited; its
# callback sent; the post with the clip begun to arrive; arrived.
Stage = Literal["acked", "ordered", "edited", "called", "uploading", "posted"]


class Click:
    """One use of a command, and when what became of it."""

    def __init__(self, number: int, channel: str) -> None:
        self.number = number
        self.channel = channel
        self.run: SandboxRun | None = None
        self.edits = 0
        self.said = ""  # by the last edit
        self._at = perf_counter()
        self._times: dict[Stage, float] = {}
        self._waiters: dict[Stage, asyncio.Future[None]] = {}

    def reach(self, stage: Stage, at: float) -> None:
        """It has come so far, for the first time."""
        if stage not in self._times:
            self._times[stage] = at
            if (waiter := self._waiters.pop(stage, None)) is not None and not waiter.done():
                waiter.set_result(None)

    async def wait(self, stage: Stage, timeout: float = WAIT_S) -> None:
        """Until it has come so far. Raises TimeoutError."""
        if stage not in self._times:
            waiter = self._waiters.setdefault(stage, asyncio.get_running_loop().create_future())
            async with asyncio.timeout(timeout):
                await asyncio.shield(waiter)

    def has(self, stage: Stage) -> bool:
        return stage in self._times

    def ms(self, stage: Stage, since: Stage | None = None) -> float:
        """Milliseconds to this stage, from the click or from another stage."""
        return (self._times[stage] - (self._at if since is None else self._times[since])) * 1e3


class Outside:
    """Discord and Runflow on one port; make it with `outside`. Runs end when told, or after `run_s` seconds."""

    def __init__(self, clip: bytes, run_s: float | None) -> None:
        self.clicks: list[Click] = []
        self.counts: Counter[str] = Counter()  # requests by kind
        self.connected_at = self.read_at = 0.0  # when a bot last identified; when it first read a run after that
        self.port = 0
        self._clip = clip
        self._run_s = run_s
        self._by_token: dict[str, Click] = {}
        self._by_channel: dict[str, Click] = {}
        self._runs: dict[str, SandboxRun] = {}
        self._clock = Clock()
        self._run_ids = Ids(self._clock, 0)
        self._ids = itertools.count((int(time.time() * 1000) - payloads.EPOCH_MS) << 22)
        self._sequence = itertools.count(1)
        self._gateway: Wire | None = None
        self._connected = asyncio.Event()
        self._commands: list[payloads.Json] = []
        self._last_at = perf_counter()
        self._message = json.dumps(payloads.message(payloads.ID, payloads.CHANNEL))
        self._veo = payloads.command_frame(payloads.veo(), who="member")
        self.courier: aiohttp.ClientSession

    # What the bench does

    async def connected(self) -> None:
        """Until a bot has identified, since `forget_bot`."""
        async with asyncio.timeout(WAIT_S):
            await self._connected.wait()

    def forget_bot(self) -> None:
        """Another bot is to be started, which may know other runs."""
        self._connected.clear()
        self.read_at = 0.0

    def veo(self, *, channel: str | None = None, members: int = 100) -> Click:
        """A member clicks `/veo`, in a channel of its own unless one is named."""
        return self._use(self._veo, channel, members)

    def use(self, data: payloads.Json) -> Click:
        """The owner uses a command, such as an admin's."""
        return self._use(payloads.command_frame(data, who="owner"), payloads.CHANNEL_ID, 1)

    def _use(self, frame: str, channel: str | None, members: int) -> Click:
        number = len(self.clicks)
        click = Click(number, channel or str(payloads.FIRST_CHANNEL + number))
        token = f"aW50ZXJhY3Rpb246{number:012d}{'x' * 120}"
        frame = frame.replace(payloads.ID, str(next(self._ids))).replace(payloads.TOKEN, token)
        frame = frame.replace(payloads.CHANNEL, click.channel)
        frame = frame.replace(payloads.MEMBER, str(payloads.FIRST_MEMBER + number % members))
        frame = frame.replace(payloads.PROMPT, f"a red fox walks through fresh snow at dawn #{number}")
        self.clicks.append(click)
        self._by_token[token] = self._by_channel[click.channel] = click
        assert self._gateway is not None
        self._gateway.send_text(frame.replace(payloads.SEQUENCE, str(next(self._sequence))))
        return click

    async def finish(self, click: Click) -> None:
        """End the click's run, and send its callback."""
        run = click.run
        assert run is not None
        assert run.callback_url is not None
        run.end_now()
        body = json.dumps(run.callback(self._clip_url, Switches())).encode()
        signature = hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()
        click.reach("called", perf_counter())
        headers = JSON | {"Runflow-Signature": signature}
        async with self.courier.post(run.callback_url, data=body, headers=headers) as reply:
            assert reply.status < 300, f"the callback was answered with {reply.status}"

    async def quiet(self, seconds: float = 0.3, timeout: float = 10.0) -> None:
        """Until no request has come for so long; at most until the time is over."""
        until = perf_counter() + timeout
        while (left := self._last_at + seconds - perf_counter()) > 0 and perf_counter() < until:  # noqa: ASYNC110 - each request moves the end
            await asyncio.sleep(left)

    # What the bots ask

    def begun(self, request: Request) -> None:
        """The head of a request is there."""
        if request.method == "POST" and "/channels/" in request.path:
            self._by_channel[request.path.split("/")[3]].reach("uploading", request.at)

    def answer(self, request: Request) -> tuple[bytes, bytes]:
        """The reply to a whole request."""
        self._last_at = perf_counter()
        parts = request.path.partition("?")[0].split("/")[1:]
        match [request.method, *parts]:
            case ["POST", "api", "interactions", _, token, "callback"]:
                return self._acknowledge(self._by_token[token], request.at)
            case ["PATCH", "api", "webhooks", _, token, "messages", _]:
                return self._edit(self._by_token[token], request.body)
            case ["POST", "api", "channels", channel, "messages"]:
                return self._post(self._by_channel[channel])
            case ["POST", "v1", "models", "google", "veo3.1", "runs"]:
                return self._order(request)
            case ["GET", "v1", "runs", run_id]:
                return self._read(run_id, request.at)
            case ["GET", "v1", "runs"]:
                self.counts["lists"] += 1
                return _json({"items": [self._record(run) for run in [*self._runs.values()][-100:]]})
            case ["GET", "clips", _]:
                return reply(self._clip, kind="video/mp4")
        return self._seldom(request, parts)

    def _seldom(self, request: Request, parts: list[str]) -> tuple[bytes, bytes]:
        """What a bot asks when it starts."""
        match [request.method, *parts]:
            case ["GET", "api", "users", "@me"]:
                return _json(payloads.BOT.to_json())
            case ["GET", "api", *path] if path[-2:] == ["applications", "@me"]:
                return _json(payloads.application())
            case ["GET", "api", "applications", _, "commands"]:
                return _json(self._commands)
            case ["PUT", "api", "applications", _, "commands"]:
                added = {"id": "1400000000000000009", "application_id": payloads.BOT.id, "version": "1"}
                self._commands = [command | added for command in json.loads(request.body)]
                return _json(self._commands)
            case ["GET", "api", "guilds", _]:
                return _json(payloads.PLACE.to_json())
            case ["GET", "v1", "auth", "me"]:
                return _json({"ok": True})
        raise AssertionError(f"{request.method} {request.path} is asked of the stand-in and not known to it")

    def _acknowledge(self, click: Click, at: float) -> tuple[bytes, bytes]:
        click.reach("acked", at)
        number = next(self._ids)
        text = f'{{"interaction":{{"id":"{number}","type":2,"response_message_id":"{number}"}}}}'
        return reply(text.encode(), more=f"{LIMITS}X-RateLimit-Bucket: callback\r\n")

    def _edit(self, click: Click, body: bytes) -> tuple[bytes, bytes]:
        click.edits += 1
        click.said = body.decode(errors="replace")
        click.reach("edited", perf_counter())
        return self._shown(click, "edit")

    def _post(self, click: Click) -> tuple[bytes, bytes]:
        click.reach("posted", perf_counter())
        return self._shown(click, "post")

    def _shown(self, click: Click, bucket: str) -> tuple[bytes, bytes]:
        text = self._message.replace(payloads.ID, str(next(self._ids))).replace(payloads.CHANNEL, click.channel)
        return reply(text.encode(), more=f"{LIMITS}X-RateLimit-Bucket: {bucket}\r\n")

    def _order(self, request: Request) -> tuple[bytes, bytes]:
        body: dict[str, Any] = json.loads(request.body)
        click = self.clicks[int(body["input"]["prompt"].rpartition("#")[2])]
        run = self._new_run(body)
        click.run = self._runs[run.id] = run
        click.reach("ordered", request.at)
        self.counts["orders"] += 1
        return _json(self._record(run), status=201)

    def _new_run(self, body: dict[str, Any]) -> SandboxRun:
        return SandboxRun(
            id=self._run_ids.next(),
            request_id="req_bench",
            input=body["input"],
            client_ref=body.get("client_ref"),
            metadata=body.get("metadata"),
            callback_url=body.get("callback_url"),
            switches=Switches(end="never" if self._run_s is None else "succeeded"),
            overrides={},
            clock=self._clock,
            queue_s=0.0,
            run_s=self._run_s or 0.0,
            created_at=self._clock.now(),
            post_counts=Counter(),
        )

    def _read(self, run_id: str, at: float) -> tuple[bytes, bytes]:
        self.counts["reads"] += 1
        self.read_at = self.read_at or at
        run = self._runs.get(run_id)
        if run is None:  # of books that were made: it is under way for ever
            return _json({"id": run_id, "status_code": "running"})
        return _json(self._record(run))

    def _record(self, run: SandboxRun) -> payloads.Json:
        return run.record(self._clip_url)

    def receive(self, gateway: Wire, text: bytes | None) -> None:
        """What a bot says on the gateway."""
        if text is None:
            gateway.send_text('{"op":10,"d":{"heartbeat_interval":41250}}')
            return
        match json.loads(text)["op"]:
            case 1:
                gateway.send_text('{"op":11,"d":null}')
            case 2:
                self.connected_at = perf_counter()
                ready = payloads.ready(f"{self.url.replace('http', 'ws')}/gateway")
                for name, data in (("READY", ready), ("GUILD_CREATE", payloads.guild_create())):
                    gateway.send_text(json.dumps({"op": 0, "t": name, "s": next(self._sequence), "d": data}))
                self._gateway = gateway
                self._connected.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _clip_url(self) -> str:
        return f"{self.url}/clips/1.mp4"


def _json(data: object, status: int = 200) -> tuple[bytes, bytes]:
    return reply(json.dumps(data).encode(), status)


def clip(size: int) -> bytes:
    """An MP4 of this size whose boxes are whole; there is no picture in it."""

    def box(kind: bytes, content: bytes) -> bytes:
        return (len(content) + 8).to_bytes(4, "big") + kind + content

    head = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"moov", box(b"mvhd", bytes(100)))
    return head + box(b"mdat", bytes(size - len(head) - 8))


@asynccontextmanager
async def outside(*, clip_bytes: int = 20_000, run_s: float | None = None) -> AsyncIterator[Outside]:
    """Both on a port of their own until the end of the block."""
    made = Outside(clip(clip_bytes), run_s)
    server = await asyncio.get_running_loop().create_server(
        lambda: Wire(made.begun, made.answer, made.receive), "127.0.0.1", 0, backlog=1000
    )
    made.port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made.courier:
        yield made
    server.close()
