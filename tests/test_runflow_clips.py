"""Downloading clips over real TCP: whole, within the limits, or not at all."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.domain.models import VeoRequest
from bot.domain.runs import Ending
from bot.errors import ClipNotKept, ClipUnavailable, Unreadable
from bot.runflow.clips import ADDRESSES_MAX
from sandbox.runflow.clip import STORED
from tests.harness import WAIT_S
from tests.runflow_lab import ID, MEGABYTE, Lab, a_run, connected, fetched_from, laboratory, left_in, serving


async def test_a_slow_download_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip that would take hours is stopped and tried again later; one that arrives in time is not."""
    monkeypatch.setattr("bot.runflow.clips.SLOW_AFTER_S", 0.2)
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
        with pytest.raises(ClipUnavailable, match="too slow"):
            await client.fetch(ID, tmp_path / "veo-a.mp4")
        assert list(tmp_path.iterdir()) == []
        switches["drip"] = False
        with pytest.raises(ClipUnavailable, match=r"^(?!.*too slow)"):
            await client.fetch(ID, tmp_path / "veo-a.mp4")


async def test_a_clip_arrives_whole_and_its_host_never_sees_the_key(lab: Lab) -> None:
    """The file on disk is the host's file, under its own name only; the key goes to the API alone."""
    provider_id = await lab.bought()
    assert await lab.fetched(provider_id) == STORED.read_bytes()
    files = [each for each in lab.box.received if each.path.startswith("/files/")]
    assert len(files) == 1
    assert "Authorization" not in files[0].headers
    assert files[0].headers["Accept-Encoding"] == "identity"
    assert all(each.headers["Authorization"] == "***" for each in lab.box.received if each.path.startswith("/v1/"))


async def test_a_link_is_freshly_signed(lab: Lab) -> None:
    """The run is read for each link; a run without a clip has none."""
    provider_id = await lab.bought()
    links = {await lab.client.link(provider_id) for _ in range(3)}
    assert len(links) == 3
    lab.box.next_run(end="empty")
    empty = await lab.bought(a_run(run_id="empty"))
    for without in (empty, ID):
        with pytest.raises(ClipUnavailable):
            await lab.client.link(without)


async def test_a_large_clip_is_streamed(lab: Lab) -> None:
    """60 MB pass through a few MB of memory, the sandbox's own included."""
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


async def test_a_clip_above_the_limit_is_refused(tmp_path: Path) -> None:
    """One byte more than CLIP_MAX_MB is too much and leaves nothing on disk; exactly as much is accepted."""
    async with laboratory(tmp_path, clip_bytes_max=MEGABYTE) as lab:
        lab.box.switches.file_bytes = MEGABYTE
        provider_id = await lab.bought()
        assert len(await lab.fetched(provider_id)) == MEGABYTE
        (tmp_path / "media" / "veo-abc234.mp4").unlink()
        lab.box.switches.file_bytes = MEGABYTE + 1
        with pytest.raises(ClipUnavailable, match="CLIP_MAX_MB"):
            await lab.client.fetch(provider_id, tmp_path / "media" / "veo-abc234.mp4")
        assert left_in(tmp_path) == []


async def test_an_endless_clip_is_cut_off(tmp_path: Path) -> None:
    """The limit counts the bytes that arrive, so a host without Content-Length cannot fill the disk."""

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
async def test_a_broken_clip_is_never_kept(lab: Lab, fault: Any) -> None:
    """A file that is cut short, empty or no video is a failed try that leaves nothing; the next try may succeed."""
    lab.box.switches.download, lab.box.switches.download_fault_times = fault, 1
    provider_id = await lab.bought()
    with pytest.raises(ClipUnavailable):
        await lab.client.fetch(provider_id, lab.folder / "media" / "veo-abc234.mp4")
    assert left_in(lab.folder) == []
    assert await lab.fetched(provider_id) == STORED.read_bytes()


async def test_a_stalled_clip_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that falls silent is left after the idle timeout, with nothing on disk."""
    monkeypatch.setattr("bot.runflow.clips.FILE_TIMEOUT", aiohttp.ClientTimeout(total=5, sock_read=0.1))
    lab.box.switches.download = "stall"
    with pytest.raises(ClipUnavailable):
        await lab.client.fetch(await lab.bought(), lab.folder / "veo-abc234.mp4")
    assert left_in(lab.folder) == []


async def test_a_cancelled_download_leaves_nothing(lab: Lab) -> None:
    """A bot that stops in the middle of a download cleans up."""
    lab.box.switches.download = "stall"
    fetching = asyncio.create_task(lab.client.fetch(await lab.bought(), lab.folder / "veo-abc234.mp4"))
    async with asyncio.timeout(WAIT_S):
        while not any(path.stat().st_size for path in left_in(lab.folder)):  # noqa: ASYNC110 - a file sets no event
            await asyncio.sleep(0.005)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert left_in(lab.folder) == []


@pytest.mark.parametrize("fault", ["expired", "403", "404", "410"])
@pytest.mark.parametrize("refused", range(ADDRESSES_MAX + 1))
async def test_an_expired_address_is_replaced(lab: Lab, fault: Any, refused: int) -> None:
    """The run is read again for a fresh address, three times in all; then the try is over."""
    lab.box.switches.url_fault, lab.box.switches.url_fault_times = fault, refused
    provider_id = await lab.bought()
    if refused < ADDRESSES_MAX:
        assert await lab.fetched(provider_id) == STORED.read_bytes()
    else:
        with pytest.raises(ClipUnavailable, match="refused"):
            await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
        assert left_in(lab.folder) == []
    asked = min(refused + 1, ADDRESSES_MAX)
    assert (lab.asked("/files/"), lab.asked("/v1/runs/")) == (asked, asked)


@pytest.mark.parametrize("fault", ["fresh", "403", "404", "410"])
async def test_an_address_that_was_just_read_is_used_first(lab: Lab, fault: Any) -> None:
    """The run is not read once more for it, unless its host does not take it any more."""
    provider_id = await lab.bought()
    seen = await lab.client.read(provider_id)
    assert seen is not None
    assert seen.clip_address is not None
    assert seen.clip_address not in repr(seen)
    read = lab.asked("/v1/runs/")
    lab.box.switches.url_fault, lab.box.switches.url_fault_times = ("403", 0) if fault == "fresh" else (fault, 1)
    path = lab.folder / "veo-abc234.mp4"
    await lab.client.fetch(provider_id, path, seen.clip_address)
    assert path.read_bytes() == STORED.read_bytes()
    assert lab.asked("/v1/runs/") == read + (fault != "fresh")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/clip.mp4", "file:///etc/passwd", "https://10.0.0.1/clip", ""])
async def test_a_hostile_address_is_refused_wherever_it_comes_from(lab: Lab, address: str) -> None:
    """What a reading named is checked like any other, and nothing is fetched from it."""
    with pytest.raises(ClipUnavailable, match="neither public https"):
        await lab.client.fetch(await lab.bought(), lab.folder / "veo-abc234.mp4", address)
    assert left_in(lab.folder) == []
    assert lab.asked("/files/") == 0


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_redirect_to_what_has_expired_is_an_expired_address(tmp_path: Path, status: int) -> None:
    """Also behind a redirect the address of the reading is replaced by a fresh one."""
    asked: list[str] = []

    async def give(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        match request.path:
            case "/read":
                raise web.HTTPFound("/gone")
            case "/gone":
                return web.Response(status=status)
            case "/clip.mp4":
                return web.FileResponse(STORED)
        clip = {"url": f"http://{request.host}/clip.mp4", "content_type": "video/mp4"}
        return web.json_response({"id": ID, "status": "COMPLETED", "output": {"video": clip}})

    async with serving(give) as server, connected(server.url) as client:
        await client.fetch(ID, tmp_path / "veo-a.mp4", f"{server.url}/read")
    assert (tmp_path / "veo-a.mp4").read_bytes() == STORED.read_bytes()
    assert asked == ["/read", "/gone", f"/v1/runs/{ID}", "/clip.mp4"]


async def test_a_redirect_into_a_private_network_is_not_followed(tmp_path: Path) -> None:
    """Wherever the address came from."""

    async def give(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("https://10.0.0.1/clip.mp4")

    async with serving(give) as server, connected(server.url) as client:
        with pytest.raises(ClipUnavailable, match="neither public https"):
            await client.fetch(ID, tmp_path / "veo-a.mp4", f"{server.url}/read")
    assert left_in(tmp_path) == []


async def test_only_a_video_has_an_address(lab: Lab) -> None:
    """A flagged clip's is not even handed on."""
    seen = await lab.client.read(await lab.bought(a_run(VeoRequest(prompt="a fox [nsfw]"))))
    assert seen is not None
    assert (seen.ending, seen.clip_address) == (Ending.NSFW, None)


async def test_a_run_that_cannot_be_read_leaves_nothing(lab: Lab) -> None:
    """Without an address the error says so and the disk is untouched."""
    provider_id = await lab.bought()
    lab.box.switches.read, lab.box.switches.read_fault_times = "503", 100
    with pytest.raises(Unreadable):
        await lab.client.fetch(provider_id, lab.folder / "veo-abc234.mp4")
    assert left_in(lab.folder) == []


@pytest.mark.parametrize("place", ["media", "media/veo-abc234.mp4"])
async def test_a_disk_that_cannot_be_written_is_reported(lab: Lab, place: str) -> None:
    """A folder that cannot be made, or a folder in the place of the file, raises ClipNotKept and nothing else."""
    provider_id = await lab.bought()
    if place == "media":
        (lab.folder / "media").write_text("a file where the folder should be")
    else:
        (lab.folder / place / "inside").mkdir(parents=True)
    before = left_in(lab.folder)
    with pytest.raises(ClipNotKept, match=r"^it cannot be written to MEDIA_DIR \("):
        await lab.client.fetch(provider_id, lab.folder / "media" / "veo-abc234.mp4")
    assert left_in(lab.folder) == before


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_file_host_that_always_refuses_is_given_up(tmp_path: Path, status: int) -> None:
    """Every status that may mean an expired address is tried three times, no more."""
    tries = 0

    async def refuse(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.Response(status=status)

    with pytest.raises(ClipUnavailable, match="refused"):
        await fetched_from(tmp_path, refuse)
    assert tries == ADDRESSES_MAX


@pytest.mark.parametrize("status", [204, 206, 304, 416, 429, 500, 503])
async def test_any_other_status_is_no_clip(tmp_path: Path, status: int) -> None:
    """Only a whole 200 is accepted; the error does not show the address."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    with pytest.raises(ClipUnavailable, match=f"HTTP {status}") as told:
        await fetched_from(tmp_path, answer)
    assert "X-Sig" not in str(told.value)
    assert left_in(tmp_path) == []
