"""Hostile input at every door: each has its clear answer, the process lives, and the log tells no secret."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import hmac
import io
import json
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from yarl import URL

from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import SEED_MAX, Observation, Run, VeoRequest
from bot.errors import ClipUnavailable, SettingsError, Unreadable
from bot.runflow import client as runflow
from bot.runflow.client import Runflow
from bot.settings import Settings, load_settings
from bot.telemetry.logs import formatter
from cogs import buttons
from sandbox.discord import Interaction
from tests.harness import API_KEY, SECRET, WAIT_S, Scene, nursery, scene

Json = dict[str, Any]
QUERY = "X-Sig=presigned0123456789"

# Any JSON at all: what is drawn most is what readers trip over.
_SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 5, 2**31, 2**63, -(2**63), 10**40, 0.5, 1e308, float("nan"), float("inf"), "", "0",
     "-1", "veo", "\x00", "\ud800", "a\nb", "\u202e@everyone <@&1> `**x**`", "x" * 3000, "9" * 30, "1e9", [], {}]
) | st.text(max_size=12)  # fmt: skip
JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "name", "value"]) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
GONE = object()  # in the place of a value: the field is removed
Changes = list[tuple[int, object]]
CHANGE = st.tuples(st.integers(0, 10**6), st.just(GONE) | JSON)
CHANGES = st.lists(CHANGE, min_size=1, max_size=3)


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field and entry, however deep."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value: Json, changes: Changes) -> Json:
    """The same with these fields replaced or removed, each chosen by a number."""
    made = copy.deepcopy(value)
    for number, new in changes:
        ways = list(places(made))
        if not ways:
            continue
        *way, last = ways[number % len(ways)]
        inner: Any = made
        for step in way:
            inner = inner[step]
        if new is GONE:
            del inner[last]
        else:
            inner[last] = new
    return made


@contextmanager
def told() -> Iterator[io.StringIO]:
    """What the log says meanwhile, as the bot's own log would say it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(formatter([API_KEY, SECRET], terminal=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield text
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@contextmanager
def staged(folder: Path, *, discord: Json | None = None, **more: Any) -> Iterator[tuple[asyncio.Runner, Scene]]:
    """One world for all examples of a test."""
    with asyncio.Runner() as runner:
        # What is waited for is an answer at all; a busy machine may take its time.
        made = scene(folder, discord={"acknowledge_within_s": 30.0} | (discord or {}), **more)
        world = runner.run(made.__aenter__())
        try:
            yield runner, world
        except BaseException as error:
            runner.run(made.__aexit__(type(error), error, error.__traceback__))
            raise
        runner.run(made.__aexit__(None, None, None))


async def alive(world: Scene) -> None:
    """The process runs, and answers members and its own web server in words."""
    assert world.bot is not None
    assert world.bot.returncode is None, world.log[-3000:]
    asked = await world.discord.invoke(world.member("Cem"), world.channel, "veo-quota", {})
    answer = await asked.wait(lambda message: "left" in message["content"], timeout=WAIT_S)
    assert answer["flags"] & 64
    async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/healthz") as healthy:
        assert healthy.status == 200


def check_log(world: Scene, *, traces: bool = False) -> None:
    """No token of a callback or an interaction, no secret, no query that signs; `traces`: there may be tracebacks."""
    log = world.log
    tokens = [row["callback_token"] for row in world.rows("SELECT callback_token FROM run")]
    tokens += world.discord._interactions._by_token
    assert [token for token in tokens if token in log] == []
    assert [secret for secret in (API_KEY, SECRET, world.discord.token, QUERY) if secret in log] == []
    assert traces or "Traceback" not in log, log[-3000:]


# Callbacks.

_TEXT = st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\0", b"HTTP/1.1", b":", b"%", b"..", b"/", b"?"])
_RAW = st.lists(_TEXT | st.binary(max_size=12) | st.sampled_from([b"SIGN", b"PATH", b"POST"]), max_size=12).map(
    b"".join
)


def test_raw_bytes_leave_nothing_in_the_log(tmp_path: Path) -> None:
    """Bytes that are no request, or one with any body under a true address: never a 5xx, no token or secret told."""
    with staged(tmp_path, run_s=3600.0) as (runner, world):
        runner.run(_admitted(world))
        (token,) = (row["callback_token"] for row in world.rows("SELECT callback_token FROM run"))
        path = f"/callbacks/runflow/{token}".encode()

        @settings(max_examples=150, deadline=None)
        @given(
            start=_RAW | st.sampled_from([b"POST PATH HTTP/1.1\r\n", b"POST PATH?x=SIGN HTTP/1.0\r\n", b"PATH"]),
            head=_RAW | st.sampled_from([b"Host: x\r\nRunflow-Signature: SIGN\r\n", b"Expect: 100-continue\r\n"]),
            body=_RAW | JSON.map(lambda value: json.dumps({"run_id": value}).encode()),
            length=st.none() | st.integers(-2, 300) | st.sampled_from([10**30]),
        )
        @example(b"POST PATH HTTP/9.9\r\n", b"", b"", None)
        @example(b"POST PATH HTTP/1.1\r\n", b"Host: x\r\nRunflow-Signature: SIGN\x00\r\n", b"{}", 2)
        @example(b"POST PATH HTTP/1.1\r\n", b"Host: x\r\nA: " + b"PATH" * 4000 + b"\r\n", b"", None)
        def never(start: bytes, head: bytes, body: bytes, length: int | None) -> None:
            sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()
            size = b"" if length is None else b"Content-Length: %d\r\n" % length
            request = (start + head + size + b"\r\n" + body).replace(b"PATH", path).replace(b"SIGN", sign)
            answer = runner.run(_spoken(world, request))
            assert not answer.partition(b" ")[2].startswith(b"5"), answer

        never()
        runner.run(alive(world))
        assert world.rows("SELECT state FROM run") == [{"state": "running"}]
        check_log(world)


async def _admitted(world: Scene) -> None:
    await world.run_id(await world.veo())
    await world.until("SELECT 1 FROM run WHERE state = 'running'")


async def _spoken(world: Scene, request: bytes) -> bytes:
    """The answer to these bytes, after which nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.environment["WEB_PORT"]))
    answer = b""
    try:
        async with asyncio.timeout(5):
            writer.write(request)
            writer.write_eof()
            answer = await reader.read()
    except ConnectionError:
        pass  # it has heard enough
    finally:
        writer.close()
    return answer


# Runflow's replies.

ID = "0198c0de-7a11-7c3e-8f00-000000000001"
RECORD: Json = {
    "id": ID,
    "run_id": ID,
    "status_code": "succeeded",
    "status": "succeeded",
    "client_ref": "veo-abc234",
    "metadata": {"client_ref": "veo-abc234"},
    "cost": "3.20",
    "created_at": "2026-11-22T10:00:00Z",
    "duration_ms": 41_000,
    "failure_code": None,
    "failure_message": None,
    "error": {"code": "X", "message": "Y"},
    "request_id": "req_1",
    "output": {
        "outputs": [{"type": "video", "url": f"ORIGIN/v.mp4?{QUERY}"}],
        "video": {"url": f"ORIGIN/v.mp4?{QUERY}"},
        "seed": 7,
        "nsfw_detected": False,
        "timing": {"inference_ms": 40_000},
    },
}
PROBLEM: Json = {"code": "SOME", "message": "No", "errors": [{"loc": ["body", "seed"]}], "error": {"code": "C"}}
_HEADERS = st.sampled_from(
    ["Retry-After: 5", "Retry-After: -1", "Retry-After: 1e999", "Retry-After: " + "9" * 400, "Retry-After: \xb2",
     "Retry-After: Thu, 31 Feb 2020 00:00:00 GMT", "Content-Encoding: gzip", "Content-Encoding: br",
     "Content-Encoding: zstd", "Content-Encoding: deflate", "Content-Encoding: nonsense", "Content-Type: nonsense",
     "Content-Type: text/html; charset=\xff", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, x",
     "Content-Length: -5", "Content-Length: 3", "Content-Length: 999999", "Content-Length: x",
     "Set-Cookie: \x01=\"; Domain=[; expires=never", "Location: http://[::1", "Location: ?" + QUERY, "Location: //[",
     "Location: gopher://x/?" + QUERY, "Location: http://127.0.0.1:99999/?" + QUERY, "Location: \xff", "Location: ",
     "Connection: upgrade", "Link: <", "WWW-Authenticate: ,", "no colon", ": x", "\x00: \x00", "Upgrade: h2c"]
)  # fmt: skip
_STATUS = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 200 OK", "HTTP/1.1 201 Made", "HTTP/1.0 200", "HTTP/1.1 204 No", "HTTP/1.1 400 Bad",
     "HTTP/1.1 404 Gone", "HTTP/1.1 422 No", "HTTP/1.1 429 Wait", "HTTP/1.1 302 There", "HTTP/1.1 500 Oh",
     "HTTP/1.1 099 Low", "HTTP/1.1 999 High", "HTTP/1.1 100 Go on", "HTTP/1.1 101 Switch", "HTTP/3.7 200 OK",
     "HTTP/1.1 -1 x", "HTTP/1.1 200 \xff\x00", "ICY 200 OK", "", "{"]
)  # fmt: skip
_PAGES = st.sampled_from([RECORD, PROBLEM, {"items": [RECORD, RECORD], "next": None}])
_BODIES = (
    st.tuples(_PAGES, CHANGES).map(lambda drawn: json.dumps(changed(*drawn)).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.sampled_from(
        [b"", b"[" * 70_000, b'{"id":"a","cost":' + b"9" * 5000 + b"}", b'{"id":"a","cost":1e9999999999}']
    )
)


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """The bytes of one reply: right, odd, or cut off somewhere."""
    body = draw(_BODIES)
    lines = [draw(_STATUS), *draw(st.lists(_HEADERS, max_size=2))]
    if draw(st.booleans()):
        lines.append(f"Content-Length: {len(body)}")
    whole = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.integers(0, 4)) == 0 else whole


class Liar:
    """A server that answers whatever it is told to, in turn, the last for ever."""

    def __init__(self) -> None:
        self.origin = ""
        self.answers: list[bytes] = [b""]

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer.replace(b"ORIGIN", self.origin.encode()))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Runflow]:
        """Our client, connected to this server."""
        listener = await asyncio.start_server(self.take, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with runflow.connect(
            api_url=self.origin, api_key=API_KEY, public_url=None, clip_bytes_max=10_000
        ) as made:
            yield made
        listener.close()
        await listener.wait_closed()


def a_run() -> Run:
    """As much of a run as a submission is made of."""
    blank: Json = dict.fromkeys(each.name for each in fields(Run))
    return Run(**blank | {"run_id": "abc234", "callback_token": "t" * 32, "request": VeoRequest(prompt="a red fox")})


@contextmanager
def lied_to() -> Iterator[tuple[asyncio.Runner, Liar, Runflow]]:
    """A client of a server that lies, and at the end a log that tells no key and no signed query."""
    liar = Liar()
    with told() as log, asyncio.Runner() as runner:
        made = liar.connected()
        client = runner.run(made.__aenter__())
        try:
            yield runner, liar, client
        finally:
            runner.run(made.__aexit__(None, None, None))
    assert [secret for secret in (API_KEY, QUERY, "presigned") if secret in log.getvalue()] == []


def test_any_reply_of_runflow_is_one_of_the_answers() -> None:
    """Whatever bytes come back, submit, read and find give what their port names, and no other exception."""
    with lied_to() as (runner, liar, client):

        async def ask() -> None:
            assert isinstance(await client.submit(a_run()), Accepted | Refused | NotSent | Unclear)
            with suppress(Unreadable):
                assert isinstance(await client.read(ID), Observation | None)
            with suppress(Unreadable):
                assert all(isinstance(each, Observation) for each in await client.find("veo-abc234"))
            with suppress(SettingsError):
                await client.check_key()

        @settings(max_examples=250, deadline=None)
        @given(answer=replies())
        @example(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}")
        def one_of_them(answer: bytes) -> None:
            liar.answers = [answer]
            runner.run(ask())

        one_of_them()


_HOSTS = st.sampled_from(
    ["ORIGIN", "ORIGIN", "http://[", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://127.1", "https://2130706433",
     "https://0x7f.1", "https://localhost", "https://" + "a" * 70, "https://..", "https://-", "https://127.0.0.1:99999",
     "https://u:p@127.0.0.1", "https://[fe80::1%25lo]", "https://%00", "https://169.254.169.254", "https://[v1.x]",
     "http://127.0.0.1:1@", "ORIGIN@evil", "https:///"]
)  # fmt: skip
_ATOM = st.sampled_from([b"ftyp", b"moov", b"mdat", b"free"])
_FILMS = st.lists(st.tuples(st.integers(0, 40), _ATOM), max_size=4).map(
    lambda atoms: b"".join(size.to_bytes(4, "big") + kind + b"\0" * max(0, size - 8) for size, kind in atoms)
)


def test_any_reply_on_the_way_to_a_clip_is_one_of_the_answers(tmp_path: Path) -> None:
    """A record with any address, then any bytes from the file host: a sound clip or a known error, no rests."""
    clip = tmp_path / "veo-abc234.mp4"
    with lied_to() as (runner, liar, client):

        @settings(max_examples=200, deadline=None)
        @given(
            host=_HOSTS,
            changes=st.just([]) | CHANGES,
            film=_FILMS.map(lambda film: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(film), film)),
            odd=st.lists(replies(), max_size=3),
        )
        def a_clip_or_a_word(host: str, changes: Changes, film: bytes, odd: list[bytes]) -> None:
            record = json.dumps(changed(RECORD, changes)).replace("ORIGIN", host).encode()
            known = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + record
            liar.answers = [known, *odd, film]
            with suppress(ClipUnavailable, Unreadable):
                runner.run(client.fetch(ID, clip))
                assert runflow.unsound_mp4(clip) is None
            assert {each.name for each in tmp_path.iterdir()} <= {clip.name}
            clip.unlink(missing_ok=True)
            liar.answers = [known]
            with suppress(ClipUnavailable, Unreadable):
                assert runner.run(client.link(ID)).startswith(("http://", "https://"))

        a_clip_or_a_word()


# What the gateway says.

COMMANDS: list[tuple[str, Json]] = [
    ("veo", {"prompt": "a red fox", "duration": "4s", "seed": 7, "generate_audio": False, "negative_prompt": "rain"}),
    ("veo-quota", {}),
    ("veo-history", {}),
    ("veo-show", {"run": "abc"}),
    ("veo-admin limit show", {"member": "MEMBER"}),
    ("veo-admin grant", {"amount": "5", "member": "MEMBER", "reason": "why not"}),
    ("veo-admin report", {"days": 2}),
]  # those that change no rule, so that what follows is judged by the same ones
MEMBERS = COMMANDS[:4]
DURATIONS, RESOLUTIONS, RATIOS = ("4s", "6s", "8s"), ("720p", "1080p", "4k"), ("16:9", "9:16")


class Wire:
    """The sandbox's gateway, with what it sends changed on its way."""

    def __init__(self, world: Scene) -> None:
        self._gateway = world.discord._gateway
        self._send = self._gateway.dispatch
        self.world = world

    def send(self, event: str, data: object) -> None:
        """Any event with any content."""
        made: Any = data
        self._send(event, made, guild_id=self.world.channel.guild_id)

    async def use(self, change: Callable[[Json], Json], command: str, **options: object) -> Interaction:
        """A command by Bo, as the bot hears it after `change`."""
        values = {name: self.world.member().id if value == "MEMBER" else value for name, value in options.items()}
        member = "Ada" if command.startswith("veo-admin") else "Bo"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._gateway, "dispatch", lambda event, data, **_: self.send(event, change(data)))
            return await self.world.discord.invoke(self.world.member(member), self.world.channel, command, values)

    async def press(self, change: Callable[[Json], Json], message_id: str, custom_id: object) -> Interaction:
        """A press by Bo under a message, of a button that need not be there, as the bot hears it after `change`."""
        source = self.world.discord._messages.get(message_id)
        data: Json = {"custom_id": custom_id, "component_type": 2, "id": 1}
        begin = self.world.discord._interactions._begin
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self._gateway, "dispatch", lambda event, data, **_: self.send(event, change(data)))
            return begin(3, self.world.member(), self.world.channel, data, source)


def count_of_runs(world: Scene) -> int:
    """How many runs the bot has made."""
    return int(world.rows("SELECT count(*) AS n FROM run")[0]["n"])


def check_runs(world: Scene) -> None:
    """Every run is what the command can ask for, was ordered once at most, and nothing else was ordered."""
    for row in world.rows("SELECT request, price_u, member, channel, server, upload_limit_bytes FROM run"):
        request = json.loads(row["request"])
        assert isinstance(request["prompt"], str)
        assert 1 <= len(request["prompt"]) <= 2000
        assert request["duration"] in DURATIONS
        assert request["resolution"] in RESOLUTIONS
        assert request["aspect_ratio"] in RATIOS
        assert request["safety_tolerance"] in "123456"
        assert isinstance(request["generate_audio"], bool)
        assert isinstance(request["auto_fix"], bool)
        assert isinstance(request["negative_prompt"], str | None)
        assert request["seed"] is None or (type(request["seed"]) is int and abs(request["seed"]) <= SEED_MAX)
        assert row["upload_limit_bytes"] is None or type(row["upload_limit_bytes"]) is int
        for name in ("member", "channel", "server"):
            assert row[name].removeprefix("discord:").isdecimal(), row
    ordered = len(world.runflow.runs)
    assert ordered == sum(each.method == "POST" for each in world.runflow.received), "an order was refused"
    assert count_of_runs(world) >= ordered


_PRESSES = st.sampled_from(
    ["", "veo", "veo:", "veo:yes", "veo:yes:", "veo:yes:a:b:c", "veo:yes:x:99999999999999999999", "veo:yes:x:²",
     "veo:no:x", "veo:ask:x", "veo:approve:x", "veo:deny:x", "veo:receipt:x", "veo:receipt:\ud800", "veo:bogus:x",
     "other:yes:x", "veo:yes:" + "x" * 5000, "veo:ask:\x00", "VEO:yes:x"]
) | st.text(max_size=100)  # fmt: skip


def test_no_changed_interaction_ends_the_bot_or_buys_what_nobody_can_ask_for(tmp_path: Path) -> None:
    """Any field of a command or press removed or replaced: the bot goes on, and each run is a wish that is valid."""
    with staged(tmp_path) as (runner, world):
        wire = Wire(world)

        async def film() -> str:
            return str((await world.end_of(await world.veo()))["id"])

        async def say(batch: list[tuple[int, Changes]], presses: list[Any]) -> None:
            for number, changes in batch:
                command, options = COMMANDS[number]
                await wire.use(partial(changed, changes=changes), command, **options)
            for custom_id, changes in presses:
                pressed = await wire.press(partial(changed, changes=changes), film_id, custom_id)
                if not changes and buttons.read(custom_id):
                    await pressed.acknowledged(WAIT_S)
            await alive(world)
            check_runs(world)

        film_id = runner.run(film())

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            batch=st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6]), CHANGES), min_size=4, max_size=8),
            presses=st.lists(st.tuples(_PRESSES, st.just([]) | CHANGES), min_size=2, max_size=4),
        )
        def goes_on(batch: list[tuple[int, Changes]], presses: list[Any]) -> None:
            runner.run(say(batch, presses))

        goes_on()
        check_log(world, traces=True)


# Any event at all. Those that say how the connection itself stands are the test below.
_EVENTS = st.sampled_from(
    ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE", "GUILD_ROLE_CREATE", "GUILD_MEMBER_ADD", "GUILD_MEMBERS_CHUNK",
     "CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE", "THREAD_CREATE", "THREAD_UPDATE", "THREAD_LIST_SYNC",
     "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD", "TYPING_START", "USER_UPDATE", "PRESENCE_UPDATE",
     "VOICE_STATE_UPDATE", "INTERACTION_CREATE", "INVITE_CREATE", "ENTITLEMENT_CREATE", "APPLICATION_COMMAND_UPDATE",
     "NO_SUCH_EVENT", "__CLASS__"]
)  # fmt: skip


def test_no_event_ends_the_bot(tmp_path: Path) -> None:
    """Events of every kind with any content, or a true one with changes: the connection stays, members are answered."""
    with staged(tmp_path) as (runner, world):
        wire = Wire(world)

        server = world.discord.world.servers[0].to_gateway_json(world.discord.world.bot)
        true = {
            "GUILD_CREATE": server,
            "GUILD_UPDATE": server,
            "CHANNEL_UPDATE": world.channel.to_json(),
            "THREAD_CREATE": server["threads"][0],
        }

        async def say(events: list[tuple[str, object]], near: list[tuple[str, Changes]]) -> None:
            for event, data in events:
                wire.send(event, data)
            for event, changes in near:
                wire.send(event, changed(true[event], changes))
            await alive(world)

        @settings(max_examples=25, deadline=None)
        @given(
            events=st.lists(st.tuples(_EVENTS, JSON), min_size=5, max_size=12),
            near=st.lists(st.tuples(st.sampled_from(sorted(true)), CHANGES), min_size=2, max_size=4),
        )
        @example([("INTERACTION_CREATE", {}), ("GUILD_DELETE", {"id": "x"})], [])
        def goes_on(events: list[tuple[str, object]], near: list[tuple[str, Changes]]) -> None:
            runner.run(say(events, near))

        goes_on()
        assert world.discord.gateway_counts == (1, 0)
        check_log(world, traces=True)


async def test_a_gateway_that_talks_nonsense_is_connected_to_anew(world: Scene) -> None:
    """A READY without a session ends the connection and not the bot: it makes a new one and answers there."""
    for connection in world.discord._gateway._connections:
        connection.outgoing.put_nowait({"op": 0, "t": "READY", "s": 1, "d": {}})
    async with asyncio.timeout(WAIT_S):
        while world.discord.gateway_counts[0] == 1:  # noqa: ASYNC110 - the sandbox tells it by this count alone
            await asyncio.sleep(0.05)
    await world.discord.bot_ready()
    await alive(world)
    check_log(world, traces=True)


# What a client may put into options although the command does not offer it.

_PROMPTS = st.sampled_from(
    ["", " ", "\u3000\n",
     "x" * 2000, "x" * 2001, "x" * 6000, "\x00", "\x1b[31m", "\u202eevil\u202c", "\u2066", "\ud83e",
     "@everyone @here", "<@1> <@&1> <#1> </veo:1> <:a:1>", "`" * 300, "```\n# big", "||x|| **y** [a](https://evil.test)",
     "https://evil.test/?" + QUERY, "-# Run `aaaa`", "discord.gg/x", "\u200b" * 50, "🦊" * 1500]
) | st.text(max_size=60)  # fmt: skip
_WRONG = st.sampled_from(
    [None, "", "5s", "8S", "8", 8, 8.0, True, False, "true", "yes", 0, -1, 2**53, -(2**53), 2**63, 10**40, 1.5, "7",
     "x" * 6000,
     float("nan"), float("inf"), [], ["8s"], {}, {"value": "8s"}, "\ud800", "\x00", "4K", "6 ", "0", "7", "@everyone"]
)  # fmt: skip
_NAMES = st.sampled_from(
    ["duration", "resolution", "aspect_ratio", "generate_audio", "negative_prompt", "seed", "auto_fix",
     "safety_tolerance", "unknown", "prompt"]
)  # fmt: skip
_TYPES = st.sampled_from([None, None, 3, 4, 5, 6, 7, 8, 10, 99])
_OPTIONS = st.lists(st.tuples(_NAMES, _WRONG, _TYPES), max_size=2)
Wished = tuple[str, list[tuple[str, object, int | None]]]
KINDS = {"generate_audio": 5, "auto_fix": 5, "seed": 4}


def with_options(payload: Json, wish: Wished) -> Json:
    """A `/veo` with these options, each as the type that it has or under another one."""
    prompt, options = wish
    listed = {name: {"name": name, "type": kind or KINDS.get(name, 3), "value": value} for name, value, kind in options}
    listed = {"prompt": {"name": "prompt", "type": 3, "value": prompt}} | listed
    return payload | {"data": payload["data"] | {"options": list(listed.values())}}


def test_no_option_buys_what_is_not_offered(tmp_path: Path) -> None:
    """Whatever stands in the options: one sentence, or a run that is valid and whose message pings its member alone."""
    with staged(tmp_path, discord={"buckets": {"channel_post": (10_000, 1.0), "webhook": (10_000, 1.0),
                                               "default": (10_000, 1.0), "global": (10_000, 1.0)}},
                QUOTA_USER_USD="100000.00", QUOTA_RUNS_IN_FLIGHT="1000") as (runner, world):  # fmt: skip
        wire = Wire(world)

        async def ask(wishes: list[Wished]) -> None:
            asked = [await wire.use(partial(with_options, wish=wish), "veo", prompt="a red fox") for wish in wishes]
            for used in asked:
                answer = await used.wait(lambda message: bool(message["content"] or message["embeds"]), timeout=WAIT_S)
                assert answer["flags"] & 64
                assert len(answer["content"].splitlines()) <= 1
            await alive(world)
            check_runs(world)

        @settings(max_examples=25, deadline=None)
        @given(st.lists(st.tuples(_PROMPTS, st.just([]) | _OPTIONS), min_size=3, max_size=6))
        @example([("x", [("seed", 2**60, None)]), ("x", [("seed", "7", 3)]), ("x", [("generate_audio", "no", 3)])])
        @example([("x", [("auto_fix", float("nan"), 10)]), ("x", [("negative_prompt", 5, 10)])])
        def is_answered(wishes: list[Wished]) -> None:
            runner.run(ask(wishes))

        is_answered()
        runner.run(_delivered(world))
        bo = world.member().id
        for message in world.posts():
            assert [each["id"] for each in message["mentions"]] == [bo]
            assert (message["mention_everyone"], message["mention_roles"]) == (False, [])
        check_log(world, traces=True)


async def test_a_prompt_beyond_the_limit_is_refused_in_words_by_whatever_client(tmp_path: Path) -> None:
    """One that still has an older registration may send more than is taken now."""
    async with scene(tmp_path, PROMPT_MAX_CHARS="50") as world:
        for name in ("prompt", "negative_prompt"):
            change = partial(with_options, wish=("x" * 51 if name == "prompt" else "x", [(name, "x" * 51, None)]))
            used = await Wire(world).use(change, "veo", prompt="a red fox")
            answer = await used.wait(lambda message: bool(message["content"]), timeout=WAIT_S)
            assert f"The {name} has 51 characters, and 50 is the most." in answer["content"]
        assert count_of_runs(world) == 0


async def _delivered(world: Scene) -> None:
    async with asyncio.timeout(WAIT_S):
        while world.rows("SELECT 1 FROM run WHERE delivery <> 'delivered'"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    assert len(world.posts()) == count_of_runs(world)


REFUSED: list[tuple[Callable[[Json], Json], str]] = [
    (lambda payload: payload | {"channel": {"id": "5", "type": 77}}, "this kind of channel"),
    (lambda payload: {key: payload[key] for key in payload.keys() - {"guild_id", "guild"}}, "in servers only"),
    (lambda payload: payload | {"data": payload["data"] | {"name": "veo-old"}}, "Reload Discord"),
    (lambda payload: payload | {"data": payload["data"] | {"options": [{"type": 3}]}}, "Reload Discord"),
    (lambda payload: payload | {"data": payload["data"] | {"type": 9}}, "Reload Discord"),
]


async def test_what_cannot_be_filmed_here_is_told_and_not_bought(tmp_path: Path) -> None:
    """A channel of a new kind, no server, an older registration: one sentence, and nothing is held or ordered."""
    async with scene(tmp_path, DISCORD_SERVERS="*") as world:
        for change, sentence in REFUSED:

            def changed_so(payload: Json, change: Callable[[Json], Json] = change) -> Json:
                return change(payload | {"user": payload["member"]["user"]})

            used = await Wire(world).use(changed_so, "veo", prompt="a red fox")
            answer = await used.wait(lambda message: bool(message["content"]), timeout=WAIT_S)
            assert sentence in answer["content"]
            assert answer["flags"] & 64
        assert (world.rows("SELECT 1 FROM run"), world.runflow.runs) == ([], {})


async def test_an_upload_limit_that_is_none_keeps_no_video_back(world: Scene) -> None:
    """Whatever Discord says of the size that a file may have, the finished video is posted."""
    limits: list[object] = [None, -1, 2**70, [], True]  # one more would wait for the channel's rate limit
    for limit in limits:

        def limited(payload: Json, limit: object = limit) -> Json:
            return payload | {"attachment_size_limit": limit}

        assert (await world.end_of(await Wire(world).use(limited, "veo", prompt="a red fox")))["attachments"]


# Discord's replies.


@dataclass
class Lie:
    """What comes back instead of the true reply, after the request had its effect."""

    where: str  # part of the path
    status: int
    body: bytes | None  # None: the true one, with changes
    changes: Changes

    def instead_of(self, body: bytes) -> bytes:
        """The lie to this reply."""
        if self.body is not None:
            return self.body
        try:
            true = json.loads(body)
        except ValueError:
            return body
        return json.dumps(changed({"": true}, self.changes).get("")).encode()


_LIES = st.builds(
    Lie,
    where=st.sampled_from(["/callback", "/webhooks/", "/channels/", "/channels/"]),
    status=st.sampled_from([200, 200, 200, 200, 201, 204, 400, 403, 404, 429, 500, 502]),
    body=st.none()
    | st.none()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"", b"<html>", b"{"]),
    changes=CHANGES,
)


class Between:
    """Stands between the bot and Discord's routes: passes everything on, and lies where it is told to."""

    def __init__(self, api_url: str) -> None:
        self._origin = api_url.partition("/api/")[0]
        self.lies: list[Lie] = []
        self.posts = 0  # tries to put a message into a channel

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The address of the routes as the bot is to see it."""
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/v10"
            finally:
                await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        url = URL(self._origin + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, data=await request.read(), headers=headers) as reply:
            status, body = reply.status, await reply.read()
            kept = {
                name: value for name, value in reply.headers.items() if not name.startswith(("Content-L", "Transfer"))
            }
        self.posts += request.method == "POST" and "/channels/" in request.path
        if lie := next((each for each in self.lies if each.where in request.path), None):
            self.lies.remove(lie)
            status, body = lie.status, lie.instead_of(body)
        return web.Response(status=status, body=body if status != 204 else None, headers=kept)


def test_no_reply_of_discord_ends_the_bot_or_delivers_twice(tmp_path: Path) -> None:
    """Replies with any content after requests that took effect: the bot goes on, and each video is posted once."""
    with staged(tmp_path, start=False) as (runner, world):
        between = Between(world.discord.api_url)
        made = between.listening()
        runner.run(world.start(DISCORD_API_URL=runner.run(made.__aenter__())))

        async def use(lies: list[Lie]) -> None:
            between.lies, between.posts, before = list(lies), 0, count_of_runs(world)
            for command, options in MEMBERS:
                used = await world.discord.invoke(world.member(), world.channel, command, options)
                await used.settled(WAIT_S)
            await alive_without(lies)
            async with asyncio.timeout(WAIT_S):
                while between.posts < count_of_runs(world) - before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            between.lies = []

        async def alive_without(lies: list[Lie]) -> None:
            """While the video is on its way: what is left of the lies is not for answers to others."""
            between.lies = [each for each in between.lies if each.where == "/channels/"]
            await alive(world)

        @settings(max_examples=12, deadline=None)
        @given(st.lists(_LIES, min_size=2, max_size=6))
        def goes_on(lies: list[Lie]) -> None:
            runner.run(use(lies))

        async def then() -> None:
            """What a lie has put off is due at the next start."""
            await world.stop()
            await world.start()
            await _delivered(world)
            assert len(world.runflow.runs) == len(world.posts()) > 0

        try:
            goes_on()
            runner.run(then())
        finally:
            runner.run(made.__aexit__(None, None, None))
        check_log(world, traces=True)


async def test_a_start_outlasts_replies_that_are_none(tmp_path: Path) -> None:
    """The page of a proxy in the place of who we are and of our commands: it is asked again, and the bot starts."""
    async with scene(tmp_path, start=False) as world:
        between = Between(world.discord.api_url)
        between.lies = [
            Lie(where="/users/@me", status=200, body=b"<html>", changes=[]),
            Lie(where="/commands", status=200, body=b'{"a": 1}', changes=[]),
        ]
        async with between.listening() as address:
            await world.start(DISCORD_API_URL=address)
            assert between.lies == []
            await alive(world)
            check_log(world, traces=True)  # the library leaves its first session unclosed
            await world.stop()


# Settings.

SECRETS = ("DISCORD_TOKEN", "RUNFLOW_API_KEY", "RUNFLOW_CALLBACK_SECRETS")
MARK = "h1dd3n"
_NASTY = st.sampled_from(
    ["", " ", "NaN", "-inf", "1e400", "-1", "0", "9" * 5000, "1e9999999999999999999", "0x10", "1_0", "١", "²", "true",
     "null",
     "[" * 100_000, '{"a":' * 30_000, '{"720p": {"silent": "1", "audio": NaN}}', '{"720p": ' + "9" * 5000 + "}", "[]",
     "{}",
     '{"720p": {"silent": "sNaN", "audio": "1"}}', '{"720p": 1}',
     '{"\\ud800": {"silent": "x"}}', '{"a\\nb": {"c\\nd": 1}}',
     "http://[", "http://", "https://[::1", "http://a:99999", "http://a:x", "http://\u2100.com",
     "http://u:h1dd3n@\u2100.com",
     "https://" + "a" * 70, "ws://x:0", "http://a\nb", "http://a b", "http://%00", "sqlite:///" + "a" * 300, "sqlite:////\udcff",
     "sqlite:///:memory:", "sqlite:///?mode=ro", "/", "..", "\udcff", "\udcff,\udc80", "a\nb", "a\r\u2028b", "*,*",
     "12,x\ny",
     "UTC\n", "Europe", "posix/../UTC", "a" * 300, "tzdata.zi", "day ", "\u202e"]
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)  # fmt: skip
_SECRET = st.tuples(
    _NASTY.filter(lambda text: len(text) < 400), st.sampled_from(["{}" + MARK, MARK + "{}", MARK + "{}, {}"])
).map(lambda drawn: drawn[1].replace("{}", drawn[0]))
_ENVIRONMENT = st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), _NASTY, max_size=3)


def loaded(environment: dict[str, str]) -> Settings | str:
    """The settings, or the sentence about them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        for name, value in environment.items():
            patch.setenv(name.upper(), value)
        try:
            return load_settings()
        except SettingsError as error:
            return str(error)


def test_any_environment_gives_settings_or_one_line_that_tells_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several settings at once with any values: settings, or a line that names each wrong one and repeats none."""
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=400, deadline=None)
    @given(environment=_ENVIRONMENT, secrets=st.dictionaries(st.sampled_from(SECRETS), _SECRET, max_size=3))
    @example({"price_usd_per_second": "[" * 100_000}, {})
    @example({"runflow_api_url": "http://u:h1dd3n@\u2100.com"}, {})
    @example({"runflow_api_url": "http://a:99999"}, {})
    @example({"web_host": "a" * 70}, {})
    @example({"web_host": "a\nb"}, {})
    def told_in_a_line(environment: dict[str, str], secrets: dict[str, str]) -> None:
        good = {"DISCORD_TOKEN": "abc.def", "RUNFLOW_API_KEY": "rf_live_1"}
        wrong = {name: value for name, value in environment.items() if name.upper() not in SECRETS}
        said = loaded(good | wrong | secrets)
        if isinstance(said, str):
            assert len(said.splitlines()) == 1, said
            assert MARK not in said
            named = {name for name in Settings.model_fields if name.upper() in said}
            assert named & {name.lower() for name in (*wrong, *secrets)}, said
        else:
            for name in (name.lower() for name in SECRETS):  # any other setting may be shown
                assert MARK not in repr(getattr(said, name))

    told_in_a_line()


async def test_silent_connections_keep_nobody_from_a_video(tmp_path: Path) -> None:
    """More of them than the process may open files: `/veo` is answered and delivered, health told, the log short."""
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))"
    async with scene(tmp_path, PUBLIC_URL="", before=few) as world:
        assert world.bot is not None
        assert resource.prlimit(world.bot.pid, resource.RLIMIT_NOFILE) == (256, 256)
        with ExitStack() as strangers:
            place = ("127.0.0.1", int(world.environment["WEB_PORT"]))
            for number in range(400):
                if number % 50 == 0:  # who finds the queue full comes again after a second
                    await asyncio.sleep(0.05)
                strangers.enter_context(socket.create_connection(place)).sendall(b"POST /callbacks/runflow/x HTTP/1.1")
            used = await world.veo()
            await world.end_of(used)
            async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/healthz") as healthy:
                assert healthy.status == 200
        assert len(world.logged("requests refused")) == 1
        assert len(world.log) < 10_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISCORD_TOKEN", b"h1dd3n\xff"),
        ("PRICE_USD_PER_SECOND", b"[" * 100_000),
        ("RUNFLOW_API_URL", b"http://u:h1dd3n@127.0.0.1:99999"),
        ("DATABASE_URL", b"sqlite:////dev/null/\xff/x.db"),
        ("WEB_HOST", b"h1dd3n\xff"),
    ],
)
async def test_no_setting_makes_a_traceback(tmp_path: Path, name: str, value: bytes) -> None:
    """`python -m bot run` with bytes that no setting takes: exit code 2, one line, nothing of a secret."""
    environment = {"PATH": "/usr/bin:/bin", "DISCORD_TOKEN": "abc.def", "RUNFLOW_API_KEY": "rf_live_1"}
    environment |= {
        "WEB_PORT": "0",
        "OPERATOR_PORT": "0",
        "RUNFLOW_API_URL": "http://127.0.0.1:9",
        name: os.fsdecode(value),
    }
    async with asyncio.timeout(WAIT_S):
        code, output, errors = await nursery().run("bot", "run", folder=tmp_path, environment=environment)
    assert (code, output) == (2, ""), errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1, errors
    assert name in errors
    assert MARK not in errors
