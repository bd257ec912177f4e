"""Clients that are silent, slow, many or malformed, over real TCP; and the ports themselves."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.errors import PortError
from bot.web import listener, public
from bot.web.listener import Bounds
from bot.web.public import WebServer
from tests.web_site import BODY, SECRETS, USUAL, Site, signature_of, web_site


@asynccontextmanager
async def strangers(at: Site, count: int, *words: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections, each of which sends these bytes."""
    opened = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(count)]
    try:
        for _, writer in opened:
            writer.writelines(words)
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def gone(reader: asyncio.StreamReader) -> bytes:
    """What arrived until the server hung up."""
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""


HEAD = b"POST /callbacks/runflow/x HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("words", [b"", b"P", HEAD, HEAD + b"X-A: "], ids=["silent", "a-letter", "half", "a-word"])
async def test_an_unfinished_head_is_closed_after_its_time(tmp_path: Path, words: bytes) -> None:
    """A connection without the whole head is closed after `head_s`, and not before."""
    async with web_site(tmp_path, SECRETS, Bounds(head_s=0.3)) as made, strangers(made, 5, words) as readers:
        await asyncio.sleep(0.15)
        assert not any(reader.at_eof() for reader in readers)
        assert await asyncio.gather(*map(gone, readers)) == [b""] * 5


async def test_a_head_that_drips_is_closed_after_its_time(tmp_path: Path) -> None:
    """Bytes that keep coming do not extend the time."""
    async with web_site(tmp_path, SECRETS, Bounds(head_s=0.3)) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(HEAD)
        dripped = 0
        with suppress(ConnectionError):
            while not reader.at_eof() and dripped < 100:
                writer.write(b"X-A: a\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
                dripped += 1
        writer.close()
        assert 5 < dripped < 50


@pytest.mark.parametrize("path", [b"/callbacks/runflow/x", b"/media/a/b", b"/", b"/callbacks/runflow/x/y"])
async def test_a_body_that_does_not_come_holds_no_connection(
    tmp_path: Path, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no handler reads it: the reply, and then the end."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    words = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\nhalf"
    async with web_site(tmp_path, SECRETS, Bounds(rest_s=0.2)) as made, strangers(made, 3, words) as readers:
        for answer in await asyncio.gather(*map(gone, readers)):
            assert answer.startswith(b"HTTP/1.1 4")


async def test_each_connection_is_closed_after_its_reply(site: Site) -> None:
    """A second request on the same connection gets no reply, so no connection has to be waited for."""
    one = b"GET /media/a/b HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await site.raw(one + one)
    assert answer.count(b"HTTP/1.1 404") == 1
    assert b"Connection: close" in answer


async def test_connections_above_the_limit_are_closed_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One log line tells it, and once the silent connections are gone others are served."""
    async with web_site(tmp_path, SECRETS, Bounds(head_s=0.5, connections=5)) as made:
        run = await made.a_run()
        async with strangers(made, 5) as silent:
            async with strangers(made, 40, HEAD) as late:
                assert await asyncio.gather(*map(gone, late)) == [b""] * 40
            assert not any(reader.at_eof() for reader in silent)
            assert (await made.ask("/healthz"))[0] == 200  # the operator's listener has a bound of its own
            await asyncio.gather(*map(gone, silent))
        assert await made.call(run.callback_token) == 202
    told = [each.msg for each in caplog.records if each.name == "veo.web"]
    assert told == [{"event": "requests refused", "counts": {"connections above the limit": 1}}]


async def test_bad_requests_are_one_log_line_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed requests and wrong signatures are counted, not logged one by one."""
    monkeypatch.setattr(listener, "LOG_EVERY_S", 0.3)
    async with web_site(tmp_path, SECRETS) as made:
        run = await made.a_run()
        for _ in range(30):
            assert (await made.raw(b"GET / HTTP/9.9 \xff\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
            assert await made.call(run.callback_token, signature="0" * 64) == 401
        await asyncio.sleep(0.4)
    told = [str(each.msg) for each in caplog.records if each.name.startswith("veo.web")]
    assert 2 <= len(told) <= 4
    counted = [int(count) for line in told for count in re.findall(r": (\d+)", line)]
    assert sum(counted) == 60
    assert run.callback_token not in caplog.text


_LINE = st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
_HEADERS = st.sampled_from(
    [b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Runflow-Signature", b"Range", b"Cookie",
     b"Content-Length", b"Upgrade", b"If-Range", b"If-Modified-Since", b"Accept-Encoding", b"X-Odd", b"Host"]
)  # fmt: skip
_VALUES = _LINE | st.sampled_from(
    [b"gzip", b"deflate", b"chunked", b"100-continue", b"bytes=0-", b"bytes=9-1", b"websocket", b"0", b"1e9", b"-1",
     signature_of(BODY).encode(), b"text/plain; charset=nonsense", b"a=b; c", b"Thu, 31 Feb 2020 00:00:00 GMT"]
)  # fmt: skip
_PATHS = st.sampled_from(
    [b"/callbacks/runflow/TOKEN", b"/callbacks/runflow/TOKEN?x=%ff", b"/callbacks/runflow/a", b"/media/MEDIA",
     b"/healthz", b"/readyz", b"*", b"http://[::1/", b"//", b"/callbacks/runflow/%ed%a0%80", b"/media/%2e%2e/%2e%2e"]
) | _LINE.map(lambda text: b"/" + text.replace(b" ", b""))  # fmt: skip
_METHODS = st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"BREW"])


def test_no_request_makes_a_server_error(tmp_path: Path) -> None:
    """Any bytes to any path with any headers: never a 5xx, and the server goes on."""
    with asyncio.Runner() as runner:
        made = web_site(tmp_path, [])
        world = runner.run(made.__aenter__())
        run = runner.run(world.a_run())
        world.media.path(run.file_name).write_bytes(b"video")
        link = world.media.link(run.file_name)
        assert link is not None
        known = {b"TOKEN": run.callback_token.encode(), b"MEDIA": link.url.partition("/media/")[2].encode()}

        async def send(request: bytes) -> None:
            answer = await world.raw(request)
            assert not answer.partition(b" ")[2].startswith(b"5"), answer
            assert (await world.ask("/healthz"))[0] == 200

        @settings(max_examples=150, deadline=None)
        @given(
            method=_METHODS,
            path=_PATHS,
            headers=st.lists(st.tuples(_HEADERS, _VALUES), max_size=3),
            body=st.binary(max_size=40)
            | st.sampled_from([BODY, b"2\r\n{}\r\n0\r\n\r\n", b'{"x":1e9999999999999999999}']),
        )
        @example(b"POST", b"/callbacks/runflow/TOKEN", [(b"Content-Encoding", b"gzip")], BODY)
        @example(b"GET", b"/media/MEDIA", [(b"Range", b"bytes=9-1"), (b"If-Range", b"x")], b"")
        def never(method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
            for name, value in known.items():
                path = path.replace(name, value)
            lines = [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Connection: close"]
            lines += [name + b": " + value for name, value in headers]
            if not {b"Transfer-Encoding", b"Content-Length"} & {name for name, _ in headers}:
                lines.append(b"Content-Length: %d" % len(body))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(public, "CALLBACK_READ_S", 0.02)
                runner.run(send(b"\r\n".join(lines) + b"\r\n\r\n" + body))

        try:
            never()
        finally:
            runner.run(made.__aexit__(None, None, None))


async def test_a_port_in_use_stops_the_start(site: Site) -> None:
    """The error names the address and the settings to change."""
    server = WebServer(engine=site.engine, media=site.media, secrets=[], bounds=USUAL)
    with pytest.raises(PortError) as told:
        async with server.listening("127.0.0.1", site.port):
            pass
    sentence = str(told.value)
    assert sentence.startswith(f"The web server cannot listen on 127.0.0.1:{site.port} (")
    assert "address already in use" in sentence
    assert sentence.endswith("; set WEB_HOST and WEB_PORT to an address of this machine that is free.")
    with pytest.raises(PortError, match="WEB_HOST"):
        async with server.listening("no-such-host.invalid", 0):
            pass


async def test_the_port_is_free_again_afterwards(site: Site) -> None:
    """The end of the block closes the listener, also with a connection open."""
    server = WebServer(engine=site.engine, media=site.media, secrets=[], bounds=USUAL)
    async with server.listening("127.0.0.1", 0) as port:
        open_one = socket.create_connection(("127.0.0.1", port))
    open_one.close()
    async with server.listening("127.0.0.1", port) as again:
        assert again == port
        async with site.session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 404
