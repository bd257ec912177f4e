"""What the engine asks of the world: a clock, a store, Runflow and a front, with what each promises.

The docstrings are the contract that a second store or a second front is written from. `bot.app` is
where the type checker proves that the parts fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypedDict, TypeVar

from bot.domain.limits import Level, Plan, Rule, Rules, Spender, Standing
from bot.domain.report import RunFact
from bot.domain.runs import Delivery, Ending, Notice, Observation, Run, RunState, VeoRequest
from bot.media import Link

Result = TypeVar("Result")


class Clock(Protocol):
    """Wall time, which may be set at any moment, and what has surely passed of it; passed in, to replay a world."""

    set_at: float | None  # when it was last noticed that it had been set, by its own time; None: never

    def now(self) -> float:
        """Unix seconds."""
        ...

    def elapsed(self, since: float) -> float:
        """At least so many seconds have passed, if the clock was right while the program was down."""
        ...

    def watched(self, since: float) -> float:
        """At least so many seconds have passed, for this program was running."""
        ...

    def within(self, since: float, seconds: float) -> bool:
        """Whether less than so many seconds have passed, if the clock was right while the program was down."""
        ...


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
    reply_to: str | None = None
    reply_until: float | None = None
    upload_limit_bytes: int | None = None

    @property
    def spender(self) -> Spender:
        return Spender(member=self.member, server=self.server, channel=self.budget_channel, roles=self.roles)


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A wish that is priced and named, ready for the books."""

    wish: Wish
    run_id: str
    price_u: int
    callback_token: str
    now: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to film an offered prompt, with the price that was quoted for it."""

    request: VeoRequest
    price_u: int


class OfferKind(StrEnum):
    CONFIRM = "confirm"  # put to the member: the price is to be agreed to first
    REQUEST = "request"  # put to the admins: the member is over a limit


class OfferState(StrEnum):
    OPEN = "open"
    TAKEN = "taken"  # a run came of it
    DENIED = "denied"
    REPLACED = "replaced"  # its member put another request to the admins


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A wish that waits for a yes. It is good once, until `expires_at`; it holds no money."""

    offer_id: str
    kind: OfferKind
    wish: Wish  # without its reply address
    choices: tuple[Choice, ...]  # what was asked for, then what would be cheaper
    expires_at: float
    over: str = ""  # of a request: the scope that refused
    state: OfferState = OfferState.OPEN
    run_id: str | None = None
    asked_at: float | None = None  # when its member put it to the admins
    message: str | None = None  # the request as the admins see it
    answer: Act | None = None  # what an admin said to it


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


class Store(Protocol):
    """What survives a restart. Each verb is one durable transaction; StoreDown where it cannot be had.

    A run handed in is the caller's last view of it: a move is made only if state and delivery still
    are what they were, and is answered with the run after it, or with None and no change.
    """

    async def claim_due(self, now: float, *, lease_until: float, limit: int, total_max: int) -> list[Run]:
        """The runs due by `now`: first those that were woken, then the longest waiting.

        And as many of those in line, oldest first, as there are free places of `total_max`. Each is due again
        at `lease_until` at the latest, and in line no more.

        Reply addresses that are no longer valid by `now` are dropped on the way. A run that cannot be read is left out,
        takes no place, and is tried again an hour later.
        """
        ...

    async def next_due(self) -> float | None:
        """When the next run is due or a reply address ends; None where nothing is left to do."""
        ...

    async def recover(self, now: float, *, deadline_s: float) -> int:
        """After a start, or when the clock was set: make every run due that is not over or not delivered.

        Those in line go on waiting there, `deadline_s` seconds at most. How many have something left to do.
        """
        ...

    async def wake(self, callback_token: str, candidate_id: str | None) -> str | None:
        """Make the token's run due before all others, and keep the id that was named while it has none.

        None: no such token.
        """
        ...

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        """Commit the intent to POST; None while `total_max` runs are in flight, overdue ones aside, or older ones wait.

        None also where a callback named a candidate that the caller has not seen.
        """
        ...

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        """Move on to a state that is no end, or stay and write."""
        ...

    async def settle(self, run: Run, end: End, *, now: float) -> Run | None:
        """End the run, resolve its holds and make its result due for delivery, together.

        What is unknown is ended by this only as FAILED for nothing: it is proven that it never arrived.
        None also where the run has no id at Runflow and a callback named a candidate that the caller has not seen.
        """
        ...

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        """Book the cost of an ended run that had none yet; a second time changes nothing."""
        ...

    async def looked_up(self, run_id: str, *, fresh: bool) -> None:
        """Keep whether the look-up showed this run soon after its POST; the first word on a run counts."""
        ...

    async def lookup_proven(self) -> bool:
        """Whether the look-up showed each of the last three runs that were asked for soon after their POSTs."""
        ...

    async def figures(self) -> Figures:
        """What an operator watches."""
        ...

    async def get(self, run_id: str) -> Run | None: ...

    async def standings(self, who: Spender, plan: Plan) -> list[Standing]:
        """Where each level stands that the plan makes of the rules in force."""
        ...

    async def check(self) -> None:
        """Keep something small. Raises StoreDown where the disk takes nothing, or the database was seen damaged."""
        ...


class Books(Protocol):
    """What is asked of the same store before a run and about it: money, rules, and who decided what.

    Each verb is one durable transaction; StoreDown where it cannot be had. A verb with an act whose origin is known
    changes nothing, and answers with what is there now.
    """

    async def admit(self, new: NewRun, plan: Plan) -> Run:
        """Read the rules, check every level, hold the price on each and write the run: all of it or nothing.

        The same origin again is answered with the run that it made. Raises what the plan raises,
        OverLimit and TooManyInFlight with the first level that refused.
        """
        ...

    async def offer(self, offer: Offer, new: NewRun, plan: Plan) -> Offer | Run:
        """Keep a question whose run would be admitted now; the same origin again gives what it made.

        Raises as `admit` does.
        """
        ...

    async def keep(self, offer: Offer) -> Offer:
        """Keep a question unchecked; the same origin again gives the one that it made."""
        ...

    async def offer_of(self, offer_id: str) -> Offer | None: ...

    async def ask(self, offer_id: str, *, now: float, pause_s: float) -> list[Offer]:
        """Put a request to the admins: those of the same member in that server that were open, which it replaces.

        A second time it replaces nothing. Raises OfferGone where it was answered or has ended, AskLater where the
        admins denied the member one within `pause_s`.
        """
        ...

    async def asked(self, offer_id: str, message: str) -> Offer:
        """The admins see the request under this name; the request as it stands by now."""
        ...

    async def take(self, offer_id: str, new: NewRun, plan: Plan, *, approve: Approve | None) -> Run:
        """Admit what was offered, once: an offer that was taken before is answered with its run.

        With an approval it passes the limits that admins made, and only this run does: nothing is added to them.
        Raises OfferGone where it was denied, replaced or ended by then, and as `approve` and `admit` do; then nothing
        is written.
        """
        ...

    async def withdraw(self, offer_id: str) -> bool:
        """Forget a price question that its member says no to; False where a run came of it."""
        ...

    async def deny(self, offer_id: str, act: Act) -> Offer:
        """Answer the question with no. Raises OfferGone where it was answered before, replaced or has ended."""
        ...

    async def rules(self, server: str) -> Rules:
        """The server's rules and the operator's."""
        ...

    async def decide(self, act: Act, decision: Callable[[Rules], Change]) -> Rules:
        """Change the rules of the act's server by what they are at that moment; the rules afterwards.

        Raises what the decision raises; then nothing is changed and no act is kept.
        """
        ...

    async def grant(self, server: str, plan: Callable[[Rules], Level], amount_u: int, act: Act) -> Standing:
        """Allow so much more on a level in its present period, for what is asked for in the act's server."""
        ...

    async def refund(self, run_id: str, amount: Callable[[Run], int], plan: Callable[[Rules], Level], act: Act) -> Run:
        """Give a member the charge of an ended run again, as an extra of the present period; once for each run.

        It counts for what is asked for in the act's server. Raises OfferGone where it was refunded before.
        """
        ...

    async def release(self, run: Run, act: Act, end: End) -> Run | None:
        """End an unknown or overdue run by an admin's word, its holds given back; None where its end came first."""
        ...

    async def answer_to(self, origin: str) -> str | None:
        """What was said to this request; None: nothing yet."""
        ...

    async def keep_answer(self, origin: str, said: str, *, now: float) -> bool:
        """Keep what was said to a request, for a day; False, and the first answer stays, where there was one."""
        ...

    async def acts(self, server: str, limit: int) -> list[Act]:
        """What admins did there, newest first; EVERYWHERE: on the whole bot, and to members in any server."""
        ...

    async def standings(self, who: Spender, plan: Plan) -> list[Standing]:
        """Where each level stands that the plan makes of the rules in force."""
        ...

    async def get(self, run_id: str) -> Run | None: ...

    async def latest(self, member: str, limit: int) -> list[Run]:
        """The member's runs, newest first."""
        ...


class Archive(Protocol):
    """What is read in bulk, beside everything else: nobody who asks, spends or rules waits for it.

    The rows come one by one, in one snapshot; `use` runs in another thread. Raises StoreDown.
    """

    async def facts(
        self, server: str | None, since: float, until: float, use: Callable[[Iterator[RunFact]], Result]
    ) -> Result:
        """What `use` makes of the runs asked for in that time, oldest first; None: of all servers."""
        ...

    async def acts(self, server: str, use: Callable[[Iterator[Act]], Result]) -> Result:
        """What `use` makes of all that admins did there, newest first; see `Books.acts`."""
        ...


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


class Unreadable(Exception):
    """Runflow could not be read this time; nothing is known. `wait_s`: how long it asked to be left alone."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ClipUnavailable(Exception):
    """The clip could not be had whole and sound this time. `wait_s`: how long its host asked to be left alone."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ClipTooBig(ClipUnavailable):
    """The clip is larger than the operator lets pass through; only a link to it can be given."""


class ClipTooSlow(ClipUnavailable):
    """The clip comes in drips; a link to it can be given."""


class ClipNotKept(ClipUnavailable):
    """Our own disk does not take the clip; it is to be had, so a link to it can be given."""


class Provider(Protocol):
    """Runflow."""

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        """POST the run, once."""
        ...

    async def read(self, provider_id: str) -> Observation | None:
        """The run's own record; None: there is no such run (yet). Raises Unreadable."""
        ...

    async def find(self, client_ref: str) -> list[Observation]:
        """Every run that carries our reference, the oldest first. Raises Unreadable."""
        ...

    async def fetch(self, provider_id: str, path: Path) -> None:
        """Stream the clip to `path`, whole and checked, or leave nothing.

        Raises Unreadable, ClipUnavailable; of the latter ClipTooBig, ClipTooSlow or ClipNotKept where a link can be
        given.
        """
        ...

    async def link(self, provider_id: str) -> str:
        """A freshly signed address of the clip. Raises Unreadable, ClipUnavailable."""
        ...


NONCE_S = 120.0  # "the past few minutes" in which a front sees the repeat of a post itself (Discord, Create Message)


class TooLarge(Exception):
    """The channel does not take a file of this size."""


class PlaceGone(Exception):
    """There is no such channel any more, or no such member."""


class PlaceClosed(Exception):
    """Nothing was posted: the place is there, but does not take our messages as things stand."""


class PostRefused(Exception):
    """Nothing was posted, and the same message will never be: the place objects to what it says or brings."""


class HistoryClosed(Exception):
    """The place does not show what was posted there, so whether the notice stands cannot be seen."""


class PostFailed(Exception):
    """The post may or may not have happened; it is looked for before it is repeated."""


class Front(Protocol):
    """Where members are: takes wishes, shows progress, posts the end."""

    async def show_progress(self, run: Run, standings: list[Standing]) -> None:
        """Update what the member alone sees, as far as that is still possible. Raises nothing."""
        ...

    async def find(self, run: Run) -> str | None:
        """The message that an earlier, unclear try to post the run's notice made.

        Raises PlaceGone, PlaceClosed, HistoryClosed, PostFailed.
        """
        ...

    async def post(self, run: Run, clip: Path | Link | None) -> str:
        """Post the run's notice, with its clip where there is one; the message's name.

        It goes to the run's channel, or to its member alone where the run is `direct`. None for a run that has a
        video says that the clip cannot be had. The same notice again within `NONCE_S` makes no second message.
        It has no words of the member's where the run is `plain`.
        Raises TooLarge, PlaceGone, PlaceClosed, PostRefused, PostFailed.
        """
        ...
