"""Reads Runflow's JSON: run records, lists of them, and error bodies.

It accepts every form that Runflow's pages and clients show, and keys that do not exist yet. Whatever the JSON holds, a
reader here returns a value or raises Unreadable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal, DecimalException
from typing import Any, TypeGuard

from bot.domain.models import VeoRequest
from bot.domain.money import parse_cost
from bot.domain.runs import Ending, Observation
from bot.errors import Unreadable
from bot.log import get_logger

log = get_logger("veo.runflow")

DURATION_MAX_MS = 7 * 86_400_000  # a longer duration comes from a wrong clock
REASON_DEPTH_MAX = 6  # how deeply nested the text of a reason may be
REASONS_MAX = 5  # how many texts of a list are joined
TEXT_CHARS_MAX = 1000
_INTEGER_MAX = 2**63 - 1
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LOGGABLE = re.compile(r"[A-Za-z0-9.+-]{1,20}")
_SENT_FIELDS = (*VeoRequest(prompt="").options, "callback_url", "metadata", "client_ref")

# Where APIs put the text and the code of an error.
_REASON_KEYS = (
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
_CODE_KEYS = ("code", "error_type", "type")

# How a list says that it goes on, or where the next page begins (docs.runflow.io /concepts/requests, and the API
# reference; the rest as other APIs have it), in lower case and without separators.
_HAS_MORE_KEYS = frozenset({"hasmore", "hasnext", "hasnextpage", "more", "istruncated", "truncated"})
_NEXT_PAGE_KEYS = frozenset(
    {"next", "nextpq", "nextcursor", "nextpage", "nextpagetoken", "nexttoken", "nexturl", "nextlink", "cursor"}
)
_PAGING_KEYS = frozenset({"meta", "metadata", "page", "pageinfo", "pagination", "paging", "links", "cursors"})


def parse_json(body: bytes) -> object:
    """The parsed body, numbers with a point as exact Decimals; None if it is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError, DecimalException):
        return None


def is_run_id(value: object) -> TypeGuard[str]:
    """Whether this can be the id of a run, and so be part of a path."""
    return isinstance(value, str) and _RUN_ID.fullmatch(value) is not None


# One record


def observe(record: Mapping[str, Any]) -> Observation | None:
    """What a run record says; None if it has no id."""
    provider_id = record.get("id") or record.get("run_id")
    if not is_run_id(provider_id):
        return None
    output = _mapping(record.get("output"))
    status = (_text(record.get("status_code")) or _text(record.get("status")) or "unknown").lower()
    ending = _ending(status, record)
    failure_code, failure_message = (None, None) if ending is None else _failure(record, output)
    return Observation(
        provider_id=provider_id,
        client_ref=_client_ref(record),
        status=status,
        ending=ending,
        cost_u=_cost(record.get("cost")),
        seed_used=_integer(output.get("seed")),
        took_ms=_duration(record.get("duration_ms")) or _duration(_mapping(output.get("timing")).get("inference_ms")),
        failure_code=failure_code,
        failure_message=failure_message,
        request_id=_text(record.get("request_id")),
        clip_address=clip_address(record) if ending in (Ending.VIDEO, Ending.PARTIAL) else None,
    )


def _client_ref(record: Mapping[str, Any]) -> str | None:
    return _text(record.get("client_ref")) or _text(_mapping(record.get("metadata")).get("client_ref"))


def _ending(status: str, record: Mapping[str, Any]) -> Ending | None:
    match status:
        case "succeeded" | "partial_succeeded":
            if is_flagged(record):
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


def clip_address(record: Mapping[str, Any]) -> str | None:
    """The first output that is a video or has no type, else `video.url` or `url` (model page; JS client)."""
    output = _mapping(record.get("output"))
    outputs = output.get("outputs")
    for entry in outputs if isinstance(outputs, list) else []:
        if isinstance(entry, dict) and _may_be_video(entry.get("type")) and _address(entry.get("url")):
            return _address(entry.get("url"))
    return _address(_mapping(output.get("video")).get("url")) or _address(output.get("url"))


def _may_be_video(output_type: object) -> bool:
    """Whether an output has no type, or the type `video` or a media type such as `video/mp4`, in any case."""
    if output_type is None:
        return True
    name = output_type.strip().lower() if isinstance(output_type, str) else "?"
    return name in ("", "video") or name.startswith("video/")


def is_flagged(record: Mapping[str, Any]) -> bool:
    """Whether the clip must not be shown: any `nsfw_detected` other than false and null may mean true."""
    return bool(_flags(record))


def undocumented_flag(record: Mapping[str, Any]) -> str | None:
    """An `nsfw_detected` that is not true, false or null, for the log: its type, and its value if that is harmless."""
    for flag in _flags(record):
        if flag is not True:
            value = str(flag) if isinstance(flag, str | int | Decimal) else ""
            return f"{type(flag).__name__} {value if _LOGGABLE.fullmatch(value) else ''}".rstrip()
    return None


def _flags(record: Mapping[str, Any]) -> list[object]:
    """Each `nsfw_detected` of the output (model page), of its entries and of the record, but for false and null."""
    output = _mapping(record.get("output"))
    entries = output.get("outputs")
    places = [output, *map(_mapping, entries if isinstance(entries, list) else []), record]
    found = [place.get("nsfw_detected") for place in places]
    return [flag for flag in found if flag is not None and flag is not False]  # null: not checked


def _failure(record: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Code and text of a failed run (API reference, get-run; the other places as other APIs have them)."""
    places = [record.get(name) for name in ("failure_message", "failure_reason", "error", "errors", "detail")]
    places += [output.get(name) for name in ("error", "errors")]
    codes = (_text(_mapping(entry).get(name)) for place in places for entry in _first(place) for name in _CODE_KEYS)
    return (
        _text(record.get("failure_code")) or next((code for code in codes if code), None),
        next((found for place in places if (found := _reason(place, REASON_DEPTH_MAX - 1))), None),
    )


def _first(value: object) -> list[object]:
    return value[:1] if isinstance(value, list) else [value]


# A list of records


def run_records(page: object) -> list[dict[str, Any]]:
    """The records of a list reply: a bare array, or under `items` or `data`. Raises Unreadable if there is no list."""
    entries = page if isinstance(page, list) else _mapping(page).get("items", _mapping(page).get("data"))
    if not isinstance(entries, list):
        raise Unreadable("the list of runs has no entries")
    return [entry for entry in entries if isinstance(entry, dict)]


def has_client_ref(record: Mapping[str, Any], client_ref: str) -> bool:
    """Whether the record is of a run with this reference."""
    return _client_ref(record) == client_ref and is_run_id(record.get("id") or record.get("run_id"))


def has_next_page(page: object, link_header: str) -> bool:
    """Whether a list says that it has more, names its next page, or links to it (RFC 8288)."""
    found: dict[str, object] = {}
    mappings = [page]
    for each in mappings:
        for key, value in _mapping(each).items():
            name = re.sub(r"[^a-z]", "", key.lower())
            if name in _PAGING_KEYS and len(mappings) < 10:
                mappings.append(value)
            found[name] = found.get(name) or _is_truthy(value)
    if answers := [found[name] for name in _HAS_MORE_KEYS & found.keys()]:
        return any(answers)
    return any(found[name] for name in _NEXT_PAGE_KEYS & found.keys()) or bool(re.search(r'rel="?next\b', link_header))


def _is_truthy(value: object) -> bool:
    return bool(value) and str(value).strip().lower() not in ("", "0", "false", "none", "null")


# An error body


def error_in(data: object) -> tuple[str | None, str | None]:
    """Code and text of an error body, flat or nested, with the names of the fields that it objects to."""
    flat = _mapping(data)
    nested = _mapping(flat.get("error")) or _mapping(flat.get("detail"))
    code = _text(flat.get("code")) or _text(nested.get("code"))
    message = _reason(data)
    detail = flat.get("detail")
    if errors := flat.get("errors") or nested.get("errors") or (detail if isinstance(detail, dict | list) else None):
        # The form of an entry is not documented, so look for the names of the fields that we sent.
        words = set(re.findall(r"[a-z_]+", json.dumps(errors, default=str)))
        fields = [name for name in _SENT_FIELDS if name in words]
        if fields:
            message = f"{message or 'not valid'} ({', '.join(fields)})"
    return code, message


def plain_text(body: bytes) -> str | None:
    """The body as one line of text; None if it is empty."""
    return _text(body.decode(errors="replace"))


def _reason(value: object, depth: int = REASON_DEPTH_MAX) -> str | None:
    """The text of a reason in the forms that APIs use: a text, a list, or an object with one of the usual keys.

    An inner object with none of these keys and no code is read as a mapping from fields to what is wrong with them.
    """
    if isinstance(value, str):
        packed = parse_json(value.encode(errors="replace")) if value.lstrip()[:1] in ("{", "[") else None
        return (_reason(packed, depth) if isinstance(packed, dict | list) else None) or _text(value)
    if isinstance(value, dict):
        parts = [value.get(name) for name in _REASON_KEYS]
        reason = next((found for part in parts if depth and (found := _reason(part, depth - 1))), None)
        if reason or depth == REASON_DEPTH_MAX or value.keys() & set(_CODE_KEYS):
            return reason
        value = list(value.values())
    if isinstance(value, list) and depth:
        reasons = [_reason(each, depth - 1) for each in value[:REASONS_MAX]]
        return _text("; ".join(dict.fromkeys(each for each in reasons if each)))
    return None


# Single values


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """Text from outside, cut and on one line; None if there is none."""
    if not isinstance(value, str):
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in value[:TEXT_CHARS_MAX])
    return " ".join(printable.split()) or None


def _address(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"(?i:https?)://[!-~]{1,8000}", value) else None


def _integer(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INTEGER_MAX
    return value if fits and isinstance(value, int) else None


def _duration(value: object) -> int | None:
    """Milliseconds that a run can have taken, else None."""
    number = _integer(value)
    return number if number is not None and 0 < number <= DURATION_MAX_MS else None


def _cost(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    cost_u = parse_cost(str(value))
    if cost_u is None:
        log.error("Runflow's cost is not an amount of dollars and is ignored")
    return cost_u
