"""What an HTTP reply means: whether a submission bought a run, how long to wait, whether Runflow answered at all.

Money depends on `submission_outcome`. It calls an order *not sent* or *refused* only where the reply proves that no run
was made; everything else is *unclear*.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import growing_pause
from bot.runflow.records import error_in, observe, parse_json, plain_text

BODY_BYTES_MAX = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
RETRY_AFTER_MAX_S = 120.0
PAUSE_FIRST_S = 1.0  # after a 429 without Retry-After; doubled after each further one
PAUSE_MAX_S = 60.0

# What can go wrong while a reply is read.
REPLY_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError)

# With these no run was made: the request was not carried out (RFC 9110, 6585, 7725; docs.runflow.io /concepts/errors).
_REFUSED = frozenset({*range(400, 407), *range(410, 419), 421, 422, 426, 428, 431, 451})
_MOVED = frozenset({300, 301, 302, 305, 307, 308})  # not carried out here; before a 303 it was
_MAYBE_PROXY = frozenset({401, 403, 404, 405, 406, 410, 418, 421, 426, 428, 451})  # a page with these is no refusal
_WAIT = frozenset({407, 429, 511})  # a proxy, Runflow or a captive portal wants something else first
_MADE_RUN = re.compile(r"/runs/[^/?#]")  # a Location that names a run: it was made after all


def submission_outcome(status: int, headers: Mapping[str, str], body: bytes) -> Accepted | Refused | NotSent | Unclear:
    """What the reply to a POST says about whether a run was bought."""
    data = parse_json(body)
    if 200 <= status < 300:
        observation = observe(data) if isinstance(data, dict) else None
        if observation is None:
            return Unclear(reason=f"HTTP {status} without a run")
        return Accepted(observation=observation)
    if _MADE_RUN.search(headers.get("Location", "")) or _holds_our_run(data):
        return Unclear(reason=f"HTTP {status} with a run")
    if status in _WAIT:
        return NotSent(reason=f"told to wait (HTTP {status})", wait_s=retry_after_s(headers))
    if status in _MAYBE_PROXY and is_foreign_page(headers, body):
        return NotSent(reason=f"answered by a web page, not by Runflow (HTTP {status})", wait_s=retry_after_s(headers))
    if status in _MOVED:
        return Refused(code=f"HTTP_{status}", message="Runflow's API is no longer at this address")
    if status in _REFUSED:
        code, message = error_in(data)
        if message is None and not (isinstance(data, dict) and data) and not is_foreign_page({}, body):
            message = plain_text(body)
        return Refused(code=code or f"HTTP_{status}", message=message or "no reason given")
    return Unclear(reason=f"HTTP {status}")


def _holds_our_run(data: object) -> bool:
    """Whether what looks like a refusal is the record of a run with a reference, which only we give."""
    observation = observe(data) if isinstance(data, dict) else None
    return observation is not None and observation.client_ref is not None


def is_foreign_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a CDN, a proxy or a network in between sent a page. Runflow sends JSON, or plain text at most."""
    if isinstance(parse_json(body), dict | list):
        return False
    return "html" in headers.get("Content-Type", "").lower() or body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, RETRY_AFTER_MAX_S at most; None if there is none that can be read.

    A date counts from the reply's own `Date` (RFC 9110, 10.2.3), so our clock does not matter.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        until, sent = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return min(max(0.0, (until - sent).total_seconds()), RETRY_AFTER_MAX_S)
    except (ValueError, TypeError, OverflowError):
        return None


class RateLimitPause:
    """The pause after a 429. It holds for every call; measured by the event loop's time."""

    def __init__(self) -> None:
        self._until = 0.0
        self._refused = 0  # 429s in a row

    def left_s(self) -> float:
        """For how long nothing may be sent; 0: now is fine."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def update(self, status: int, headers: Mapping[str, str]) -> None:
        """Take a reply into account."""
        if status != 429:  # a 503 may be about one record alone; its caller waits
            self._refused = 0
            return
        if self.left_s() == 0.0:  # else this reply is of the same burst
            self._refused += 1
        asked_s = retry_after_s(headers)
        pause_s = growing_pause(PAUSE_FIRST_S, self._refused - 1, PAUSE_MAX_S) if asked_s is None else asked_s
        self._until = max(self._until, asyncio.get_running_loop().time() + pause_s)


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises ValueError above BODY_BYTES_MAX."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise ValueError("the reply is too long")
        chunks.append(chunk)
    return b"".join(chunks)
