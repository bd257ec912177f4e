"""The core put together for a test, as `bot.app` does it."""

from __future__ import annotations

import random

from bot.clock import SystemClock
from bot.domain.limits import Policy
from bot.media import Media
from bot.ports import Clock, Provider, Store
from bot.services.delivery import Deliverer
from bot.services.engine import Engine, Limits

LIMITS = Limits(
    runs_total=1000,
    poll_first_s=3.0,
    poll_longest_s=15.0,
    deadline_s=3600.0,
    settle_s=120.0,
    steps_per_s=10_000.0,
)


class HandClock(SystemClock):
    """A clock that a test moves by `at`; what it is moved by has passed."""

    def __init__(self, at: float) -> None:
        self.at = at
        super().__init__(wall=lambda: self.at, steady=lambda: self.at)


def engine_of(
    *,
    store: Store,
    provider: Provider,
    policy: Policy,
    clock: Clock,
    chance: random.Random,
    media: Media,
    limits: Limits = LIMITS,
) -> Engine:
    """An engine with its deliverer."""
    deliverer = Deliverer(
        store=store,
        provider=provider,
        media=media,
        clock=clock,
        chance=chance,
        first_pause_s=limits.poll_first_s,
    )
    return Engine(
        store=store,
        provider=provider,
        policy=policy,
        limits=limits,
        clock=clock,
        chance=chance,
        deliverer=deliverer,
    )
