"""Shared by the tests of the Runflow client: a run, the sandbox with a clock that stands still, misbehaving servers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import strategies as st
from yarl import URL

from bot.domain.models import VeoRequest
from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import Ending, Run
from bot.runflow import Runflow, connect
from bot.runflow.clips import ClipDownloader
from sandbox.clock import Clock
from sandbox.runflow import RunflowSandbox, Switches
from sandbox.runflow.clip import STORED

KEY = "rf_live_sandbox"
START = 1_800_000_000.0
ID = "0198c0de-7a11-7c3e-8f00-000000000001"
REF = "veo-abc234"
MEGABYTE = 1_000_000
COST_MAX_U = 10**9 * 10**6  # a billion dollars
ENDINGS = {
    "succeeded": {Ending.VIDEO, Ending.NSFW, Ending.EMPTY},
    "partial_succeeded": {Ending.PARTIAL, Ending.NSFW, Ending.EMPTY},
    "failed": {Ending.FAILED},
    "errored": {Ending.FAILED},
    "canceled": {Ending.CANCELLED},
    "cancelled": {Ending.CANCELLED},
}

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Any JSON, and what a reader of records is likeliest to trip over.
TEXTS = st.sampled_from(
    [*ENDINGS, "queued", "running", "Succeeded", "FAILED", " failed ", "", "video", "image", "https://cdn.example/1.mp4?s=1",
     "http://10.0.0.1/x", "ftp://x", "javascript:1", ID, REF, "3.20", "-1", "9e999999", "1e-9", "NaN", "\ud800",
     "\x00\n"]
) | st.text(max_size=20)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from([2**63, -(2**63), 10**30])
_KEYS = st.sampled_from(["outputs", "url", "type", "video", "nsfw_detected", "seed", "timing", "inference_ms", "code"])
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def a_run(request: VeoRequest | None = None, run_id: str = "abc234") -> Run:
    """A run with only the fields that a submission needs."""
    blank: Json = dict.fromkeys(each.name for each in fields(Run))
    request = request or VeoRequest(prompt="a red fox")
    return Run(**blank | {"run_id": run_id, "callback_token": "t" * 32, "request": request})


def a_record(**changes: object) -> Json:
    """The record of a finished run in the usual form."""
    output = {"outputs": [{"type": "video", "url": "https://cdn.example/1.mp4?X-Sig=abc"}], "nsfw_detected": False}
    return {"id": ID, "status_code": "succeeded", "client_ref": REF, "cost": "3.20", "output": output} | changes


def connected(
    url: str, *, public_url: str | None = None, clip_bytes_max: int = 100 * MEGABYTE
) -> AbstractAsyncContextManager[Runflow]:
    return connect(api_url=url, api_key=KEY, public_url=public_url, clip_bytes_max=clip_bytes_max)


@dataclass
class Lab:
    """The sandbox, whose clock stands still, and the client connected to it."""

    box: RunflowSandbox
    client: Runflow
    folder: Path

    async def bought(self, run: Run | None = None) -> str:
        """The id of a run that was submitted and accepted."""
        answer = await self.client.submit(run or a_run())
        assert isinstance(answer, Accepted), answer
        return answer.observation.provider_id

    async def fetched(self, provider_id: str) -> bytes:
        """The clip as it lies on disk, with nothing else beside it."""
        path = self.folder / "media" / "veo-abc234.mp4"
        await self.client.fetch(provider_id, path)
        assert left_in(self.folder) == [path]
        return path.read_bytes()

    def asked(self, beginning: str) -> int:
        """How many requests so far went to paths with this beginning."""
        return sum(each.path.startswith(beginning) for each in self.box.received)


@asynccontextmanager
async def laboratory(
    folder: Path, *, public_url: str | None = None, clip_bytes_max: int = 100 * MEGABYTE, **options: Any
) -> AsyncIterator[Lab]:
    changes = options.pop("switches", {})
    box = RunflowSandbox(clock=Clock(lambda: START), switches=Switches(**({"clip": "stored"} | changes)), **options)
    async with box, connected(box.url, public_url=public_url, clip_bytes_max=clip_bytes_max) as client:
        yield Lab(box, client, folder)


@dataclass
class Server:
    """Where one of our servers listens, and the requests it got."""

    url: str = ""
    port: int = 0
    connections: int = 0
    requests: list[Any] = field(default_factory=list)


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """An HTTP server with one handler for everything."""
    server = Server()

    async def handle(request: web.Request) -> web.StreamResponse:
        server.requests.append(request)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.port = runner.addresses[0][1]
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def replying(answer: bytes, *, reset: bool = False) -> AsyncIterator[Server]:
    """A server that reads one request per connection, sends these bytes, and closes or resets the connection."""
    server = Server()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(length[0].partition(b":")[2])) if length else b""
            server.requests.append(head + body)
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # no HTTP came: a TLS greeting, or nothing
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()


def reply(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP reply as bytes."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def left_in(folder: Path) -> list[Path]:
    """Every file below the folder."""
    return [path for path in folder.rglob("*") if not path.is_dir()]


async def submitted(answer: bytes, *, reset: bool = False) -> Accepted | Refused | NotSent | Unclear:
    """The outcome of a submission that gets this answer; checks that it was sent once."""
    async with replying(answer, reset=reset) as server, connected(server.url) as client:
        result = await client.submit(a_run())
        assert len(server.requests) == server.connections == 1
    return result


async def the_clip(_: web.Request) -> web.Response:
    """A file host that gives the clip."""
    return web.Response(body=STORED.read_bytes(), content_type="video/mp4")


async def no_such_place(_: web.Request) -> web.Response:
    """A file host that must not be asked."""
    return web.Response(status=500)


def redirecting(location: str, times: int = 1000) -> Handler:
    """A file host that redirects its first visitors to `location`, and gives the clip to later ones."""
    left = times

    async def answer(request: web.Request) -> web.Response:
        nonlocal left
        left -= 1
        if left < 0:
            return await the_clip(request)
        return web.Response(status=302, headers={"Location": location.format(own=str(request.url.origin()))})

    return answer


async def fetched_from(
    folder: Path,
    file: Handler,
    address: str = "{own}/clip.mp4?X-Sig=abc",
    *,
    clip_bytes_max: int = 10 * MEGABYTE,
    outside: AbstractAsyncContextManager[aiohttp.ClientSession] | None = None,
) -> Server:
    """Fetch a clip from a Runflow whose record has `address` for it; `file` answers all other requests."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            named = address.format(own=server.url)
            return web.json_response(a_record(output={"outputs": [{"url": named}]}))
        assert "Authorization" not in request.headers
        return await file(request)

    async with serving(answer) as server, AsyncExitStack() as stack:
        if outside is None:
            client = await stack.enter_async_context(connected(server.url, clip_bytes_max=clip_bytes_max))
        else:
            inside = await stack.enter_async_context(aiohttp.ClientSession())
            client = Runflow(
                api_url=server.url,
                api_key=KEY,
                public_url=None,
                reading=inside,
                submitting=inside,
                downloader=ClipDownloader(
                    own_origin=URL(server.url),
                    bytes_max=clip_bytes_max,
                    inside=inside,
                    outside=await stack.enter_async_context(outside),
                ),
            )
        await client.fetch(ID, folder / "veo-abc234.mp4")
        return server


class Internet(AbstractResolver):
    """DNS of a tiny Internet: every name that ends in `.example` leads to this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if not host.endswith(".example"):
            raise OSError("no such name")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held open."""


def anonymous_tls(side: int) -> ssl.SSLContext:
    """TLS without certificates: the tests look only at what is sent through it."""
    context = ssl.SSLContext(side)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def on_the_internet() -> aiohttp.ClientSession:
    """A session for the tiny Internet."""
    connector = aiohttp.TCPConnector(resolver=Internet(), ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT))
    return aiohttp.ClientSession(connector=connector)
