"""The Runflow client over real TCP: against the sandbox, and against servers that misbehave as it cannot."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import socket
import ssl
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.films import AVI, HEVC, MKV, MOV, MP4, WEBM, Film, film_of
from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import AspectRatio, Duration, Ending, Resolution, Run, SafetyTolerance, VeoRequest
from bot.errors import ClipNotKept, ClipUnavailable, SettingsError, Unreadable
from bot.runflow import client as runflow
from bot.runflow.client import (
    MODEL_PATH,
    NEW_ADDRESSES_MAX,
    REDIRECTS_MAX,
    PublicResolver,
    Quiet,
    Runflow,
    is_public,
    named_run,
    observe,
    signed_by,
    unsound_mp4,
)
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


# What the tests stand on: a run, the sandbox, and servers of our own.


def a_run(request: VeoRequest | None = None, run_id: str = "abc234") -> Run:
    """A run as the engine hands it over; only what a submission is made of is filled."""
    blank: Json = dict.fromkeys(each.name for each in fields(Run))
    request = request or VeoRequest(prompt="a red fox")
    return Run(**blank | {"run_id": run_id, "callback_token": "t" * 32, "request": request})


def a_record(**changes: object) -> Json:
    """A finished run's record in the usual form."""
    output = {"outputs": [{"type": "video", "url": "https://cdn.example/1.mp4?X-Sig=abc"}], "nsfw_detected": False}
    return {"id": ID, "status_code": "succeeded", "client_ref": REF, "cost": "3.20", "output": output} | changes


def connected(
    url: str, *, public_url: str | None = None, clip_bytes_max: int = 100 * MEGABYTE
) -> AbstractAsyncContextManager[Runflow]:
    return runflow.connect(api_url=url, api_key=KEY, public_url=public_url, clip_bytes_max=clip_bytes_max)


@dataclass
class Lab:
    """The sandbox with its time standing still, and the client connected to it."""

    box: RunflowSandbox
    client: Runflow
    folder: Path

    async def bought(self, run: Run | None = None) -> str:
        """The id of a run that was submitted and accepted."""
        answer = await self.client.submit(run or a_run())
        assert isinstance(answer, Accepted), answer
        return answer.observation.provider_id

    async def fetched(self, provider_id: str) -> bytes:
        """The clip by way of the disk, with nothing else left there."""
        path = self.folder / "media" / "veo-abc234.mp4"
        await self.client.fetch(provider_id, path)
        assert left_in(self.folder) == [path]
        return path.read_bytes()

    def asked(self, beginning: str) -> int:
        """How many requests so far went to paths that begin so."""
        return sum(each.path.startswith(beginning) for each in self.box.received)


@asynccontextmanager
async def laboratory(
    folder: Path, *, public_url: str | None = None, clip_bytes_max: int = 100 * MEGABYTE, **options: Any
) -> AsyncIterator[Lab]:
    changes = options.pop("switches", {})
    box = RunflowSandbox(clock=Clock(lambda: START), switches=Switches(**({"clip": "stored"} | changes)), **options)
    async with box, connected(box.url, public_url=public_url, clip_bytes_max=clip_bytes_max) as client:
        yield Lab(box, client, folder)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as made:
        yield made


@dataclass
class Server:
    """Where a server of ours listens, and what has come in."""

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
    """A server that takes one whole request a connection, sends these bytes and closes or resets."""
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
    return [path for path in folder.rglob("*") if not path.is_dir()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def submitted(answer: bytes, *, reset: bool = False) -> Accepted | Refused | NotSent | Unclear:
    """What a submission makes of this answer. Whatever it is, it was asked once."""
    async with replying(answer, reset=reset) as server, connected(server.url) as client:
        result = await client.submit(a_run())
        assert len(server.requests) == server.connections == 1
    return result


# What is sent.


async def test_every_option_and_nothing_else_is_sent(lab: Lab) -> None:
    """The defaults are sent explicitly; seed, negative prompt and callback address only where there are any."""
    await lab.bought()
    (sent,) = lab.box.received
    assert (sent.method, sent.path) == ("POST", MODEL_PATH)
    assert sent.body == {
        "input": {
            "prompt": "a red fox",
            "duration": "8s",
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "generate_audio": True,
            "auto_fix": True,
            "safety_tolerance": "4",
        },
        "client_ref": REF,
        "metadata": {"client_ref": REF},
    }


async def test_a_public_address_asks_for_the_runs_own_callback(tmp_path: Path) -> None:
    """With PUBLIC_URL the callback goes to the run's unguessable path, and Runflow sends it there."""
    async with laboratory(tmp_path, public_url="https://bot.example") as lab:
        lab.box.switches.callback_lost = True
        await lab.bought()
        body = lab.box.received[0].body
        assert isinstance(body, dict)
        assert body["callback_url"] == f"https://bot.example/callbacks/runflow/{'t' * 32}"


@settings(max_examples=25, deadline=None)
@given(
    wishes=st.lists(
        st.builds(
            VeoRequest,
            prompt=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip),
            duration=st.sampled_from(Duration.__args__),  # type: ignore[attr-defined] # typeshed hides a Literal's values
            resolution=st.sampled_from(Resolution.__args__),  # type: ignore[attr-defined] # the same
            aspect_ratio=st.sampled_from(AspectRatio.__args__),  # type: ignore[attr-defined] # the same
            generate_audio=st.booleans(),
            negative_prompt=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
            seed=st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
            auto_fix=st.booleans(),
            safety_tolerance=st.sampled_from(SafetyTolerance.__args__),  # type: ignore[attr-defined] # the same
        ),
        min_size=1,
        max_size=5,
    )
)
async def test_any_wish_arrives_as_it_was_made(wishes: list[VeoRequest]) -> None:
    """Whatever is wished for is what a strict Runflow receives and accepts, null fields left out."""
    switches = {"callback_lost": True}
    async with laboratory(Path("unused"), switches=switches) as lab:
        for number, wish in enumerate(wishes):
            plain = replace(wish, prompt=wish.prompt.replace("[", "("))  # the sandbox reads markers in brackets
            await lab.bought(a_run(plain, run_id=f"run{number}"))
            body = lab.box.received[-1].body
            assert isinstance(body, dict)
            expected = {name: value for name, value in plain.options.items() if value is not None}
            assert body["input"] == expected
            assert {name: type(value) for name, value in body["input"].items()} == {
                name: type(value) for name, value in expected.items()
            }


async def test_each_submission_has_a_connection_of_its_own() -> None:
    """No second POST travels on a connection that the other side may just have closed."""
    ports: list[Any] = []

    async def accept(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername"))
        return web.json_response(a_record(), status=201)

    async with serving(accept) as server, connected(server.url) as client:
        for _ in range(3):
            assert isinstance(await client.submit(a_run()), Accepted)
    assert len(set(ports)) == 3


# What the answer to a POST means.


@pytest.mark.parametrize("status", [200, 201, 202, 207, 299])
async def test_any_2xx_with_a_run_is_accepted(status: int) -> None:
    """The id may be called `id` or `run_id`; everything else in the record is optional."""
    for name in ("id", "run_id"):
        answer = await submitted(reply(status, json.dumps({name: ID}).encode()))
        assert isinstance(answer, Accepted)
        assert answer.observation.provider_id == ID
        assert answer.observation.ending is None


async def test_the_accepted_run_is_the_one_that_was_made(lab: Lab) -> None:
    """The observation of a fresh run: its id, our reference, queued, no cost, no end."""
    answer = await lab.client.submit(a_run())
    assert isinstance(answer, Accepted)
    (made,) = lab.box.runs.values()
    seen = answer.observation
    assert (seen.provider_id, seen.client_ref, seen.request_id) == (made.id, REF, made.request_id)
    assert (seen.status, seen.ending, seen.cost_u) == ("queued", None, None)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"code":"SOME_CODE","message":"Not like this","errors":null}', "SOME_CODE", "Not like this"),
        (b'{"error":{"code":"SOME_CODE","message":"Not like this"}}', "SOME_CODE", "Not like this"),
        (b'{"message":"Not like this","surplus":[1]}', "HTTP_{}", "Not like this"),
        (b" Not like\r\n\tthis\x00 ", "HTTP_{}", "Not like this"),
        (b"\xff\xfeodd", "HTTP_{}", "\ufffd\ufffdodd"),
        (b"", "HTTP_{}", "no reason given"),
        (b'{"code":7,"message":["x"],"error":"y"}', "HTTP_{}", "x"),
        (b'{"code":7,"message":{},"error":[[]]}', "HTTP_{}", "no reason given"),
        (b'{"error":{"code":"SOME_CODE"}}', "SOME_CODE", "no reason given"),
        (b'{"detail":"Not this prompt"}', "HTTP_{}", "Not this prompt"),
        (b'{"error":"Not like this"}', "HTTP_{}", "Not like this"),
        (b'{"error":{"detail":["Not like this","nor that"]}}', "HTTP_{}", "Not like this; nor that"),
        (b'{"errors":["Not like this","nor that","Not like this"]}', "HTTP_{}", "Not like this; nor that"),
        (b'{"errors":[{"title":"Odd","detail":"Not like this"}]}', "HTTP_{}", "Not like this"),
        (
            b'{"detail":[{"loc":["body","input","prompt"],"msg":"too long","type":"t","input":"x"}]}',
            "HTTP_{}",
            "too long (prompt)",
        ),
        (b'{"errors":{"seed":["too large"],"x":"odd"}}', "HTTP_{}", "too large; odd (seed)"),
        (b'{"detail":{"code":"SOME_CODE","message":"Not like this"}}', "SOME_CODE", "Not like this"),
        (b'{"message":"{\\"detail\\":[{\\"msg\\":\\"Not like this\\"}]}"}', "HTTP_{}", "Not like this"),
        (b'{"id":"req-1","type":"about:blank","status":"odd"}', "HTTP_{}", "no reason given"),
        (b'["Not like this"]', "HTTP_{}", "Not like this"),
        (b"[]", "HTTP_{}", "[]"),
    ],
)
async def test_a_refusal_is_told_apart_and_readable(body: bytes, code: str, message: str) -> None:
    """These statuses bought nothing; their reason is one line of text, whatever form the body has."""
    statuses = iter(asked := (400, 401, 402, 403, 404, 413, 422))

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses), body=body)

    async with serving(refuse) as server, connected(server.url) as client:
        for status in asked:
            assert await client.submit(a_run()) == Refused(code=code.format(status), message=message)
        assert len(server.requests) == len(asked)


@pytest.mark.parametrize("form", ["flat", "nested"])
@pytest.mark.parametrize("name", [*VeoRequest(prompt="").options, "callback_url", "metadata", "client_ref"])
async def test_a_refused_field_is_named(lab: Lab, form: Any, name: str) -> None:
    """A 422 tells which of the fields that we sent is not accepted, however its entries are shaped."""
    lab.box.switches.error_body, lab.box.switches.refuse_field = form, name
    for items in ("loc", "field"):
        lab.box.switches.error_items = items
        answer = await lab.client.submit(a_run(run_id=items))
        assert answer == Refused(code="validation_error", message=f"The request is not valid ({name})")
        assert lab.box.posts(f"veo-{items}") == 1
    assert len(lab.box.runs) == 0


PAGES = [
    (b"<!doctype html><title>Just a moment...</title>", "text/html; charset=utf-8"),
    (b"\xef\xbb\xbf\r\n <html>", "application/octet-stream"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "application/xml"),
    (b"", "text/html"),
]


@pytest.mark.parametrize(("page", "kind"), PAGES)
@pytest.mark.parametrize("status", [401, 403, 404, 405, 451])
async def test_a_page_in_between_is_an_outage(
    status: int, page: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A CDN, proxy or maintenance page says nothing about key, order, run or list: all of it is tried again."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(status=status, body=page, headers={"Content-Type": kind, "Retry-After": "9"})

    async with serving(show) as server, connected(server.url) as client:
        await client.check_key()
        assert "the key is not checked" in caplog.text
        answer = await client.submit(a_run())
        assert isinstance(answer, NotSent)
        assert answer.wait_s == pytest.approx(9.0, abs=1.0)
        for question in (client.read(ID), client.find(REF)):
            with pytest.raises(Unreadable) as told:
                await question
            assert told.value.wait_s == pytest.approx(9.0, abs=1.0)


async def test_json_that_calls_itself_a_page_is_a_verdict() -> None:
    """What counts is that it can be read, not the name of its type."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403, body=b'{"code":"PERMISSION_DENIED","message":"no"}', content_type="text/html")

    async with serving(refuse) as server, connected(server.url) as client:
        assert await client.submit(a_run()) == Refused(code="PERMISSION_DENIED", message="no")
        with pytest.raises(SettingsError):
            await client.check_key()


@pytest.mark.parametrize("status", [400, 402, 413, 414, 422, 431])
async def test_a_page_about_the_order_itself_refuses_it(status: int) -> None:
    """The same order would be refused again, whoever says so and however."""
    answer = await submitted(reply(status, b"<html><body><h1>Nope</h1></body></html>", "Content-Type: text/html"))
    assert answer == Refused(code=f"HTTP_{status}", message="no reason given")


@pytest.mark.parametrize("form", ["flat", "nested", "text", "html", "empty"])
@pytest.mark.parametrize(
    ("switch", "status"),
    [({"auth": "401"}, 401), ({"auth": "403"}, 403), ({"no_credit_after": 0}, 402), ({"refuse_field": "seed"}, 422)],
)
async def test_the_sandboxs_refusals_cost_nothing(lab: Lab, form: Any, switch: Json, status: int) -> None:
    """Refused once, with a sentence and a code, in every dress that an error can wear."""
    for name, value in ({"error_body": form, "error_items": "null"} | switch).items():
        setattr(lab.box.switches, name, value)
    answer = await lab.client.submit(a_run())
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0)
    if form == "html" and status in (401, 403):  # a page may be anybody's
        assert isinstance(answer, NotSent)
        return
    assert isinstance(answer, Refused)
    assert answer.message == "no reason given" if form in ("html", "empty") else " " in answer.message
    if form not in ("flat", "nested"):
        assert answer.code == f"HTTP_{status}"


@pytest.mark.parametrize("body", [b"", b"plain words", b'{"code":"SOME_CODE","message":"no","id":"req-1"}'])
async def test_what_surely_bought_nothing_is_released(body: bytes) -> None:
    """Redirects but 303, and refusals of the request as such: not carried out, so nothing is held for them."""
    moved, refused = (300, 301, 302, 305, 307, 308), (405, 406, 410, 411, 412, 414, 415, 417, 421, 426, 428, 431, 451)
    statuses = iter((*moved, *refused))

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses), body=body, headers={"Location": "https://elsewhere.example/"})

    async with serving(refuse) as server, connected(server.url) as client:
        for status in (*moved, *refused):
            answer = await client.submit(a_run())
            assert isinstance(answer, Refused), status
            assert answer.code == ("SOME_CODE" if b"SOME_CODE" in body and status in refused else f"HTTP_{status}")
        assert len(server.requests) == len(moved) + len(refused)


@pytest.mark.parametrize("status", [407, 511])
async def test_a_refusal_on_the_way_is_tried_again(status: int) -> None:
    """A proxy or a network that wants something first: Runflow never saw the order."""
    assert isinstance(await submitted(reply(status, b"<html>sign in</html>")), NotSent)


@pytest.mark.parametrize(
    "address",
    ["https://me:pw@runflow.invalid", "http://[::1", "ftp://runflow.invalid", "http://" + "a" * 64 + ".example"],
)
async def test_nothing_was_sent_to_an_address_that_is_none(address: str) -> None:
    """What the library refuses before it connects bought nothing."""
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(connected(address))
        except ValueError:
            return  # it does not even start
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_was_sent_while_a_name_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that hangs until the whole time is up has bought nothing."""

    async def hang(*_: object, **__: object) -> list[ResolveResult]:
        await asyncio.sleep(5)
        return []

    monkeypatch.setattr(runflow, "SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", hang)
    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", hang)
    async with connected("http://runflow.invalid") as client:
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_was_sent_where_nobody_listens() -> None:
    """A refused connection bought nothing and may be repeated at once."""
    async with connected(f"http://127.0.0.1:{free_port()}") as client:
        answer = await client.submit(a_run())
    assert isinstance(answer, NotSent)
    assert answer.wait_s is None


async def test_nothing_was_sent_to_a_name_without_an_address() -> None:
    """A host that cannot be resolved was never spoken to."""
    async with connected("http://runflow.invalid") as client:
        assert isinstance(await client.submit(a_run()), NotSent)


async def test_nothing_was_sent_without_a_tls_connection() -> None:
    """Where TLS fails, no byte of the request was seen."""
    async with serving(the_clip) as server:
        async with connected(f"https://127.0.0.1:{server.port}") as client:
            assert isinstance(await client.submit(a_run()), NotSent)
        assert server.requests == []


async def test_nothing_was_sent_while_connecting_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not even take the connection has bought nothing."""
    monkeypatch.setattr(runflow, "SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=5, sock_connect=0.1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:  # a full queue of connections that nobody accepts: the next one waits
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            async with connected(f"http://127.0.0.1:{port}") as client:
                assert isinstance(await client.submit(a_run()), NotSent)
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        (["Retry-After: 7"], 7.0),
        (["Retry-After: 0.5"], 0.5),
        (["Retry-After: 86400"], 120.0),
        (["Retry-After: -1"], None),
        (["Retry-After: soon"], None),
        (["Retry-After: Wed, 21 Oct 2026 07:28:00 GMT"], None),
        (["X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1"], None),
    ],
)
async def test_a_429_is_a_wait(headers: list[str], wait_s: float | None) -> None:
    """Too many requests: nothing was bought; `Retry-After` is kept where it is a number, up to two minutes."""
    answer = await submitted(reply(429, b'{"code":"RATE_LIMITED","message":"later"}', *headers))
    assert isinstance(answer, NotSent)
    assert answer.wait_s == wait_s


async def test_the_sandboxs_429_makes_no_run(lab: Lab) -> None:
    """Twice told to wait, then accepted: three POSTs, one run."""
    lab.box.switches.post_429, lab.box.switches.retry_after = 2, "0.05"
    for _ in range(2):
        answer = await lab.client.submit(a_run())
        assert isinstance(answer, NotSent)
        assert answer.wait_s == 0.05
        await asyncio.sleep(0.06)
    assert isinstance(await lab.client.submit(a_run()), Accepted)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (3, 1)


async def test_who_is_told_to_wait_asks_nothing_meanwhile(lab: Lab) -> None:
    """One 429 is for every call: neither orders nor look-ups are sent until its time is over."""
    lab.box.switches.post_429, lab.box.switches.retry_after = 1, "30"
    assert isinstance(await lab.client.submit(a_run()), NotSent)
    answer = await lab.client.submit(a_run())
    assert isinstance(answer, NotSent)
    assert answer.wait_s == pytest.approx(30.0, abs=1.0)
    for question in (lab.client.read(ID), lab.client.find(REF)):
        with pytest.raises(Unreadable) as told:
            await question
        assert told.value.wait_s == pytest.approx(30.0, abs=1.0)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1e9"}, 1.0),
        ({"Retry-After": "99999"}, 120.0),
        ({"Retry-After": "Thu, 26 Nov 2026 12:00:40 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 40.0),
        ({"Retry-After": "Thu, 26 Nov 2026 11:00:00 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"Retry-After": "Fri, 99 Nov 2026 11:00:00 GMT", "Date": "Thu, 26 Nov 2026 12:00:00 GMT"}, 1.0),
        ({}, 1.0),
    ],
    ids=str,
)
async def test_a_429_is_obeyed_in_whatever_form(headers: dict[str, str], wait_s: float) -> None:
    """Seconds or a date, which counts from that of the answer; without either a pause that grows."""
    quiet = Quiet()
    quiet.hear(429, headers)
    assert quiet.left_s() == pytest.approx(wait_s, abs=0.1)
    quiet.hear(200, headers)
    assert quiet.left_s() == pytest.approx(wait_s, abs=0.1)


async def test_a_burst_of_429_is_one_and_the_next_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that were under way together are refused together; only who asks again too soon makes the pause grow."""
    monkeypatch.setattr(runflow, "QUIET_FIRST_S", 0.05)
    quiet = Quiet()
    for _ in range(9):
        quiet.hear(429, {})
    assert quiet.left_s() <= 0.05
    await asyncio.sleep(0.06)
    quiet.hear(429, {})
    assert 0.05 < quiet.left_s() <= 0.1


async def test_a_download_that_drips_gives_its_place_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that would take hours is broken off, and tried again later; one that comes in time is not."""
    monkeypatch.setattr("bot.runflow.client.SLOW_S", 0.2)
    switches = {"drip": True}

    async def give(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/v1/runs"):
            clip = {"url": f"http://{request.host}/clip.mp4", "content_type": "video/mp4"}
            return web.json_response({"id": ID, "status": "COMPLETED", "output": {"video": clip}})
        response = web.StreamResponse()
        await response.prepare(request)
        while switches["drip"]:
            await response.write(b"x" * 100)
            await asyncio.sleep(0.02)
        await response.write(b"no film")
        return response

    async with serving(give) as server, connected(server.url) as client:
        with pytest.raises(ClipUnavailable, match="drips"):
            await client.fetch(ID, tmp_path / "veo-a.mp4")
        assert list(tmp_path.iterdir()) == []
        switches["drip"] = False
        with pytest.raises(ClipUnavailable, match=r"^(?!.*drips)"):
            await client.fetch(ID, tmp_path / "veo-a.mp4")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_broken_answer_is_unclear_and_not_repeated(lab: Lab, moment: str, fault: Any) -> None:
    """Whether the run was made cannot be seen from outside, so it is said to be unclear, after one POST."""
    setattr(lab.box.switches, moment, fault)
    assert isinstance(await lab.client.submit(a_run()), Unclear)
    assert (lab.box.posts(REF), len(lab.box.runs)) == (1, 0 if moment == "before" else 1)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_no_answer_in_time_is_unclear(lab: Lab, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The read timeout of a submission is no verdict."""
    monkeypatch.setattr(runflow, "SUBMIT_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    setattr(lab.box.switches, moment, "timeout")
    assert isinstance(await lab.client.submit(a_run()), Unclear)
    assert lab.box.posts(REF) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *(reply(status, json.dumps(a_record()).encode()) for status in (304, 405, 408, 409, 410, 425, 500, 503, 520)),
        reply(303, b"", "Location: /elsewhere"),
        *(reply(status, b"", f"Location: https://a.example/v1/runs/{ID}") for status in (301, 302, 307)),
        *(reply(status, b"") for status in (423, 424, 444, 499, 501, 502, 504, 505, 521)),
        *(
            reply(201, body)
            for body in (
                b"", b"{}", b"[]", b"null", b'"id"', b'{"id":', b'{"id":null}', b'{"id":7}', b'{"id":""}',
                b'{"id":"../x"}', b'{"id":"a/b"}', b'{"id":"' + b"a" * 101 + b'"}', b"<html></html>", b"\xff\xff",
                b"[" * 100_000, b'{"id":"a","cost":' + b"9" * 5000 + b"}",
            )
        ),
        reply(201, b'{"id":"' + b"a" * 50 + b'","x":"' + b"x" * (9 * 1024 * 1024) + b'"}'),
        reply(201, json.dumps(a_record()).encode(), "Content-Encoding: gzip"),
        reply(201, json.dumps(a_record()).encode(), "Content-Encoding: br"),
        reply(201, json.dumps(a_record()).encode()).replace(b"Content-Length: ", b"Content-Length: 9"),
        b"",
        b"HTTP/1.1 201 Cre",
        b"HTTP/1.1 201 Created\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=lambda answer: answer[:40].decode(errors="replace").split("\r\n")[0] or "nothing",
)  # fmt: skip
async def test_whatever_else_comes_back_is_unclear(answer: bytes) -> None:
    """A reply without a run and without a documented refusal leaves open what was bought; it is asked once."""
    assert isinstance(await submitted(answer), Unclear)


@pytest.mark.parametrize(
    "number", [b"1e99999999999999999999", b"1e1000000", b'"9e999999"', b"-1e-99999999999999999999"]
)
async def test_a_number_beyond_all_measure_is_no_crash(number: bytes) -> None:
    """A run with a number that no amount can be is read, or said to be unclear, but never an exception."""
    body = b'{"id":"%s","status_code":"succeeded","cost":%s}' % (ID.encode(), number)
    answer = await submitted(reply(201, body))
    assert isinstance(answer, Accepted | Unclear)
    if isinstance(answer, Accepted):
        assert answer.observation.cost_u in (None, 0)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 400\r\n\r\n{"])
async def test_a_reset_after_sending_is_unclear(answer: bytes) -> None:
    """A connection that is reset once the request is out says nothing about the run."""
    assert isinstance(await submitted(answer, reset=True), Unclear)


# Reading.


@pytest.mark.parametrize(
    ("switches", "ending", "cost_u"),
    [
        ({}, Ending.VIDEO, 3_200_000),
        ({"end": "partial_succeeded"}, Ending.PARTIAL, 3_200_000),
        ({"end": "empty"}, Ending.EMPTY, 3_200_000),
        ({"end": "missing"}, Ending.EMPTY, 3_200_000),
        ({"nsfw": True}, Ending.NSFW, 3_200_000),
        ({"nsfw": None}, Ending.VIDEO, 3_200_000),
        ({"nsfw": True, "end": "partial_succeeded"}, Ending.NSFW, 3_200_000),
        ({"end": "failed"}, Ending.FAILED, None),
        ({"end": "errored"}, Ending.FAILED, None),
        ({"end": "policy"}, Ending.FAILED, None),
        ({"end": "failed", "failed_cost": "0.40"}, Ending.FAILED, 400_000),
        ({"end": "cancelled"}, Ending.CANCELLED, None),
        ({"end": "cancelled", "record_cancelled": "cancelled"}, Ending.CANCELLED, None),
        ({"cost_after_s": 60.0}, Ending.VIDEO, None),
        ({"cost": "3.2000001"}, Ending.VIDEO, 3_200_000),
        ({"cost": "0"}, Ending.VIDEO, 0),
    ],
)
async def test_every_end_is_read(lab: Lab, switches: Json, ending: Ending, cost_u: int | None) -> None:
    """Each end of a run, in both spellings of the record, with what it cost in whole micro-dollars."""
    for keys in ("code", "plain"):
        lab.box.next_run(record_keys=keys, **switches)
        seen = await lab.client.read(await lab.bought(a_run(run_id=keys)))
        assert seen is not None
        assert (seen.ending, seen.cost_u) == (ending, cost_u)
        assert seen.client_ref == f"veo-{keys}"


async def test_a_run_on_its_way_has_no_end(tmp_path: Path) -> None:
    """Queued, dispatching, running and a status nobody has heard of are all: not over."""
    async with laboratory(tmp_path, queue_s=10.0, run_s=100.0) as lab:
        ids = [await lab.bought(a_run(run_id="first"))]
        lab.box.next_run(odd_status="reticulating")
        ids.append(await lab.bought(a_run(run_id="second")))
        seen = []
        for seconds in (0, 10, 50):
            lab.box.clock.advance(seconds)
            for provider_id in ids:
                observed = await lab.client.read(provider_id)
                assert observed is not None
                assert observed.ending is None
                seen.append(observed.status)
        assert seen == ["queued", "queued", "dispatching", "dispatching", "running", "reticulating"]


async def test_seed_duration_and_failure_are_read(tmp_path: Path) -> None:
    """The used seed and the time it took come from a success, code and words from a failure."""
    async with laboratory(tmp_path, run_s=61.25) as lab:
        done = await lab.bought(a_run(VeoRequest(prompt="x", seed=7), run_id="done"))
        lab.box.next_run(end="policy")
        broken = await lab.bought(a_run(run_id="broken"))
        lab.box.clock.advance(100)
        success, failure = await lab.client.read(done), await lab.client.read(broken)
        assert success is not None
        assert (success.seed_used, success.took_ms, success.failure_code) == (7, 61_250, None)
        assert failure is not None
        assert failure.failure_code == "PROVIDER_ERROR"
        assert "usage guidelines" in str(failure.failure_message)


@pytest.mark.parametrize(
    ("cost", "cost_u"),
    [
        ('"3.20"', 3_200_000), ("3", 3_000_000), ("3.2", 3_200_000), ("0.1234565", 123_457), ('"0.0000004"', 0),
        ("0", 0), ('"4.800000"', 4_800_000), ("1000000000", COST_MAX_U),
        ("null", None), ('"-1"', None), ("-0.01", None), ('"abc"', None), ('""', None), ('"NaN"', None),
        ("NaN", None), ("Infinity", None), ('"-Infinity"', None), ("true", None), ("[3.2]", None), ("{}", None),
        ('"$3.20"', None), ('"3,20"', None), ("1000000001", None), ('"1e999999999"', None), ('"sNaN"', None),
    ],
)  # fmt: skip
async def test_a_cost_is_exact_or_not_named(cost: str, cost_u: int | None) -> None:
    """Text or number, rounded at the micro-dollar; what is no amount of dollars counts as not said."""
    body = json.dumps(a_record(cost="COST")).replace('"COST"', cost).encode()
    async with replying(reply(200, body)) as server, connected(server.url) as client:
        seen = await client.read(ID)
    assert seen is not None
    assert (seen.cost_u, seen.ending) == (cost_u, Ending.VIDEO)


@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_run_that_cannot_be_read_is_unreadable(lab: Lab, fault: Any) -> None:
    """A bad moment of Runflow is no news about the run, and the next reading is right again."""
    provider_id = await lab.bought()
    lab.box.switches.read, lab.box.switches.read_fault_times = fault, 100
    with pytest.raises(Unreadable):
        await lab.client.read(provider_id)
    lab.box.switches.read = ""
    seen = await lab.client.read(provider_id)
    assert seen is not None
    assert seen.ending == Ending.VIDEO


async def test_a_silent_runflow_is_unreadable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading gives up after its time."""
    provider_id = await lab.bought()
    monkeypatch.setattr(runflow, "READ_TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    lab.box.switches.read = lab.box.switches.list_fault = "timeout"
    with pytest.raises(Unreadable):
        await lab.client.read(provider_id)
    with pytest.raises(Unreadable):
        await lab.client.find(REF)


async def test_reading_waits_as_long_as_it_is_told(lab: Lab) -> None:
    """A 429 on a read carries its `Retry-After` along, up to two minutes."""
    provider_id = await lab.bought()
    lab.box.switches.read_429, lab.box.switches.retry_after = 1, "600"
    for _ in range(2):
        with pytest.raises(Unreadable) as told:
            await lab.client.read(provider_id)
        assert told.value.wait_s == pytest.approx(120.0, abs=1.0)
    assert lab.asked(f"/v1/runs/{provider_id}") == 1


async def test_a_run_that_runflow_does_not_know_is_none(lab: Lab) -> None:
    """404 is an answer, and an id that cannot be one is not even asked for."""
    assert await lab.client.read(ID) is None
    assert lab.asked("/v1/runs/") == 1
    for odd in ("", ".", "..", "a/b", "a?b", "a b", "é", "a" * 101, "a\n"):
        assert await lab.client.read(odd) is None
    assert lab.asked("/v1/") == 1


async def test_a_redirected_reading_is_not_followed(lab: Lab) -> None:
    """The key is not carried to wherever Runflow's address redirects to."""

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{lab.box.url}/v1/runs/{ID}"})

    async with serving(redirect) as server, connected(server.url) as client:
        with pytest.raises(Unreadable):
            await client.read(ID)
    assert lab.box.received == []


# Finding.


@pytest.mark.parametrize(("names", "status"), [("next", 400), ("next_pq", 422)])
@pytest.mark.parametrize("understood", ["both", "eq", "plain", "none", "ignored"])
async def test_our_runs_are_found_whatever_filter_is_understood(
    lab: Lab, understood: Any, names: Any, status: Any
) -> None:
    """Exactly the runs with our reference, oldest first, also where the filter is refused or ignored."""
    lab.box.switches.list_filter, lab.box.switches.cursor_names = understood, names
    lab.box.switches.list_filter_status = status
    first = await lab.bought()
    for other in ("abc2345", "abc23", "ABC234"):
        await lab.bought(a_run(run_id=other))
    lab.box.clock.advance(1)
    second = await lab.bought()
    assert [seen.provider_id for seen in await lab.client.find(REF)] == [first, second]
    assert await lab.client.find("veo-nobody") == []


async def test_a_list_that_lags_is_empty_and_then_right(lab: Lab) -> None:
    """Not listed yet is an empty answer, not an error; later the run is there."""
    lab.box.switches.list_lag_s = 30.0
    provider_id = await lab.bought()
    assert await lab.client.find(REF) == []
    lab.box.clock.advance(30)
    assert [seen.provider_id for seen in await lab.client.find(REF)] == [provider_id]


@pytest.mark.parametrize("understood", ["both", "none"])
@pytest.mark.parametrize("fault", ["408", "409", "500", "502", "503", "504", "reset", "truncated", "no-body"])
async def test_a_list_that_fails_proves_nothing(lab: Lab, understood: Any, fault: Any) -> None:
    """An answer that is no list is never taken for an empty one."""
    await lab.bought()
    lab.box.switches.list_fault, lab.box.switches.list_filter = fault, understood
    with pytest.raises(Unreadable):
        await lab.client.find(REF)


async def test_a_second_list_that_fails_proves_nothing(lab: Lab) -> None:
    """Where the filter is refused and then listing is too, nothing was learnt."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=422 if "q" in request.query else 429, headers={"Retry-After": "9"})

    async with serving(refuse) as server, connected(server.url) as client:
        with pytest.raises(Unreadable) as told:
            await client.find(REF)
        assert told.value.wait_s == 9.0
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("said", "inference", "took_ms"),
    [
        (63_500, 61_250, 63_500), (None, 61_250, 61_250), (-5000, 61_250, 61_250), (-5000, -1, None), (0, None, None),
        (10**12, 61_250, 61_250), (10**12, 2**62, None), (True, "x", None), ("-1", [], None),
        (604_800_000, None, 604_800_000),
    ],
)  # fmt: skip
def test_a_duration_that_cannot_be_is_left_out(said: object, inference: object, took_ms: int | None) -> None:
    """Nothing takes less than no time, or longer than a week."""
    record = a_record(duration_ms=said)
    record["output"]["timing"] = {"inference_ms": inference}
    seen = observe(record)
    assert seen is not None
    assert seen.took_ms == took_ms


@pytest.mark.parametrize(
    ("where", "code", "message"),
    [
        ({"failure_code": "A", "failure_message": "a real person"}, "A", "a real person"),
        ({"failure_message": [{"msg": "a real person", "type": "policy"}]}, "policy", "a real person"),
        ({"failure_message": ["a real person", {"detail": "and a child"}]}, None, "a real person; and a child"),
        ({"failure_message": {"detail": [{"loc": ["prompt"], "msg": "a real person"}]}}, None, "a real person"),
        ({"failure_message": {"text": "a real person"}}, None, "a real person"),
        ({"failure_message": None, "error": {"code": "A", "message": "a real person"}}, "A", "a real person"),
        ({"failure_message": "", "error": "a real person"}, None, "a real person"),
        ({"failure_code": "A", "errors": [{"message": "a real person"}]}, "A", "a real person"),
        ({"detail": [{"msg": "a real person", "type": "content_policy_violation", "url": "x"}]},
         "content_policy_violation", "a real person"),
        ({"output": {"error": {"code": "A", "message": "a real person"}}}, "A", "a real person"),
        ({"failure_message": '{"detail":"a real person","error_type":"bad_request"}'}, None, "a real person"),
        ({"failure_message": 7, "error": [], "errors": {}, "detail": [[[[[[[["x"]]]]]]]]}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_reason_of_a_failed_run_is_found(where: Json, code: str | None, message: str | None) -> None:
    """A text, a list or an object, in any of the places where APIs put it, is one line of words."""
    seen = observe({"id": ID, "status_code": "failed", "output": None} | where)
    assert seen is not None
    assert (seen.ending, seen.failure_code, seen.failure_message) == (Ending.FAILED, code, message)


@pytest.mark.parametrize("key", ["status_code", "status"])
@pytest.mark.parametrize(
    ("word", "ending"),
    [*((word, kinds) for word, kinds in ENDINGS.items()), ("queued", {None}), ("dispatching", {None})],
)
def test_a_status_is_the_same_word_in_any_capitals(key: str, word: str, ending: set[Ending | None]) -> None:
    """The end does not hang on the spelling, and what is kept of the status is one spelling."""
    for spelled in (word.upper(), word.title(), f" {word.capitalize()}\n"):
        record = a_record(**{key: spelled})
        if key == "status":
            del record["status_code"]
        seen = observe(record)
        assert seen is not None
        assert seen.status == word
        assert seen.ending in ending


ODD_FLAGS: list[tuple[object, str]] = [
    ("true", "str true"), ("True", "str True"), ("false", "str false"), ("", "str"), ("no\nERROR forged", "str"),
    ("\u202eeslaf", "str"), (0, "int 0"), (1, "int 1"), (0.25, "Decimal 0.25"), ([], "list"), ([False], "list"),
    ({}, "dict"), ({"nsfw_detected": False}, "dict"), (float("nan"), "Decimal NaN"),
]  # fmt: skip


@pytest.mark.parametrize(("flag", "told"), ODD_FLAGS)
@pytest.mark.parametrize("place", ["output", "entry", "record"])
async def test_only_false_and_null_let_a_clip_through(
    flag: object, told: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other form of `nsfw_detected` holds it back, is told to the operator in one line, and gives no link."""
    record = a_record()
    where = {"output": record["output"], "entry": record["output"]["outputs"][0], "record": record}[place]
    where["nsfw_detected"] = flag
    async with replying(reply(200, json.dumps(record).encode())) as server, connected(server.url) as client:
        seen = await client.read(ID)
        assert seen is not None
        assert seen.ending == Ending.NSFW
        (line,) = caplog.records
        assert line.levelno == logging.ERROR
        assert line.msg == {"event": "clip withheld: undocumented nsfw_detected", "provider_id": ID, "value": told}
        with pytest.raises(ClipUnavailable):
            await client.link(ID)


@pytest.mark.parametrize(("flag", "ending"), [(True, Ending.NSFW), (False, Ending.VIDEO), (None, Ending.VIDEO)])
async def test_a_documented_flag_is_no_news(flag: object, ending: Ending, caplog: pytest.LogCaptureFixture) -> None:
    """True, false and null mean what the model page says, without a word to the operator."""
    record = a_record()
    record["output"]["nsfw_detected"] = flag
    async with replying(reply(200, json.dumps(record).encode())) as server, connected(server.url) as client:
        seen = await client.read(ID)
    assert seen is not None
    assert (seen.ending, caplog.records) == (ending, [])


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([a_record()], [ID]),
        ({"items": [a_record()]}, [ID]),
        ({"data": [a_record()], "next_pq": None}, [ID]),
        ({"items": [1, None, "x", [], {}, {"id": None}, {"client_ref": REF}, a_record()]}, [ID]),
        ({"items": [a_record(client_ref=None, metadata={"client_ref": REF})]}, [ID]),
        ({"items": [a_record(client_ref="veo-other", metadata={"client_ref": REF})]}, []),
        ({"items": [a_record(client_ref=[REF], metadata=[REF])]}, []),
        ({"items": []}, []),
        ([a_record(client_ref="veo-other", metadata=None)] * 99, []),
        ([a_record(client_ref="veo-other", metadata=None)] * 100, None),
        ([a_record(client_ref="veo-other", metadata=None)] * 99 + [a_record()], [ID]),
        (
            {"items": [a_record(id="b", created_at="2026-01-15T10:00:01Z"),
                       a_record(id="a", created_at="2026-01-15T10:00:00.5+00:00")]},
            ["a", "b"],
        ),
        ({"items": None}, None),
        ({"items": {}}, None),
        ({}, None),
        (None, None),
        ("items", None),
    ],
)  # fmt: skip
async def test_both_forms_of_a_list_are_read(body: object, found: list[str] | None) -> None:
    """A bare array or a page; entries that are none are passed over; a full page without ours is no empty list."""
    async with replying(reply(200, json.dumps(body).encode())) as server, connected(server.url) as client:
        if found is None:
            with pytest.raises(Unreadable):
                await client.find(REF)
        else:
            assert [seen.provider_id for seen in await client.find(REF)] == found


@pytest.mark.parametrize(
    "more",
    [
        {"next": "abc"}, {"next_pq": "abc"}, {"next_cursor": "abc"}, {"nextCursor": "abc"}, {"has_more": True},
        {"hasMore": "true"}, {"cursor": "abc"}, {"next_page_token": "abc"}, {"next_page": 2}, {"truncated": True},
        {"meta": {"next_cursor": "abc"}}, {"pagination": {"has_next": True}}, {"links": {"next": {"href": "/v1/x"}}},
        {"pageInfo": {"hasNextPage": True, "endCursor": "abc"}}, {"has_more": True, "next": None},
    ],
)  # fmt: skip
async def test_a_list_that_goes_on_is_no_empty_one(more: Json) -> None:
    """A page without our run proves nothing where more of it is announced; with our run it is as good as any."""
    for entries, ours in (
        ([], False),
        ([a_record(client_ref="veo-other", metadata=None)], False),
        ([a_record()], True),
    ):
        body = json.dumps({"items": entries} | more).encode()
        async with replying(reply(200, body)) as server, connected(server.url) as client:
            if ours:
                assert len(await client.find(REF)) == 1
            else:
                with pytest.raises(Unreadable):
                    await client.find(REF)


@pytest.mark.parametrize(
    "end",
    [
        {"next": None}, {"next_pq": ""}, {"next_cursor": False}, {"has_more": False}, {"hasMore": "false"},
        {"has_more": False, "cursor": "of this page"}, {"pageInfo": {"hasNextPage": False, "endCursor": "abc"}},
        {"next": []}, {"first": "abc", "previous": "abc", "prev_pq": "abc"}, {"links": {"self": "x", "next": None}},
    ],
)  # fmt: skip
async def test_a_list_that_ends_is_an_empty_one(end: Json) -> None:
    """Where nothing more is announced the look-up was clean."""
    async with (
        replying(reply(200, json.dumps({"items": []} | end).encode())) as server,
        connected(server.url) as client,
    ):
        assert await client.find(REF) == []


async def test_a_list_whose_header_links_on_is_no_empty_one() -> None:
    """RFC 8288, as lists of bare arrays do it."""
    answer = reply(200, b"[]", 'Link: <https://a.example/v1/runs?page=2>; rel="next"')
    async with replying(answer) as server, connected(server.url) as client:
        with pytest.raises(Unreadable):
            await client.find(REF)


# Any answer at all.

_TEXTS = st.sampled_from(
    [*ENDINGS, "queued", "running", "Succeeded", "FAILED", " failed ", "", "video", "image", "https://cdn.example/1.mp4?s=1",
     "http://10.0.0.1/x", "ftp://x", "javascript:1", ID, REF, "3.20", "-1", "9e999999", "1e-9", "NaN", "\ud800",
     "\x00\n"]
) | st.text(max_size=20)  # fmt: skip
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | st.sampled_from([2**63, -(2**63), 10**30])
_KEYS = st.sampled_from(["outputs", "url", "type", "video", "nsfw_detected", "seed", "timing", "inference_ms", "code"])
ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
OUTPUTS = ANYTHING | st.fixed_dictionaries(
    {},
    optional={
        "outputs": st.lists(
            ANYTHING | st.fixed_dictionaries({}, optional={"url": _TEXTS, "type": _SCALARS}), max_size=3
        ),
        "nsfw_detected": st.sampled_from([True, False, None]) | _SCALARS,
        "seed": _SCALARS,
        "url": _SCALARS,
        "video": ANYTHING,
        "timing": ANYTHING,
    },
)
RECORDS = st.fixed_dictionaries(
    {"id": st.just(ID) | _SCALARS},
    optional={
        "status_code": st.sampled_from(sorted(ENDINGS)) | ANYTHING,
        "status": st.sampled_from(sorted(ENDINGS)) | ANYTHING,
        "output": OUTPUTS,
        "cost": ANYTHING,
        "client_ref": ANYTHING,
        "metadata": ANYTHING,
        "error": ANYTHING,
        "errors": ANYTHING,
        "detail": ANYTHING,
        "duration_ms": ANYTHING,
        "failure_code": ANYTHING,
        "failure_message": ANYTHING,
        "request_id": ANYTHING,
        "created_at": ANYTHING,
    },
)


def holds_back(record: Json) -> bool:
    """Whether a flag of the record, its output or one of its entries says anything but false and null."""
    output = record.get("output")
    entries = output.get("outputs") if isinstance(output, dict) else None
    places = [record, output, *(entries if isinstance(entries, list) else [])]
    flags = [place.get("nsfw_detected") for place in places if isinstance(place, dict)]
    return any(json.dumps(flag) not in ("null", "false") for flag in flags)


def check_observation(record: Json) -> None:
    """Whatever a record says, what is made of it is an end only where the documented words say so."""
    seen = observe(record)
    if seen is None:
        return
    assert seen.ending is None if seen.status not in ENDINGS else seen.ending in ENDINGS[seen.status]
    for name in ("status", "status_code"):
        said = record.get(name)
        if isinstance(said, str) and said in ENDINGS and ("status_code" not in record or name == "status_code"):
            assert seen.status == said.lower()
    output = record.get("output") if isinstance(record.get("output"), dict) else {}
    assert isinstance(output, dict)
    if seen.status in ("succeeded", "partial_succeeded"):
        flagged = holds_back(record)
        assert (seen.ending == Ending.NSFW) == flagged
        address = runflow.clip_address(record)
        assert (seen.ending == Ending.EMPTY) == (address is None and not flagged)
        assert address is None or address.startswith(("http://", "https://"))
    assert seen.cost_u is None or 0 <= seen.cost_u <= COST_MAX_U
    for number in (seen.seed_used, seen.took_ms):
        assert number is None or (type(number) is int and -(2**63) < number < 2**63)
    for text in (seen.status, seen.client_ref, seen.failure_code, seen.failure_message, seen.request_id):
        assert text is None or (text and text.isprintable() and len(text) <= 1000)


def test_any_record_read_over_tcp_is_an_observation_or_unreadable() -> None:
    """Records of any shape, whole lists of them, and a POST answered with them: never another exception."""
    answer = b""

    async def say(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(serving(say)))
        client = runner.run(stack.enter_async_context(connected(server.url)))

        async def ask() -> None:
            for question in (client.read(ID), client.find(REF)):
                with suppress(Unreadable):
                    await question
            assert isinstance(await client.submit(a_run()), Accepted | Unclear)

        @settings(max_examples=120, deadline=None)
        @given(record=RECORDS)
        @example(record={"id": ID, "cost": "9e999999"})
        @example(
            record={"id": ID, "status_code": "succeeded", "output": {"outputs": [{"url": "https://a/", "type": 1}]}}
        )
        def of_any_record(record: Json) -> None:
            nonlocal answer
            check_observation(record)
            answer = json.dumps([record] if len(record) % 3 == 0 else record).encode()
            runner.run(ask())

        @settings(max_examples=60, deadline=None)
        @given(body=st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps(value).encode()))
        @example(body=b'{"items":[{"id":"a","client_ref":"veo-abc234","cost":1e9999999999999999999}]}')
        def of_any_bytes(body: bytes) -> None:
            nonlocal answer
            answer = body
            runner.run(ask())

        try:
            of_any_record()
            of_any_bytes()
        finally:
            runner.run(stack.aclose())


# The key.


async def test_a_refused_key_is_told_and_not_shown(lab: Lab) -> None:
    """401 and 403 stop the start with a sentence that names the setting; a good key passes."""
    await lab.client.check_key()
    for status in ("401", "403"):
        lab.box.switches.auth = status
        with pytest.raises(SettingsError, match="RUNFLOW_API_KEY") as told:
            await lab.client.check_key()
        assert status in str(told.value)
        assert KEY not in str(told.value)


async def test_an_outage_does_not_stop_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """A Runflow that cannot be reached says nothing about the key."""
    async with connected(f"http://127.0.0.1:{free_port()}") as client:
        with caplog.at_level(logging.WARNING):
            await client.check_key()
    assert "cannot be reached" in caplog.text
    assert KEY not in caplog.text


# Clips.


async def test_a_clip_comes_whole_and_without_the_key(lab: Lab) -> None:
    """The file on disk is the file of the host, under its own name only; the key goes to the API alone."""
    provider_id = await lab.bought()
    assert await lab.fetched(provider_id) == STORED.read_bytes()
    files = [each for each in lab.box.received if each.path.startswith("/files/")]
    assert len(files) == 1
    assert "Authorization" not in files[0].headers
    assert files[0].headers["Accept-Encoding"] == "identity"
    assert all(each.headers["Authorization"] == "***" for each in lab.box.received if each.path.startswith("/v1/"))


async def test_a_link_is_freshly_signed(lab: Lab) -> None:
    """Each link is read from the run anew; a run without a clip has none."""
    provider_id = await lab.bought()
    links = {await lab.client.link(provider_id) for _ in range(3)}
    assert len(links) == 3
    lab.box.next_run(end="empty")
    empty = await lab.bought(a_run(run_id="empty"))
    for without in (empty, ID):
        with pytest.raises(ClipUnavailable):
            await lab.client.link(without)


@pytest.mark.parametrize(
    ("output", "address"),
    [
        ({"outputs": [{"url": "https://a/1"}]}, "https://a/1"),
        ({"outputs": [{"type": "image", "url": "https://a/x"}, {"type": "video", "url": "https://a/2"}]}, "https://a/2"),
        ({"outputs": [{"type": "video", "url": None}, {"type": None, "url": "https://a/3"}]}, "https://a/3"),
        ({"outputs": [7, None, "https://a/x", [], {}, {"url": "https://a/4", "width": "?"}]}, "https://a/4"),
        ({"outputs": None, "video": {"url": "https://a/5"}}, "https://a/5"),
        ({"url": "https://a/6", "video": "https://a/x"}, "https://a/6"),
        ({"outputs": [{"type": "image/png", "url": "https://a/x"}, {"type": "video/mp4", "url": "https://a/7"}]}, "https://a/7"),
        ({"outputs": [{"type": "VIDEO", "url": "https://a/8"}]}, "https://a/8"),
        ({"outputs": [{"type": " Video/WebM; codecs=vp9", "url": "HTTPS://a/9"}]}, "HTTPS://a/9"),
        ({"outputs": [{"type": "", "url": "https://a/10"}]}, "https://a/10"),
        ({"outputs": [{"type": "video_thumbnail", "url": "https://a/x"}, {"type": 1, "url": "https://a/x"}]}, None),
        ({"outputs": [{"type": "audio", "url": "https://a/x"}]}, None),
        ({"outputs": [{"type": "video", "url": "ftp://a/x"}]}, None),
        ({"outputs": "https://a/x"}, None),
        ({"outputs": []}, None),
        ([], None),
        (None, None),
    ],
)  # fmt: skip
async def test_the_clip_is_the_first_output_that_may_be_a_video(output: object, address: str | None) -> None:
    """A video or an entry without a type, else the older places; without one the success is an empty one."""
    body = json.dumps(a_record(output=output, surplus={"keys": [1]})).encode()
    async with replying(reply(200, body)) as server, connected(server.url) as client:
        seen = await client.read(ID)
        assert seen is not None
        assert seen.ending == (Ending.VIDEO if address else Ending.EMPTY)
        if address:
            assert await client.link(ID) == address
        else:
            with pytest.raises(ClipUnavailable):
                await client.link(ID)


async def test_a_large_clip_is_streamed(lab: Lab) -> None:
    """60 MB pass through a few MB of memory, the host's own included."""
    lab.box.switches.file_bytes = 60 * MEGABYTE
    provider_id = await lab.bought()
    tracemalloc.start()
    try:
        path = lab.folder / "veo-large.mp4"
        await lab.client.fetch(provider_id, path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 60 * MEGABYTE
    assert peak < 8 * MEGABYTE


async def test_a_clip_above_the_cap_is_refused(tmp_path: Path) -> None:
    """One byte more than CLIP_MAX_MB is too much, and nothing stays on disk; exactly as much is taken."""
    async with laboratory(tmp_path, clip_bytes_max=MEGABYTE) as lab:
        lab.box.switches.file_bytes = MEGABYTE
        provider_id = await lab.bought()
        assert len(await lab.fetched(provider_id)) == MEGABYTE
        (tmp_path / "media" / "veo-abc234.mp4").unlink()
        lab.box.switches.file_bytes = MEGABYTE + 1
        with pytest.raises(ClipUnavailable, match="CLIP_MAX_MB"):
            await lab.client.fetch(provider_id, tmp_path / "media" / "veo-abc234.mp4")
        assert left_in(tmp_path) == []


async def test_a_clip_without_end_is_cut_off(tmp_path: Path) -> None:
    """The cap counts what arrives, so that a host without Content-Length cannot fill the disk."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(65536))
        except ConnectionError:
            return response

    with pytest.raises(ClipUnavailable, match="CLIP_MAX_MB"):
        await fetched_from(tmp_path, endless, clip_bytes_max=2 * MEGABYTE)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("fault", ["truncated", "short", "html", "zero"])
async def test_half_a_clip_is_none(lab: Lab, fault: Any) -> None:
    """A file that is cut, empty or no film is a failed try that leaves nothing; the next one may succeed."""
    lab.box.switches.download, lab.box.switches.download_fault_times = fault, 1
    provider_id = await lab.bought()
    with pytest.raises(ClipUnavailable):
        await lab.client.fetch(provider_id, lab.folder / "media" / "veo-abc234.mp4")
    assert left_in(lab.folder) == []
    assert await lab.fetched(provider_id) == STORED.read_bytes()


async def test_a_stalled_clip_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that falls silent is left after the idle time, with nothing on disk."""
    monkeypatch.setattr(runflow, "FILE_TIMEOUT", aiohttp.ClientTimeout(total=5, sock_read=0.1))
    lab.box.switches.download = "stall"
    with pytest.raises(ClipUnavailable):
        await lab.client.fetch(await lab.bought(), lab.folder / "veo-abc234.mp4")
    assert left_in(lab.folder) == []


async def test_a_cancelled_download_leaves_nothing(lab: Lab) -> None:
    """A bot that stops in the middle of a download cleans up behind itself."""
    lab.box.switches.download = "stall"
    fetching = asyncio.create_task(lab.client.fetch(await lab.bought(), lab.folder / "veo-abc234.mp4"))
    async with asyncio.timeout(5):
        while not any(path.stat().st_size for path in left_in(lab.folder)):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.005)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert left_in(lab.folder) == []


@pytest.mark.parametrize("fault", ["expired", "403", "404", "410"])
@pytest.mark.parametrize("refused", range(NEW_ADDRESSES_MAX + 1))
async def test_an_expired_address_is_asked_for_anew(lab: Lab, fault: Any, refused: int) -> None:
    """The run is read again for a fresh address, three times in all; then the try is over."""
    lab.box.switches.url_fault, lab.box.switches.url_fault_times = fault, refused
    provider_id = await lab.bought()
    if refused < NEW_ADDRESSES_MAX:
        assert await lab.fetched(provider_id) == STORED.read_bytes()
    else:
        with pytest.raises(ClipUnavailable, match="refused"):
            await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
        assert left_in(lab.folder) == []
    asked = min(refused + 1, NEW_ADDRESSES_MAX)
    assert (lab.asked("/files/"), lab.asked("/v1/runs/")) == (asked, asked)


async def test_a_run_that_cannot_be_read_leaves_nothing(lab: Lab) -> None:
    """Where no address can be had, the error says so and the disk is untouched."""
    provider_id = await lab.bought()
    lab.box.switches.read, lab.box.switches.read_fault_times = "503", 100
    with pytest.raises(Unreadable):
        await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
    assert left_in(lab.folder) == []


@pytest.mark.parametrize("place", ["media", "media/veo-abc234.mp4"])
async def test_a_disk_that_does_not_take_it_is_told(lab: Lab, place: str) -> None:
    """A folder that cannot be made, or a name that is taken by one, is the promised error and no other."""
    provider_id = await lab.bought()
    if place == "media":
        (lab.folder / "media").write_text("a file where the folder should be")
    else:
        (lab.folder / place / "inside").mkdir(parents=True)
    before = left_in(lab.folder)
    with pytest.raises(ClipNotKept, match=r"^the disk of MEDIA_DIR does not take it \("):
        await lab.client.fetch(provider_id, lab.folder / "media" / "veo-abc234.mp4")
    assert left_in(lab.folder) == before


# Where a clip may be fetched from.


async def fetched_from(
    folder: Path,
    file: Handler,
    address: str = "{own}/clip.mp4?X-Sig=abc",
    *,
    clip_bytes_max: int = 10 * MEGABYTE,
    outside: AbstractAsyncContextManager[aiohttp.ClientSession] | None = None,
) -> Server:
    """Fetch a clip from a Runflow that names `address` for it and answers everything else by `file`."""

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
            client = Runflow(
                api_url=server.url,
                api_key=KEY,
                public_url=None,
                clip_bytes_max=clip_bytes_max,
                reading=await stack.enter_async_context(aiohttp.ClientSession()),
                submitting=await stack.enter_async_context(aiohttp.ClientSession()),
                outside=await stack.enter_async_context(outside),
            )
        await client.fetch(ID, folder / "veo-abc234.mp4")
        return server


async def the_clip(_: web.Request) -> web.Response:
    return web.Response(body=STORED.read_bytes(), content_type="video/mp4")


async def no_such_place(_: web.Request) -> web.Response:
    return web.Response(status=500)


def redirecting(location: str, times: int = 1000) -> Handler:
    """A file host that sends its first visitors on to `location`."""
    left = times

    async def answer(request: web.Request) -> web.Response:
        nonlocal left
        left -= 1
        if left < 0:
            return await the_clip(request)
        return web.Response(status=302, headers={"Location": location.format(own=str(request.url.origin()))})

    return answer


@pytest.mark.parametrize("location", ["/moved.mp4?s=1", "{own}/moved.mp4?s=1", "moved.mp4", "?again=1"])
async def test_redirects_within_runflow_are_followed_a_few_times(tmp_path: Path, location: str) -> None:
    """Up to three redirects lead to the clip, relative or absolute; a fourth is one too many."""
    server = await fetched_from(tmp_path, redirecting(location, REDIRECTS_MAX))
    assert (tmp_path / "veo-abc234.mp4").read_bytes() == STORED.read_bytes()
    assert len(server.requests) == 1 + REDIRECTS_MAX + 1
    (tmp_path / "veo-abc234.mp4").unlink()
    with pytest.raises(ClipUnavailable, match="redirects too often"):
        await fetched_from(tmp_path, redirecting(location, REDIRECTS_MAX + 1))
    assert left_in(tmp_path) == []


async def test_the_sandboxs_redirects_are_judged(lab: Lab) -> None:
    """On its own host a redirect is followed; into the private network it is not."""
    provider_id = await lab.bought()
    lab.box.switches.url_place = "redirect"
    assert await lab.fetched(provider_id) == STORED.read_bytes()
    (lab.folder / "media" / "veo-abc234.mp4").unlink()
    for place in ("redirect-private", "private", "plain"):
        lab.box.switches.url_place = place
        with pytest.raises(ClipUnavailable, match="neither public https nor Runflow's own"):
            await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
        assert left_in(lab.folder) == []


PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "169.254.1.1", "100.64.0.1", "100.127.255.254", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "64:ff9b::a00:1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1",
    "192.0.0.192", "192.0.0.8",  # protocol assignments (RFC 6890), one of them a cloud's metadata service
    "64:ff9b:1:a00:0:100::", "64:ff9b:1:a:0:1::", "64:ff9b:1:0:a:0:800:0",  # after 48, 56 and 64 bits
    "64:ff9b::", "64:ff9b:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo of 10.0.0.1
    "64:ff9b:1::a00:1",  # the translation prefix for local use (RFC 8215)
    "::127.0.0.1", "::a9fe:a9fe",  # IPv4-compatible (RFC 4291, 2.5.5.1)
    "::ffff:0:7f00:1",  # IPv4-translated (RFC 2765)
    "fec0::1",  # site-local (RFC 3879)
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_the_network_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, metadata, multicast, reserved: also in the dress of IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::808:808",
        "64:ff9b:1:ffff::808:808",
        "64:ff9b:1:808:8:800::",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
    ],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    """What is routed on the Internet may be fetched from."""
    assert is_public(address)


async def test_no_literal_address_inside_the_network_is_fetched_from(tmp_path: Path) -> None:
    """https does not make a private address public, neither as the clip's address nor as a redirect's."""
    for host in PRIVATE:
        if "%" in host:
            continue
        address = f"https://{f'[{host}]' if ':' in host else host}/clip.mp4"
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable, match="neither public https"):
                await fetched_from(tmp_path, file, named)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1",
     "127.0.0.1.", "0", "0.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "user:pw@127.0.0.1",
     "１２７.0.0.1", "127。0。0。1"],
)  # fmt: skip
async def test_no_spelling_of_this_machine_is_connected_to(tmp_path: Path, host: str) -> None:
    """By number, by name or in an odd notation: not one connection is opened to ourselves."""
    async with replying(b"") as inside:
        address = f"https://{host}:{inside.port}/clip.mp4"
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable):
                await fetched_from(tmp_path, file, named)
        assert inside.connections == 0
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:{port}/x.mp4", "http://localhost:{port}/x.mp4", "http://[::1]:{port}/x", "http://1.1.1.1/x",
     "http://cdn.runflow.io/x.mp4"],
)  # fmt: skip
async def test_plain_http_is_for_runflows_own_address_alone(tmp_path: Path, address: str) -> None:
    """Another port or host by plain http is refused, directly and by redirect, without a connection."""
    async with replying(b"") as other:
        address = address.format(port=other.port)
        for named, file in ((address, the_clip), ("{own}/clip.mp4", redirecting(address))):
            with pytest.raises(ClipUnavailable, match="neither public https"):
                await fetched_from(tmp_path, file, named)
        assert other.connections == 0


class SystemNames:
    """Answers for the operating system's resolver."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        kinds = {True: socket.AF_INET6, False: socket.AF_INET}
        ends = {True: ("", 0, 0, 0), False: ("",)}
        return [
            (kinds[":" in each], socket.SOCK_STREAM, 6, "", (each, port, *ends[":" in each][2:]))
            for each in self._addresses
        ]


async def test_a_name_with_only_private_addresses_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads inside is refused; of a mixed answer only the public addresses are connected to."""
    resolver = PublicResolver()
    monkeypatch.setattr(socket, "getaddrinfo", SystemNames("10.0.0.1", "169.254.169.254", "127.0.0.1"))
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve("inside.example", 443)
    monkeypatch.setattr(socket, "getaddrinfo", SystemNames("10.0.0.1", "8.8.8.8", "192.168.0.1"))
    assert [each["host"] for each in await resolver.resolve("mixed.example", 443)] == ["8.8.8.8"]
    await resolver.close()


class Internet(AbstractResolver):
    """Name service of a tiny Internet: every name that ends in `.example` is served by this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if not host.endswith(".example"):
            raise OSError("no such name")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held open."""


def anonymous_tls(side: int) -> ssl.SSLContext:
    """TLS without certificates, so that a test needs none; only what travels inside is of interest."""
    context = ssl.SSLContext(side)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def on_the_internet() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(resolver=Internet(), ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT))
    return aiohttp.ClientSession(connector=connector)


async def test_a_public_file_host_never_sees_the_key(tmp_path: Path) -> None:
    """From https elsewhere the clip comes, also over a redirect to a second host, and no header carries the key."""

    async def cdn_answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/second":
            return await the_clip(request)
        return web.Response(status=302, headers={"Location": f"https://second.example:{request.url.port}/second"})

    async with serving(cdn_answer, tls=anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as cdn:
        address = f"https://first.example:{cdn.port}/first?X-Sig=1"
        await fetched_from(tmp_path, no_such_place, address, outside=on_the_internet())
    assert (tmp_path / "veo-abc234.mp4").read_bytes() == STORED.read_bytes()
    assert [request.host.partition(":")[0] for request in cdn.requests] == ["first.example", "second.example"]
    for request in cdn.requests:
        assert "Authorization" not in request.headers
        assert KEY not in str(request.headers)


@pytest.mark.parametrize(
    "location",
    ["https://10.0.0.1/x", "http://second.example/x", "https://[::1]/x", "//127.0.0.1/x", "file:///etc/passwd"],
)
async def test_a_public_file_host_cannot_lead_inside(tmp_path: Path, location: str) -> None:
    """Each redirect is checked again, whoever gives it."""
    async with serving(redirecting(location), tls=anonymous_tls(ssl.PROTOCOL_TLS_SERVER)) as cdn:
        address = f"https://first.example:{cdn.port}/first"
        with pytest.raises(ClipUnavailable, match="neither public https"):
            await fetched_from(tmp_path, no_such_place, address, outside=on_the_internet())
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_file_host_that_always_refuses_is_given_up(tmp_path: Path, status: int) -> None:
    """Every status that may mean an expired address is tried three times and no more."""
    tries = 0

    async def refuse(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.Response(status=status)

    with pytest.raises(ClipUnavailable, match="refused"):
        await fetched_from(tmp_path, refuse)
    assert tries == NEW_ADDRESSES_MAX


@pytest.mark.parametrize("status", [204, 206, 304, 416, 429, 500, 503])
async def test_any_other_status_is_no_clip(tmp_path: Path, status: int) -> None:
    """Only a whole 200 is taken; the address is not told."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    with pytest.raises(ClipUnavailable, match=f"HTTP {status}") as told:
        await fetched_from(tmp_path, answer)
    assert "X-Sig" not in str(told.value)
    assert left_in(tmp_path) == []


def test_any_address_is_a_clip_or_unavailable(tmp_path: Path) -> None:
    """Whatever text a record or a redirect names as the address: the clip, or ClipUnavailable, and no crash."""
    pieces = ["https://", "http://", "127.0.0.1", "first.example", "[", "]", ":", "@", "/", "?", "#", "%", "\\", "..",
              "99999", "é", "\x00", "\r\n", " ", "x", "::1", "-"]  # fmt: skip
    texts = st.lists(st.sampled_from(pieces) | st.text(max_size=3), max_size=8).map("".join)

    async def fetch(file: Handler, address: str = "{own}/clip.mp4") -> None:
        with pytest.raises(ClipUnavailable):
            await fetched_from(tmp_path, file, address, outside=on_the_internet())
        assert left_in(tmp_path) == []

    with asyncio.Runner() as runner:

        @settings(max_examples=60, deadline=None)
        @given(address=st.builds(lambda scheme, rest: scheme + rest, st.sampled_from(["https://", "http://"]), texts))
        def named_by_the_record(address: str) -> None:
            runner.run(fetch(no_such_place, address.replace("{", "{{").replace("}", "}}")))

        @settings(max_examples=60, deadline=None)
        @given(location=texts)
        def named_by_a_redirect(location: str) -> None:
            async def redirect(request: web.Request) -> web.Response:
                headers = {"Location": location.encode("utf-8", "replace").decode().translate({0: 95, 10: 95, 13: 95})}
                return web.Response(status=302, headers=headers)

            runner.run(fetch(redirect))

        named_by_the_record()
        named_by_a_redirect()


async def test_no_address_is_told_in_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an error's text nor the log carries the signature of an address or the key."""

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    with caplog.at_level(logging.DEBUG, logger="veo"):
        for named, file in (("http://10.0.0.1/x?X-Sig=abc", the_clip), ("{own}/x?X-Sig=abc", hang_up)):
            with pytest.raises(ClipUnavailable) as told:
                await fetched_from(tmp_path, file, named)
            assert "X-Sig" not in f"{told.value!r} {told.value.__cause__!r} {caplog.text}"
            assert KEY not in f"{told.value!r} {caplog.text}"


# What is a clip.


def box(kind: bytes, content: bytes = b"", *, length: int | None = None) -> bytes:
    """One box of an MP4 (ISO/IEC 14496-12, 4.2)."""
    return struct.pack(">I4s", 8 + len(content) if length is None else length, kind) + content


FTYP, MOOV, MDAT = box(b"ftyp", b"isom" + bytes(4)), box(b"moov", bytes(40)), box(b"mdat", bytes(100))
LARGE = box(b"mdat", struct.pack(">Q", 116) + bytes(100), length=1)


def judged(folder: Path, content: bytes) -> str | None:
    path = folder / "film"
    path.write_bytes(content)
    return unsound_mp4(path)


def ebml(doc_type: bytes, content: bytes = bytes(100), *, length: bytes | None = None) -> bytes:
    """A Matroska file of one segment (RFC 8794, RFC 9559)."""
    head = b"\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
    size = (len(content) | 0x4000).to_bytes(2, "big") if length is None else length
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(head)]) + head + b"\x18\x53\x80\x67" + size + content


AVI_FILE = b"RIFF" + (104).to_bytes(4, "little") + b"AVI " + bytes(100)
MOOV_HEVC = box(b"moov", box(b"trak", box(b"stsd", bytes(4) + b"\0\0\0\1" + box(b"hvc1", bytes(70)))))


@pytest.mark.parametrize(
    ("film", "content"),
    [
        (MP4, FTYP + MOOV + MDAT), (MP4, FTYP + MDAT + MOOV), (MP4, FTYP + MOOV + box(b"free") + MDAT),
        (MP4, FTYP + MOOV + LARGE), (MP4, FTYP + LARGE + MOOV), (MP4, FTYP + MOOV + box(b"mdat", bytes(9), length=0)),
        (MP4, STORED.read_bytes()), (MP4, STORED.read_bytes() + box(b"free", bytes(9))),
        (MP4, FTYP + box(b"odd1", bytes(9)) + MOOV + MDAT),
        # Bytes behind the last box.
        *((MP4, FTYP + MOOV + MDAT + tail) for tail in (b"\n", b"\0", bytes(5000), b"\r\n--end--\r\n", b"\xff" * 40)),
        (MOV, box(b"ftyp", b"qt  " + bytes(4)) + box(b"wide") + MDAT + MOOV),
        (HEVC, FTYP + MOOV_HEVC + MDAT), (HEVC, FTYP + MDAT + MOOV_HEVC.replace(b"hvc1", b"hev1") + b"\n"),
        (HEVC, STORED.read_bytes().replace(b"avc1", b"hev1")),
        (WEBM, ebml(b"webm")), (WEBM, ebml(b"webm", length=b"\x01" + b"\xff" * 7)), (WEBM, ebml(b"webm") + b"\n"),
        (MKV, ebml(b"matroska")), (MKV, bytes.fromhex("1A45DFA3A34286810142F78101") + bytes(5000)), (AVI, AVI_FILE),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_not_a_broken_one(tmp_path: Path, film: Film, content: bytes) -> None:
    """Boxes in any order, more behind them, other containers, another codec: whole films, each told as what it is."""
    assert judged(tmp_path, content) is None
    with (tmp_path / "film").open("rb") as file:
        assert film_of(file) == film


@pytest.mark.parametrize(
    "content",
    [b"", b"ftyp", b"<!doctype html><title>Sign in</title>", FTYP, FTYP + MOOV, FTYP + MDAT, MOOV + MDAT + FTYP,
     bytes(1000), FTYP + MOOV + MDAT[:-1], FTYP + MOOV + LARGE[:-1], FTYP + MOOV + MDAT + box(b"moof", bytes(9))[:-1],
     FTYP + MOOV + box(b"mdat", length=7), FTYP + MOOV + box(b"mdat", b"\xff" * 8, length=1),
     FTYP + MOOV + box(b"mdat", b"\0" * 8, length=1), b'{"code":"EXPIRED"}', b"\x89PNG\r\n\x1a\n" + bytes(50),
     box(b"ftyp", b"avif" + bytes(4)) + box(b"meta", bytes(50)) + MDAT, ebml(b"webm")[:-1], ebml(b"matroska")[:8],
     AVI_FILE[:-1], b"RIFF" + bytes(4) + b"WEBP" + bytes(50), b"\x1a\x45\xdf\xa3"],
)  # fmt: skip
def test_what_is_no_whole_film_is_unsound(tmp_path: Path, content: bytes) -> None:
    """Pages, pictures, cut files and lengths that lie, each with a sentence."""
    assert judged(tmp_path, content) in ("it is not an MP4", "it is cut short")


@pytest.mark.parametrize("head", [FTYP, FTYP + MOOV + MDAT])
def test_a_file_of_millions_of_boxes_costs_neither_time_nor_memory(tmp_path: Path, head: bytes) -> None:
    """Each of another kind, and far more than any film has: it is judged by the first of them."""
    kinds = b"".join(struct.pack(">II", 8, number | 0x61000000) for number in range(1_000_000))
    (tmp_path / "film").write_bytes(head + kinds)
    tracemalloc.start()
    began = time.process_time()
    try:
        judged_as = unsound_mp4(tmp_path / "film")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (judged_as is None) == (head != FTYP)
    assert time.process_time() - began < 1.0
    assert peak < MEGABYTE


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, STORED.stat().st_size - 1))
def test_no_part_of_a_film_is_sound(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever a real film is cut, it is noticed."""
    assert judged(tmp_path_factory.getbasetemp(), STORED.read_bytes()[:length]) is not None


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda rest: b"\x1a\x45\xdf\xa3" + rest)
    | st.lists(st.sampled_from([FTYP, MOOV, MDAT, LARGE, b"\0"]), max_size=5).map(b"".join)
)
def test_any_bytes_are_judged(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing raises, and nothing is sound that does not begin as a film and hold its parts."""
    if judged(tmp_path_factory.getbasetemp(), content) is None and not content.startswith(
        (b"\x1a\x45\xdf\xa3", b"RIFF")
    ):
        assert content[4:8] == b"ftyp"
        assert b"moov" in content
        assert b"mdat" in content


# Callbacks.

SECRET = "whsec_local_example_key_0001"
BODY_A = (
    b'{"event":"run.completed","run_id":"0198c0de-7a11-7c3e-8f00-000000000001","status":"succeeded","output":{"outputs":'
    b'[{"url":"https://cdn.example.test/v/1.mp4?X-Sig=abc","type":"video","width":1280,"height":720,"duration":8}],'
    b'"nsfw_detected":false,"seed":null,"timing":{"inference_ms":61250}},"duration_ms":63500,"created_at":'
    b'"2026-01-15T10:00:00.000000+00:00","completed_at":"2026-01-15T10:01:03.500000+00:00","metadata":{"job":"j-42"}}'
)
BODY_B = (
    '{"event":"run.failed","run_id":"0198c0de-7a11-7c3e-8f00-000000000002","status":"failed","output":null,'
    '"duration_ms":1200,"created_at":"2026-01-15T10:00:00+00:00","completed_at":"2026-01-15T10:00:01.200000+00:00",'
    '"metadata":{"note":"café"}}'
).encode()
SIGNATURE_A = "89c9d189ceaf9af4f066b3246b71cc7e184894ad368d8cf4e7062eec0551fba8"
SIGNATURE_B = "726f9b220d0d2128ae82f630a6ca57789c173b11bbc390a9226d8611a4e2436c"
WITHOUT_PREFIX = "bdb57832ca3a81af7e21dbc32daed953854fca605aa9dd782c66787a3982628c"
WITH_NEWLINE = "2e24e826f5f80ea18e333cfbdebae5a07b2d5dc14b833ac0a1e3c05ff5e33fdf"
B_ESCAPED = "88e70857a95020c29e8d0f329b49e13381ae2ecf3242728eab34b22a804cfeb3"


def signature_of(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_the_worked_signatures_fit() -> None:
    """The raw bytes under the whole secret, bare lower-case hex (docs.runflow.io, verify-callback-signatures)."""
    assert hashlib.sha256(BODY_A).hexdigest() == "6d98b68e704fd438e191a1fea2dc29232f1445b0594d83ee499c1a37561fd2e2"
    assert (len(BODY_A), len(BODY_B)) == (434, 240)
    assert signed_by([SECRET], BODY_A, SIGNATURE_A)
    assert signed_by([SECRET], BODY_B, SIGNATURE_B)


def test_what_a_wrong_method_would_sign_is_refused() -> None:
    """A stripped prefix, a newline, escaped text, another case, a scheme in front, or nothing at all."""
    escaped = json.dumps(json.loads(BODY_B), separators=(",", ":")).encode()
    assert len(escaped) == 244
    made = [
        signature_of(BODY_A, SECRET.removeprefix("whsec_")),
        signature_of(BODY_A + b"\n"),
        signature_of(escaped),
    ]
    assert made == [WITHOUT_PREFIX, WITH_NEWLINE, B_ESCAPED]
    for signature in (WITHOUT_PREFIX, WITH_NEWLINE, SIGNATURE_B, SIGNATURE_A.upper(), f"sha256={SIGNATURE_A}"):
        assert not signed_by([SECRET], BODY_A, signature)
    for odd in (
        None,
        "",
        " ",
        SIGNATURE_A[:-1],
        SIGNATURE_A + "0",
        SIGNATURE_A + "\n",
        f" {SIGNATURE_A}",
        "é" * 64,
        "٠" * 64,
    ):
        assert not signed_by([SECRET], BODY_A, odd)
    assert not signed_by([SECRET], BODY_B, B_ESCAPED)
    assert not signed_by([SECRET], escaped, SIGNATURE_B)
    for changed in (BODY_A + b"\n", BODY_A[:-1], BODY_A.replace(b"j-42", b"j-43"), b""):
        assert not signed_by([SECRET], changed, SIGNATURE_A)


def test_any_secret_of_the_list_will_do() -> None:
    """During a rotation both verify, in whatever order they stand; none that is not listed, and no empty list."""
    others = ["whsec_newer_0002", "whsec_ä_0003"]
    for place in range(3):
        secrets = [*others[:place], SECRET, *others[place:]]
        assert signed_by(secrets, BODY_A, SIGNATURE_A)
        assert signed_by(secrets, BODY_B, signature_of(BODY_B, others[1]))
    assert not signed_by(others, BODY_A, SIGNATURE_A)
    assert not signed_by([], BODY_A, SIGNATURE_A)
    assert not signed_by([], b"", signature_of(b"", ""))


@given(body=st.binary(max_size=100), at=st.integers(0, 10_000), signature=st.text(max_size=70))
def test_no_other_body_and_no_other_text_fits(body: bytes, at: int, signature: str) -> None:
    """One changed bit breaks a signature, and text that is none is refused without an error."""
    right = signature_of(body)
    assert signed_by([SECRET], body, right)
    assert signed_by([SECRET], body, signature) == (signature == right)
    if body:
        position = at % len(body)
        altered = body[:position] + bytes([body[position] ^ (1 << at % 8)]) + body[position + 1 :]
        assert not signed_by([SECRET], altered, right)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (BODY_A, ID), (BODY_B, "0198c0de-7a11-7c3e-8f00-000000000002"), (b'{"run_id":"a"}', "a"),
        (b"", None), (b"{}", None), (b"[]", None), (b"null", None), (b'"run_id"', None), (b"{", None),
        (b"\xff\xfe", None),
        (b'{"run_id":null}', None), (b'{"run_id":7}', None), (b'{"run_id":["a"]}', None), (b'{"run_id":""}', None),
        (b'{"run_id":"../../admin"}', None), (b'{"run_id":"a/b"}', None), (b'{"run_id":"a?b"}', None),
        (b'{"run_id":"a\\n"}', None), (b'{"run_id":"\\ud800"}', None), (b'{"run_id":"' + b"a" * 101 + b'"}', None),
        (b'{"id":"a"}', None), (b"[" * 65_000, None), (b'{"run_id":"a","x":' + b"9" * 5000 + b"}", None),
    ],
)  # fmt: skip
def test_a_callback_names_a_run_or_nothing(body: bytes, named: str | None) -> None:
    """Only a plain id is taken from a body, and no body is an error."""
    assert named_run(body) == named


def test_a_number_beyond_all_measure_in_a_callback_is_harmless() -> None:
    """A body with an exponent that no decimal holds names a run or none, and raises nothing."""
    assert named_run(b'{"run_id":"a","x":1e99999999999999999999}') in ("a", None)


@given(body=st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps({"run_id": value}).encode()))
def test_no_body_is_an_error(body: bytes) -> None:
    """Whatever comes, it is a name that can stand in a path, or nothing."""
    named = named_run(body)
    assert named is None or named.replace("-", "").replace("_", "").isalnum()
