"""Speaks Runflow: requests out, observations in, clips to disk, signatures checked.

Tolerant of every form that Runflow's pages and clients show, and of keys that do not exist yet. What a
failed submission may have bought is told apart here, because money depends on it. Never logs a key or
the query of a clip's address, and never sends the key to a file host.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from bot.domain.films import MP4, NoFilm, film_of
from bot.domain.money import parse_cost
from bot.domain.records import Accepted, NotSent, Refused, Unclear
from bot.domain.runs import Ending, Observation, Run, VeoRequest, growing_pause
from bot.errors import ClipNotKept, ClipTooBig, ClipTooSlow, ClipUnavailable, SettingsError, Unreadable
from bot.log import get_logger

log = get_logger("veo.runflow")

MODEL_PATH = "/v1/models/google/veo3.1/runs"
SUBMIT_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
READ_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
FILE_TIMEOUT = aiohttp.ClientTimeout(total=1800, sock_connect=10, sock_read=30)
REPLY_BYTES_MAX = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
RETRY_AFTER_MAX_S = 120.0
QUIET_FIRST_S = 1.0  # after a 429 that does not say for how long; twice as long after each more
QUIET_MAX_S = 60.0
SLOW_S = 60.0  # so long a download may take its time; from then on it has to bring as much as this on the average
BYTES_PER_S_MIN = 32 * 1024
LISTED_MAX = 100  # runs in one answer of the list; a full answer without ours proves nothing
REDIRECTS_MAX = 3
TOOK_MAX_MS = 7 * 86_400_000  # a run that is said to have taken longer has a wrong clock
REASON_DEPTH = 6  # how deep the words of a reason may lie
REASONS_MAX = 5  # how many of them are told
NEW_ADDRESSES_MAX = 3  # how often an expired clip address is asked for anew in one try

# By RFC 9110, 6585, 7725 and docs.runflow.io /concepts/errors the request was not carried out: no run was made.
_REFUSALS = frozenset({*range(400, 407), *range(410, 419), 421, 422, 426, 428, 431, 451})
_REDIRECTS = frozenset({300, 301, 302, 305, 307, 308})  # not taken at this address; 303 would be an answer
_OF_A_PAGE = frozenset({401, 403, 404, 405, 406, 410, 418, 421, 426, 428, 451})  # as a page in between may say, too
_WAITS = frozenset({407, 429, 511})  # a proxy, Runflow, a network's own page: asked for something else first
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_HARMLESS = re.compile(r"[A-Za-z0-9.+-]{1,20}")  # what of a flag may stand in a log
# What pages of lists call it that there are more, or where the next one begins (docs.runflow.io /concepts/requests,
# and the API reference; the rest as other APIs have it), without case and separators.
_HAS_MORE = frozenset({"hasmore", "hasnext", "hasnextpage", "more", "istruncated", "truncated"})
_NEXT = frozenset(
    {"next", "nextpq", "nextcursor", "nextpage", "nextpagetoken", "nexttoken", "nexturl", "nextlink", "cursor"}
)
_AROUND_A_LIST = frozenset({"meta", "metadata", "page", "pageinfo", "pagination", "paging", "links", "cursors"})
_REASONS = (
    "message",
    "msg",
    "detail",
    "details",
    "error",
    "errors",
    "reason",
    "description",
    "error_description",
    "title",
)
_CODES = ("code", "error_type", "type")
_MADE_RUN = re.compile(r"/runs/[^/?#]")  # where a redirect leads to a run that was made after all
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_INTEGER_MAX = 2**63 - 1
_PROTOCOL_ADDRESSES = IPv4Network("192.0.0.0/24")  # RFC 6890; not private to Python before 3.11.10
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of the rest is local or not assigned
_SENT = (*VeoRequest(prompt="").options, "callback_url", "metadata", "client_ref")
_REPLY_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class Runflow:
    """`bot.ports.Provider` over HTTP; make it with `connect`."""

    def __init__(
        self,
        *,
        api_url: str,
        api_key: str,
        public_url: str | None,
        clip_bytes_max: int,
        reading: aiohttp.ClientSession,
        submitting: aiohttp.ClientSession,
        outside: aiohttp.ClientSession,
        proxy_for: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._api_url = api_url
        self._origin = URL(api_url).origin()
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._public_url = public_url
        self._clip_bytes_max = clip_bytes_max
        self._reading = reading
        self._submitting = submitting
        self._outside = outside
        self._proxy_for = proxy_for
        self._quiet = Quiet()

    async def check_key(self) -> None:
        """Raise SettingsError where Runflow refuses the key; an outage, or a page, is no verdict (it is logged)."""
        try:
            status, _, _ = await self._get("/v1/auth/me")
        except Unreadable as error:
            log.warning("Runflow cannot be reached yet, so the key is not checked", reason=str(error))
            return
        if status in (401, 403):
            raise SettingsError(
                f"RUNFLOW_API_KEY is refused by {self._api_url} (HTTP {status}); "
                "copy the key from Runflow's dashboard again."
            )

    # Submitting

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        """POST the run once. Nothing is repeated here: Runflow documents no idempotency."""
        if wait_s := self._quiet.left_s():
            return NotSent(reason="Runflow has asked to be left alone", wait_s=wait_s)
        way = _Way()
        try:
            async with self._submitting.post(
                self._api_url + MODEL_PATH,
                json=self._submission(run),
                headers=self._authorization,
                timeout=SUBMIT_TIMEOUT,
                allow_redirects=False,
                trace_request_ctx=way,
            ) as response:
                self._quiet.hear(response.status, response.headers)
                return _judge(response.status, response.headers, await _limited_body(response))
        except _REPLY_ERRORS as error:
            if not way.open:  # no address, name, proxy, connection or TLS: no byte of the request has left
                return NotSent(reason=f"Runflow cannot be reached ({type(error).__name__})")
            return Unclear(reason=f"no answer that can be read ({type(error).__name__})")

    def _submission(self, run: Run) -> dict[str, Any]:
        """Every field that has a default is sent, since leaving one out may buy it (model page)."""
        optional = ("seed", "negative_prompt")
        options = run.request.options
        body: dict[str, Any] = {
            "input": {name: value for name, value in options.items() if name not in optional or value is not None},
            "client_ref": run.client_ref,
            "metadata": {"client_ref": run.client_ref},
        }
        if self._public_url is not None:
            body["callback_url"] = f"{self._public_url}/callbacks/runflow/{run.callback_token}"
        return body

    # Reading

    async def read(self, provider_id: str) -> Observation | None:
        """The run's own record, whatever woke us. Raises Unreadable."""
        record = await self._record(provider_id)
        if record is None:
            return None
        if (flag := _odd_flag(record)) is not None:
            log.error("clip withheld: undocumented nsfw_detected", provider_id=provider_id, value=flag)
        return observe(record)

    async def find(self, client_ref: str) -> list[Observation]:
        """By the list's filter; where that is refused, among the newest hundred (order of ids is by time)."""
        wanted = quote(f"client_ref.EQ:'{client_ref}'", safe="")
        status, headers, body = await self._get(f"/v1/runs?q={wanted}&limit={LISTED_MAX}")
        if status in (400, 422):
            status, headers, body = await self._get(f"/v1/runs?limit={LISTED_MAX}")
        if not 200 <= status < 300:
            raise Unreadable(f"the list answered HTTP {status}", _retry_after(headers))
        page = _parsed(body)
        listed = _items(page)
        records = [record for record in listed if _is_ours(record, client_ref)]
        if not records and (len(listed) >= LISTED_MAX or _goes_on(page, headers)):
            raise Unreadable("the list is cut off before it could show the run")
        records.sort(key=lambda record: str(record.get("created_at") or ""))
        return [seen for seen in map(observe, records) if seen is not None]

    async def _record(self, provider_id: str) -> dict[str, Any] | None:
        if not _RUN_ID.fullmatch(provider_id):
            return None
        status, headers, body = await self._get(f"/v1/runs/{provider_id}")
        if status == 404:
            return None
        if not 200 <= status < 300:
            raise Unreadable(f"the run answered HTTP {status}", _retry_after(headers))
        record = _parsed(body)
        if not isinstance(record, dict) or observe(record) is None:
            raise Unreadable("the run's record has no id")
        return record

    async def _get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        if wait_s := self._quiet.left_s():
            raise Unreadable("Runflow has asked to be left alone", wait_s)
        try:
            async with self._reading.get(
                URL(self._api_url + path, encoded=True),
                headers=self._authorization,
                timeout=READ_TIMEOUT,
                allow_redirects=False,
            ) as response:
                self._quiet.hear(response.status, response.headers)
                status, headers, body = response.status, response.headers, await _limited_body(response)
        except _REPLY_ERRORS as error:
            raise Unreadable(f"Runflow cannot be read ({type(error).__name__})") from error
        if _is_page(headers, body):
            raise Unreadable(f"a page answered in Runflow's place (HTTP {status})", _retry_after(headers))
        return status, headers, body

    # Clips

    async def link(self, provider_id: str) -> str:
        """A freshly signed address: Runflow signs anew each time that the run is read."""
        record = await self._record(provider_id)
        address = None if record is None or _is_flagged(record) else clip_address(record)
        if address is None:
            raise ClipUnavailable("the run has no clip any more")
        return address

    async def fetch(self, provider_id: str, path: Path) -> None:
        """Stream the clip to `path`: under a temporary name, checked, then renamed."""
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            for _ in range(NEW_ADDRESSES_MAX):
                address = await self.link(provider_id)
                part.touch(mode=0o600)  # a clip is its members' alone
                with part.open("wb") as file:
                    expired = await self._download(address, file)
                    file.flush()
                    await asyncio.to_thread(os.fsync, file.fileno())  # the name must never stand for half a clip
                if not expired:
                    break
            else:
                raise ClipUnavailable("every address for it was refused")
            if problem := await asyncio.to_thread(unsound_mp4, part):
                raise ClipUnavailable(problem)
            part.replace(path)
        except OSError as error:
            raise _not_kept(error) from error
        finally:
            with suppress(OSError):  # what kept it from being made may keep it from being looked for
                part.unlink(missing_ok=True)

    async def _download(self, address: str, file: BinaryIO) -> bool:
        """Write the clip behind `address`. True: the address is no longer valid, a new one may be."""
        for _ in range(REDIRECTS_MAX + 1):
            session = self._session_for(address)
            if proxy := self._proxy_for(address):  # it resolves the name itself, and may stand inside the network
                session = self._reading
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
                        wait_s = _retry_after(response.headers)
                        raise ClipUnavailable(f"the file host answered HTTP {response.status}", wait_s)
                    await self._write(response, file)
                    return False
            except _REPLY_ERRORS as error:
                raise ClipUnavailable(f"the download broke off ({type(error).__name__})") from None
        raise ClipUnavailable("the file host redirects too often")

    def _session_for(self, address: str) -> aiohttp.ClientSession:
        """Runflow's own origin as configured, and public https addresses; nothing else inside the network."""
        try:
            url = URL(address, encoded=True)
            if url.origin() == self._origin:
                return self._reading
            if url.scheme == "https" and url.host and _is_public_literal_or_name(url.host):
                return self._outside
        except ValueError:
            pass
        raise ClipUnavailable("its address is neither public https nor Runflow's own")

    async def _write(self, response: aiohttp.ClientResponse, file: BinaryIO) -> None:
        size = 0
        if (response.content_length or 0) > self._clip_bytes_max:
            raise ClipTooBig(f"it is larger than CLIP_MAX_MB allows ({self._clip_bytes_max} bytes)")
        begun = asyncio.get_running_loop().time()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            size += len(chunk)
            took_s = asyncio.get_running_loop().time() - begun
            if took_s > SLOW_S and size < took_s * BYTES_PER_S_MIN:
                raise ClipTooSlow("it comes in drips, and others wait for its place")
            if size > self._clip_bytes_max:
                raise ClipTooBig(f"it is larger than CLIP_MAX_MB allows ({self._clip_bytes_max} bytes)")
            try:
                await asyncio.to_thread(file.write, chunk)
            except OSError as error:  # here, for that of the network is of the same kind
                raise _not_kept(error) from error


@asynccontextmanager
async def connect(
    *,
    api_url: str,
    api_key: str,
    public_url: str | None,
    clip_bytes_max: int,
    proxy_for: Callable[[str], str | None] = lambda _: None,
) -> AsyncIterator[Runflow]:
    """A client whose connections are closed with the block, and go by way of the proxy that is named for an address.

    Each submission has a connection of its own: a reused one that the other side has just closed would
    leave open whether the run was bought.
    """
    async with (
        aiohttp.ClientSession(proxy=proxy_for(api_url)) as reading,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), proxy=proxy_for(api_url), trace_configs=[_tracing()]
        ) as submitting,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=PublicResolver())) as outside,
    ):
        yield Runflow(
            api_url=api_url,
            api_key=api_key,
            public_url=public_url,
            clip_bytes_max=clip_bytes_max,
            reading=reading,
            submitting=submitting,
            outside=outside,
            proxy_for=proxy_for,
        )


@dataclass
class _Way:
    """Whether the connection of one submission stands, so that the request may have left."""

    open: bool = False


def _tracing() -> aiohttp.TraceConfig:
    async def opened(_: object, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.open = True

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_end.append(opened)
    return tracing


def signed_by(keys: Sequence[str], body: bytes, signature: str | None) -> bool:
    """Whether a callback's `Runflow-Signature` fits its raw body under one of the secrets.

    Bare lower-case hex HMAC-SHA256, no timestamp (docs.runflow.io /guides/verify-callback-signatures).
    """
    if signature is None or not _SIGNATURE.fullmatch(signature):
        return False
    fits = [hmac.compare_digest(hmac.digest(key.encode(), body, hashlib.sha256).hex(), signature) for key in keys]
    return any(fits)


def named_run(body: bytes) -> str | None:
    """The run id that a callback's body names: a hint for our own reading, nothing more."""
    data = _parsed(body)
    run_id = data.get("run_id") if isinstance(data, dict) else None
    return run_id if isinstance(run_id, str) and _RUN_ID.fullmatch(run_id) else None


# What Runflow's records say


def observe(record: Mapping[str, Any]) -> Observation | None:
    """One run record as an observation; None where it has no id."""
    provider_id = record.get("id") or record.get("run_id")
    if not isinstance(provider_id, str) or not _RUN_ID.fullmatch(provider_id):
        return None
    output = _mapping(record.get("output"))
    failure_code, failure_message = _failure(record, output)
    status = (_text(record.get("status_code")) or _text(record.get("status")) or "unknown").lower()
    return Observation(
        provider_id=provider_id,
        client_ref=_text(record.get("client_ref")) or _text(_mapping(record.get("metadata")).get("client_ref")),
        status=status,
        ending=_ending(status, record),
        cost_u=_cost(record.get("cost")),
        seed_used=_integer(output.get("seed")),
        took_ms=_duration(record.get("duration_ms")) or _duration(_mapping(output.get("timing")).get("inference_ms")),
        failure_code=failure_code,
        failure_message=failure_message,
        request_id=_text(record.get("request_id")),
    )


def clip_address(record: Mapping[str, Any]) -> str | None:
    """The first output that is a video or has no type, else `video.url` or `url` (model page; JS client)."""
    output = _mapping(record.get("output"))
    outputs = output.get("outputs")
    for entry in outputs if isinstance(outputs, list) else []:
        if isinstance(entry, dict) and _may_be_video(entry.get("type")) and _address(entry.get("url")):
            return _address(entry.get("url"))
    return _address(_mapping(output.get("video")).get("url")) or _address(output.get("url"))


def _may_be_video(kind: object) -> bool:
    """Whether an output's type is none, `video` or a media type such as `video/mp4` (RFC 6838), in any capitals."""
    if kind is None:
        return True
    name = kind.strip().lower() if isinstance(kind, str) else "?"
    return name in ("", "video") or name.startswith("video/")


def _ending(status: str, record: Mapping[str, Any]) -> Ending | None:
    match status:
        case "succeeded" | "partial_succeeded":
            if _is_flagged(record):
                return Ending.NSFW
            if clip_address(record) is None:
                return Ending.EMPTY
            return Ending.VIDEO if status == "succeeded" else Ending.PARTIAL
        case "failed" | "errored":
            return Ending.FAILED
        case "canceled" | "cancelled":
            return Ending.CANCELLED
        case _:
            return None


def _flags(record: Mapping[str, Any]) -> list[object]:
    """Every `nsfw_detected` of a record that clears nothing: of its output (model page), of an entry, of itself."""
    output = _mapping(record.get("output"))
    entries = output.get("outputs")
    places = [output, *map(_mapping, entries if isinstance(entries, list) else []), record]
    found = [place.get("nsfw_detected") for place in places]
    return [flag for flag in found if flag is not None and flag is not False]  # null means: not checked


def _is_flagged(record: Mapping[str, Any]) -> bool:
    """Whether the clip is to be held back: whatever is not exactly false or null may be meant as true."""
    return bool(_flags(record))


def _odd_flag(record: Mapping[str, Any]) -> str | None:
    """A flag that is neither true nor false nor null, for the log: its kind, and its words where they are harmless."""
    for flag in _flags(record):
        if flag is not True:
            words = str(flag) if isinstance(flag, str | int | Decimal) else ""
            return f"{type(flag).__name__} {words if _HARMLESS.fullmatch(words) else ''}".rstrip()
    return None


def _judge(status: int, headers: Mapping[str, str], body: bytes) -> Accepted | Refused | NotSent | Unclear:
    """What the answer to a POST says about whether a run was bought."""
    data = _parsed(body)
    if 200 <= status < 300:
        seen = observe(data) if isinstance(data, dict) else None
        return Unclear(reason=f"HTTP {status} without a run") if seen is None else Accepted(observation=seen)
    if _MADE_RUN.search(headers.get("Location", "")) or _names_our_run(data):
        return Unclear(reason=f"HTTP {status} with a run")
    if status in _WAITS:
        return NotSent(reason=f"told to wait (HTTP {status})", wait_s=_retry_after(headers))
    if status in _OF_A_PAGE and _is_page(headers, body):
        return NotSent(reason=f"a page answered in Runflow's place (HTTP {status})", wait_s=_retry_after(headers))
    if status in _REDIRECTS:
        return Refused(code=f"HTTP_{status}", message="it is not at this address any more")
    if status in _REFUSALS:
        code, message = _problem(data, body)
        return Refused(code=code or f"HTTP_{status}", message=message)
    return Unclear(reason=f"HTTP {status}")


def _names_our_run(data: object) -> bool:
    """Whether what looks like a refusal carries a run with a reference, which only we give."""
    seen = observe(data) if isinstance(data, dict) else None
    return seen is not None and seen.client_ref is not None


def _problem(data: object, body: bytes) -> tuple[str | None, str]:
    """Code and message of an error body: flat, nested, lists and objects of them, or plain text."""
    flat = _mapping(data)
    nested = _mapping(flat.get("error")) or _mapping(flat.get("detail"))
    code = _text(flat.get("code")) or _text(nested.get("code"))
    message = _reason(data)
    detail = flat.get("detail")
    if errors := flat.get("errors") or nested.get("errors") or (detail if isinstance(detail, dict | list) else None):
        # The shape of an entry is not documented: whichever of our fields it names is the one to tell.
        named = set(re.findall(r"[a-z_]+", json.dumps(errors, default=str)))
        fields = [name for name in _SENT if name in named]
        if fields:
            message = f"{message or 'not valid'} ({', '.join(fields)})"
    if message is None and not flat and not _is_page({}, body):
        message = _text(body.decode(errors="replace"))
    return code, message or "no reason given"


def _reason(value: object, depth: int = REASON_DEPTH) -> str | None:
    """The words of a reason, wherever APIs put them: a text, a list, an object with one of the usual names.

    An inner object that has none of them and no code of its own is read as fields with what is wrong with each.
    """
    if isinstance(value, str):
        packed = _parsed(value.encode(errors="replace")) if value.lstrip()[:1] in ("{", "[") else None
        return (_reason(packed, depth) if isinstance(packed, dict | list) else None) or _text(value)
    if isinstance(value, dict):
        parts = [value.get(name) for name in _REASONS]
        said = next((found for part in parts if depth and (found := _reason(part, depth - 1))), None)
        if said or depth == REASON_DEPTH or value.keys() & set(_CODES):
            return said
        value = list(value.values())
    if isinstance(value, list) and depth:
        words = [_reason(each, depth - 1) for each in value[:REASONS_MAX]]
        return _text("; ".join(dict.fromkeys(each for each in words if each)))
    return None


def _failure(record: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Code and words of a failed run (API reference, get-run; the other places as other APIs have them)."""
    places = [record.get(name) for name in ("failure_message", "failure_reason", "error", "errors", "detail")]
    places += [output.get(name) for name in ("error", "errors")]
    codes = (_text(_mapping(entry).get(name)) for place in places for entry in _first(place) for name in _CODES)
    return (
        _text(record.get("failure_code")) or next((code for code in codes if code), None),
        next((found for place in places if (found := _reason(place, REASON_DEPTH - 1))), None),
    )


def _first(value: object) -> list[object]:
    return value[:1] if isinstance(value, list) else [value]


def _items(data: object) -> list[dict[str, Any]]:
    """The entries of a list reply: a bare array, or under `items`."""
    entries = data if isinstance(data, list) else _mapping(data).get("items", _mapping(data).get("data"))
    if not isinstance(entries, list):
        raise Unreadable("the list of runs has no entries")
    return [entry for entry in entries if isinstance(entry, dict)]


def _goes_on(page: object, headers: Mapping[str, str]) -> bool:
    """Whether a list is not all there is: it says so, names where the next part begins, or links to it (RFC 8288)."""
    told: dict[str, object] = {}
    around = [page]
    for each in around:
        for name, value in _mapping(each).items():
            plain = re.sub(r"[^a-z]", "", name.lower())
            if plain in _AROUND_A_LIST and len(around) < 10:
                around.append(value)
            told[plain] = told.get(plain) or _says_more(value)
    if said := [told[name] for name in _HAS_MORE & told.keys()]:
        return any(said)
    return any(told[name] for name in _NEXT & told.keys()) or bool(re.search(r'rel="?next\b', headers.get("Link", "")))


def _says_more(value: object) -> bool:
    return bool(value) and str(value).strip().lower() not in ("", "0", "false", "none", "null")


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether it is a page, of a CDN, a proxy or a network in between: Runflow speaks JSON, and plain text at most."""
    if isinstance(_parsed(body), dict | list):
        return False
    return "html" in headers.get("Content-Type", "").lower() or body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def _is_ours(record: Mapping[str, Any], client_ref: str) -> bool:
    seen = observe(record)
    return seen is not None and seen.client_ref == client_ref


def _parsed(body: bytes) -> object:
    """JSON with exact decimals; None where it is none."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, DecimalException):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """Outside text, cut and on one line; None where there is none."""
    if not isinstance(value, str):
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in value[:1000])
    return " ".join(printable.split()) or None


def _address(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"(?i:https?)://[!-~]{1,8000}", value) else None


def _integer(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INTEGER_MAX
    return value if fits and isinstance(value, int) else None


def _duration(value: object) -> int | None:
    """Milliseconds that a run can have taken; None for none, and for what no run takes."""
    number = _integer(value)
    return number if number is not None and 0 < number <= TOOK_MAX_MS else None


def _cost(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    cost_u = parse_cost(str(value))
    if cost_u is None:
        log.error("Runflow's cost is not an amount of dollars and is ignored")
    return cost_u


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, as said in one of the two ways of RFC 9110, 10.2.3; a date counts from that of the answer itself."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        until, said = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return min(max(0.0, (until - said).total_seconds()), RETRY_AFTER_MAX_S)
    except (ValueError, TypeError, OverflowError):
        return None


class Quiet:
    """What one answer says of waiting holds for every call; in seconds of the loop's own time."""

    def __init__(self) -> None:
        self._until = 0.0
        self._refused = 0  # answers one after the other that were only that it is too much

    def left_s(self) -> float:
        """How long nothing is to be asked for; 0: now is fine."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def hear(self, status: int, headers: Mapping[str, str]) -> None:
        """Keep what an answer says of waiting."""
        if status != 429:  # a 503 may be of one record alone, and is for whoever asked
            self._refused = 0
            return
        if self.left_s() == 0.0:  # else it answers a call of before, of the same burst
            self._refused += 1
        said_s = _retry_after(headers)
        wait_s = growing_pause(QUIET_FIRST_S, self._refused - 1, QUIET_MAX_S) if said_s is None else said_s
        self._until = max(self._until, asyncio.get_running_loop().time() + wait_s)


async def _limited_body(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        size += len(chunk)
        if size > REPLY_BYTES_MAX:
            raise ValueError("the reply is too long")
        chunks.append(chunk)
    return b"".join(chunks)


# What may be fetched, and what is a clip


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, and so pins the connection to what was checked."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        public = [entry for entry in found if is_public(entry["host"])]
        if not public:
            raise OSError(f"{host} has no public address")
        return public

    async def close(self) -> None:
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast one, looking through IPv4 inside IPv6."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if inside := _inside(ip):
            return all(is_public(str(inner)) for inner in inside)
        if ip not in _GLOBAL_UNICAST:
            return False
    elif ip in _PROTOCOL_ADDRESSES:
        return False
    return ip.is_global and not ip.is_multicast


def _inside(ip: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 one leads to: mapped, 6to4, Teredo's client, or by a translator (RFC 6052)."""
    if inner := ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None):
        return [inner]
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFF_FFFF)]
    if ip not in _LOCAL_NAT64:
        return []
    # Where the prefix of the network ends cannot be seen: after 96 bits, or after 48, 56 or 64, and then bits 64 to 71
    # and all behind the address are zero.
    bits, found = f"{int(ip):0128b}", []
    for end in (48, 56, 64):
        last = 72 + 32 - (64 - end)
        if "1" not in bits[64:72] + bits[last:]:
            found.append(IPv4Address(int(bits[end:64] + bits[72:last], 2)))
    if "1" in bits[96:] or not found:
        found.append(IPv4Address(int(bits[96:], 2)))
    return found


def _is_public_literal_or_name(host: str) -> bool:
    """aiohttp never asks a resolver about an address, so an address is checked here; a name later."""
    try:
        return is_public(host)
    except ValueError:
        return True


def _not_kept(error: OSError) -> ClipNotKept:
    return ClipNotKept(f"the disk of MEDIA_DIR does not take it ({error.strerror})")


def unsound_mp4(path: Path) -> str | None:
    """What is wrong with a file that should be an MP4; None where it is a whole film, also of another sort."""
    try:
        with path.open("rb") as file:
            film = film_of(file)
    except NoFilm as error:
        return str(error)
    if film != MP4:
        log.warning("clip is not a usual MP4", format=film.remark)
    return None
