"""HTTP and WebSocket for the stand-in, as quick as Python has it: what a bot sends is taken for well-formed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter

KEPT_BYTES = 64 * 1024  # of larger bodies, which are clips, nothing is kept
SENT_AT_ONCE = 256 * 1024
_LENGTH = re.compile(rb"content-length: *(\d+)")
_KEY = re.compile(rb"(?i)sec-websocket-key: *(\S+)")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


@dataclass(slots=True)
class Request:
    """What was asked, and when its head was there."""

    method: str
    path: str
    at: float
    body: bytes = b""


def reply(body: bytes, status: int = 200, kind: str = "application/json", more: str = "") -> tuple[bytes, bytes]:
    """Head and body of a reply; `more` are header lines."""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{more}\r\n".encode(), body


class Wire(asyncio.Protocol):
    """One connection: each request goes to `begun` with its head and to `answer` with its body."""

    def __init__(
        self,
        begun: Callable[[Request], None],
        answer: Callable[[Request], tuple[bytes, bytes]],
        receive: Callable[[Wire, bytes | None], None],
    ) -> None:
        self._begun = begun
        self._answer = answer
        self._receive = receive  # each text of a WebSocket, first None when it is open
        self._buffer = bytearray()
        self._request: Request | None = None
        self._left = 0  # bytes of the body; less than 0: it comes in chunks
        self._last = False
        self._upgraded = False
        self._unsent = memoryview(b"")
        self._full = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        at = perf_counter()
        self._buffer += data
        if self._upgraded:
            self._read_frames()
            return
        while self._buffer and self._read(at):
            pass

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._send_rest()

    # HTTP

    def _read(self, at: float) -> bool:
        """Take what has come of a request; whether there may be another one behind it."""
        if self._request is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            if self._begin(head, at):
                return False
        body = self._take_body()
        if body is None or self._request is None:
            return False
        request, self._request = self._request, None
        request.body = body
        head, content = self._answer(request)
        self.transport.write(head + content if len(content) < KEPT_BYTES else head)
        self._unsent = memoryview(content if len(content) >= KEPT_BYTES else b"")
        self._send_rest()
        return True

    def _begin(self, head: bytes, at: float) -> bool:
        """Take the head of a request; whether it asked for a WebSocket."""
        line, _, rest = head.partition(b"\r\n")
        method, path, _ = line.decode().split(" ")
        headers = rest.lower()
        if b"upgrade: websocket" in headers:
            self._upgrade(rest)
            return True
        length = _LENGTH.search(headers)
        self._left = -1 if b"transfer-encoding: chunked" in headers else int(length[1]) if length else 0
        self._last = b"connection: close" in headers
        self._request = Request(method, path, at)
        self._begun(self._request)
        return False

    def _take_body(self) -> bytes | None:
        """The body once it has come; None until then."""
        if self._left < 0:  # nobody asks what is in it
            whole = self._buffer.endswith(b"0\r\n\r\n")
            del self._buffer[: None if whole else -5]
            return b"" if whole else None
        if len(self._buffer) >= self._left:
            body = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            return body
        if self._left > KEPT_BYTES:
            self._left -= len(self._buffer)
            self._buffer.clear()
        return None

    def _send_rest(self) -> None:
        while self._unsent and not self._full:
            self.transport.write(self._unsent[:SENT_AT_ONCE])
            self._unsent = self._unsent[SENT_AT_ONCE:]
        if self._last and not self._unsent:
            self.transport.close()

    # WebSocket (RFC 6455)

    def _upgrade(self, headers: bytes) -> None:
        key = _KEY.search(headers)
        assert key is not None
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest()).decode()  # noqa: S324 - the RFC's choice
        lines = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.transport.write(f"{lines}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        self._upgraded = True
        self._receive(self, None)

    def send_text(self, text: str, kind: int = TEXT) -> None:
        """Send one frame."""
        data = text.encode()
        size = len(data)
        long = b"\x7e" + size.to_bytes(2) if size < 2**16 else b"\x7f" + size.to_bytes(8)
        length = bytes([size]) if size < 126 else long
        self.transport.write(bytes([0x80 | kind]) + length + data)

    def _read_frames(self) -> None:
        while (frame := self._next_frame()) is not None:
            kind, data = frame
            if kind == TEXT:
                self._receive(self, data)
            elif kind == PING:
                self.send_text(data.decode(), PONG)
            elif kind == CLOSE:
                self.transport.close()

    def _next_frame(self) -> tuple[int, bytes] | None:
        """One masked frame, as clients send them, if it is whole."""
        if len(self._buffer) < 6:
            return None
        kind, size, at = self._buffer[0] & 15, self._buffer[1] & 127, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(self._buffer[2:at])
        mask, end = self._buffer[at : at + 4], at + 4 + size
        if len(self._buffer) < end:
            return None
        data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self._buffer[at + 4 : end]))
        del self._buffer[:end]
        return kind, data
