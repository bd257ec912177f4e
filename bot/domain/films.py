"""What sort of film a file is, and whether it is whole: told from its first bytes and boxes, nothing is decoded.

Runflow promises an MP4. A whole film of another sort is no broken download: it is posted under its own extension, with
a word about it. Pages, pictures, empty files and files that are cut short are none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

BOXES_MAX = 10_000  # looked at in one file: a clip has some dozens, and more must cost neither time nor memory
MOOV_BYTES_MAX = 1_000_000  # of a film's index, in which its codec is looked for

# Top-level boxes (ISO/IEC 14496-12, table 1; QuickTime File Format).
_BOXES = frozenset(
    b"ftyp styp moov moof mdat mfra sidx ssix pdin meta meco emsg prft free skip wide pnot udta uuid".split()
)
_CODEC = re.compile(rb"stsd.{12}(hvc1|hev1|dvh1|dvhe)", re.DOTALL)  # the first entry of a track's descriptions


@dataclass(frozen=True, kw_only=True)
class Film:
    """One sort of film: how a file of it is named and served, and the remark on one that is not the usual sort."""

    extension: str
    media_type: str
    remark: str = ""

    def named(self, file_name: str) -> str:
        """The name of a clip with the extension that fits it."""
        return f"{file_name.removesuffix('.mp4')}.{self.extension}"


MP4 = Film(extension="mp4", media_type="video/mp4")
HEVC = Film(extension="mp4", media_type="video/mp4", remark="hevc")
WEBM = Film(extension="webm", media_type="video/webm", remark="webm")
MKV = Film(extension="mkv", media_type="video/x-matroska", remark="mkv")
MOV = Film(extension="mov", media_type="video/quicktime", remark="mov")
AVI = Film(extension="avi", media_type="video/x-msvideo", remark="avi")


class NoFilm(Exception):
    """The file is no whole film; the sentence says why."""


def film_of(file: BinaryIO) -> Film:
    """What sort of film a file is. Raises NoFilm, and OSError where it cannot be read."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(64)
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # EBML (RFC 8794)
        return _matroska(head, size)
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        _demand(8 + int.from_bytes(head[4:8], "little") <= size)
        return AVI
    return _boxed(file, size)


def _demand(whole: object) -> None:
    if not whole:
        raise NoFilm("it is cut short")


def _matroska(head: bytes, size: int) -> Film:
    """WebM or Matroska; whole if its one segment is, where that says how long it is (RFC 9559)."""
    sort = WEBM if b"webm" in head else MKV
    length, at = _vint(head, 4)
    segment = at + (length or 0)
    _demand(length is not None and segment < size)
    if head[segment : segment + 4] == b"\x18\x53\x80\x67":
        length, at = _vint(head, segment + 4)
        _demand(length is None or at + length <= size)
    return sort


def _vint(head: bytes, at: int) -> tuple[int | None, int]:
    """A number of variable width and where it ends; None: unknown, which is all ones, or not there (RFC 8794, 4)."""
    width = 9 - head[at].bit_length() if at < len(head) else 9
    if width > 8 or at + width > len(head):
        return None, at
    bits = 7 * width
    value = int.from_bytes(head[at : at + width], "big") & ((1 << bits) - 1)
    return (None if value == (1 << bits) - 1 else value), at + width


def _boxed(file: BinaryIO, size: int) -> Film:
    """MP4 or QuickTime; whole if its boxes are, whatever else lies behind the last of them (ISO/IEC 14496-12, 4.2)."""
    at = seen = 0
    brand = b""
    moov: tuple[int, int] | None = None
    mdat = False
    while at < size and seen < BOXES_MAX:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if not seen:
            if kind != b"ftyp" or length < 8:
                raise NoFilm("it is not an MP4")
            brand = head[8:12]
        if length < 8 or (kind not in _BOXES and at + length > size):
            break  # no box: a newline, padding, or whatever somebody has added
        _demand(at + length <= size)
        moov = (at, length) if kind == b"moov" else moov
        mdat = mdat or kind == b"mdat"
        at += length
        seen += 1
    _demand(moov is not None and mdat)
    if brand == b"qt  ":
        return MOV
    return HEVC if moov is not None and _is_hevc(file, *moov) else MP4


def _is_hevc(file: BinaryIO, at: int, length: int) -> bool:
    file.seek(at)
    return _CODEC.search(file.read(min(length, MOOV_BYTES_MAX))) is not None
