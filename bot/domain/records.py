"""What the ports speak in: wishes, questions, acts, and what Runflow answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

from bot.domain.limits import Plan, Rule, Spender, Standing, no_levels
from bot.domain.models import VeoRequest
from bot.domain.runs import Delivery, Ending, Notice, Observation, Run
from bot.domain.video_files import MP4, VideoFormat


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a member asked for, and where: opaque strings of the front that took it."""

    origin: str
    member: str
    member_name: str  # as people read it
    server: str
    channel: str  # where the video is posted
    budget_channel: str  # the one that is charged: of a thread, its parent
    roles: tuple[str, ...]
    request: VeoRequest
    reply_to: str | None = None  # where progress can be shown: see `bot.domain.runs.card_of`
    reply_until: float | None = None
    upload_limit_bytes: int | None = None  # of a file of the member's own, and in the answer to them
    post_limit_bytes: int | None = None  # of a file in a message of the bot there
    locale: str | None = None  # the member's language, in the front's words; None: not known
    place_locale: str | None = None  # that of the place
    can_post: bool = True  # whether the bot may post in the place by itself
    take: str | None = None  # what it is to another video: see `bot.domain.runs.Run.take`

    @property
    def spender(self) -> Spender:
        return Spender(member=self.member, server=self.server, channel=self.budget_channel, roles=self.roles)


@dataclass(frozen=True, kw_only=True)
class Order:
    """How the order of a new run begins: with the run itself where it follows at once, else when it is its turn."""

    places: int  # runs that may be under way at a time
    begin_until: float | None  # the caller sends it as soon as the run is written, by then at the latest; None: later
    give_up_at: float  # a run that has to wait in line waits so long


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A wish that is priced and named, ready for the books."""

    wish: Wish
    run_id: str
    price_u: int
    callback_token: str
    now: float
    order: Order | None = None  # None: it is due now, and its turn is found then
    stands: Callable[[list[Standing]], object] | None = None  # told where its levels stand with it; perhaps again


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a start still has to look at: the runs that are due between these times and were not looked at since it."""

    number: int  # of the start
    after: float
    until: float


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What a start found."""

    open_runs: int  # that have something left to do
    sweep: Sweep


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What was found due, and what the caller is to wait for next."""

    runs: list[Run]
    paced: int  # how many of them do not come out of the line
    due_at: float | None  # when the next run is due or a reply address ends; None: nothing is left to do
    line_waits: bool  # whether runs wait for a place
    line_moved: bool  # whether any of those found come out of the line
    sweep: Sweep | None  # what is left of it; None: nothing
    last_cards: list[Run]  # whose cards are updated a last time; their reply addresses are forgotten with this


@dataclass(frozen=True, kw_only=True)
class Woken:
    """The run that a callback is about."""

    run_id: str
    run: Run | None  # None: its row cannot be read


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to make the video of an offered prompt, with the price that was quoted for it."""

    request: VeoRequest
    price_u: int


DRAFT_LIFE_S = 86400.0  # so long the words of a wish are kept of which nothing came


class OfferKind(StrEnum):
    CONFIRM = "confirm"  # put to the member: the price is to be agreed to first
    REQUEST = "request"  # put to the admins: the member is over a limit
    DRAFT = "draft"  # put to nobody: a wish that was refused, kept for its member to go on with


class OfferState(StrEnum):
    OPEN = "open"
    TAKEN = "taken"  # a run came of it
    DENIED = "denied"
    REPLACED = "replaced"  # its member put another request to the admins
    WITHDRAWN = "withdrawn"  # its member said no to the price


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A wish that waits for a yes. It is good once, until `expires_at`; it holds no money.

    Its words are kept for its member until `kept_until`, whatever was said to it.
    """

    offer_id: str
    kind: OfferKind
    wish: Wish  # without its reply address
    choices: tuple[Choice, ...]  # what was asked for, then what would be cheaper, or would fit
    expires_at: float
    over: str = ""  # of a request: the scope that refused
    state: OfferState = OfferState.OPEN
    run_id: str | None = None
    asked_at: float | None = None  # when its member put it to the admins
    message: str | None = None  # the request as the admins see it
    answer: Act | None = None  # what an admin said to it

    def is_open(self, now: float) -> bool:
        """Whether it still waits for its answer."""
        return self.state == OfferState.OPEN and self.expires_at > now

    @property
    def kept_until(self) -> float:
        return self.expires_at + DRAFT_LIFE_S


@dataclass(frozen=True, kw_only=True)
class Open:
    """What of a member's is not over: their runs and their questions."""

    runs: list[Run]
    offers: list[Offer]


Key = tuple[float, str]  # of a run in its member's history: when it was asked for, and its id


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which of a member's runs are looked for, and from where on."""

    member: str
    server: str | None = None  # None: in all servers
    videos: bool = False  # only those that became one
    older_than: Key | None = None
    newer_than: Key | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the runs that were looked for, newest first, and where it goes on in both directions; None: nowhere."""

    runs: Sequence[Run]
    newer_than: Key | None = None
    older_than: Key | None = None


@dataclass(frozen=True, kw_only=True)
class Admin:
    """Who acts, and over what: one server, or EVERYWHERE."""

    server: str
    actor: str
    name: str
    server_name: str = ""
    origin: str = ""  # the request that they act by, unique: what comes twice has one effect


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that an admin did, as it is kept for ever."""

    at: float
    server: str  # EVERYWHERE: on the whole bot
    actor: str
    actor_name: str
    verb: str  # `limit set`, `grant`, ...
    subject: str  # a scope, a run or an offer
    detail: str = ""
    reason: str = ""
    server_name: str = ""  # as people read it; empty where nobody could tell
    member: str = ""  # whose affairs it touched; empty: nobody's alone
    origin: str = ""  # the request that it answers, unique; empty: it was kept before origins were
    amount_u: int | None = None  # what it added on top of a limit, which the books say; None: nothing


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an act makes of the rules of its server: those that it puts in force, and those that it lifts."""

    put: tuple[Rule, ...] = ()
    lift: tuple[Rule, ...] = ()
    detail: str = ""  # what the act is kept with
    opens: Plan = no_levels  # from the rules afterwards to the levels whose present periods are opened with it


Approve = Callable[[Sequence[Standing]], Act]  # from where the levels stand before it to the act of an approval


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ended. What it is charged follows from `cost_u` alone; see `bot.domain.money.settle`."""

    ending: Ending
    cost_u: int | None = None
    seed_used: int | None = None
    took_ms: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None


class RunChanges(TypedDict, total=False):
    """Columns that a step may write beside the state."""

    due_at: float | None
    in_line: bool  # False where it is not said
    tries: int
    provider_id: str
    provider_request_id: str | None
    provider_status: str
    provider_status_at: float
    overdue: bool
    unknown_told: bool
    cost_checks: int
    cost_checked_at: float
    notice: Notice
    delivery: Delivery
    delivery_tries: int
    first_try_at: float | None
    last_try_at: float
    direct: bool
    plain: bool
    post_handle: str | None
    message: str
    unclear_posts: int
    empty_since: float
    uploads: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an operator watches; `unknown` should be zero."""

    open: int  # runs that wait for their turn or are at Runflow
    unknown: int  # runs of which nobody can tell whether Runflow took them; their money is held
    overdue: int  # runs past their deadline whose end Runflow does not tell; their money is held
    unreadable: int  # runs whose rows this version of the program cannot read; they wait for one that can
    lookup_proven: bool  # whether an order without a clear answer may be sent again


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The POST was answered with a run."""

    observation: Observation


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The POST surely bought nothing, and the same one would be refused again."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class NotSent:
    """The POST surely bought nothing and may be repeated: unreachable, or told to wait."""

    reason: str
    wait_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unclear:
    """The POST may have bought a run."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Link:
    """An address from which a clip that is too large to attach can be had."""

    url: str
    expires_at: float | None  # unix seconds; None: Runflow's own link, whose life is Runflow's to say
    video_format: VideoFormat = MP4  # of a clip on our disk
