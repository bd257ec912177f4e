"""What the sandbox should do differently: one field a switch, the normal behaviour first.

The first group is read once, when a run is created; all others whenever they matter, so that a test can break
the network under a run that is already there. A marker in the prompt, such as ``a red fox [nsfw]``, sets
switches for its own run and wins over the global ones.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

End = Literal[
    "succeeded", "failed", "policy", "provider", "invalid", "errored", "cancelled", "partial_succeeded",
    "empty", "missing", "never",
]  # fmt: skip
Fault = Literal["", "408", "409", "500", "502", "503", "504", "reset", "timeout", "truncated", "no-body"]


@dataclass(kw_only=True, slots=True)
class Switches:
    """Every switch with its normal value. Durations are seconds of the sandbox's clock unless said otherwise."""

    # The outcome: read once, at the POST.
    end: End = "succeeded"
    """``policy``, ``provider``, ``invalid``: failed with such a text; ``empty``, ``missing``: no ``outputs``."""
    nsfw: bool | None = False
    queue_s: float | None = None
    """None: the sandbox's own."""
    run_s: float | None = None
    states: Literal["all", "skip", "back"] = "all"
    """``skip``: from queued to the end; ``back``: from running to queued and again."""
    odd_status: str = ""
    """Shown in place of ``running``."""
    cost: str | None = None
    """Decimal text; None: by the price table."""
    cost_after_s: float = 0.0
    """How long after a success ``cost`` stays null; infinity: for ever. The money is gone all the same."""
    failed_cost: str | None = None
    """What a failed or cancelled run costs; null and nothing normally."""
    bad_value: Literal["refused", "late"] = "refused"
    """``late``: a wrong value makes a run that fails with INPUT_VALIDATION_FAILED."""
    strict_veo: bool = False
    """1080p and 4k need 8 s."""
    unknown_input: Literal["ignored", "refused"] = "ignored"

    # Spellings.
    record_cancelled: Literal["canceled", "cancelled"] = "canceled"
    callback_cancelled: Literal["cancelled", "canceled"] = "cancelled"
    record_keys: Literal["code", "plain"] = "code"
    """``plain``: ``status`` and ``failure_stage`` instead of ``status_code`` and ``failure_stage_code``."""
    cursor_names: Literal["next", "next_pq"] = "next"
    error_body: Literal["flat", "nested", "text", "html", "empty"] = "flat"
    error_items: Literal["loc", "field", "null"] = "loc"

    # Callbacks.
    callback_lost: bool = False
    callback_early: bool = False
    """The run ends and is called back before its POST is answered."""
    callback_delay_s: float = 0.0
    callback_duplicates: int = 0
    callback_concurrent: bool = False
    """Duplicates are sent at the same time instead of one after the other."""
    callback_stale: bool = False
    """After the true callback one with an older state."""
    callback_signature: Literal["correct", "missing", "wrong", "upper", "second", "altered"] = "correct"
    """``second``: by the secret before the newest; ``altered``: the body is changed after signing."""
    callback_event: str = ""
    callback_run_id: str = ""
    callback_failure_output: Literal["null", "envelope"] = "null"
    callback_retry_on: Literal["5xx", "non-2xx", "nothing"] = "5xx"
    """Network errors are retried with both of the first."""
    callback_attempts: int = 3
    callback_timeout_s: float = 5.0
    """Real seconds."""
    redelivery: Literal["same", "rebuilt"] = "same"

    # Replies. "Times" counts by client_ref for a POST and by run for a read; no client_ref counts as one.
    reply_delay_s: float = 0.0
    drip_s: float = 0.0
    """The time over which a reply's body is fed."""
    auth: Literal["", "401", "403"] = ""
    no_credit_after: int | None = None
    """402 once so many runs exist."""
    post_429: int = 0
    """So many POSTs with the same client_ref are refused first."""
    read_429: int = 0
    retry_after: str = ""
    """The header on a 429; normally there is none."""
    rate_headers: bool = False
    before: Fault = ""
    """What becomes of a POST, its run not created."""
    after: Fault = ""
    """What becomes of a POST's reply, its run created."""
    post_fault_times: int = 1
    read: Fault = ""
    read_fault_times: int = 1
    refuse_field: str = ""
    """422 for this field, whatever its value."""
    balance: Literal["normal", "403", "404", "shape"] = "normal"

    # The list.
    list_lag_s: float = 0.0
    list_fault: Fault = ""
    list_fault_times: int = 1_000_000
    list_filter: Literal["both", "eq", "plain", "none", "ignored"] = "both"
    """Which of ``client_ref.EQ:'x'`` and ``client_ref:x`` is understood; ``ignored``: every run is listed."""
    list_filter_status: Literal[422, 400] = 422

    # The file.
    url_ttl_s: float = 86_400.0
    url_fault: Literal["", "expired", "403", "404", "410"] = ""
    url_fault_times: int = 1
    """How many different URLs are refused before one works; a refused one stays refused."""
    url_place: Literal["own", "private", "plain", "redirect", "redirect-private"] = "own"
    file_bytes: int = 0
    """At least so large, by a ``free`` box that leaves it playable."""
    clip: Literal["drawn", "stored"] = "drawn"
    """``stored``: the same committed clip for every run, which costs no time."""
    film: Literal["mp4", "webm", "mkv", "mov", "hevc", "tail"] = "mp4"
    """What the clip calls itself, its picture being the same; ``tail``: an MP4 with a newline behind its last box."""
    download: Literal["whole", "truncated", "short", "stall", "html", "zero"] = "whole"
    """``truncated``: less than Content-Length says; ``short``: half, without Content-Length."""
    download_fault_times: int = 1_000_000
    no_range: bool = False
    no_head: bool = False


MEGABYTE = 1_000_000

MARKERS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "failed": {"end": "failed"},
        "policy": {"end": "policy"},
        "provider": {"end": "provider"},
        "invalid": {"end": "invalid"},
        "errored": {"end": "errored"},
        "cancelled": {"end": "cancelled"},
        "partial": {"end": "partial_succeeded"},
        "empty": {"end": "empty"},
        "missing": {"end": "missing"},
        "never": {"end": "never"},
        "unknown": {"odd_status": "reticulating", "run_s": 30.0},
        "unknown-for-ever": {"odd_status": "reticulating", "end": "never"},
        "skip": {"states": "skip"},
        "back": {"states": "back"},
        "queued": {"queue_s": 120.0},
        "slow": {"queue_s": 60.0, "run_s": 960.0},
        "nsfw": {"nsfw": True},
        "nsfw-null": {"nsfw": None},
        "null-cost": {"cost_after_s": math.inf},
        "late-cost": {"cost_after_s": 60.0},
        "dear": {"cost": "9.60"},
        "cheap": {"cost": "0.01"},
        "free": {"cost": "0"},
        "digits": {"cost": "3.2000001"},
        "failed-cost": {"end": "failed", "failed_cost": "0.40"},
        "lost": {"callback_lost": True},
        "early": {"callback_early": True},
        "twice": {"callback_duplicates": 1},
        "storm": {"callback_duplicates": 9, "callback_concurrent": True},
        "stale": {"callback_stale": True},
        "unsigned": {"callback_signature": "missing"},
        "forged": {"callback_signature": "wrong"},
        "altered": {"callback_signature": "altered"},
        "event": {"callback_event": "run.x"},
        "stranger": {"callback_run_id": "0198c0de-7a11-7c3e-8f00-00000000dead"},
        "429": {"post_429": 2},
        "retry-after": {"post_429": 2, "retry_after": "1"},
        "401": {"auth": "401"},
        "402": {"no_credit_after": 0},
        "403": {"auth": "403"},
        "422": {"refuse_field": "prompt"},
        "before-500": {"before": "500"},
        "before-503": {"before": "503"},
        "before-reset": {"before": "reset"},
        "after-500": {"after": "500"},
        "after-504": {"after": "504"},
        "after-reset": {"after": "reset"},
        "after-timeout": {"after": "timeout"},
        "after-truncated": {"after": "truncated"},
        "after-no-body": {"after": "no-body"},
        "reads-fail": {"read": "503", "read_fault_times": 3},
        "lag": {"list_lag_s": 30.0},
        "large": {"file_bytes": 12 * MEGABYTE},
        "huge": {"file_bytes": 600 * MEGABYTE},
        "expired": {"url_fault": "expired"},
        "gone": {"url_fault": "404", "url_fault_times": 1_000_000},
        "private": {"url_place": "private"},
        "redirect": {"url_place": "redirect"},
        "redirect-private": {"url_place": "redirect-private"},
        "webm": {"film": "webm"},
        "mkv": {"film": "mkv"},
        "mov": {"film": "mov"},
        "hevc": {"film": "hevc"},
        "tail": {"film": "tail"},
        "truncated": {"download": "truncated"},
        "truncated-once": {"download": "truncated", "download_fault_times": 1},
        "short": {"download": "short"},
        "stall": {"download": "stall"},
        "html": {"download": "html"},
        "zero": {"download": "zero"},
    }
)
"""Marker in the prompt -> the switches that it sets; unknown words in brackets are part of the prompt."""


def marked(prompt: object) -> dict[str, object]:
    """The switches that the markers of a prompt set; of two that disagree the later wins."""
    changes: dict[str, object] = {}
    for name in re.findall(r"\[([a-z0-9-]+)\]", prompt if isinstance(prompt, str) else ""):
        changes |= MARKERS.get(name, {})
    return changes


def changed(switches: Switches, changes: Mapping[str, object]) -> Switches:
    """A copy with the changes; ValueError names what is no switch or no value of it."""
    hints = get_type_hints(Switches)
    for name, value in changes.items():
        if name not in hints:
            raise ValueError(f"there is no switch {name!r}; there are {', '.join(sorted(hints))}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{value!r} is no value of the switch {name}: {hints[name]}")
    return replace(switches, **dict[str, Any](changes))


def listed(switches: Switches) -> dict[str, object]:
    """Every switch and its value."""
    return {field.name: getattr(switches, field.name) for field in fields(switches)}


def _fits(value: object, hint: object) -> bool:
    if get_origin(hint) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return value is None if hint is NoneType else type(value) is hint
