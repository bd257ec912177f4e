"""Clip files on disk and signed links to them.

A link holds its clip's name and its expiry and is signed with the installation's own key, so links need no storage, and
nobody can guess one or extend its life.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import re
import shutil
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bot.domain.records import Link
from bot.domain.video_files import MP4, NotAVideo, VideoFormat, detect_format
from bot.errors import MediaError, require
from bot.log import get_logger

log = get_logger("veo.media")

PRIVATE = 0o700
PROBE_BYTES = 64 * 1024
FREE_BYTES_MIN = 32 * 1024 * 1024  # more than a clip of eight seconds usually takes
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_CLIP_NAME = re.compile(r"veo-([a-z2-7]+)\.mp4")
_CLIP_OR_PART = re.compile(rf"{_CLIP_NAME.pattern}(\.[0-9a-f]+\.part)?")  # other files in the folder are not ours


def format_of(path: Path) -> VideoFormat:
    """The format of a clip on disk. It was checked when it was downloaded, so one that cannot be read counts as MP4."""
    try:
        with path.open("rb") as file:
            return detect_format(file)
    except (NotAVideo, OSError):
        return MP4


class Media:
    """Clips in one folder, each kept for `keep_s` seconds. Without a `public_url` there are no links to them."""

    def __init__(
        self, folder: Path, *, key: bytes, keep_s: float, public_url: str | None, now: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._key = key
        self._keep_s = keep_s
        self._public_url = public_url
        self._now = now

    def prepare(self) -> None:
        """Create the folder, for its owner alone. Raises MediaError if it cannot hold clips.

        A full disk does not raise: members can still get a link from Runflow to what they paid for.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
            if stat.S_IMODE(self._folder.stat().st_mode) & ~PRIVATE:
                with suppress(PermissionError):  # the folder is another user's, and shared with us
                    self._folder.chmod(PRIVATE)
            self._write_probe(0)
        except OSError as error:
            if error.errno in _DISK_FULL:
                log.error(
                    "MEDIA_DIR is full; until it has room, members get links from Runflow", folder=str(self._folder)
                )
                return
            raise MediaError(
                f"MEDIA_DIR {self._folder} cannot be used ({error.strerror}); "
                "set it to a folder that the bot can write to, on a disk with room for clips."
            ) from error

    def path(self, file_name: str) -> Path:
        """Where the clip of this name is, or will be."""
        require(_CLIP_NAME.fullmatch(file_name), f"{file_name!r} is not the name of a clip")
        return self._folder / file_name

    def holds(self, file_name: str) -> bool:
        """Whether the clip is on disk and can be read."""
        path = self.path(file_name)
        return os.access(path, os.R_OK) and path.is_file()  # is_file may raise where access is denied

    def link(self, file_name: str) -> Link | None:
        """A new link to a clip on disk. The clip is kept until the link expires.

        None without a public address, and if the disk does not let us keep the clip.
        """
        if self._public_url is None:
            return None
        expires_at = int(self._now() + self._keep_s)
        path = self.path(file_name)
        try:
            os.utime(path, (self._now(), self._now()))
        except OSError as error:
            log.warning("no link of our own: MEDIA_DIR cannot be written", error=error.strerror)
            return None
        token = self._sign(file_name, expires_at)
        url = f"{self._public_url}/media/{token}/{file_name}"
        return Link(url=url, expires_at=expires_at, video_format=format_of(path))

    def find(self, token: str, file_name: str) -> Path | None:
        """The clip that one of our links leads to; None if the link is not ours, has expired, or its clip is gone."""
        if not _TOKEN.fullmatch(token) or not _CLIP_NAME.fullmatch(file_name):
            return None
        (expires_at,) = struct.unpack(">Q", base64.urlsafe_b64decode(token)[:8])
        if not hmac.compare_digest(self._sign(file_name, expires_at).encode(), token.encode()):
            return None
        return self.path(file_name) if expires_at > self._now() and self.holds(file_name) else None

    def discard(self, file_name: str) -> None:
        """Delete one clip. If the disk refuses, a later sweep deletes it."""
        try:
            self.path(file_name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("clip not deleted for now", error=error.strerror)

    def has_room(self) -> bool:
        """Whether a clip could be stored now: the folder can be written to, and its disk has room for one."""
        try:
            self._write_probe(PROBE_BYTES)
            return shutil.disk_usage(self._folder).free >= FREE_BYTES_MIN
        except OSError:
            return False

    def _write_probe(self, size: int) -> None:
        """Write this many bytes to a file in the folder and delete it. Raises OSError."""
        probe = self._folder / "veo-probe.part"
        try:
            with probe.open("wb") as file:
                file.write(bytes(size))
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete clips and unfinished downloads that are older than they are kept."""
        for path in self._folder.glob("veo-*"):
            if not _CLIP_OR_PART.fullmatch(path.name):
                continue
            with suppress(OSError):  # just delivered and deleted, or not ours to delete
                if path.stat().st_mtime + self._keep_s < self._now():
                    path.unlink()

    def _sign(self, file_name: str, expires_at: int) -> str:
        head = struct.pack(">Q", expires_at)
        mac = hmac.digest(self._key, head + file_name.encode(), hashlib.sha256)[:16]
        return base64.urlsafe_b64encode(head + mac).decode()
