"""Links to clips over real TCP: what they give, to whom, and for how long."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

import pytest

from bot.web.listener import Bounds
from tests.web_site import KEEP_S, SECRETS, Site, web_site

VIDEO = bytes(range(256)) * 4


async def a_clip(at: Site) -> str:
    """The path of a new link to a clip on disk."""
    run = await at.a_run()
    at.media.path(run.file_name).write_bytes(VIDEO)
    link = at.media.link(run.file_name)
    assert link is not None
    return link.url.removeprefix("https://bot.example")


async def test_a_link_gives_the_clip(site: Site) -> None:
    """The whole video with its media type, to GET and HEAD; no cache in between may keep it."""
    path = await a_clip(site)
    status, headers, body = await site.request("GET", path)
    assert (status, body) == (200, VIDEO)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private"
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = await site.request("HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, str(len(VIDEO)), b"")
    assert (await site.request("POST", path))[0] == 405


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=1000-", slice(1000, 1024)), ("bytes=-24", slice(1000, 1024))],
)
async def test_a_range_of_the_clip_can_be_requested(site: Site, asked: str, part: slice) -> None:
    """Players jump: a Range request gets 206 with just these bytes; past the end there are none."""
    path = await a_clip(site)
    status, headers, body = await site.request("GET", path, headers={"Range": asked})
    assert (status, body) == (206, VIDEO[part])
    assert headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/{len(VIDEO)}"
    assert (await site.request("GET", path, headers={"Range": "bytes=5000-"}))[0] == 416


async def reading(at: Site, path: str, rests: Iterator[float]) -> int:
    """How many bytes of a clip reach a client that takes 64 KiB and then rests this long, again and again."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        caller.setblocking(False)
        loop, took = asyncio.get_running_loop(), 0
        await loop.sock_connect(caller, ("127.0.0.1", at.port))
        await loop.sock_sendall(caller, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with suppress(ConnectionError):
            while piece := await loop.sock_recv(caller, 65536):
                took += len(piece)
                await asyncio.sleep(next(rests))
        return took


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system leaves stalled connections to itself")
async def test_a_slow_client_gets_the_whole_clip_and_a_stalled_one_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It matters that something is taken now and then, not how long the whole download takes."""
    async with web_site(tmp_path, SECRETS, Bounds(head_s=0.2, stall_s=0.3)) as made:
        path = await a_clip(made)
        size = 6_000_000
        with made.media.path(path.rpartition("/")[2]).open("wb") as file:
            file.write(bytes(size))
        begun = time.monotonic()
        assert await reading(made, path, repeat(0.015)) > size
        assert time.monotonic() - begun > 3 * 0.3
        assert await reading(made, path, chain([1.2], repeat(0.0))) < size
    assert not [each for each in caplog.records if each.name.startswith("veo")]


async def test_an_expired_link_is_not_found(site: Site) -> None:
    """404 with a sentence, from its last second on."""
    path = await a_clip(site)
    site.clock.at += KEEP_S - 1
    assert (await site.request("GET", path))[0] == 200
    site.clock.at += 1
    status, _, body = await site.request("GET", path)
    assert status == 404
    assert b"expired" in body


async def test_no_other_address_gives_a_clip(site: Site) -> None:
    """A changed token, another clip's name, no name, another folder: 404, and never a byte of a file."""
    first, second = await a_clip(site), await a_clip(site)
    _, _, token, name = first.split("/")
    other = second.split("/")[3]
    for place in range(0, 32, 5):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert (await site.request("GET", f"/media/{changed}/{name}"))[0] == 404
    odd = [
        "",
        "x.mp4",
        "veo-.mp4",
        name.upper(),
        f"{name}.part",
        f"{name}%00",
        f"{name}/",
        f"%2e%2e%2f{name}",
        f".%2f{name}",
    ]
    for wrong in (other, *odd):
        assert (await site.request("GET", f"/media/{token}/{wrong}"))[0] == 404
    site.media.discard(name)
    assert (await site.request("GET", first))[0] == 404


@pytest.mark.parametrize(
    "path",
    [b"/media/TOKEN/../veo.db", b"/media/TOKEN/../../veo.db", b"/media/TOKEN/..%2fveo.db",
     b"/media/TOKEN/..%2f..%2fveo.db", b"/media/../veo.db", b"/media/..%2fveo.db",
     b"/media/TOKEN/%2fetc%2fpasswd", b"/media/TOKEN//etc/passwd",
     b"/media/TOKEN/..\\veo.db", b"/media/TOKEN/%252e%252e%252fveo.db", b"/../../../../etc/passwd"],
)  # fmt: skip
async def test_no_path_leads_out_of_the_folder(site: Site, path: bytes) -> None:
    """Sent as raw bytes, so that no client tidies them up: 4xx, and nothing of a file."""
    token = (await a_clip(site)).split("/")[2]
    request = b"GET " + path.replace(b"TOKEN", token.encode()) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await site.raw(request)
    assert answer.partition(b" ")[2].startswith(b"4")
    assert b"SQLite" not in answer
    assert b"root:" not in answer
