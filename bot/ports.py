"""What the engine asks of the world: a clock, a store, Runflow and a front, with what each promises.

The docstrings are the contract that a second store or a second front is written from. `bot.app` is
where the type checker proves that the parts fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

from bot.ledger import Level, Standing
from bot.media import Link
from bot.runs import Delivery, Ending, Notice, Observation, Run, RunState, VeoRequest


class Clock(Protocol):
    """Wall time, so that a whole world can be replayed."""

    def now(self) -> float:
        """Unix seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a member asked for, and where: opaque strings of the front that took it."""

    origin: str
    member: str
    server: str
    channel: str
    request: VeoRequest
    reply_to: str | None = None
    reply_until: float | None = None
    upload_limit_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A wish that is priced and named, ready for the books."""

    run_id: str
    origin: str
    member: str
    server: str
    channel: str
    request: VeoRequest
    price_u: int
    callback_token: str
    reply_to: str | None
    reply_until: float | None
    upload_limit_bytes: int | None
    now: float


@dataclass(frozen=True, kw_only=True)
class End:
    """How a run ended. What it is charged follows from `cost_u` alone; see `bot.ledger.settle`."""

    ending: Ending
    cost_u: int | None = None
    seed_used: int | None = None
    took_ms: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None


class RunChanges(TypedDict, total=False):
    """Columns that a step may write beside the state."""

    due_at: float | None
    tries: int
    provider_id: str
    provider_request_id: str | None
    provider_status: str
    provider_status_at: float
    candidate_id: str | None
    overdue: bool
    cost_checks: int
    notice: Notice
    delivery: Delivery
    delivery_tries: int
    first_try_at: float | None
    message: str


class Store(Protocol):
    """What survives a restart. Each verb is one durable transaction; StoreDown where it cannot be had.

    A run handed in is the caller's last view of it: a move is made only if state and delivery still
    are what they were, and is answered with the run after it, or with None and no change.
    """

    async def admit(self, new: NewRun, levels: Sequence[Level], *, in_flight_max: int) -> Run:
        """Check the limits, hold the price on every level and write the run: all of it or nothing.

        The same origin again is answered with the run that it made. The last level is the member's.
        Raises OverLimit with the level that refused, TooManyRuns at `in_flight_max` open runs.
        """
        ...

    async def claim_due(self, now: float, *, lease_until: float, limit: int) -> list[Run]:
        """The runs due by `now`, the longest waiting first; each is due again at `lease_until` at the latest.

        Reply addresses that are no longer valid by `now` are dropped on the way.
        """
        ...

    async def next_due(self) -> float | None:
        """When the next run is due or a reply address ends; None where nothing is left to do."""
        ...

    async def recover(self, now: float) -> int:
        """After a start: make every run with something left to do due. How many those are."""
        ...

    async def wake(self, callback_token: str, candidate_id: str | None, now: float) -> str | None:
        """Make the token's run due, keep the id that was named while it has none; None: no such token."""
        ...

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        """Commit the intent to POST; None while `total_max` runs are in flight or older ones wait."""
        ...

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        """Move on to a state that is no end, or stay and write."""
        ...

    async def settle(self, run: Run, end: End, *, now: float) -> Run | None:
        """End the run, resolve its holds and make its result due for delivery, together."""
        ...

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        """Book the cost of an ended run that had none yet; a second time changes nothing."""
        ...

    async def get(self, run_id: str) -> Run | None: ...

    async def latest(self, member: str, limit: int) -> list[Run]:
        """The member's runs, newest first."""
        ...

    async def standing(self, level: Level) -> Standing: ...


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
    """The clip could not be had whole and sound this time."""


class ClipTooBig(ClipUnavailable):
    """The clip is larger than the operator lets pass through; only a link to it can be given."""


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
        """Stream the clip to `path`, whole and checked, or leave nothing. Raises Unreadable, ClipUnavailable."""
        ...

    async def link(self, provider_id: str) -> str:
        """A freshly signed address of the clip. Raises Unreadable, ClipUnavailable."""
        ...


class TooLarge(Exception):
    """The channel does not take a file of this size."""


class PlaceGone(Exception):
    """The channel can no longer be posted to."""


class PostFailed(Exception):
    """The post may or may not have happened; it is looked for before it is repeated."""


class Front(Protocol):
    """Where members are: takes wishes, shows progress, posts the end."""

    async def show_progress(self, run: Run, standing: Standing) -> None:
        """Update what the member alone sees, as far as that is still possible. Raises nothing."""
        ...

    async def find(self, run: Run) -> str | None:
        """The message that an earlier, unclear try to post the run's notice made. Raises PlaceGone, PostFailed."""
        ...

    async def post(self, run: Run, clip: Path | Link | None) -> str:
        """Post the run's notice, with its clip where there is one; the message's name.

        None for a run that has a video says that the clip cannot be had.

        The same notice again within some minutes makes no second message. Raises TooLarge, PlaceGone, PostFailed.
        """
        ...
