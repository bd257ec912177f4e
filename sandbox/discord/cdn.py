"""The file host: streams uploads into a temporary folder and serves them under signed URLs that expire.

A URL is ``/attachments/{channel}/{attachment}/{name}?ex=..&is=..&hm=..&``: ``ex`` and ``is`` are its times of expiry
and issue in hexadecimal seconds since 1970, ``hm`` is its signature (docs: Reference, Signed Attachment CDN URLs).
"""

import hashlib
import hmac
import mimetypes
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import BodyPartReader, web

from sandbox.clock import Clock
from sandbox.discord.errors import JsonObject
from sandbox.discord.events import Snowflakes
from sandbox.discord.switches import Switches

CHUNK_BYTES = 64 * 1024


@dataclass(eq=False, kw_only=True)
class Upload:
    """A file part of a request. ``path`` is None if the file exceeded every limit and wasn't kept."""

    name: str
    size: int
    path: Path | None


@dataclass(eq=False, kw_only=True)
class Attachment:
    """A file that belongs to a message."""

    id: str
    channel_id: str
    name: str
    size: int
    path: Path
    description: str | None = None
    ephemeral: bool = False
    width: int | None = None
    height: int | None = None
    messages: int = 1  # how many have it: its own, and those that forwarded it

    @property
    def content_type(self) -> str:
        """The media type, guessed from the name, because clients send every file as octet-stream."""
        return content_type(self.name)


class Cdn:
    """The files of all messages."""

    def __init__(
        self, *, clock: Clock, switches: Switches, snowflakes: Snowflakes, secret: bytes, folder: Path
    ) -> None:
        self.url = ""  # the server's base URL; set once it listens
        self._clock = clock
        self._switches = switches
        self._snowflakes = snowflakes
        self._secret = secret
        self._folder = folder
        self._attachments: dict[str, Attachment] = {}

    async def receive(self, part: BodyPartReader, name: str, keep_at_most: int) -> Upload:
        """Stream a part to disk. A part of more than ``keep_at_most`` bytes is read and counted, but not kept."""
        size = 0
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            path: Path | None = Path(file.name)
            while chunk := await part.read_chunk(CHUNK_BYTES):
                size += len(chunk)
                if size <= keep_at_most:
                    file.write(chunk)
        if size > keep_at_most and path:
            path.unlink()
            path = None
        return Upload(name=name, size=size, path=path)

    def discard(self, upload: Upload) -> None:
        """Delete an upload's file unless it became an attachment."""
        if upload.path:
            upload.path.unlink(missing_ok=True)

    def attach(self, upload: Upload, channel_id: str, *, description: str | None, ephemeral: bool) -> Attachment:
        """Turn an upload that was kept into an attachment."""
        assert upload.path
        name = safe_name(upload.name)
        size = video_size(upload.path) if name.lower().endswith((".mp4", ".m4v", ".mov")) else None
        attachment = Attachment(
            id=self._snowflakes.next(),
            channel_id=channel_id,
            name=name,
            size=upload.size,
            path=upload.path,
            description=description,
            ephemeral=ephemeral,
            width=size[0] if size else None,
            height=size[1] if size else None,
        )
        upload.path = None
        self._attachments[attachment.id] = attachment
        return attachment

    def remove(self, attachment: Attachment) -> None:
        """Delete the file for one message; without any left its URLs answer 404."""
        attachment.messages -= 1
        if attachment.messages:
            return
        self._attachments.pop(attachment.id, None)
        attachment.path.unlink(missing_ok=True)

    def link(self, attachment: Attachment) -> str:
        """A newly signed URL of the file."""
        issued = int(self._clock.now())
        expires = issued + int(self._switches.cdn_life_s)
        path = f"/attachments/{attachment.channel_id}/{attachment.id}/{attachment.name}"
        return f"{self.url}{path}?ex={expires:x}&is={issued:x}&hm={self._sign(path, expires, issued)}&"

    def form(self, attachment: Attachment) -> JsonObject:
        """The attachment object (docs: Message, Attachment Object); missing fields are omitted, never null."""
        url = self.link(attachment)
        optional = {
            "description": attachment.description,
            "width": attachment.width,
            "height": attachment.height,
            "ephemeral": attachment.ephemeral or None,
        }
        return {
            "id": attachment.id,
            "filename": attachment.name,
            "size": attachment.size,
            "url": url,
            "proxy_url": url,
            "content_type": attachment.content_type,
        } | {key: value for key, value in optional.items() if value is not None}

    def media(self, attachment: Attachment) -> JsonObject:
        """The unfurled media item (docs: Components Reference), plus ``name`` and ``size``."""
        url = self.link(attachment)
        return {
            "id": attachment.id,
            "url": url,
            "proxy_url": url,
            "width": attachment.width,
            "height": attachment.height,
            "content_type": attachment.content_type,
            "attachment_id": attachment.id,
            "name": attachment.name,
            "size": attachment.size,
        }

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve the file, or the requested range of it; 404 if the URL is invalid or expired or the file is gone."""
        attachment = self._attachments.get(request.match_info["attachment_id"])
        if attachment is None or not self._is_valid(request, attachment):
            return web.Response(status=404, text="This content is no longer available.")
        headers = {"Content-Type": attachment.content_type, "Access-Control-Allow-Origin": "*"}
        return web.FileResponse(attachment.path, chunk_size=CHUNK_BYTES, headers=headers)

    def _is_valid(self, request: web.Request, attachment: Attachment) -> bool:
        path = f"/attachments/{attachment.channel_id}/{attachment.id}/{attachment.name}"
        try:
            expires, issued = int(request.query["ex"], 16), int(request.query["is"], 16)
        except (KeyError, ValueError):
            return False
        signed = hmac.compare_digest(self._sign(path, expires, issued).encode(), request.query.get("hm", "").encode())
        return request.path == path and signed and self._clock.now() < expires

    def _sign(self, path: str, expires: int, issued: int) -> str:
        return hmac.new(self._secret, f"{path}:{expires:x}:{issued:x}".encode(), hashlib.sha256).hexdigest()


def content_type(name: str) -> str:
    """The media type for a file name, the same on every system."""
    return mimetypes.MimeTypes().guess_type(name)[0] or "application/octet-stream"


def safe_name(name: str) -> str:
    """The name as Discord stores it: only letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._") or "unknown"


def video_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels of an MP4 file's first visible track, read from its headers."""
    with path.open("rb") as file:
        for _, start, end in _boxes(file, 0, path.stat().st_size, b"moov"):
            for _, inner_start, inner_end in _boxes(file, start, end, b"trak"):
                for _, head_start, head_end in _boxes(file, inner_start, inner_end, b"tkhd"):
                    file.seek(head_end - 8)
                    raw = file.read(8) if head_end - head_start >= 84 else b"\0" * 8
                    width, height = int.from_bytes(raw[:2]), int.from_bytes(raw[4:6])
                    if width and height:
                        return width, height
    return None


def _boxes(file: BinaryIO, start: int, end: int, wanted: bytes) -> list[tuple[bytes, int, int]]:
    """The boxes of one kind between two offsets, each as (kind, start, end) of its content (ISO/IEC 14496-12, 4.2)."""
    found = []
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, kind, skip = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16]), 16
        elif size == 0:
            size = end - start
        if size < skip or start + size > end:
            break
        if kind == wanted:
            found.append((kind, start + skip, start + size))
        start += size
    return found
