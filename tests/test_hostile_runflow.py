"""A Runflow that replies anything: the client gives what its port promises, and its log shows no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import runflow
from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import Observation, Run, VeoRequest
from bot.errors import ClipUnavailable, SettingsError, Unreadable
from bot.runflow import Runflow
from tests.harness import API_KEY
from tests.hostile import CHANGES, JSON, QUERY, Changes, Json, bot_log, changed

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


class LyingServer:
    """A server that sends the given replies in turn, the last one for ever."""

    def __init__(self) -> None:
        self.origin = ""
        self.answers: list[bytes] = [b""]

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request per connection."""
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
    """A run with only the fields that a submission needs."""
    blank: Json = dict.fromkeys(each.name for each in fields(Run))
    return Run(**blank | {"run_id": "abc234", "callback_token": "t" * 32, "request": VeoRequest(prompt="a red fox")})


@contextmanager
def lied_to() -> Iterator[tuple[asyncio.Runner, LyingServer, Runflow]]:
    """A client of a lying server; at the end the log must hold no key and no signed query."""
    server = LyingServer()
    with bot_log() as log, asyncio.Runner() as runner:
        made = server.connected()
        client = runner.run(made.__aenter__())
        try:
            yield runner, server, client
        finally:
            runner.run(made.__aexit__(None, None, None))
    assert [secret for secret in (API_KEY, QUERY, "presigned") if secret in log.getvalue()] == []


def test_any_reply_of_runflow_gives_what_the_port_promises() -> None:
    """Submit, read and find raise no other exception, whatever bytes come back."""
    with lied_to() as (runner, server, client):

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
            server.answers = [answer]
            runner.run(ask())

        one_of_them()


_HOSTS = st.sampled_from(
    ["ORIGIN", "ORIGIN", "http://[", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://127.1", "https://2130706433",
     "https://0x7f.1", "https://localhost", "https://" + "a" * 70, "https://..", "https://-", "https://127.0.0.1:99999",
     "https://u:p@127.0.0.1", "https://[fe80::1%25lo]", "https://%00", "https://169.254.169.254", "https://[v1.x]",
     "http://127.0.0.1:1@", "ORIGIN@evil", "https:///"]
)  # fmt: skip
_ATOM = st.sampled_from([b"ftyp", b"moov", b"mdat", b"free"])
_VIDEOS = st.lists(st.tuples(st.integers(0, 40), _ATOM), max_size=4).map(
    lambda atoms: b"".join(size.to_bytes(4, "big") + kind + b"\0" * max(0, size - 8) for size, kind in atoms)
)


def test_any_reply_on_the_way_to_a_clip_gives_what_the_port_promises(tmp_path: Path) -> None:
    """A record with any address, then any bytes from the file host: a whole clip or a known error, and no leftovers."""
    clip = tmp_path / "veo-abc234.mp4"
    with lied_to() as (runner, server, client):

        @settings(max_examples=200, deadline=None)
        @given(
            host=_HOSTS,
            changes=st.just([]) | CHANGES,
            video=_VIDEOS.map(lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)),
            odd=st.lists(replies(), max_size=3),
        )
        def a_clip_or_a_word(host: str, changes: Changes, video: bytes, odd: list[bytes]) -> None:
            record = json.dumps(changed(RECORD, changes)).replace("ORIGIN", host).encode()
            known = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + record
            server.answers = [known, *odd, video]
            with suppress(ClipUnavailable, Unreadable):
                runner.run(client.fetch(ID, clip))
                assert runflow.unsound_mp4(clip) is None
            assert {each.name for each in tmp_path.iterdir()} <= {clip.name}
            clip.unlink(missing_ok=True)
            server.answers = [known]
            with suppress(ClipUnavailable, Unreadable):
                assert runner.run(client.link(ID)).startswith(("http://", "https://"))

        a_clip_or_a_word()
