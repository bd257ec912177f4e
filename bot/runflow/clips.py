"""Downloads clips: from public addresses and from Runflow's own, to disk, and only whole video files.

Runflow's API key is never sent to a file host, and no address appears in an error: its query is a signature.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import aiohttp
from yarl import URL

from bot.domain.video_files import MP4, NotAVideo, detect_format
from bot.errors import ClipNotKept, ClipTooBig, ClipTooSlow, ClipUnavailable
from bot.log import get_logger
from bot.runflow.public_net import may_be_public
from bot.runflow.replies import REPLY_ERRORS, retry_after_s

log = get_logger("veo.runflow")

FILE_TIMEOUT = aiohttp.ClientTimeout(total=1800, sock_connect=10, sock_read=30)
CHUNK_BYTES = 256 * 1024
SLOW_AFTER_S = 60.0  # from then on a download must have averaged BYTES_PER_S_MIN
BYTES_PER_S_MIN = 32 * 1024
REDIRECTS_MAX = 3
ADDRESSES_MAX = 3  # fresh addresses in one try
_EXPIRED = frozenset({400, 401, 403, 404, 410})


class ClipDownloader:
    """Downloads clips.

    `inside` is the session for `own_origin`, Runflow's address as configured, and for what goes through a proxy;
    `outside`, for everything else, must resolve public addresses only. `proxy_for` names the proxy for an address.
    """

    def __init__(
        self,
        *,
        own_origin: URL,
        bytes_max: int,
        inside: aiohttp.ClientSession,
        outside: aiohttp.ClientSession,
        proxy_for: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._own_origin = own_origin
        self._bytes_max = bytes_max
        self._inside = inside
        self._outside = outside
        self._proxy_for = proxy_for

    async def download(self, fresh_address: Callable[[], Awaitable[str]], path: Path) -> None:
        """Stream the clip to a temporary file beside `path`, check it, and rename it.

        `fresh_address` is asked again where an address has expired. Raises ClipUnavailable and leaves nothing behind.
        """
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            for _ in range(ADDRESSES_MAX):
                address = await fresh_address()
                with await asyncio.to_thread(_new_file, part) as file:
                    if not await self._download(address, file):
                        await asyncio.to_thread(_keep, file, part, path)
                        return
            raise ClipUnavailable("every address for it was refused")
        except OSError as error:
            raise _not_kept(error) from error
        finally:
            with suppress(OSError):  # the disk may fail here as well
                part.unlink(missing_ok=True)

    async def _download(self, address: str, file: BinaryIO) -> bool:
        """Write the clip at `address`, redirects followed. True: the address has expired."""
        for _ in range(REDIRECTS_MAX + 1):
            session = self._session_for(address)
            if proxy := self._proxy_for(address):  # it resolves the name itself, and may be inside our network
                session = self._inside
            try:
                async with session.get(
                    URL(address, encoded=True),
                    proxy=proxy,
                    timeout=FILE_TIMEOUT,
                    allow_redirects=False,
                    headers={"Accept-Encoding": "identity"},
                ) as response:
                    if response.status in _EXPIRED:
                        return True
                    if 300 <= response.status < 400 and "Location" in response.headers:
                        address = str(response.url.join(URL(response.headers["Location"], encoded=True)))
                        continue
                    if response.status != 200:
                        wait_s = retry_after_s(response.headers)
                        raise ClipUnavailable(f"the file host answered HTTP {response.status}", wait_s)
                    await self._write(response, file)
                    return False
            except REPLY_ERRORS as error:
                raise ClipUnavailable(f"the download broke off ({type(error).__name__})") from None
        raise ClipUnavailable("the file host redirects too often")

    def _session_for(self, address: str) -> aiohttp.ClientSession:
        """The session for Runflow's own origin or for a public https address. Raises ClipUnavailable for any other."""
        try:
            url = URL(address, encoded=True)
            if url.origin() == self._own_origin:
                return self._inside
            if url.scheme == "https" and url.host and may_be_public(url.host):
                return self._outside
        except ValueError:
            pass
        raise ClipUnavailable("its address is neither public https nor Runflow's own")

    async def _write(self, response: aiohttp.ClientResponse, file: BinaryIO) -> None:
        size = 0
        if (response.content_length or 0) > self._bytes_max:
            raise self._too_big()
        began = asyncio.get_running_loop().time()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            size += len(chunk)
            took_s = asyncio.get_running_loop().time() - began
            if took_s > SLOW_AFTER_S and size < took_s * BYTES_PER_S_MIN:
                raise ClipTooSlow("the download is too slow, and others wait for its place")
            if size > self._bytes_max:
                raise self._too_big()
            try:
                await asyncio.to_thread(file.write, chunk)
            except OSError as error:  # caught here, to tell it from errors of the network
                raise _not_kept(error) from error

    def _too_big(self) -> ClipTooBig:
        return ClipTooBig(f"it is larger than CLIP_MAX_MB allows ({self._bytes_max} bytes)")


def _new_file(path: Path) -> BinaryIO:
    """An empty file to write to, in a folder that may have to be made: a clip is for its members alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path.open("wb")


def _keep(file: BinaryIO, part: Path, path: Path) -> None:
    """Give a clip its name, which never leads to half of one. Raises ClipUnavailable where it is none."""
    file.flush()
    os.fsync(file.fileno())
    if problem := unsound_mp4(part):
        raise ClipUnavailable(problem)
    part.replace(path)


def _not_kept(error: OSError) -> ClipNotKept:
    return ClipNotKept(f"it cannot be written to MEDIA_DIR ({error.strerror})")


def unsound_mp4(path: Path) -> str | None:
    """What is wrong with a file that should be an MP4; None for a whole video file, also of another format."""
    try:
        with path.open("rb") as file:
            video_format = detect_format(file)
    except NotAVideo as error:
        return str(error)
    if video_format != MP4:
        log.warning("clip is not a usual MP4", format=video_format.name)
    return None
