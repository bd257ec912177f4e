"""What a run is: its states, the allowed moves, and what Runflow says of it.

Pure: no clock, no I/O. Times are unix seconds, money is integer micro-dollars (`*_u`).
People and places are opaque strings such as `discord:123`; only the front that made them reads them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import StrEnum

from bot.domain.models import VeoRequest
from bot.domain.names import file_name

COST_CHECKS_S = (60.0, 600.0, 3600.0, 86400.0)  # when to ask again after an end whose cost was not named
LOOKUP_SAMPLE = 20  # one run in this many checks the provider's list even while the list is proven
MISSING = "missing"  # our word for the status of a run whose id the provider answers with 404
MISSING_S = 60.0  # for this long it may do that, above all for a run that it has just accepted
CARD_STOPS_S = 60.0  # before its reply address ends, a card says that it stops
EMPTY_S = 4.0  # a success without a clip is read again for this long before it is believed: the clip may follow


class RunState(StrEnum):
    """Where a run stands. The row in the store is the only truth about it."""

    RESERVED = "reserved"  # the money is held; no request was sent, or it surely bought nothing
    SUBMITTING = "submitting"  # the intent to POST is on disk; found at start, it may have been sent
    AMBIGUOUS = "ambiguous"  # the POST had no clear answer; it is looked for and never repeated blindly
    RUNNING = "running"  # Runflow has it under an id
    UNKNOWN = "unknown"  # looked for and not found; the hold stays until there is evidence
    SUCCEEDED = "succeeded"  # ended, with or without something to show
    FAILED = "failed"  # ended without a video
    CANCELLED = "cancelled"  # ended at Runflow by an operator there, or by its member before it was ordered


MOVES: dict[RunState, frozenset[RunState]] = {
    # An earlier POST was it, or may have been.
    RunState.RESERVED: frozenset(
        {RunState.SUBMITTING, RunState.FAILED, RunState.CANCELLED, RunState.RUNNING, RunState.AMBIGUOUS}
    ),
    RunState.SUBMITTING: frozenset({RunState.RESERVED, RunState.AMBIGUOUS, RunState.RUNNING, RunState.FAILED}),
    RunState.AMBIGUOUS: frozenset({RunState.RUNNING, RunState.UNKNOWN, RunState.RESERVED}),  # again: it never arrived
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.UNKNOWN}),
    RunState.UNKNOWN: frozenset({RunState.RUNNING, RunState.FAILED}),  # failed: an admin's act, or proven absent
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
TERMINAL = frozenset(state for state, moves in MOVES.items() if not moves)
IN_FLIGHT = frozenset({RunState.SUBMITTING, RunState.AMBIGUOUS, RunState.RUNNING})  # take a place at Runflow


class Ending(StrEnum):
    """What there is to tell of a run that is over."""

    VIDEO = "video"  # a clip to post
    PARTIAL = "partial"  # Runflow reports only part of the work; the clip that exists is posted
    NSFW = "nsfw"  # flagged by the provider: never posted, whatever the channel
    EMPTY = "empty"  # reported as a success, but without a clip: how a filtered video looks
    FAILED = "failed"
    CANCELLED = "cancelled"


class Notice(StrEnum):
    """Which message about a run is due in the channel; each kind is posted at most once."""

    RESULT = "result"
    UNKNOWN = "unknown"
    OVERDUE = "overdue"


class Delivery(StrEnum):
    """Where the message named by `Run.notice` stands."""

    NONE = "none"  # nothing to say yet
    PENDING = "pending"
    SENDING = "sending"  # the intent to post is on disk; a retry looks for the message first
    DELIVERED = "delivered"
    UNDELIVERABLE = "undeliverable"  # neither place nor member takes it; the clip can still be fetched by its run id


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as the store has it."""

    run_id: str
    origin: str  # the request that caused it, unique: one wish makes one run
    member: str
    member_name: str
    server: str
    channel: str  # where it is posted
    budget_channel: str  # the one that is charged: of a thread, its parent
    roles: tuple[str, ...]  # that the member had when asking
    request: VeoRequest
    price_u: int  # the quote, which is what was held
    charged_u: int  # what the ledger has posted for it so far
    refunded_u: int  # what of that an admin gave its member again
    state: RunState
    state_at: float
    created_at: float
    due_at: float | None  # when to look at it next; None: nothing is left to do
    tries: int  # consecutive tries of the present step that came to nothing
    posts: int  # how often the POST to Runflow was begun
    posted_at: float | None  # when the last of them was
    unclear_posts: int  # how many of them had no clear answer
    empty_since: float | None  # when a clean look-up first did not show it although it should have
    lookup_fresh: bool | None  # whether the look-up showed it soon after its POST; None: not asked
    callback_token: str
    candidate_id: str | None  # the Runflow id that a callback named; a hint, proven only by our own reading
    provider_id: str | None
    provider_request_id: str | None
    provider_status: str | None
    provider_status_at: float | None
    unknown_told: bool  # its place was told, or is to be told, that nobody knows what became of it
    overdue: bool  # it is past its deadline without an end; it takes no place any more
    ended_at: float | None
    ending: Ending | None
    cost_u: int | None  # what Runflow says it cost; None: not said (yet)
    cost_checks: int  # how often it was read again for that
    cost_checked_at: float | None  # when it last was
    seed_used: int | None
    took_ms: int | None
    failure_code: str | None
    failure_message: str | None
    notice: Notice | None
    delivery: Delivery
    delivery_tries: int
    first_try_at: float | None
    last_try_at: float | None
    direct: bool  # the notice goes to the member alone: its place is gone or closed
    in_line: bool  # it waits until a place is free
    uploads: int  # how often its clip could not be uploaded
    plain: bool  # the notice is posted without the words of the member: its place refused it with them
    post_handle: str | None  # of the last post that was begun, in the words of its front; see `bot.ports.Front`
    message: str | None
    reply_to: str | None  # where progress can be shown, see `card_of`; a secret that is dropped at `reply_until`
    reply_until: float | None
    upload_limit_bytes: int | None  # of a file of the member's own, and in the answer to them
    post_limit_bytes: int | None  # of a file in a message of the bot there
    locale: str | None  # the member's language, in the front's words; None: not known
    place_locale: str | None  # that of the place
    can_post: bool  # whether the bot may post in the place by itself
    take: str | None  # `yours`: made from somebody else's video; `final`: from a lesser one; None: from its prompt

    @property
    def client_ref(self) -> str:
        return f"veo-{self.run_id}"

    @property
    def file_name(self) -> str:
        """What its clip is called on our disk."""
        return f"veo-{self.run_id}.mp4"

    @property
    def posted_name(self) -> str:
        """What its clip is called where people see it: after its prompt, unless Discord refused those words."""
        return self.file_name if self.plain else file_name(self.request.prompt, self.run_id)

    @property
    def in_sample(self) -> bool:
        """Whether this run checks the provider's list even while the list is proven."""
        return zlib.crc32(self.run_id.encode()) % LOOKUP_SAMPLE == 0

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def takes_place(self) -> bool:
        """Whether it has one of the places at Runflow, or is about to have it."""
        return self.state in IN_FLIGHT | {RunState.RESERVED} and not (self.overdue or self.in_line)

    @property
    def withdrawn(self) -> bool:
        """Whether its member cancelled it before it was ordered; there is no public message then."""
        return self.ending == Ending.CANCELLED and self.provider_id is None

    @property
    def told(self) -> bool:
        """Whether it is over, and all was said of it."""
        return self.terminal and not self.delivery_open

    @property
    def releasable(self) -> bool:
        """Whether an admin may end it by a word: nobody can tell whether Runflow will ever say anything of it."""
        return self.state == RunState.UNKNOWN or (self.state == RunState.RUNNING and self.overdue)

    @property
    def shows_video(self) -> bool:
        return self.ending in (Ending.VIDEO, Ending.PARTIAL)

    @property
    def attachable_bytes(self) -> int | None:
        """How large a clip may be that is posted as a file; None: that is found out by trying."""
        known = [limit for limit in (self.upload_limit_bytes, self.post_limit_bytes) if limit is not None]
        return min(known, default=None)

    @property
    def delivery_open(self) -> bool:
        return self.delivery in (Delivery.PENDING, Delivery.SENDING)

    @property
    def cost_check_s(self) -> float | None:
        """So long after its end a run is read again for its cost; None once it is known or not worth asking for."""
        if self.cost_u is not None or self.provider_id is None or self.ended_at is None:
            return None
        return COST_CHECKS_S[self.cost_checks] if self.cost_checks < len(COST_CHECKS_S) else None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one reading of a run at Runflow says, whatever spelling or version said it."""

    provider_id: str
    client_ref: str | None
    status: str  # as Runflow words it, in small letters
    ending: Ending | None  # None: not over
    cost_u: int | None = None
    seed_used: int | None = None
    took_ms: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    request_id: str | None = None
    clip_address: str | None = field(default=None, repr=False, compare=False)  # a secret for as long as it is valid


def card_of(reply_to: str) -> str:
    """The card that a reply address names: all of the address but what follows its last colon, the secret.

    Each press of a card's buttons brings another secret. A card shows the latest wish that was put on it.
    """
    return reply_to.rsplit(":", 1)[0]


STATE_OF_ENDING: dict[Ending, RunState] = {
    Ending.VIDEO: RunState.SUCCEEDED,
    Ending.PARTIAL: RunState.SUCCEEDED,
    Ending.NSFW: RunState.SUCCEEDED,
    Ending.EMPTY: RunState.SUCCEEDED,
    Ending.FAILED: RunState.FAILED,
    Ending.CANCELLED: RunState.CANCELLED,
}

_BLOCKED_WORDS = ("policy", "safety", "moderation", "nsfw", "usage guidelines", "support codes")


def blocked_by_policy(code: str | None, message: str | None) -> bool:
    """Whether a failure reads like a content block, so that repeating it unchanged is pointless.

    Runflow documents no code for it; the words are those of its providers' messages.
    """
    text = f"{code or ''} {message or ''}".lower()
    return any(word in text for word in _BLOCKED_WORDS)
