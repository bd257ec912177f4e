"""The core put together for a test by the same function as the bot's own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.clock import SystemClock
from bot.domain.limits import Over, Policy
from bot.domain.prices import PriceTable
from bot.domain.records import Link, NotSent, Offer
from bot.domain.runs import Observation, Run
from bot.errors import Unreadable
from bot.media import Media
from bot.ports import Archive, Clips, Clock, Front, Provider, Store
from bot.services import Services, Terms, compose
from bot.services.engine import Engine
from bot.services.pace import Limits
from bot.settings import Settings
from storage import Archive as SqliteArchive

LIMITS = Limits(
    runs_total=1000,
    poll_first_s=3.0,
    poll_longest_s=15.0,
    deadline_s=3600.0,
    settle_s=120.0,
    looks_per_s=10_000.0,
)
PRICES = PriceTable(Settings(discord_token="a", runflow_api_key="b").price_usd_per_second)


NO_LIMITS = Policy(
    member_limit_u=None,
    server_ceiling_u=None,
    total_ceiling_u=None,
    period="month",
    zone=ZoneInfo("UTC"),
    runs_per_member=1000,
)


class HandClock(SystemClock):
    """A clock that a test moves by `at`; what it is moved by has passed."""

    def __init__(self, at: float) -> None:
        self.at = at
        super().__init__(wall=lambda: self.at, steady=lambda: self.at)


@asynccontextmanager
async def running(engine: Engine, front: Front) -> AsyncIterator[None]:
    """The engine at work until the block is left, then stopped as the bot stops it. Raises StoreDown at its start."""
    await engine.recover()
    loop = asyncio.create_task(engine.run(front), name="engine")
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait({loop})


class Unreachable:
    """A Runflow that nobody reaches, for tests in which no run leaves the house."""

    async def submit(self, run: Run) -> NotSent:
        return NotSent(reason="unreachable")

    async def read(self, provider_id: str) -> Observation | None:
        raise Unreadable("unreachable")

    async def find(self, client_ref: str) -> list[Observation]:
        raise Unreadable("unreachable")

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        raise Unreadable("unreachable")

    async def link(self, provider_id: str) -> str:
        raise Unreadable("unreachable")


class NoDesk:
    """What a front does beside posting, for tests that look at nothing of it; a handle is fixed by the notice."""

    repeat_s = 120.0

    async def prepare(self, run: Run, clip: Path | Link | None) -> str:
        return f"{run.run_id}, {run.notice}{', direct' if run.direct else ''}"

    async def find(self, run: Run) -> str | None:
        return None

    async def posted_clip(self, run: Run) -> tuple[str, str] | None:
        return None

    async def put_request(self, channel: str, offer: Offer, over: Sequence[Over]) -> str:
        return f"{channel}/{offer.offer_id}"

    async def show_replaced(self, offer: Offer) -> None: ...

    async def tell_denied(self, offer: Offer) -> None: ...


def core(
    *,
    store: Store,
    policy: Policy,
    clock: Clock,
    provider: Provider | None = None,
    clips: Clips | None = None,
    archive: Archive | None = None,
    chance: random.Random | None = None,
    limits: Limits = LIMITS,
    prices: PriceTable = PRICES,
    prompt_max_chars: int = 2000,
    confirm_above_u: int = 10**12,
) -> Services:
    """The services over this store; whatever else a test does not care for is nowhere to be had."""
    nowhere = Path("nowhere")
    return compose(
        terms=Terms(
            policy=policy,
            prices=prices,
            limits=limits,
            prompt_max_chars=prompt_max_chars,
            confirm_above_u=confirm_above_u,
        ),
        store=store,
        archive=archive or SqliteArchive(f"sqlite:///{nowhere / 'veo.db'}"),
        provider=provider or Unreachable(),
        clips=clips or Media(nowhere, key=b"k" * 32, keep_s=86400.0, public_url=None, now=clock.now),
        clock=clock,
        chance=chance or random.Random(1),
    )
