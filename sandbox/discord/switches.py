"""What can be turned on a sandbox while it runs, and what it records: limits, windows, faults, requests."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.discord.errors import JsonObject

MIB = 1024 * 1024


def _buckets() -> dict[str, tuple[int, float]]:
    return {
        "channel_post": (5, 5.0),
        "webhook": (5, 2.0),
        "default": (50, 1.0),
        "global": (50, 1.0),
    }


@dataclass
class Switches:
    """Settings that may change at any time. Sizes are bytes, times are seconds of the sandbox's clock.

    ``upload_limit`` holds for channel posts; ``interaction_upload_limit`` for files through an interaction
    token (None: the same); ``announced_upload_limit`` is the number that an interaction carries (None: the
    true one). ``buckets`` are (requests, window) per route; ``global`` counts all routes with the bot token.
    Discord publishes none of these numbers (docs: Rate Limits), so they are only plausible.
    """

    upload_limit: int = 10 * MIB
    interaction_upload_limit: int | None = None
    announced_upload_limit: int | None = None
    request_limit: int | None = None
    too_large_as_html: bool = False  # the edge answers 413 itself, without JSON
    token_life_s: float = 900
    early_dead_tokens: bool = False  # every interaction token answers 404/10015 although it is young
    acknowledge_within_s: float = 3
    nonce_window_s: float = 300  # "the past few minutes" in the docs
    cdn_life_s: float = 86_400
    old_message_s: float = 3600  # from this age on, edits are counted (30046)
    old_message_edits: int = 5  # a minute; the real number is deliberately not published
    old_edit_retry_after_s: float | None = 5.0  # None: the 429 tells no time, as some real ones
    with_via: bool = True
    latency_s: float = 0  # added to every reply
    buckets: dict[str, tuple[int, float]] = field(default_factory=_buckets)
    user_install_only: bool = False  # members installed the application, servers did not
    dm_closed: bool = False
    dm_refusal_status: int = 403
    blocked_words: list[str] = field(default_factory=list)  # AutoMod
    command_creates_per_day: int = 200
    heartbeat_interval_s: float = 41.25  # real time, since the client's heart beats in it
    heartbeat_grace: float = 1.5  # intervals without a heartbeat until close 4009
    gateway_silent: bool = False  # no heartbeat is acknowledged, no event is sent
    gateway_away: bool = False  # no connection is taken, as in an outage of the gateway alone
    gateway_delay_s: float = 0
    gateway_duplicates: bool = False  # each event is sent twice, with two sequence numbers
    servers_away: bool = False  # after READY no server is told of, as while Discord has trouble with all of them
    resume_window_s: float = 180
    privileged_intents: bool = False

    def update(self, values: JsonObject) -> None:
        """Set switches by name; ValueError names the one that is unknown or of the wrong type."""
        for name, value in values.items():
            if name not in self.__dataclass_fields__:
                raise ValueError(f"there is no switch {name!r}")
            if name == "buckets":
                value = _read_buckets(value, self.buckets)  # noqa: PLW2901 - the checked form of the same value
            elif not _fits(value, str(self.__dataclass_fields__[name].type)):
                raise ValueError(f"{name} does not take {value!r}")
            setattr(self, name, value)


def _fits(value: object, kind: str) -> bool:
    if value is None:
        return "None" in kind
    if isinstance(value, bool):
        return "bool" in kind
    if isinstance(value, int):
        return "int" in kind or "float" in kind
    if isinstance(value, float):
        return "float" in kind
    return isinstance(value, list) and kind.startswith("list") and all(isinstance(each, str) for each in value)


def _read_buckets(value: object, known: dict[str, tuple[int, float]]) -> dict[str, tuple[int, float]]:
    if not isinstance(value, dict) or not value.keys() <= known.keys():
        raise ValueError(f"buckets are {', '.join(known)}")
    try:
        read = {name: (int(limit), float(window_s)) for name, (limit, window_s) in value.items()}
    except (TypeError, ValueError) as problem:
        raise ValueError("a bucket is [requests, seconds]") from problem
    return known | read


@dataclass(kw_only=True)
class RecordedRequest:
    """One request as it came in. ``status`` is None while it runs, 0 when the connection was cut."""

    method: str
    path: str  # below the API's prefix, without the query
    query: dict[str, str]
    json: Any = None
    files: list[tuple[str, int]] = field(default_factory=list)  # (name, bytes)
    at: float
    status: int | None = None
    reply: Any = None

    def to_json(self) -> JsonObject:
        """The form that the control plane shows."""
        return dict(self.__dict__)


@dataclass(kw_only=True)
class Fault:
    """What happens to the next ``times`` requests that match, instead of a reply or before it."""

    method: str  # or "*"
    path_pattern: str  # a regular expression for the whole path below the API's prefix
    status: int = 500
    times: int = 1
    code: int = 0
    cut: Literal["before", "after"] | None = None  # the connection ends before or after the effect
    effect: bool = False  # the request takes effect, and only its reply is replaced
    via: bool = True
    retry_after: float | None = None
    delay_s: float = 0
    html: bool = False  # the reply is an HTML page, as from the network's edge
    only_delay: bool = False  # after the delay the request goes on as if there were no fault

    def __post_init__(self) -> None:
        re.compile(self.path_pattern)

    def matches(self, method: str, path: str) -> bool:
        """Whether this fault is meant for the request, and not used up."""
        return (
            self.times > 0
            and self.method.upper() in ("*", method)
            and re.fullmatch(self.path_pattern, path) is not None
        )
