"""The settings that can be changed while the sandbox runs, planned faults, and recorded requests."""

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
    """Settings that can change at any time. Sizes are in bytes, times in seconds of the sandbox's clock.

    ``upload_limit`` applies to channel posts, ``interaction_upload_limit`` to files sent with an interaction token
    (None: the same limit). ``announced_upload_limit`` is the limit that interactions report (None: the real one).
    ``buckets`` are the rate limits, (requests, window), by kind of route; ``global`` counts all routes with the bot
    token. Discord doesn't publish its numbers (docs: Rate Limits), so these are plausible guesses.
    """

    upload_limit: int = 10 * MIB
    interaction_upload_limit: int | None = None
    announced_upload_limit: int | None = None
    request_limit: int | None = None
    too_large_as_html: bool = False  # a 413 is an HTML page of the edge, without JSON
    token_life_s: float = 900
    early_dead_tokens: bool = False  # every interaction token gets 404/10015 although it hasn't expired
    acknowledge_within_s: float = 3
    nonce_window_s: float = 300  # "the past few minutes" in the docs
    cdn_life_s: float = 86_400
    old_message_s: float = 3600  # edits of a message older than this are limited (30046)
    old_message_edits: int = 5  # per minute; Discord doesn't publish the real number
    old_edit_retry_after_s: float | None = 5.0  # None: the 429 doesn't say how long to wait, like some real ones
    with_via: bool = True
    latency_s: float = 0  # added to every reply
    buckets: dict[str, tuple[int, float]] = field(default_factory=_buckets)
    user_install_only: bool = False  # the members installed the application, not the servers
    dm_closed: bool = False
    dm_refusal_status: int = 403
    dm_missing_access: int = 0  # this many of the next direct messages get 403/50001, though nothing is closed
    blocked_words: list[str] = field(default_factory=list)  # AutoMod
    command_creates_per_day: int = 200
    heartbeat_interval_s: float = 41.25  # in real time, which is what the client measures its heartbeats in
    heartbeat_grace: float = 1.5  # close with 4009 after this many intervals without a heartbeat
    gateway_silent: bool = False  # heartbeats aren't acknowledged and events aren't sent
    gateway_away: bool = False  # connections are refused, as in an outage of the gateway alone
    gateway_delay_s: float = 0
    gateway_duplicates: bool = False  # each event is sent twice, with two sequence numbers
    servers_away: bool = False  # no GUILD_CREATE after READY, as when all servers are unavailable
    resume_window_s: float = 180
    privileged_intents: bool = False

    def update(self, values: JsonObject) -> None:
        """Set switches by name; ValueError if one is unknown or has a wrong type."""
        for name, value in values.items():
            if name not in self.__dataclass_fields__:
                raise ValueError(f"There is no switch {name!r}.")
            if name == "buckets":
                value = _read_buckets(value, self.buckets)  # noqa: PLW2901 - the checked form of the same value
            elif not _fits(value, str(self.__dataclass_fields__[name].type)):
                raise ValueError(f"The switch {name} can't be set to {value!r}: wrong type.")
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
        raise ValueError(f"The switch buckets takes an object with any of these keys: {', '.join(known)}.")
    try:
        read = {name: (int(limit), float(window_s)) for name, (limit, window_s) in value.items()}
    except (TypeError, ValueError) as problem:
        raise ValueError("Each bucket must be [requests, seconds].") from problem
    return known | read


@dataclass(kw_only=True)
class RecordedRequest:
    """A request that was received. ``status`` is None while it is running, 0 if its connection was cut."""

    method: str
    path: str  # below the API's prefix, without the query
    query: dict[str, str]
    json: Any = None
    files: list[tuple[str, int]] = field(default_factory=list)  # (name, bytes)
    at: float
    status: int | None = None
    reply: Any = None

    def to_json(self) -> JsonObject:
        """The record as the control plane returns it."""
        return dict(self.__dict__)


@dataclass(kw_only=True)
class Fault:
    """A fault for the next ``times`` matching requests."""

    method: str  # or "*"
    path_pattern: str  # a regular expression; it must match the whole path below /api/v10
    status: int = 500
    times: int = 1
    code: int = 0
    cut: Literal["before", "after"] | None = None  # cut the connection before or after the request takes effect
    effect: bool = False  # the request takes effect; only its reply is replaced
    via: bool = True
    retry_after: float | None = None
    delay_s: float = 0
    html: bool = False  # the reply is an HTML page, like one from the edge
    only_delay: bool = False  # only delay the request, then handle it as usual

    def __post_init__(self) -> None:
        re.compile(self.path_pattern)

    def matches(self, method: str, path: str) -> bool:
        """Whether this fault applies to the request and isn't used up."""
        return (
            self.times > 0
            and self.method.upper() in ("*", method)
            and re.fullmatch(self.path_pattern, path) is not None
        )
