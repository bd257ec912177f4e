"""Many runs at once and long times, on virtual time: bounded tasks, memory and requests, and nobody left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bot.clock import SystemClock
from bot.domain.limits import Standing
from bot.domain.queue import Turn
from bot.domain.records import Accepted, Link, NotSent, Refused, Unclear
from bot.domain.runs import Ending, Notice, Observation, Run
from bot.errors import PostFailed, Unreadable
from bot.media import Media
from bot.services.engine import Engine
from bot.services.pace import LOOKS_AT_ONCE
from storage import check_books, open_store
from tests.long_runs import EPOCH, HOUR_S, POLICY, in_flight
from tests.money import PRICE_U, Inline, empty_books, home, new_run
from tests.parts import LIMITS, NoDesk, core, running
from tests.virtual import Timeline, VirtualLoop

IN_FLIGHT = 10_000
LETTERS = str.maketrans("0123456789", "abcdefghij")  # a run id has no digits below 2
STEPS_PER_S = 25.0
DAY_S = 86400.0


@dataclass
class Outside:
    """A Runflow and a Discord that do as they should, but for an outage; they count what they are asked."""

    timeline: Timeline
    takes_s: Callable[[str], float] = lambda run_id: 1e12
    outage: tuple[float, float] = (1e12, 1e12)
    asked: dict[str, list[float]] = field(default_factory=lambda: {"runflow": [], "discord": []})
    ends_at: dict[str, float] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)

    def now(self) -> float:
        return EPOCH + self.timeline.now

    async def reached(self, whom: str) -> bool:
        self.asked[whom].append(self.timeline.now)
        await asyncio.sleep(0.2)
        return not self.outage[0] <= self.timeline.now < self.outage[1]

    async def submit(self, run: Run) -> Accepted | Refused | NotSent | Unclear:
        if not await self.reached("runflow"):
            return NotSent(reason="refused")
        self.ends_at[f"job-{run.run_id}"] = self.timeline.now + self.takes_s(run.run_id)
        return Accepted(observation=self._observation(f"job-{run.run_id}"))

    def _observation(self, job: str) -> Observation:
        over = self.timeline.now >= self.ends_at.get(job, 1e12)
        ending = Ending.VIDEO if over else None
        cost_u = PRICE_U if over else None
        return Observation(provider_id=job, client_ref=f"veo-{job[4:]}", status="running", ending=ending, cost_u=cost_u)

    async def read(self, provider_id: str) -> Observation | None:
        if not await self.reached("runflow"):
            raise Unreadable("no answer")
        return self._observation(provider_id)

    async def find(self, client_ref: str) -> list[Observation]:
        if not await self.reached("runflow"):
            raise Unreadable("no answer")
        return [self._observation(job) for job in (f"job-{client_ref[4:]}",) if job in self.ends_at]

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        if not await self.reached("runflow"):
            raise Unreadable("no answer")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip")

    async def link(self, provider_id: str) -> str:
        return "https://files.example/clip"

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None:
        await self.reached("discord")

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        if not await self.reached("discord"):
            raise PostFailed("no answer")
        if run.notice == Notice.RESULT:
            self.posts.append(run.run_id)
        return f"channel/{len(self.posts)}"


class Front(NoDesk):
    """The half of it that is Discord: its `find` is another than Runflow's."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.show_progress = outside.show_progress
        self.post = outside.post

    async def find(self, run: Run) -> str | None:
        await self._outside.reached("discord")
        return None


@dataclass
class Process:
    """One bot on virtual time."""

    outside: Outside
    path: Path

    def __post_init__(self) -> None:
        self.loop = VirtualLoop(self.outside.timeline)
        self.store = open_store(f"sqlite:///{self.path}", executor=Inline())
        self.engine: Engine = core(
            store=self.store,
            provider=self.outside,
            policy=POLICY,
            clock=SystemClock(wall=self.outside.now, steady=self.outside.now),
            chance=random.Random(1),
            clips=Media(self.path.parent / "media", key=b"k" * 32, keep_s=DAY_S, public_url=None, now=self.outside.now),
            limits=replace(LIMITS, runs_total=100_000, looks_per_s=STEPS_PER_S),
        ).engine

    async def watched(self, seconds: float, every_s: float, look: Callable[[], None]) -> None:
        """Run for so long, and look at it now and then."""
        async with running(self.engine, Front(self.outside)):
            for _ in range(round(seconds / every_s)):
                await asyncio.sleep(every_s)
                look()
        await self.store.close()


def most_in(times: list[float], window_s: float) -> int:
    """The most of these moments that any window of that length has."""
    first, most = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.fixture
def path() -> Iterator[Path]:
    """Where the books are, or are to be."""
    with home() as folder:
        yield folder / "veo.db"


@pytest.mark.timeout(300)
def test_ten_thousand_runs_cost_no_more_than_a_few(path: Path) -> None:
    """No task and no memory for each, the due ones found by the index, and no more steps a second than allowed."""
    in_flight(path, IN_FLIGHT)
    outside = Outside(Timeline(), ends_at={})
    process = Process(outside, path)
    tasks: list[int] = []
    memory: list[int] = []

    def look() -> None:
        tasks.append(len(asyncio.all_tasks()))
        gc.collect()
        memory.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        process.loop.run_until_complete(process.watched(40.0, 5.0, look))
    finally:
        tracemalloc.stop()
        process.loop.close()
    asked = outside.asked["runflow"]
    assert asked[0] < 1.0
    assert STEPS_PER_S * 30 < len(asked) <= LOOKS_AT_ONCE + STEPS_PER_S * 40
    assert most_in(asked, 1.0) <= LOOKS_AT_ONCE + STEPS_PER_S
    assert max(tasks) <= LOOKS_AT_ONCE + 3  # beside the steps: the loop, and who watches
    assert max(memory[2:]) - memory[1] < 200_000, memory  # bytes; one per run would be two megabytes at least
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT run_id FROM run WHERE due_at <= 1 ORDER BY due_at LIMIT 9"
        (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    assert "INDEX run_due" in plan[3]
    assert check_books(f"sqlite:///{path}") == []


@pytest.mark.timeout(300)
def test_a_day_with_an_outage_leaves_nobody_behind(path: Path) -> None:
    """Neither API answers for an hour: everyone gets the video or a clear no, and neither is flooded afterwards."""
    chance = random.Random(7)
    path.write_bytes(empty_books())
    timeline = Timeline()
    start = 12 * HOUR_S
    outside = Outside(
        timeline, takes_s=lambda run_id: random.Random(run_id).uniform(40, 200), outage=(start, start + HOUR_S)
    )
    process = Process(outside, path)

    async def ask(number: int) -> None:
        name = f"{number:05}".translate(LETTERS)
        new = replace(new_run(name, now=outside.now(), member=f"m{number % 20}"), run_id=name)
        await process.store.admit(new, POLICY.levels(new.wish.spender, new.now))
        process.engine.look()

    for number in range(250):
        at = chance.uniform(0, DAY_S) if number < 200 else chance.uniform(start - 300, start + HOUR_S)
        timeline.after(at, lambda number=number: process.loop.create_task(ask(number)))  # type: ignore[misc] # its default says the type
    process.loop.run_until_complete(process.watched(DAY_S + 2 * HOUR_S, HOUR_S, lambda: None))
    process.loop.close()
    with closing(sqlite3.connect(path)) as connection:
        ended = dict(connection.execute("SELECT run_id, ending FROM run WHERE delivery = 'delivered'"))
        (asked,) = connection.execute("SELECT count(*) FROM run").fetchone()
    assert asked == len(ended) == 250
    assert sorted(outside.posts) == sorted(ended)
    bought = {job.removeprefix("job-") for job in outside.ends_at}
    assert {run_id for run_id, ending in ended.items() if ending == "video"} == bought
    assert len(bought) > 200
    for times in outside.asked.values():
        before = [at for at in times if at < start]
        after = [at for at in times if at >= start + HOUR_S]
        assert most_in(after, 10.0) <= LOOKS_AT_ONCE + 10 * STEPS_PER_S
        assert most_in(after, 600.0) <= 12 * most_in(before, 600.0)
    assert check_books(f"sqlite:///{path}") == []
