"""Takes wishes: prices them, asks where asking is due, and turns each into at most one run with its money held.

A wish becomes a run at once; above a price it becomes a question to its member first, and over a limit it may become
one to the admins. Questions are rows that hold no money: each is good once, until it ends, also after a restart.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.domain.acts import Detail, Verb
from bot.domain.limits import (
    Over,
    OverLimit,
    Policy,
    RuleKind,
    Rules,
    Spender,
    Standing,
    check_access,
    most_u,
    over_limits,
)
from bot.domain.models import VeoRequest
from bot.domain.prices import PriceTable
from bot.domain.records import Act, Admin, Approve, Choice, NewRun, Offer, OfferKind, Wish
from bot.domain.runs import Run
from bot.domain.untrusted import is_blank
from bot.errors import BadRequest, NotAllowed, OfferGone, OverQuota, Refusal, TooManyRuns
from bot.facts import Code, Usd
from bot.log import get_logger
from bot.ports import Admissions, Clock
from bot.services.engine import Engine

log = get_logger("veo.admission")

CONFIRM_LIFE_S = 600.0  # a price is agreed to within this, or asked for again
REQUEST_LIFE_S = 86400.0  # admins sleep
DENIAL_PAUSE_S = 3600.0  # before the same member may put another request to the admins who denied one
CHOICES_MAX = 4  # what was asked for, and up to three that cost less
DOUBLE_PRESS_S = 5.0  # nobody means a second press of a paid button so soon after the first


class AskFirst(OverLimit):
    """A level refused, and the server's admins can be asked: `offer` is the question to put to them."""

    def __init__(self, refusal: OverLimit, offer: Offer) -> None:
        super().__init__(refusal.level, refusal.price_u, refusal.standing)
        self.offer = offer


class AddsMore(Refusal):
    """By now the request would pass a limit by more than its button said."""

    def __init__(self, over: Sequence[Over]) -> None:
        self.over = over
        super().__init__("request.adds_more", amount=Usd(most_u(over)))


class CostsMore(Refusal):
    """By now a choice costs more than the question said; the question is left as it is."""

    def __init__(self, offer: Offer, choice: Choice) -> None:
        self.offer = offer
        self.choice = choice
        super().__init__("question.expired")


@dataclass(frozen=True, kw_only=True)
class Put:
    """A request as it is put to the admins: where, what it would pass, and those that it replaces."""

    offer: Offer
    channel: str  # the scope of the admins' channel
    over: list[Over]
    replaced: list[Offer]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A member's or an admin's yes, and where what follows can be shown."""

    offer_id: str
    choice: int = 0
    server: str | None = None  # where it is given; None: where it was asked
    roles: tuple[str, ...] | None = None  # the member's by now; None: as when asking
    reply_to: str | None = None
    reply_until: float | None = None


class Admission:
    """The counter at which members ask. What comes of it goes straight to the engine."""

    def __init__(
        self,
        *,
        books: Admissions,
        prices: PriceTable,
        policy: Policy,
        clock: Clock,
        chance: random.Random,
        prompt_max_chars: int,
        confirm_above_u: int,
        engine: Engine,
    ) -> None:
        self._books = books
        self.prices = prices
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self.prompt_max_chars = prompt_max_chars
        self._confirm_above_u = confirm_above_u
        self._engine = engine

    # Wishes

    async def ask(self, wish: Wish, *, shown_u: int | None = None, agreed: bool = False) -> Run | Offer:
        """A run with its price held, or the question that comes before it. Raises a Refusal; nothing is held then.

        `shown_u`: the price that the member has read on what was pressed; where it costs more by now, that is asked.
        `agreed`: they have said yes to just that, so nothing else is asked.
        """
        _check_prompt(wish.request, self.prompt_max_chars)
        price_u = self.prices.quote(wish.request)
        new = self._new(wish, price_u)
        plan = self._policy.admission(wish.spender, new.now)
        try:
            is_dear = price_u > self._confirm_above_u and not (agreed and shown_u is not None)
            if is_dear or (shown_u is not None and price_u > shown_u):
                made = await self._books.offer(self._confirmation(wish, price_u), new, plan)
            else:
                made = await self._seen_through(new, lambda new: self._books.admit(new, plan))
        except OverLimit as refusal:
            raise await self._with_request(refusal, wish) from None
        return made

    async def confirm(self, answer: Answer, member: str) -> Run:
        """The member's yes to a price: the run, exactly as quoted, once.

        Raises CostsMore where it would cost more by now, NotAllowed in another server, and as `ask` does.
        """
        offer = await self._books.offer_of(answer.offer_id)
        if offer is None or offer.kind != OfferKind.CONFIRM or answer.choice >= len(offer.choices):
            raise OfferGone("question.expired")
        if offer.wish.member != member:
            raise OfferGone("question.not_yours")
        _check_server(offer, answer.server)
        if self.is_open(offer) and self._is_dearer(offer.choices[answer.choice]):
            raise CostsMore(offer, offer.choices[answer.choice])
        return await self._take(offer, answer, approve=None)

    # Wishes that were refused

    async def draft(self, wish: Wish, refusal: Refusal) -> Offer:
        """Keep a wish that was refused, with what would fit instead; it is its member's to go on with for a day."""
        if isinstance(refusal, AskFirst):
            return refusal.offer
        return await self._books.keep(await self._refused(wish, refusal, OfferKind.DRAFT), now=self._clock.now())

    async def draft_of(self, offer_id: str, member: str) -> Offer:
        """The member's own question, request or draft, whatever was said to it. Raises OfferGone."""
        offer = await self._books.offer_of(offer_id)
        if offer is None or offer.kept_until <= self._clock.now():
            raise OfferGone("draft.gone")
        if offer.wish.member != member:
            raise OfferGone("question.not_yours")
        return offer

    def is_open(self, offer: Offer) -> bool:
        """Whether a question or a request still waits for its answer."""
        return offer.is_open(self._clock.now())

    async def made_otherwise(self, offer: Offer) -> None:
        """A kept wish has become a run or a question of its own: it is listed no more."""
        await self._books.drop(offer.offer_id)

    async def is_pressed_first(self, button: str, origin: str, within_s: float = DOUBLE_PRESS_S) -> bool:
        """Whether this press of a paid button counts: not where it is the second of a double press."""
        return await self._books.press(button, origin, now=self._clock.now(), within_s=within_s)

    # Requests of members over their limit

    async def put(self, offer_id: str, who: Spender) -> Put:
        """Put the member's own request to the admins, in the place of an earlier one.

        Raises OfferGone where it is not theirs or no longer open, AskLater within an hour of a denial, NotAllowed in
        another server, and where the member cannot ask for anything there now.
        """
        offer = await self._books.offer_of(offer_id)
        if offer is None or offer.kind != OfferKind.REQUEST or offer.wish.member != who.member:
            raise OfferGone("question.expired")
        _check_server(offer, who.server)
        rules = await self._books.rules(offer.wish.server)
        check_access(who, rules)
        channel = request_channel_of(rules)
        if channel is None:
            raise OfferGone("request.off")
        replaced = await self._books.ask(offer_id, now=self._clock.now(), pause_s=DENIAL_PAUSE_S)
        return Put(offer=offer, channel=channel, over=await self.passed(offer), replaced=replaced)

    async def asked(self, offer: Offer, message: str) -> Offer:
        """The admins have the request before them; the request as it stands by now."""
        return await self._books.asked(offer.offer_id, message)

    async def passed(self, offer: Offer) -> list[Over]:
        """The limits that the request would pass, were it approved now."""
        return over_limits(await self.standings(offer.wish.spender), offer.choices[0].price_u)

    async def request_of(self, offer_id: str, admin: Admin) -> Offer:
        """The request, to an admin of the server that it was made in. Raises OfferGone to any other."""
        offer = await self._books.offer_of(offer_id)
        if offer is None or offer.kind != OfferKind.REQUEST or offer.wish.server != admin.server:
            raise OfferGone("request.gone")
        return offer

    async def approve(
        self,
        offer_id: str,
        admin: Admin,
        told_u: int | None = None,
        roles: tuple[str, ...] | None = None,
        card: tuple[str, float] | None = None,
    ) -> Offer:
        """An admin's yes: exactly what was asked for runs, once, past the limits of admins, which stay as they are.

        `roles`: the member's by now; None: as when asking.
        `card`: where its member sees how it goes on, and until when.
        `told_u`: by how much it passes a limit at most, as the admin read it; raises AddsMore where that is more by
        now. Raises a Refusal where it cannot be carried out; nothing is changed then.
        """
        offer = await self.request_of(offer_id, admin)
        price_u = offer.choices[0].price_u
        if self._is_dearer(offer.choices[0]):
            raise OfferGone("request.dearer", price=Usd(self.prices.quote(offer.choices[0].request)))

        def act(standings: Sequence[Standing]) -> Act:
            over = over_limits(standings, price_u)
            if told_u is not None and most_u(over) > told_u:
                raise AddsMore(over)
            return self._act(offer, Verb.APPROVE, admin, over)

        try:
            reply_to, reply_until = card or (None, None)
            answer = Answer(offer_id=offer_id, roles=roles, reply_to=reply_to, reply_until=reply_until)
            await self._take(offer, answer, approve=act)
        except NotAllowed:
            raise NotAllowed("request.member_not_allowed") from None
        except TooManyRuns:
            raise TooManyRuns("request.too_many") from None
        except OverLimit as refusal:
            raise OverQuota("request.no_room", price=Usd(refusal.price_u)) from None
        return await self.request_of(offer_id, admin)

    async def withdraw(self, offer_id: str, member: str) -> bool:
        """The member's no to a price; False where the yes came first. Raises OfferGone for somebody else's question."""
        offer = await self._books.offer_of(offer_id)
        if offer is not None and offer.wish.member != member:
            raise OfferGone("question.not_yours")
        return await self._books.withdraw(offer_id)

    async def cancel(self, run_id: str, member: str) -> Run:
        """End the member's own run that was not ordered yet, for nothing. Raises OfferGone where it is too late."""

        async def cancelled() -> Run:
            run = await self._books.cancel(run_id, member, now=self._clock.now())
            self._engine.cancelled()
            return run

        return await _outlive(cancelled(), f"cancel {run_id}")

    async def deny(self, offer_id: str, admin: Admin) -> Offer:
        """An admin's no. Raises OfferGone where it was answered before."""
        offer = await self.request_of(offer_id, admin)
        return await self._books.deny(offer_id, self._act(offer, Verb.DENY, admin))

    # Where a member stands

    async def check_access(self, who: Spender) -> None:
        """Raise NotAllowed where this member may ask for nothing there now."""
        check_access(who, await self._books.rules(who.server))

    async def standings(self, who: Spender) -> list[Standing]:
        """Where every level stands that a run of this member would be held on, the member's own last."""
        return await self._books.standings(who, self._policy.levels(who, self._clock.now()))

    async def is_first(self, origin: str, said: str) -> bool:
        """Whether this request comes for the first time; from then on it was answered so."""
        return await self._books.keep_answer(origin, said, now=self._clock.now())

    async def receipt_of(self, run_id: str, *, member: str, server: str | None) -> Run:
        """The run, for its member and for the admins of its `server`. Raises NotAllowed for anybody else."""
        run = await self._books.get(run_id)
        if run is None or (run.member != member and run.server != server):
            raise NotAllowed("receipt.not_yours")
        return run

    async def run_to_remake(self, run_id: str, member: str) -> Run:
        """A run whose wish may be asked for anew: by anybody who was shown it with its words, else by its member alone.

        Raises OfferGone.
        """
        run = await self._books.get(run_id)
        if run is None or (run.member != member and not (run.shows_video and not run.plain)):
            raise OfferGone("run.gone")
        return run

    # Small helpers

    def _is_dearer(self, choice: Choice) -> bool:
        """Whether it costs more by now than it was offered for."""
        return self.prices.quote(choice.request) > choice.price_u

    async def _take(self, offer: Offer, answer: Answer, *, approve: Approve | None) -> Run:
        choice = offer.choices[answer.choice]
        wish = replace(
            offer.wish,
            request=choice.request,
            roles=offer.wish.roles if answer.roles is None else answer.roles,
            reply_to=answer.reply_to,
            reply_until=answer.reply_until,
        )
        new = self._new(wish, choice.price_u)
        plan = self._policy.admission(wish.spender, new.now)
        return await self._seen_through(new, lambda new: self._books.take(offer.offer_id, new, plan, approve=approve))

    async def _with_request(self, refusal: OverLimit, wish: Wish) -> OverLimit:
        """The refusal, with a request to go with it where the admins can be asked and could say yes."""
        if not refusal.admins_can_raise or request_channel_of(await self._books.rules(wish.server)) is None:
            return refusal
        request = await self._refused(wish, refusal, OfferKind.REQUEST)
        now = self._clock.now()
        request = replace(request, expires_at=now + REQUEST_LIFE_S, over=refusal.scope)
        return AskFirst(refusal, await self._books.keep(request, now=now))

    async def _refused(self, wish: Wish, refusal: Refusal, kind: OfferKind) -> Offer:
        """A refused wish, with the nearest settings that fit into what is left of every level."""
        fits = []
        if isinstance(refusal, OverLimit):
            left = [each.left_u for each in await self.standings(wish.spender) if each.left_u is not None]
            fits = self.prices.nearest_that_fit(wish.request, min(left, default=0), CHOICES_MAX - 1)
        return self._offer(kind, wish, [(self.prices.quote(wish.request), wish.request), *fits], life_s=0.0)

    def _confirmation(self, wish: Wish, price_u: int) -> Offer:
        choices = [(price_u, wish.request), *self.prices.cheaper(wish.request)][:CHOICES_MAX]
        return self._offer(OfferKind.CONFIRM, wish, choices, life_s=CONFIRM_LIFE_S)

    def _offer(self, kind: OfferKind, wish: Wish, choices: Sequence[tuple[int, VeoRequest]], *, life_s: float) -> Offer:
        return Offer(
            offer_id=self._token(10),
            kind=kind,
            wish=wish,
            choices=tuple(Choice(request=request, price_u=price_u) for price_u, request in choices),
            expires_at=self._clock.now() + life_s,
        )

    def _new(self, wish: Wish, price_u: int) -> NewRun:
        now = self._clock.now()
        return NewRun(
            wish=wish,
            run_id=self._token(10),
            price_u=price_u,
            callback_token=self._token(20),
            now=now,
            order=self._engine.order(now),
        )

    async def _seen_through(self, new: NewRun, admit: Callable[[NewRun], Awaitable[Run]]) -> Run:
        """Admit a run and begin it. A transaction outlives its cancelled caller, and so does what follows from it."""
        standings: list[Standing] = []

        def stands(now: list[Standing]) -> None:
            standings[:] = now

        async def admitted() -> Run:
            run = await admit(replace(new, stands=stands))
            if run.run_id == new.run_id:  # and not the one that the same request made before
                log.info("admitted", run=run.run_id, member=run.member, price_u=run.price_u)
                self._engine.begin(run, standings)
            return run

        return await _outlive(admitted(), f"admit {new.run_id}")

    def _act(self, offer: Offer, verb: Verb, admin: Admin, over: Sequence[Over] = ()) -> Act:
        adds = tuple((each.scope, each.over_u) for each in over)
        return Act(
            at=self._clock.now(),
            server=admin.server,
            server_name=admin.server_name,
            origin=admin.origin,
            actor=admin.actor,
            actor_name=admin.name,
            verb=verb,
            subject=f"member:{offer.wish.member}",
            member=offer.wish.member,
            detail=Detail(amount_u=offer.choices[0].price_u, adds=adds).to_json(),
        )

    def _token(self, octets: int) -> str:
        """An unguessable name of lower-case letters and digits 2 to 7, eight for each five octets."""
        return base64.b32encode(self._chance.randbytes(octets)).decode().lower()


def _check_server(offer: Offer, server: str | None) -> None:
    """A question is answered where it was asked: in other servers other limits hold, and other roles count."""
    if server not in (None, offer.wish.server):
        raise NotAllowed("question.elsewhere")


async def _outlive(work: Coroutine[Any, Any, Run], name: str) -> Run:
    """Do it to its end, also where its caller is cancelled meanwhile."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody's if the caller is gone
    return await asyncio.shield(task)


def request_channel_of(rules: Rules) -> str | None:
    """The scope of the channel that takes requests."""
    return next(iter(rules.subjects(RuleKind.REQUEST_CHANNEL)), None)


def _check_prompt(request: VeoRequest, longest: int) -> None:
    if is_blank(request.prompt):
        raise BadRequest("prompt.empty")
    for name, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt or "")):
        if len(text) > longest:
            raise BadRequest("prompt.too_long", option=Code(name), count=len(text), longest=longest)
