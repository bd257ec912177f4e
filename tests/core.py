"""A bot without its front: the books on a file, who admits and who rules, with a clock that a test moves."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.domain.limits import Level, Policy, RuleKind, Rules, Standing
from bot.domain.models import RESOLUTIONS, Duration, VeoRequest
from bot.domain.periods import PeriodKind
from bot.domain.prices import PriceTable
from bot.domain.records import Admin, End, Offer, RunChanges
from bot.domain.runs import Ending, Run, RunState
from bot.services.admission import AskFirst
from storage import Archive, check_books
from tests.money import PRICE_U, store_at, wish
from tests.parts import HandClock, core

UTC = ZoneInfo("UTC")
NOON = datetime(2026, 11, 10, 12, 0, tzinfo=UTC).timestamp()  # a Tuesday
SERVER = "discord:2"
ADA = Admin(server=SERVER, actor="discord:90", name="Ada")


@dataclass
class Bot:
    """A bot without its front: the books on a file, who admits and who rules. A run of 4 s costs one dollar."""

    path: Path
    per_second: str = "0.25"
    confirm_above_u: int = 10**12
    member_limit_u: int | None = 100 * PRICE_U
    server_ceiling_u: int | None = None
    zone: ZoneInfo = UTC
    wall: HandClock = field(default_factory=lambda: HandClock(NOON))
    asked: int = 0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.store = store_at(self.path)
        self.archive = Archive(f"sqlite:///{self.path}")
        self.serve()

    def serve(self) -> None:
        prices: dict[str, dict[str, Decimal]] = {
            name: dict.fromkeys(("silent", "audio"), Decimal(self.per_second)) for name in RESOLUTIONS
        }
        self.policy = policy = Policy(
            member_limit_u=self.member_limit_u,
            server_ceiling_u=self.server_ceiling_u,
            total_ceiling_u=None,
            period="month",
            zone=self.zone,
            runs_per_member=1000,
        )
        services = core(
            store=self.store,
            archive=self.archive,
            prices=PriceTable(prices),
            policy=policy,
            clock=self.wall,
            chance=random.Random(self.asked),
            prompt_max_chars=100,
            confirm_above_u=self.confirm_above_u,
        )
        self.admission, self.admins = services.admission, services.administration

    def move(self, zone: ZoneInfo) -> None:
        """Start again as the operator of another zone would."""
        self.zone = zone
        self.serve()

    async def close(self) -> None:
        await self.store.close()
        self.archive.close()
        assert check_books(f"sqlite:///{self.path}") == []

    async def ask(self, duration: Duration = "4s", **changes: object) -> Run | Offer:
        self.asked += 1
        request = VeoRequest(prompt="a red fox", duration=duration)
        return await self.admission.ask(wish(str(self.asked), **({"request": request} | changes)))

    async def run(self, duration: Duration = "4s", **changes: object) -> Run:
        run = await self.ask(duration, **changes)
        assert isinstance(run, Run)
        return run

    async def ended(self, cost_u: int | None = None) -> Run:
        run = await self.moved(await self.run(), RunState.SUBMITTING, RunState.RUNNING)
        ended = await self.store.settle(run, End(ending=Ending.VIDEO, cost_u=cost_u), now=self.wall.at)
        assert ended is not None
        return ended

    async def moved(self, run: Run, *way: RunState) -> Run:
        for state in way:
            changes = RunChanges(provider_id=f"job-{run.run_id}") if state == RunState.RUNNING else RunChanges()
            if state == RunState.SUBMITTING:
                moved = await self.store.begin_submit(run, now=self.wall.at, total_max=1000)
            else:
                moved = await self.store.advance(run, state, now=self.wall.at, changes=changes)
            assert moved is not None
            run = moved
        return run

    async def limit(
        self, scope: str, dollars: str | None, period: PeriodKind | None = None, in_flight: int | None = None
    ) -> None:
        await self.admins.set_limit(ADA, scope, RuleKind.LIMIT, amount=dollars, period=period, in_flight=in_flight)

    def levels(self) -> list[Level]:
        """Those of a wish of Bo's where no admin has set anything."""
        return self.policy.levels(wish("").spender, self.wall.at)(Rules())

    async def stands(self, scope: str, **changes: object) -> Standing:
        """The level of this scope, as whoever asks so sees it."""
        (found,) = [it for it in await self.admission.standings(wish("", **changes).spender) if it.scope == scope]
        return found

    async def request(self, duration: Duration = "4s") -> Offer:
        """A wish over a limit, as it comes before the admins."""
        with pytest.raises(AskFirst) as refusal:
            await self.ask(duration)
        return refusal.value.offer

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()
