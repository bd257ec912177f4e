"""The sandbox's file host serves clips under presigned URLs, with every fault of URLs and downloads."""

import asyncio
import io
from typing import Any

import aiohttp
import pytest

from sandbox.runflow.clip import STORED
from tests.sandbox.runflow_client import KEY, Lab


async def test_a_file_supports_get_ranges_and_head(lab: Lab) -> None:
    """Content-Length is right, ranges return their bytes, HEAD returns none."""
    url, stored = await lab.clip_url(), STORED.read_bytes()
    whole = await lab.fetch(url)
    assert (whole.status, whole.headers["Content-Type"], whole.content) == (200, "video/mp4", stored)
    head = await lab.fetch(url, "HEAD")
    assert (head.status, int(head.headers["Content-Length"]), head.content) == (200, len(stored), b"")
    for text, part in (("bytes=0-9", stored[:10]), ("bytes=-5", stored[-5:]), ("bytes=100-", stored[100:])):
        got = await lab.fetch(url, Range=text)
        assert (got.status, got.content) == (206, part)
    assert got.headers["Content-Range"] == f"bytes 100-{len(stored) - 1}/{len(stored)}"
    beyond = await lab.fetch(url, Range=f"bytes={len(stored)}-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{len(stored)}")
    assert (await lab.fetch(url, Range="lines=1-2")).status == 200


async def test_an_altered_or_expired_url_and_a_leaked_key_are_refused(lab: Lab) -> None:
    """403 for an invalid or expired signature, 400 for a request with an Authorization header."""
    run_id = await lab.created()
    url = (await lab.read(run_id))["output"]["outputs"][0]["url"]
    assert (await lab.fetch(url.replace("expires=18", "expires=19"))).status == 403
    assert (await lab.fetch(url[:-1] + ("0" if url[-1] != "0" else "1"))).status == 403
    assert (await lab.fetch(url + "é")).status == 403
    assert (await lab.fetch(url.partition("?")[0])).status == 403
    assert (await lab.fetch(url, **KEY)).status == 400
    lab.clock.advance(86_399)
    assert (await lab.fetch(url)).status == 200
    lab.clock.advance(1)
    assert (await lab.fetch(url)).status == 403
    fresh = (await lab.read(run_id))["output"]["outputs"][0]["url"]
    assert (await lab.fetch(fresh)).status == 200


@pytest.mark.parametrize(("fault", "status"), [("expired", 403), ("403", 403), ("404", 404), ("410", 410)])
async def test_a_refused_url_stays_refused_and_a_new_one_works(lab: Lab, fault: Any, status: int) -> None:
    """Only reading the run again gives a URL that works, after the given number of faults."""
    lab.box.switches.url_fault = fault
    lab.box.switches.url_fault_times = 2
    run_id = await lab.created()
    for expected in (status, status, 200):
        url = (await lab.read(run_id))["output"]["outputs"][0]["url"]
        assert [(await lab.fetch(url)).status for _ in range(2)] == [expected, expected]


async def test_urls_can_point_elsewhere(lab: Lab) -> None:
    """To a private network, to http elsewhere, to a redirect into a private network, or to a harmless redirect."""
    assert (await lab.clip_url("x [private]")).startswith("http://10.11.12.13/")
    lab.box.switches.url_place = "plain"
    assert (await lab.clip_url()).startswith("http://files.runflow.invalid/")
    moved = await lab.fetch(await lab.clip_url("x [redirect-private]"))
    assert (moved.status, moved.headers["Location"][:23]) == (302, "http://169.254.169.254/")
    harmless = await lab.fetch(await lab.clip_url("x [redirect]"))
    assert (await lab.fetch(lab.box.url + harmless.headers["Location"])).content == STORED.read_bytes()


async def test_a_clip_can_have_another_format(lab: Lab) -> None:
    """Each format has its signature and media type, and contains the data of the normal clip."""
    stored = STORED.read_bytes()
    for film, head, media_type in (
        ("webm", b"\x1a\x45\xdf\xa3", "video/webm"),
        ("mkv", b"\x1a\x45\xdf\xa3", "video/x-matroska"),
        ("mov", stored[:8] + b"qt  ", "video/quicktime"),
        ("hevc", stored[:12], "video/mp4"),
        ("tail", stored, "video/mp4"),
    ):
        lab.box.switches.container = film  # type: ignore[assignment]
        got = await lab.fetch(await lab.clip_url())
        assert (got.status, got.headers["Content-Type"]) == (200, media_type)
        assert got.content.startswith(head)
        assert stored[-1000:] in got.content
        assert got.content != stored


async def test_downloads_can_break_in_every_way(lab: Lab) -> None:
    """Truncated fails; short, empty and HTML look complete; stalled never ends; a one-time fault happens once."""
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.fetch(await lab.clip_url("x [truncated]"))
    once = await lab.clip_url("x [truncated-once]")
    with pytest.raises(aiohttp.ClientPayloadError):
        await lab.fetch(once)
    size = STORED.stat().st_size
    assert len((await lab.fetch(once)).content) == size
    short = await lab.fetch(await lab.clip_url("x [short]"))
    assert (short.status, len(short.content), "Content-Length" in short.headers) == (200, size // 2, False)
    assert (await lab.fetch(await lab.clip_url("x [zero]"))).content == b""
    html = await lab.fetch(await lab.clip_url("x [html]"))
    assert (html.status, html.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lab.fetch(await lab.clip_url("x [stall]")), 0.1)


async def test_head_and_range_can_be_switched_off(lab: Lab) -> None:
    """Without them, HEAD gets 405 and a range gets the whole file."""
    lab.box.switches.no_range = lab.box.switches.no_head = True
    url = await lab.clip_url()
    assert (await lab.fetch(url, "HEAD")).status == 405
    got = await lab.fetch(url, Range="bytes=0-9")
    assert (got.status, len(got.content)) == (200, STORED.stat().st_size)


async def test_a_padded_file_has_the_exact_size_and_stays_playable(lab: Lab) -> None:
    """The padding is a free box after the video; a huge file isn't stored."""
    av = pytest.importorskip("av")
    lab.box.switches.file_bytes = 300_000
    content = (await lab.fetch(await lab.clip_url())).content
    assert len(content) == 300_000
    with av.open(io.BytesIO(content)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 192
    huge = await lab.clip_url("x [huge]")
    assert (await lab.fetch(huge, "HEAD")).headers["Content-Length"] == "600000000"
    assert (await lab.fetch(huge, Range="bytes=599999990-")).content == bytes(10)
    edge = await lab.fetch(huge, Range=f"bytes={STORED.stat().st_size}-{STORED.stat().st_size + 7}")
    assert edge.content == (600_000_000 - STORED.stat().st_size).to_bytes(4, "big") + b"free"
