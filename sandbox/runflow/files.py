"""The file host: serves the clips under presigned URLs that expire, and applies the faults of URLs and downloads."""

import asyncio
import hashlib
import hmac
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import urlencode

from aiohttp import web

from sandbox.clock import Clock
from sandbox.runflow.clip import ClipSpec, clip
from sandbox.runflow.faults import FaultCounter
from sandbox.runflow.run import SandboxRun
from sandbox.runflow.switches import Switches

CLIPS_KEPT = 16
CHUNK_BYTES = 256 * 1024
BOX_HEADER_BYTES = 8
MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {"webm": "video/webm", "mkv": "video/x-matroska", "mov": "video/quicktime"}
)
REFUSALS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "expired": (403, "Request has expired"),
        "403": (403, "Access denied"),
        "404": (404, "No such object"),
        "410": (410, "Gone"),
    }
)


class FileHost:
    """Signs the URLs of clips and serves them. ``switches`` returns the switches that apply to a run now."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int,
        runs: Mapping[str, SandboxRun],
        switches: Callable[[SandboxRun], Switches],
        base_url: Callable[[], str],
        closing: asyncio.Event,
    ) -> None:
        self._clock = clock
        self._seed = seed
        self._runs = runs
        self._switches = switches
        self._base_url = base_url
        self._closing = closing
        self._key = hashlib.sha256(b"files %d" % seed).digest()
        self._count = itertools.count(1)
        self._refused: set[str] = set()
        self._fault_counter = FaultCounter()
        self._clips: OrderedDict[str, asyncio.Task[bytes]] = OrderedDict()

    def url(self, run: SandboxRun) -> str:
        """A presigned URL of the run's clip, valid for ``url_ttl_s``; every call returns a different one."""
        switches = self._switches(run)
        expires = int(self._clock.now() + switches.url_ttl_s)
        query = {"expires": str(expires), "n": str(next(self._count))}
        path = f"/files/{run.id}/0.mp4"
        query["signature"] = self._signature(path, query)
        base = {"private": "http://10.11.12.13", "plain": "http://files.runflow.invalid"}
        return f"{base.get(switches.url_place, self._base_url())}{path}?{urlencode(query)}"

    async def close(self) -> None:
        """Wait until no clip is being drawn."""
        await asyncio.gather(*self._clips.values(), return_exceptions=True)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Handle ``GET`` and ``HEAD`` of ``/files/{id}/0.mp4``."""
        if "Authorization" in request.headers:
            return web.Response(status=400, text="Only one auth mechanism allowed: the URL is already signed")
        query = dict(request.query)
        signature = query.pop("signature", "")
        run = self._runs.get(request.match_info["id"])
        if run is None or not hmac.compare_digest(signature.encode(), self._signature(request.path, query).encode()):
            return web.Response(status=403, text="The signature does not match")
        if self._clock.now() >= int(query["expires"]):
            return web.Response(status=403, text="Request has expired")
        switches = self._switches(run)
        refusal = self._refusal(run, signature, switches)
        if refusal is not None:
            return web.Response(status=refusal[0], text=refusal[1])
        if switches.url_place == "redirect-private":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
        if switches.url_place == "redirect" and "moved" not in query:
            query["moved"] = "1"
            raise web.HTTPFound(
                f"{request.path}?{urlencode(query | {'signature': self._signature(request.path, query)})}"
            )
        return await self._send(request, run, switches)

    def _signature(self, path: str, query: Mapping[str, str]) -> str:
        text = path + "?" + urlencode(sorted(query.items()))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _refusal(self, run: SandboxRun, signature: str, switches: Switches) -> tuple[int, str] | None:
        if not switches.url_fault:
            return None
        fresh = signature not in self._refused
        if fresh and not self._fault_counter.take("url", run.id, switches.url_fault_times):
            return None
        self._refused.add(signature)
        return REFUSALS[switches.url_fault]

    async def _send(self, request: web.Request, run: SandboxRun, switches: Switches) -> web.StreamResponse:
        if request.method == "HEAD" and switches.no_head:
            return web.Response(status=405, headers={"Allow": "GET"})
        fault = switches.download if request.method == "GET" else "whole"
        if fault != "whole" and not self._fault_counter.take("download", run.id, switches.download_fault_times):
            fault = "whole"
        if fault == "html":
            return web.Response(text="<!doctype html><title>Sign in</title>", content_type="text/html")
        if fault == "zero":
            return web.Response(body=b"", content_type="video/mp4")
        content = Padded(as_format(await self._clip(run, switches), switches.container), switches.file_bytes)
        part = None if switches.no_range else _range(request.headers.get("Range", ""), content.size)
        headers = {"Content-Type": MEDIA_TYPES.get(switches.container, "video/mp4")} | (
            {} if switches.no_range else {"Accept-Ranges": "bytes"}
        )
        if part is not None and part.start >= content.size:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{content.size}"})
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{content.size}"
        response = web.StreamResponse(status=206 if part else 200, headers=headers)
        return await self._stream(request, response, content, part or range(content.size), fault)

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, content: "Padded", part: range, fault: str
    ) -> web.StreamResponse:
        if fault != "short":
            response.content_length = len(part)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        sent = part if fault == "whole" else range(part.start, part.start + len(part) // 2)
        for chunk in content.chunks(sent):
            await response.write(chunk)
        if fault == "stall":
            await self._closing.wait()
        if fault in ("truncated", "stall") and request.transport is not None:
            request.transport.close()
        return response

    async def _clip(self, run: SandboxRun, switches: Switches) -> bytes:
        task = self._clips.get(run.id)
        if task is None:
            spec = None if switches.clip == "stored" else _spec(run, self._seed)
            task = self._clips[run.id] = asyncio.create_task(asyncio.to_thread(clip, spec))
            while len(self._clips) > CLIPS_KEPT and next(iter(self._clips.values())).done():
                self._clips.popitem(last=False)
        self._clips.move_to_end(run.id)
        return await asyncio.shield(task)


def as_format(content: bytes, container: str) -> bytes:
    """Make an MP4 look like another format, or append to it. The video itself isn't converted."""
    if container == "mov":
        return content[:8] + b"qt  " + content[12:]  # QuickTime File Format, The File Type Atom
    if container == "hevc":
        return content.replace(b"avc1", b"hvc1")  # ISO/IEC 14496-15, 8.4.1
    if container == "tail":
        return content + b"\n"
    if container in ("webm", "mkv"):  # RFC 8794 and 9559: a header with its DocType, a segment, a void element
        doc_type = {"webm": b"webm", "mkv": b"matroska"}[container]
        head = b"\x42\x82" + bytes([0x80 | len(doc_type)]) + doc_type
        body = b"\xec" + _ebml_size(len(content)) + content
        return b"\x1a\x45\xdf\xa3" + _ebml_size(len(head)) + head + b"\x18\x53\x80\x67" + _ebml_size(len(body)) + body
    return content


def _ebml_size(number: int) -> bytes:
    """A number in EBML's encoding, eight bytes long."""
    return (0x0100000000000000 | number).to_bytes(8, "big")


class Padded:
    """A file's bytes, padded to a size by a ``free`` box of zeros. The zeros are generated while reading."""

    def __init__(self, content: bytes, size: int) -> None:
        padding = max(0, size - len(content))
        if 0 < padding < BOX_HEADER_BYTES:
            padding = BOX_HEADER_BYTES
        self._head = content + (padding.to_bytes(4, "big") + b"free" if padding else b"")
        self.size = len(content) + padding

    def chunks(self, part: range) -> Iterator[bytes]:
        """The bytes of ``part``, in chunks."""
        for begin in range(part.start, part.stop, CHUNK_BYTES):
            end = min(begin + CHUNK_BYTES, part.stop)
            piece = self._head[begin:end]
            yield piece + bytes(end - begin - len(piece))


def _spec(run: SandboxRun, seed: int) -> ClipSpec:
    width, height = run.size
    options = [f"{run.duration_s} s", str(run.option("resolution")), f"{run.option('aspect_ratio')}"]
    if "seed" in run.input:
        options.append(f"seed {run.input['seed']}")
    return ClipSpec(
        prompt=str(run.input.get("prompt", "")),
        caption=" · ".join(options),
        duration_s=run.duration_s,
        portrait=height > width,
        audio=bool(run.option("generate_audio")),
        seed=f"{seed} {run.input.get('seed', run.id)}",
    )


def _range(header: str, size: int) -> range | None:
    """The requested byte range (RFC 9110, section 14), empty past the end; None for the whole file."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    begin = int(first)
    return range(begin, max(begin, min(size, int(last) + 1 if last else size)))
