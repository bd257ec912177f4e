"""The shelf of clips on disk: where one lies, the signed and expiring link to it, and when it is thrown away.

A link names its run and its last second and is signed with the installation's own key, so that nothing
about it has to be stored and none can be guessed or prolonged.
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

from bot.domain.films import MP4, Film, NoFilm, film_of
from bot.domain.records import Link
from bot.errors import MediaError, require
from bot.log import get_logger

log = get_logger("veo.media")

PRIVATE = 0o700
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
PROBE_BYTES = 64 * 1024
ROOM_BYTES = 32 * 1024 * 1024  # more than a clip of eight seconds usually takes
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_CLIP_NAME = re.compile(r"veo-([a-z2-7]+)\.mp4")
_SWEPT = re.compile(rf"{_CLIP_NAME.pattern}(\.[0-9a-f]+\.part)?")  # nothing else in the folder is ours to remove


def film_on(path: Path) -> Film:
    """What sort of film a clip on the shelf is; it was looked at when it came, so what is none by now is an MP4."""
    try:
        with path.open("rb") as file:
            return film_of(file)
    except (NoFilm, OSError):
        return MP4


class Media:
    """Clips in one folder. `public_url` None: no links of our own can be given."""

    def __init__(
        self, folder: Path, *, key: bytes, keep_s: float, public_url: str | None, now: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._key = key
        self._keep_s = keep_s
        self._public_url = public_url
        self._now = now

    def prepare(self) -> None:
        """Make the folder, for its owner alone. Raises MediaError where no clip can be kept in it.

        A disk that is full is no reason: what was paid for can still be given as a link.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
            if stat.S_IMODE(self._folder.stat().st_mode) & ~PRIVATE:
                with suppress(PermissionError):  # somebody else's, who lets us in
                    self._folder.chmod(PRIVATE)
            self._try_to_keep(0)
        except OSError as error:
            if error.errno in _FULL:
                log.error(
                    "MEDIA_DIR is full; until it has room, members get links from Runflow", folder=str(self._folder)
                )
                return
            raise MediaError(
                f"MEDIA_DIR {self._folder} cannot be used ({error.strerror}); "
                "name a folder in which the bot may make files, on a disk with room for clips."
            ) from error

    def path(self, file_name: str) -> Path:
        """Where the clip of that name lies, or is to lie."""
        require(_CLIP_NAME.fullmatch(file_name), f"{file_name!r} is no clip's name")
        return self._folder / file_name

    def holds(self, file_name: str) -> bool:
        """Whether the clip lies there and can be read."""
        path = self.path(file_name)
        return os.access(path, os.R_OK) and path.is_file()  # the second may raise where the first is false

    def link(self, file_name: str) -> Link | None:
        """A fresh link to a clip on the shelf, which is kept as long as the link lives.

        None without an address of ours, and where the disk does not let us keep it so long.
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
        return Link(url=url, expires_at=expires_at, film=film_on(path))

    def find(self, token: str, file_name: str) -> Path | None:
        """The clip that an unexpired link of ours names; None for anything else."""
        if not _TOKEN.fullmatch(token) or not _CLIP_NAME.fullmatch(file_name):
            return None
        (expires_at,) = struct.unpack(">Q", base64.urlsafe_b64decode(token)[:8])
        if not hmac.compare_digest(self._sign(file_name, expires_at).encode(), token.encode()):
            return None
        return self.path(file_name) if expires_at > self._now() and self.holds(file_name) else None

    def discard(self, file_name: str) -> None:
        """Throw one clip away; what the disk does not let go of now is swept up later."""
        try:
            self.path(file_name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("clip not deleted for now", error=error.strerror)

    def takes_clips(self) -> bool:
        """Whether a clip could be kept now: the folder can be written, and its disk has room for one."""
        try:
            self._try_to_keep(PROBE_BYTES)
            return shutil.disk_usage(self._folder).free >= ROOM_BYTES
        except OSError:
            return False

    def _try_to_keep(self, size: int) -> None:
        """Write so many bytes as a clip would be, and throw them away. Raises OSError."""
        probe = self._folder / "veo-probe.part"
        try:
            with probe.open("wb") as file:
                file.write(bytes(size))
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Throw away what has lain longer than it is kept, half-finished downloads included."""
        for path in self._folder.glob("veo-*"):
            if not _SWEPT.fullmatch(path.name):
                continue
            with suppress(OSError):  # delivered and thrown away meanwhile, or not ours to remove
                if path.stat().st_mtime + self._keep_s < self._now():
                    path.unlink()

    def _sign(self, file_name: str, expires_at: int) -> str:
        head = struct.pack(">Q", expires_at)
        mac = hmac.digest(self._key, head + file_name.encode(), hashlib.sha256)[:16]
        return base64.urlsafe_b64encode(head + mac).decode()
