"""The use cases: taking requests, moving runs, delivering results. All I/O goes through the ports."""

from __future__ import annotations

import random
from dataclasses import dataclass

from bot.domain.limits import Policy
from bot.domain.prices import PriceTable
from bot.ports import Archive, Clips, Clock, Provider, Store
from bot.services.administration import Administration
from bot.services.admission import Admission
from bot.services.cards import Cards, LineCards
from bot.services.delivery import Deliverer
from bot.services.engine import Engine
from bot.services.finder import Finder
from bot.services.pace import Limits, Schedule
from bot.services.search import Search
from bot.services.steps import Steps


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the operator's settings say about wishes and runs."""

    policy: Policy
    prices: PriceTable
    limits: Limits
    prompt_max_chars: int
    confirm_above_u: int


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services, put together."""

    admission: Admission
    administration: Administration
    cards: Cards
    deliverer: Deliverer
    engine: Engine
    finder: Finder


def compose(
    *,
    terms: Terms,
    store: Store,
    archive: Archive,
    provider: Provider,
    clips: Clips,
    clock: Clock,
    chance: random.Random,
) -> Services:
    """Put the services together over what they ask of the world."""
    deliverer = Deliverer(
        store=store,
        provider=provider,
        media=clips,
        clock=clock,
        chance=chance,
        first_pause_s=terms.limits.poll_first_s,
    )
    schedule = Schedule(terms.limits, clock, chance)
    search = Search(store=store, provider=provider, limits=terms.limits, schedule=schedule, clock=clock)
    cards = Cards(store=store, policy=terms.policy, schedule=schedule, clock=clock)
    line = LineCards(store=store, limits=terms.limits, schedule=schedule, clock=clock, cards=cards)
    steps = Steps(
        store=store,
        provider=provider,
        cards=cards,
        limits=terms.limits,
        schedule=schedule,
        search=search,
        clock=clock,
        deliverer=deliverer,
    )
    engine = Engine(store=store, limits=terms.limits, clock=clock, steps=steps, line=line)
    admission = Admission(
        books=store,
        prices=terms.prices,
        policy=terms.policy,
        clock=clock,
        chance=chance,
        prompt_max_chars=terms.prompt_max_chars,
        confirm_above_u=terms.confirm_above_u,
        engine=engine,
    )
    administration = Administration(books=store, archive=archive, policy=terms.policy, clock=clock, look=engine.look)
    return Services(
        admission=admission,
        administration=administration,
        cards=cards,
        deliverer=deliverer,
        engine=engine,
        finder=Finder(store, clock),
    )
