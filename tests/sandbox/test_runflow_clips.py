"""The clips are playable videos of their runs."""

import asyncio
import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.runflow import Switches
from sandbox.runflow.clip import STORED, ClipSpec, clip
from tests.sandbox.runflow_client import laboratory


def spec(**changes: Any) -> ClipSpec:
    given: dict[str, Any] = {
        "prompt": "a red fox",
        "caption": "4 s",
        "duration_s": 4,
        "portrait": False,
        "audio": True,
        "seed": "1",
    }
    return ClipSpec(**(given | changes))


@pytest.mark.parametrize(("duration_s", "portrait", "audio"), [(4, False, True), (6, True, True), (4, True, False)])
def test_a_clip_has_the_ordered_format(duration_s: int, portrait: bool, audio: bool) -> None:
    """H.264 with 24 frames per second in the ordered length and shape, AAC if ordered, index first, under 1 MB."""
    av = pytest.importorskip("av")
    content = clip(spec(duration_s=duration_s, portrait=portrait, audio=audio))
    assert len(content) < 1_000_000
    assert content[4:8] == b"ftyp"
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    with av.open(io.BytesIO(content)) as film:
        video = film.streams.video[0]
        assert (video.width, video.height) == ((720, 1280) if portrait else (1280, 720))
        assert (video.codec_context.name, video.average_rate) == ("h264", 24)
        sound = [stream.codec_context.name for stream in film.streams.audio]
        assert sound == (["aac"] if audio else [])
        frames = list(film.decode(video=0))
    assert len(frames) == 24 * duration_s
    assert bytes(frames[0].planes[0]) != bytes(frames[-1].planes[0])
    with av.open(io.BytesIO(content)) as film:
        for stream in film.streams:
            assert math.isclose(float(stream.duration * stream.time_base), duration_s, abs_tol=0.05)


def test_a_clip_is_reproducible_and_differs_between_runs() -> None:
    """The same order gives the same bytes; another seed or prompt gives different ones."""
    pytest.importorskip("av")
    quiet = spec(duration_s=1, audio=False)
    others = (replace(quiet, seed="2"), replace(quiet, prompt="a blue fox"))
    assert clip(quiet) == clip(quiet)
    assert len({clip(quiet), *map(clip, others)}) == 3


@pytest.mark.parametrize("prompt", ["", "x" * 2000, "word " * 400, "я 🦊 \ud800", "\x00\x07\n\té ß ñ"])
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    """No prompt is too long or too strange to draw."""
    pytest.importorskip("av")
    assert clip(spec(prompt=prompt, duration_s=1, audio=False))[4:8] == b"ftyp"


async def test_a_clip_is_drawn_for_its_run_without_blocking_the_event_loop() -> None:
    """The file matches the run's options, and other requests are answered while it is drawn."""
    av = pytest.importorskip("av")
    async with laboratory(switches=Switches()) as lab:
        options = {"duration": "4s", "aspect_ratio": "9:16", "generate_audio": False}
        fetching = asyncio.create_task(lab.fetch(await lab.clip_url(options=options)))
        answered = 0
        while not fetching.done():
            assert (await lab.call("GET", "/v1/health")).status == 200
            answered += 1
        with av.open(io.BytesIO((await fetching).content)) as film:
            assert [stream.type for stream in film.streams] == ["video"]
            assert (film.streams.video[0].height, film.streams.video[0].frames) == (1280, 96)
    assert answered > 5


def test_the_stored_clip_is_used_if_drawing_is_impossible() -> None:
    """Without PyAV, every run gets the small committed clip: 8 s, 720p, with sound."""
    code = (
        "import sys; sys.modules['av'] = None; from sandbox.runflow.clip import *; "
        "order = ClipSpec(prompt='x', caption='x', duration_s=4, portrait=True, audio=False, seed='1'); "
        "sys.exit(0 if clip(order) == STORED.read_bytes() else 1)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
    assert STORED.stat().st_size <= 105_000
    av = pytest.importorskip("av")
    with av.open(str(STORED)) as film:
        assert [stream.codec_context.name for stream in film.streams] == ["h264", "aac"]
        assert (film.streams.video[0].width, film.streams.video[0].frames) == (1280, 192)
