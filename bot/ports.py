"""What the engine asks of the world: a clock, a store, Runflow and a front, with what each promises.

The docstrings are the contract that a second store or a second front is written from. `bot.app` is
where the type checker proves that the parts fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bot.domain.limits import Level, Over, Plan, Rules, Spender, Standing
from bot.domain.models import VeoRequest
from bot.domain.queue import Line, Turn
from bot.domain.records import (
    Accepted,
    Act,
    Approve,
    Change,
    Claimed,
    End,
    Figures,
    Link,
    NewRun,
    NotSent,
    Offer,
    Open,
    Recovered,
    Refused,
    RunChanges,
    Sweep,
    Unclear,
    Wanted,
    Woken,
)
from bot.domain.report import Day, Report, ReportedRun
from bot.domain.runs import Observation, Run, RunState

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


class Reading(Protocol):
    """What every verb of the store is beside: where a run and its levels stand now."""

    async def get(self, run_id: str) -> Run | None: ...

    async def standings(self, who: Spender, plan: Plan) -> list[Standing]:
        """Where each level stands that the plan makes of the rules in force."""
        ...


class Runs(Reading, Protocol):
    """The way of a run. Each verb is one durable transaction; StoreDown where it cannot be had.

    A run handed in is the caller's last view of it: a move is made only if state and delivery still
    are what they were, and is answered with the run after it, or with None and no change.
    """

    async def claim_due(
        self, now: float, *, lease_until: float, limit: int, total_max: int, sweep: Sweep | None = None
    ) -> Claimed:
        """The runs due by `now`, the longest waiting first, then those of the sweep; no more than `limit`.

        And as many of those in line, in the fair order of `bot.domain.queue`, as there are free places of `total_max`.
        Each is due again at `lease_until` at the latest, and in line no more.

        Reply addresses that end within CARD_STOPS_S are dropped on the way; runs that are still to be shown there once
        come as `last_cards`, no more than `limit`. A run that cannot be read is left out, takes no place, and is tried
        again an hour later.
        """
        ...

    async def recover(self, now: float, *, deadline_s: float) -> Recovered:
        """After a start, or when the clock was set: what to look at before it is due, since it may have changed.

        That is every run that is not over or not delivered; those in line go on waiting there, `deadline_s` seconds at
        most. Only a time that is out of sight is written anew, so that a start costs the same however much is open.
        """
        ...

    async def forget_first_tries(self, before: float) -> None:
        """After the clock was set: no post of which nobody knows whether it happened counts as begun after `before`.

        When it was begun cannot be told any more, by this process or a later one, so it is not taken for recent.
        """
        ...

    async def wake(self, callback_token: str, candidate_id: str | None) -> Woken | None:
        """The token's run as it stands, the id kept that was named while it has none; None: no such token."""
        ...

    async def begin_submit(self, run: Run, *, now: float, total_max: int) -> Run | None:
        """Commit the intent to POST; None while `total_max` runs are in flight, overdue ones aside.

        None also for a run in line whose turn has not come, and where a callback named a candidate that the caller has
        not seen.
        """
        ...

    async def advance(self, run: Run, state: RunState, *, now: float, changes: RunChanges) -> Run | None:
        """Move on to a state that is no end, or stay and write."""
        ...

    async def settle(self, run: Run, end: End, *, now: float, lease_until: float | None = None) -> Run | None:
        """End the run, resolve its holds and make its result due for delivery, together.

        With a lease the caller goes on to deliver it, and this first try is counted.

        What is unknown is ended by this only as FAILED for nothing: it is proven that it never arrived.
        None also where the run has no id at Runflow and a callback named a candidate that the caller has not seen.
        """
        ...

    async def correct(self, run: Run, cost_u: int, *, now: float) -> Run:
        """Book the cost of an ended run that had none yet; a second time changes nothing."""
        ...

    async def line(self, now: float) -> Line:
        """Those who wait for a place, in the fair order of `bot.domain.queue`, and those who have one."""
        ...

    async def lengths(self, limit: int) -> list[tuple[VeoRequest, float]]:
        """Of the latest runs with a video, at most `limit`: what was asked for, and the seconds from order to end."""
        ...

    async def looked_up(self, run_id: str, *, fresh: bool) -> None:
        """Keep whether the look-up showed this run soon after its POST; the first word on a run counts."""
        ...

    async def lookup_proven(self) -> bool:
        """Whether the look-up showed each of the last three runs that were asked for soon after their POSTs."""
        ...


class Admissions(Reading, Protocol):
    """Wishes, the questions that come before them, and the money that is held for them. StoreDown as in `Runs`.

    A verb with an act whose origin is known changes nothing, and answers with what is there now.
    """

    async def admit(self, new: NewRun, plan: Plan) -> Run:
        """Read the rules, check every level, hold the price on each and write the run: all of it or nothing.

        Where its order follows at once and a place is free, the intent to POST is written with it; where none is free,
        it is written in line. The same origin again is answered with the run that it made. Raises what the plan raises,
        OverLimit and TooManyInFlight with the first level that refused. An OverLimit leaves the periods of
        all levels open, so that nobody sums up their runs again, and nothing else.
        """
        ...

    async def offer(self, offer: Offer, new: NewRun, plan: Plan) -> Offer | Run:
        """Keep a question whose run would be admitted now; the same origin again gives what it made.

        Raises as `admit` does.
        """
        ...

    async def keep(self, offer: Offer, *, now: float) -> Offer:
        """Keep a question or a draft unchecked; the same origin again gives the one that it made.

        Those of which nothing came are forgotten a day after they ended.
        """
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
        is written but what `admit` leaves.
        """
        ...

    async def drop(self, offer_id: str) -> None:
        """Forget a wish that was made in another way; not one that was put to the admins, or of which a run came."""
        ...

    async def withdraw(self, offer_id: str) -> bool:
        """End a price question that its member says no to; False where a run came of it."""
        ...

    async def cancel(self, run_id: str, member: str, *, now: float) -> Run:
        """Cancel the member's own run before it is ordered: its holds are released, and no public message is due.

        Calling it again returns the same run. Raises OfferGone for another member's run, and once the run may have been
        ordered.
        """
        ...

    async def deny(self, offer_id: str, act: Act) -> Offer:
        """Answer the question with no. Raises OfferGone where it was answered before, replaced or has ended."""
        ...

    async def rules(self, server: str, about: str | None = None) -> Rules:
        """The server's rules and the operator's; those alone that are about one scope, where it is named."""
        ...

    async def keep_answer(self, origin: str, said: str, *, now: float) -> bool:
        """Keep what was said to a request, for a day; False, and the first answer stays, where there was one."""
        ...

    async def press(self, button: str, origin: str, *, now: float, within_s: float) -> bool:
        """Whether a button does what it says now: False within so many seconds of a press of it by another origin."""
        ...


class Members(Reading, Protocol):
    """What members asked for before. Every reading is bounded, and goes by the member's own rows. StoreDown."""

    async def history(self, wanted: Wanted, limit: int) -> list[Run]:
        """The next runs of those that are wanted, newest first; of the newer ones those that are next to the key."""
        ...

    async def prompts(self, member: str, typed: str, *, searched: int, limit: int) -> list[tuple[str, str]]:
        """Ids and prompts of the member's latest videos that have these words in their prompt, newest first.

        Capitals and spaces make no difference. No more than `searched` videos are looked at.
        """
        ...

    async def open_of(self, member: str, server: str, *, now: float, limit: int) -> Open:
        """The member's runs and questions that are not over, of each the newest first and no more than `limit`."""
        ...


class Rulebook(Reading, Protocol):
    """The rules that admins make, and what they did. StoreDown as in `Runs`, and acts as in `Admissions`."""

    async def rules(self, server: str, about: str | None = None) -> Rules:
        """The server's rules and the operator's; those alone that are about one scope, where it is named."""
        ...

    async def decide(self, act: Act, decision: Callable[[Rules], Change]) -> Rules:
        """Change the rules of the act's server by what they are at that moment; the rules afterwards.

        The present periods of the levels that the change names are open from then on. Raises what the decision
        raises; then nothing is changed and no act is kept.
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


class Store(Runs, Admissions, Members, Rulebook, Protocol):
    """What survives a restart: all of it."""

    async def check(self) -> None:
        """Keep something small. Raises StoreDown where the disk takes nothing, or the database was seen damaged."""
        ...


class Archive(Protocol):
    """What is read in bulk, beside everything else: nobody who asks, spends or rules waits for it.

    The rows come one by one, in one snapshot; `use` runs in another thread. Raises StoreDown.
    """

    async def figures(self) -> Figures:
        """What an operator watches; it waits for no other reading."""
        ...

    async def report(
        self, server: str | None, days: Sequence[Day], use: Callable[[Iterator[ReportedRun]], object]
    ) -> Report:
        """What the runs asked for in these days come to; None: of all servers. `use` is given them, oldest first."""
        ...

    async def acts(self, server: str, use: Callable[[Iterator[Act]], Result]) -> Result:
        """What `use` makes of all that admins did there, newest first; see `Books.acts`."""
        ...


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

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        """Stream the clip to `path`, whole and checked, or leave nothing.

        `address`: from the reading just before; where it is not good any more, a fresh one is asked for.

        Raises Unreadable, ClipUnavailable; of the latter ClipTooBig, ClipTooSlow or ClipNotKept where a link can be
        given.
        """
        ...

    async def link(self, provider_id: str) -> str:
        """A freshly signed address of the clip. Raises Unreadable, ClipUnavailable."""
        ...


class Clips(Protocol):
    """Clips on disk, each by the file name of its run."""

    def path(self, file_name: str) -> Path:
        """Where the clip of that name lies, or is to lie."""
        ...

    def holds(self, file_name: str) -> bool:
        """Whether the clip lies there and can be read."""
        ...

    def link(self, file_name: str) -> Link | None:
        """A fresh link to a clip on disk, which is kept as long as the link lives; None where none can be given."""
        ...

    def discard(self, file_name: str) -> None:
        """Throw one clip away; what the disk does not let go of now is swept up later."""
        ...


class Front(Protocol):
    """Where members are: shows progress, posts the ends of runs, and puts questions before admins.

    A post is made in three steps, so that a process may die between any two of them: `prepare` gives its handle, the
    caller commits that it is about to post with this handle, and `post` posts. A post of which nobody knows whether it
    happened is looked for by `find`, or repeated with the same handle.
    """

    @property
    def repeat_s(self) -> float:
        """So long after a post the front sees by its handle that another one is its repeat; 0: it never does."""
        ...

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None:
        """Update what the member alone sees, as far as that is still possible. Raises nothing.

        `turn`: where it stands in line, and when it is expected. `last`: it is not updated any more after this.
        """
        ...

    async def prepare(self, run: Run, clip: Path | Link | None) -> str:
        """The handle of a post of the run's notice, which the run keeps as `post_handle`; nobody sees anything of it.

        Raises as `post` does; then nothing was posted.
        """
        ...

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        """Post the run's notice, with its clip where there is one; the message's name.

        It goes to the run's channel, or to its member alone where the run is `direct`. None for a run that has a
        video says that the clip cannot be had. The same handle again within `repeat_s` makes no second message, also
        where the clip is another one by then. It has no words of the member's where the run is `plain`.
        Raises TooLarge, PlaceGone, PlaceClosed, PostRefused, PostFailed.
        """
        ...

    async def find(self, run: Run) -> str | None:
        """The message that an earlier, unclear try to post the run's notice with `run.post_handle` made.

        The handle is None where the version before this one tried, which kept none.
        Raises PlaceGone, PlaceClosed, HistoryClosed, PostFailed.
        """
        ...

    async def posted_clip(self, run: Run) -> tuple[str, str] | None:
        """Where to see the posted clip in its message, and a fresh address of the clip; None where it is gone."""
        ...

    async def put_request(self, channel: str, offer: Offer, over: Sequence[Over]) -> str:
        """Put a member's request before the admins in that channel, once within some minutes; the message's name.

        `over`: the limits that it would pass. Raises PostFailed.
        """
        ...

    async def show_replaced(self, offer: Offer) -> None:
        """Show that a request was replaced by a later one, as far as that is still possible. Raises nothing."""
        ...

    async def tell_denied(self, offer: Offer) -> None:
        """Tell a member, and nobody else, that an admin said no. Raises nothing."""
        ...
