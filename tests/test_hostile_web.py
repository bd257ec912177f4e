"""Strangers at the public port of a running bot: any bytes, and more connections than it may have files."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import aiohttp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.harness import SECRET, Scene, scene
from tests.hostile import JSON, check_alive, check_log, staged

_TEXT = st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\0", b"HTTP/1.1", b":", b"%", b"..", b"/", b"?"])
_RAW = st.lists(_TEXT | st.binary(max_size=12) | st.sampled_from([b"SIGN", b"PATH", b"POST"]), max_size=12).map(
    b"".join
)


def test_raw_bytes_give_no_server_error_and_leave_no_secret_in_the_log(tmp_path: Path) -> None:
    """Bytes that are no request, or a request with any body to a real address."""
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
            answer = runner.run(_reply_to(world, request))
            assert not answer.partition(b" ")[2].startswith(b"5"), answer

        never()
        runner.run(check_alive(world))
        assert world.rows("SELECT state FROM run") == [{"state": "running"}]
        check_log(world)


async def _admitted(world: Scene) -> None:
    await world.run_id(await world.veo())
    await world.until("SELECT 1 FROM run WHERE state = 'running'")


async def _reply_to(world: Scene, request: bytes) -> bytes:
    """All that comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.environment["WEB_PORT"]))
    answer = b""
    try:
        async with asyncio.timeout(5):
            writer.write(request)
            writer.write_eof()
            answer = await reader.read()
    except ConnectionError:
        pass  # the server hung up
    finally:
        writer.close()
    return answer


async def test_silent_connections_do_not_stop_veo(tmp_path: Path) -> None:
    """More of them than the process may open files: `/veo` is delivered, health answers, the log stays short."""
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))"
    async with scene(tmp_path, PUBLIC_URL="", before=few) as world:
        assert world.bot is not None
        assert resource.prlimit(world.bot.pid, resource.RLIMIT_NOFILE) == (256, 256)
        with ExitStack() as strangers:
            place = ("127.0.0.1", int(world.environment["WEB_PORT"]))
            for number in range(400):
                if number % 50 == 0:  # a client that finds the queue full tries again after a second
                    await asyncio.sleep(0.05)
                strangers.enter_context(socket.create_connection(place)).sendall(b"POST /callbacks/runflow/x HTTP/1.1")
            used = await world.veo()
            await world.end_of(used)
            async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/healthz") as healthy:
                assert healthy.status == 200
        assert len(world.logged("requests refused")) == 1
        assert len(world.log) < 10_000
