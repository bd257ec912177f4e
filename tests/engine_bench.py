"""The engine over the real store, with a scripted Runflow and front and a clock that jumps: days pass at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.domain.limits import Policy, Standing
from bot.domain.queue import Turn
from bot.domain.records import Accepted, Link, NotSent, Refused, Unclear
from bot.domain.runs import Ending, Notice, Observation, Run
from bot.media import Media
from bot.services.admission import Admission
from bot.services.cards import Cards
from bot.services.engine import Engine
from storage import SqliteStore, check_books
from tests.harness import WAIT_S
from tests.money import store_at, wish
from tests.parts import LIMITS, HandClock, NoDesk, core, running

DAY_S = 86400.0


class Time(HandClock):
    def __init__(self) -> None:
        super().__init__(1_800_000_000.0)


@dataclass
class Script:
    """Runflow and the front as a test wants them; each may be changed while the engine runs."""

    answers: list[Accepted | Refused | NotSent | Unclear] = field(default_factory=list)
    record: Callable[[str], Observation | None] = lambda provider_id: None
    listed: list[Observation] = field(default_factory=list)
    fetching: Exception | None = None
    posting: Exception | None = None
    card: Callable[[Run, list[Standing]], None] = lambda run, standings: None
    stall: asyncio.Event | None = None
    submitted: int = 0
    posts: list[tuple[Notice | None, bool]] = field(default_factory=list)

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        self.submitted += 1
        await asyncio.sleep(0.01)
        return self.answers.pop(0) if self.answers else Accepted(observation=seen(run, "running"))

    async def read(self, provider_id: str) -> Observation | None:
        return self.record(provider_id)

    async def find(self, client_ref: str) -> list[Observation]:
        return [each for each in self.listed if each.client_ref == client_ref]

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        if self.fetching is not None:
            raise self.fetching
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip")

    async def link(self, provider_id: str) -> str:
        return "https://files.example/clip.mp4"

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None:
        self.card(run, standings)

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        if self.stall is not None and clip is not None:
            await self.stall.wait()
        if self.posting is not None:
            raise self.posting
        self.posts.append((run.notice, clip is not None))
        return f"discord:1/{len(self.posts)}"


class Front(NoDesk):
    """The front's half of a script: its `find` is another than Runflow's."""

    def __init__(self, script: Script) -> None:
        self.show_progress = script.show_progress
        self.post = script.post


def seen(run: Run | str, status: str, ending: Ending | None = None) -> Observation:
    """What Runflow says of a run."""
    run_id = run if isinstance(run, str) else run.run_id
    return Observation(
        provider_id=f"rf-{run_id}", client_ref=f"veo-{run_id}", status=status, ending=ending, cost_u=3_200_000
    )


@dataclass
class Bench:
    """An engine under test with everything around it."""

    engine: Engine
    admission: Admission
    cards: Cards
    store: SqliteStore
    script: Script
    front: Front
    time: Time
    url: str

    async def admit(self, origin: str = "1") -> Run:
        run = await self.admission.ask(wish(origin, reply_to=f"card {origin}:r", reply_until=self.time.at + 900))
        assert isinstance(run, Run)
        return run

    async def until(self, run: Run, holds: Callable[[Run], bool]) -> Run:
        """Wake the run until its row is as wanted."""
        async with asyncio.timeout(WAIT_S):
            while True:
                row = await self.store.get(run.run_id)
                assert row is not None
                if holds(row):
                    return row
                await self.engine.wake(run.callback_token, None)
                await asyncio.sleep(0.005)


@asynccontextmanager
async def started(folder: Path, runs_total: int = 100) -> AsyncIterator[Bench]:
    script, time, chance = Script(), Time(), random.Random(1)
    url = f"sqlite:///{folder / 'veo.db'}"
    store = store_at(folder / "veo.db")
    policy = Policy(
        member_limit_u=1_000_000_000,
        server_ceiling_u=None,
        total_ceiling_u=None,
        period="month",
        zone=ZoneInfo("UTC"),
        runs_per_member=100,
    )
    services = core(
        store=store,
        provider=script,
        policy=policy,
        limits=replace(LIMITS, runs_total=runs_total),
        clock=time,
        chance=chance,
        clips=Media(folder / "media", key=b"k" * 32, keep_s=DAY_S, public_url=None, now=time.now),
    )
    front = Front(script)
    async with running(services.engine, front):
        yield Bench(services.engine, services.admission, services.cards, store, script, front, time, url)
    await store.close()
    assert check_books(url) == []
