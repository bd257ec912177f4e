"""The switches that change how the sandbox behaves. The default of each is the normal behavior.

The first group is read once, when a run is created. All others are read whenever they matter, so a test can break the
network for a run that already exists. A marker in the prompt, such as ``a red fox [nsfw]``, sets switches for its own
run and overrides the global ones.
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
    """Every switch with its default. Durations are in seconds of the sandbox's clock unless noted otherwise."""

    # Outcome. These are read once, when the run is created.
    end: End = "succeeded"
    """``policy``, ``provider``, ``invalid``: failed with such a message. ``empty``, ``missing``: no ``outputs``."""
    nsfw: bool | None = False
    queue_s: float | None = None
    """None: the value of the sandbox."""
    run_s: float | None = None
    states: Literal["all", "skip", "back"] = "all"
    """``skip``: from queued straight to the end. ``back``: from running to queued and to running again."""
    odd_status: str = ""
    """A status that replaces ``running``."""
    cost: str | None = None
    """USD as decimal text. None: from the price table."""
    cost_after_s: float = 0.0
    """How long ``cost`` stays null after a success; infinity: forever. The balance is charged at once anyway."""
    failed_cost: str | None = None
    """The cost of a failed or canceled run. None: it is null, and nothing is charged."""
    bad_value: Literal["refused", "late"] = "refused"
    """``late``: an invalid value creates a run that fails with INPUT_VALIDATION_FAILED."""
    strict_veo: bool = False
    """Whether 1080p and 4k require 8 s."""
    unknown_input: Literal["ignored", "refused"] = "ignored"

    # Spelling.
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
    """The run ends, and its callback is sent, before its POST is answered."""
    callback_delay_s: float = 0.0
    callback_duplicates: int = 0
    callback_concurrent: bool = False
    """Duplicates are sent at the same time, not one after the other."""
    callback_stale: bool = False
    """A callback with an older status follows the real one."""
    callback_signature: Literal["correct", "missing", "wrong", "upper", "second", "altered"] = "correct"
    """``second``: signed with the second newest secret. ``altered``: the body is changed after signing."""
    callback_event: str = ""
    callback_run_id: str = ""
    callback_failure_output: Literal["null", "envelope"] = "null"
    callback_retry_on: Literal["5xx", "non-2xx", "nothing"] = "5xx"
    """With ``5xx`` and ``non-2xx``, network errors are retried too."""
    callback_attempts: int = 3
    callback_timeout_s: float = 5.0
    """Real seconds."""
    redelivery: Literal["same", "rebuilt"] = "same"

    # Replies. Faults of POSTs are counted per client_ref (all POSTs without one count together), of reads per run.
    reply_delay_s: float = 0.0
    drip_s: float = 0.0
    """The time over which a reply's body is sent in pieces."""
    auth: Literal["", "401", "403"] = ""
    no_credit_after: int | None = None
    """Answer 402 once this many runs exist."""
    post_429: int = 0
    """How many POSTs with the same client_ref get 429 before one is accepted."""
    read_429: int = 0
    retry_after: str = ""
    """The header Retry-After of a 429; empty: no such header."""
    rate_headers: bool = False
    before: Fault = ""
    """A fault of a POST that doesn't create its run."""
    after: Fault = ""
    """A fault of a POST that has created its run."""
    post_fault_times: int = 1
    read: Fault = ""
    read_fault_times: int = 1
    refuse_field: str = ""
    """Answer 422 for this field, whatever its value."""
    balance: Literal["normal", "403", "404", "shape"] = "normal"

    # The list.
    list_lag_s: float = 0.0
    list_fault: Fault = ""
    list_fault_times: int = 1_000_000
    list_filter: Literal["both", "eq", "plain", "none", "ignored"] = "both"
    """Supported grammars: ``eq`` is ``client_ref.EQ:'x'``, ``plain`` is ``client_ref:x``. ``ignored``: no filtering."""
    list_filter_status: Literal[422, 400] = 422

    # The file.
    url_ttl_s: float = 86_400.0
    url_fault: Literal["", "expired", "403", "404", "410"] = ""
    url_fault_times: int = 1
    """How many different URLs fail before one works. A URL that failed once keeps failing."""
    url_place: Literal["own", "private", "plain", "redirect", "redirect-private"] = "own"
    file_bytes: int = 0
    """The minimum size of the file. It is padded with a ``free`` box, so it stays playable."""
    clip: Literal["drawn", "stored"] = "drawn"
    """``stored``: the same committed clip for every run, which takes no time."""
    container: Literal["mp4", "webm", "mkv", "mov", "hevc", "tail"] = "mp4"
    """The format that the file claims to have. ``tail``: an MP4 with a newline after its last box."""
    download: Literal["whole", "truncated", "short", "stall", "html", "zero"] = "whole"
    """``truncated``: less data than Content-Length says. ``short``: half of the file, without Content-Length."""
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
        "webm": {"container": "webm"},
        "mkv": {"container": "mkv"},
        "mov": {"container": "mov"},
        "hevc": {"container": "hevc"},
        "tail": {"container": "tail"},
        "truncated": {"download": "truncated"},
        "truncated-once": {"download": "truncated", "download_fault_times": 1},
        "short": {"download": "short"},
        "stall": {"download": "stall"},
        "html": {"download": "html"},
        "zero": {"download": "zero"},
    }
)
"""Marker in the prompt -> the switches that it sets. Other words in brackets have no effect."""


def marked(prompt: object) -> dict[str, object]:
    """The switches that the markers of a prompt set; later markers override earlier ones."""
    changes: dict[str, object] = {}
    for name in re.findall(r"\[([a-z0-9-]+)\]", prompt if isinstance(prompt, str) else ""):
        changes |= MARKERS.get(name, {})
    return changes


def changed(switches: Switches, changes: Mapping[str, object]) -> Switches:
    """A copy with the changes; ValueError for an unknown switch or an invalid value."""
    hints = get_type_hints(Switches)
    for name, value in changes.items():
        if name not in hints:
            raise ValueError(f"There's no switch {name!r}. The switches are: {', '.join(sorted(hints))}.")
        if not _fits(value, hints[name]):
            raise ValueError(f"The switch {name} can't be {value!r}; expected {hints[name]}.")
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
