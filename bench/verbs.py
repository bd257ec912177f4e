"""The verbs of the store that the line of waiting runs could make slow, through `bot.ports.Store`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.parts import Bench
from bench.table import Goal
from bot.domain.runs import Run
from storage import SqliteStore, open_store

FEW, MANY, CALLS = 100, 100_000, 30
PLACES = 20  # where all are taken; one is, by the run before the line


async def verbs(bench: Bench) -> None:
    """The look for due runs, and the intent to order, granted and refused, at 100,000 in line beside 100."""
    many = bench.size(MANY)
    goal, baseline = Goal(bound="<=", number=2, of="ratio"), f"at {FEW}"
    rows = [
        bench.table.row(f"{name}, {many:,} in line", "ms", goal, baseline=baseline)
        for name in ("look for due runs", "begin_submit granted", "begin_submit refused")
    ]
    with bench.new_folder() as one, bench.new_folder() as other:
        books = [await _open(await bench.library.copy("waiting", runs, at)) for runs, at in ((many, one), (FEW, other))]
        for number in range(bench.rounds):
            for store, waiting in books:
                oldest = waiting[number * CALLS : (number + 1) * CALLS]
                for row, work in zip(rows, _works(store, oldest, waiting[-1], number), strict=True):
                    (row.ours if store is books[0][0] else row.baseline).append(await work())
        for store, _ in books:
            await store.close()


async def _open(path: Path) -> tuple[SqliteStore, list[str]]:
    """The store, and the ids of those in line, the oldest first."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT run_id FROM run WHERE state = 'reserved' ORDER BY created_at, run_id").fetchall()
    return open_store(f"sqlite:///{path}"), [run_id for (run_id,) in found]


def _works(
    store: SqliteStore, oldest: list[str], newest: str, number: int
) -> tuple[Callable[[], Awaitable[float]], ...]:
    """The median milliseconds of each verb."""
    now = time.time()
    taken = 1 + number * CALLS  # so many places

    async def look() -> float:
        call = _Call(lambda: store.claim_due(now, lease_until=now + 90.0, limit=32, total_max=taken))
        await call()  # what happens to be due is claimed before
        return median([await call() for _ in range(CALLS)])

    async def granted() -> float:
        took = []
        for place, run_id in enumerate(oldest, taken + 1):
            run = await _run(store, run_id)
            call = _Call(lambda run=run, place=place: store.begin_submit(run, now=now, total_max=place))  # type: ignore[misc]
            took.append(await call())
            assert call.result is not None, "a place was free"
        return median(took)

    async def refused() -> float:
        run = await _run(store, newest)
        call = _Call(lambda: store.begin_submit(run, now=now, total_max=PLACES))
        took = median([await call() for _ in range(CALLS)])
        assert call.result is None, "older ones wait"
        return took

    return look, granted, refused


async def _run(store: SqliteStore, run_id: str) -> Run:
    run = await store.get(run_id)
    assert run is not None
    return run


class _Call:
    """A verb that can be called again and again; gives the milliseconds that it took."""

    def __init__(self, verb: Callable[[], Awaitable[object]]) -> None:
        self.result: object = None
        self._verb = verb

    async def __call__(self) -> float:
        began = time.perf_counter()
        self.result = await self._verb()
        return (time.perf_counter() - began) * 1e3
