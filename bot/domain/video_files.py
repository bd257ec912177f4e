"""The format of a video file, and whether the file is whole: read from its first bytes and boxes, nothing is decoded.

Runflow promises an MP4. A whole video in another format is posted under its own extension. Web pages, pictures, empty
files and files that are cut short are not videos.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO, Literal

BOXES_MAX = 10_000  # read per file; a clip has a few dozen, and a hostile file must not cost time or memory
MOOV_BYTES_MAX = 1_000_000  # of the index, in which the codec is looked up

# Top-level boxes (ISO/IEC 14496-12, table 1; QuickTime File Format).
_BOXES = frozenset(
    b"ftyp styp moov moof mdat mfra sidx ssix pdin meta meco emsg prft free skip wide pnot udta uuid".split()
)
_HEVC_TRACK = re.compile(rb"stsd.{12}(hvc1|hev1|dvh1|dvhe)", re.DOTALL)  # the first entry of a track's descriptions


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """A container, and the codec where it matters to players: how such a file is named and served."""

    name: Literal["MP4", "HEVC", "WebM", "Matroska", "QuickTime", "AVI"]
    extension: str
    media_type: str

    def file_name(self, clip_name: str) -> str:
        """A clip's name with this format's extension in the place of `.mp4`."""
        return f"{clip_name.removesuffix('.mp4')}.{self.extension}"


MP4 = VideoFormat(name="MP4", extension="mp4", media_type="video/mp4")
HEVC = VideoFormat(name="HEVC", extension="mp4", media_type="video/mp4")  # an MP4 that not every device can play
WEBM = VideoFormat(name="WebM", extension="webm", media_type="video/webm")
MKV = VideoFormat(name="Matroska", extension="mkv", media_type="video/x-matroska")
MOV = VideoFormat(name="QuickTime", extension="mov", media_type="video/quicktime")
AVI = VideoFormat(name="AVI", extension="avi", media_type="video/x-msvideo")


class NotAVideo(Exception):
    """The file is not a whole video; the text says why."""


def detect_format(file: BinaryIO) -> VideoFormat:
    """The format of a whole video file. Raises NotAVideo, and OSError where the file cannot be read."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(64)
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # EBML (RFC 8794)
        return _matroska_or_webm(head, size)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        _require_whole(8 + int.from_bytes(head[4:8], "little") <= size)
        return AVI
    return _mp4_or_quicktime(file, size)


def _require_whole(is_whole: object) -> None:
    if not is_whole:
        raise NotAVideo("it is cut short")


def _matroska_or_webm(head: bytes, size: int) -> VideoFormat:
    """Whole if its one segment is, where that has a length (RFC 9559)."""
    length, at = _variable_size_integer(head, 4)
    segment = at + (length or 0)
    _require_whole(length is not None and segment < size)
    if head[segment : segment + 4] == b"\x18\x53\x80\x67":
        length, at = _variable_size_integer(head, segment + 4)
        _require_whole(length is None or at + length <= size)
    return WEBM if b"webm" in head else MKV


def _variable_size_integer(head: bytes, at: int) -> tuple[int | None, int]:
    """The integer at this place and where it ends; None if it is unknown (all ones) or missing (RFC 8794, 4)."""
    width = 9 - head[at].bit_length() if at < len(head) else 9
    if width > 8 or at + width > len(head):
        return None, at
    bits = 7 * width
    value = int.from_bytes(head[at : at + width], "big") & ((1 << bits) - 1)
    return (None if value == (1 << bits) - 1 else value), at + width


def _mp4_or_quicktime(file: BinaryIO, size: int) -> VideoFormat:
    """Whole if its boxes are, whatever follows the last of them (ISO/IEC 14496-12, 4.2)."""
    at = boxes = 0
    brand = b""
    moov: tuple[int, int] | None = None
    mdat = False
    while at < size and boxes < BOXES_MAX:
        length, kind, content = _box_at(file, at, size)
        if not boxes:
            if kind != b"ftyp" or length < 8:
                raise NotAVideo("it is not an MP4")
            brand = content[:4]
        if length < 8 or (kind not in _BOXES and at + length > size):
            break  # not a box but a newline, padding, or anything else that was appended
        _require_whole(at + length <= size)
        moov = (at, length) if kind == b"moov" else moov
        mdat = mdat or kind == b"mdat"
        at += length
        boxes += 1
    _require_whole(moov is not None and mdat)
    if brand == b"qt  ":
        return MOV
    return HEVC if moov is not None and _has_hevc_track(file, *moov) else MP4


def _box_at(file: BinaryIO, at: int, size: int) -> tuple[int, bytes, bytes]:
    """Length and type of the box at this place, and its first bytes."""
    file.seek(at)
    head = file.read(16)
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    elif length == 0:  # to the end of the file
        length = size - at
    return length, head[4:8], head[8:]


def _has_hevc_track(file: BinaryIO, moov_at: int, moov_length: int) -> bool:
    file.seek(moov_at)
    return _HEVC_TRACK.search(file.read(min(moov_length, MOOV_BYTES_MAX))) is not None
