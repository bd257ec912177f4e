"""What counts as a whole video file, told from bytes."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.video_files import AVI, HEVC, MKV, MOV, MP4, WEBM, VideoFormat, detect_format
from bot.runflow import unsound_mp4
from sandbox.runflow.clip import STORED
from tests.runflow_lab import MEGABYTE


def box(kind: bytes, content: bytes = b"", *, length: int | None = None) -> bytes:
    """One box of an MP4 (ISO/IEC 14496-12, 4.2)."""
    return struct.pack(">I4s", 8 + len(content) if length is None else length, kind) + content


FTYP, MOOV, MDAT = box(b"ftyp", b"isom" + bytes(4)), box(b"moov", bytes(40)), box(b"mdat", bytes(100))
LARGE = box(b"mdat", struct.pack(">Q", 116) + bytes(100), length=1)


def problem_of(folder: Path, content: bytes) -> str | None:
    """What `unsound_mp4` says of a file with this content."""
    path = folder / "video"
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
    ("video_format", "content"),
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
def test_a_video_of_another_format_is_not_broken(tmp_path: Path, video_format: VideoFormat, content: bytes) -> None:
    """Boxes in any order, bytes behind them, other containers, another codec: whole videos, each recognised."""
    assert problem_of(tmp_path, content) is None
    with (tmp_path / "video").open("rb") as file:
        assert detect_format(file) == video_format


@pytest.mark.parametrize(
    "content",
    [b"", b"ftyp", b"<!doctype html><title>Sign in</title>", FTYP, FTYP + MOOV, FTYP + MDAT, MOOV + MDAT + FTYP,
     bytes(1000), FTYP + MOOV + MDAT[:-1], FTYP + MOOV + LARGE[:-1], FTYP + MOOV + MDAT + box(b"moof", bytes(9))[:-1],
     FTYP + MOOV + box(b"mdat", length=7), FTYP + MOOV + box(b"mdat", b"\xff" * 8, length=1),
     FTYP + MOOV + box(b"mdat", b"\0" * 8, length=1), b'{"code":"EXPIRED"}', b"\x89PNG\r\n\x1a\n" + bytes(50),
     box(b"ftyp", b"avif" + bytes(4)) + box(b"meta", bytes(50)) + MDAT, ebml(b"webm")[:-1], ebml(b"matroska")[:8],
     AVI_FILE[:-1], b"RIFF" + bytes(4) + b"WEBP" + bytes(50), b"\x1a\x45\xdf\xa3"],
)  # fmt: skip
def test_what_is_not_a_whole_video_is_unsound(tmp_path: Path, content: bytes) -> None:
    """Pages, pictures, cut files and wrong lengths, each with a reason."""
    assert problem_of(tmp_path, content) in ("it is not an MP4", "it is cut short")


@pytest.mark.parametrize("head", [FTYP, FTYP + MOOV + MDAT])
def test_a_file_of_millions_of_boxes_costs_neither_time_nor_memory(tmp_path: Path, head: bytes) -> None:
    """Each of another type, and far more than any video has: only the first of them are read."""
    kinds = b"".join(struct.pack(">II", 8, number | 0x61000000) for number in range(1_000_000))
    (tmp_path / "video").write_bytes(head + kinds)
    tracemalloc.start()
    began = time.process_time()
    try:
        problem = unsound_mp4(tmp_path / "video")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (problem is None) == (head != FTYP)
    assert time.process_time() - began < 1.0
    assert peak < MEGABYTE


@settings(max_examples=100, deadline=None)
@given(length=st.integers(0, STORED.stat().st_size - 1))
def test_no_part_of_a_video_is_sound(length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever a real video is cut, it is noticed."""
    assert problem_of(tmp_path_factory.getbasetemp(), STORED.read_bytes()[:length]) is not None


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda rest: b"\x1a\x45\xdf\xa3" + rest)
    | st.lists(st.sampled_from([FTYP, MOOV, MDAT, LARGE, b"\0"]), max_size=5).map(b"".join)
)
def test_any_bytes_are_checked_without_an_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing raises, and nothing is sound that does not begin like a video and hold its parts."""
    if problem_of(tmp_path_factory.getbasetemp(), content) is None and not content.startswith(
        (b"\x1a\x45\xdf\xa3", b"RIFF")
    ):
        assert content[4:8] == b"ftyp"
        assert b"moov" in content
        assert b"mdat" in content
