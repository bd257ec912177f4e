"""Databases with many runs: the real bot makes one through its outer edges, and its rows are multiplied by SQL."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bench.outside import outside
from bench.processes import NO_POLLS, OURS, bot

# What all the runs are: delivered, under way at Runflow, or in line behind the one that has the only place.
Kind = Literal["posted", "running", "waiting"]
OWN = ("run_id", "origin", "callback_token", "provider_id")  # what no two runs share
TAIL = 8  # their last characters become the number of the copy
# Over how long the runs are spread: those that are over through the month, so that all count in one period.
OPEN_S, MONTH_SHARE = 600.0, 0.9


class Library:
    """Keeps books of each sort and size that was asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def copy(self, kind: Kind, runs: int, to: Path) -> Path:
        """Books with so many runs of the kind, in a file of one's own in this folder."""
        kept = self._folder / f"{kind}-{runs}.db"
        if not kept.exists():
            made = self._folder / "made.db"
            await asyncio.to_thread(shutil.copyfile, await self._one(kind), made)
            await asyncio.to_thread(multiply, made, runs)
            made.replace(kept)
        path = to / "veo.db"
        await asyncio.to_thread(shutil.copyfile, kept, path)
        return path

    async def _one(self, kind: Kind) -> Path:
        """Books with one run of the kind, which is their last."""
        folder = self._folder / f"one-{kind}"
        if folder.exists():
            return folder / "veo.db"
        folder.mkdir()
        places = "1" if kind == "waiting" else "10"
        async with outside() as out, bot(OURS, out, folder, more=NO_POLLS | {"RUNS_IN_FLIGHT_TOTAL": places}):
            click = out.veo()
            await click.wait("ordered")
            await out.quiet()
            if kind == "waiting":
                await out.veo().wait("acked")
            elif kind == "posted":
                await out.finish(click)
                await click.wait("posted")
            await out.quiet(1.0)
        return folder / "veo.db"


def last(path: Path, seconds: float) -> None:
    """Let every run that has ended have taken so long."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE run SET posted_at = ended_at - :seconds WHERE ended_at IS NOT NULL", {"seconds": seconds})


def multiply(path: Path, runs: int) -> None:
    """Copy the last run, with all that belongs to it, until there are so many; the books balance as before."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA synchronous = OFF")
        last = "SELECT run_id, origin, ended_at FROM run ORDER BY created_at DESC LIMIT 1"
        run_id, origin, ended_at = db.execute(last).fetchone()
        spread_s = _month_s() * MONTH_SHARE if ended_at is not None else min(_month_s() * MONTH_SHARE, OPEN_S)
        db.execute("CREATE TEMP TABLE copy (number INTEGER PRIMARY KEY, back_s REAL)")
        steps = ((number, number * spread_s / runs) for number in range(1, runs))
        first = 0 if int(origin[-TAIL:]) > runs else 10**TAIL // 2  # none is to have the last run's own number
        db.executemany("INSERT INTO copy VALUES (?, ?)", steps)
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(tables, key="run".__ne__):  # the runs first, for the others refer to them
            columns = db.execute(f"PRAGMA table_info({table})").fetchall()
            if any(name == "run_id" for _, name, *_ in columns):
                _copy_rows(db, table, columns, run_id, first)
        held = "kind = 'hold'" if ended_at is None else "0"
        moved = "SELECT coalesce(sum(amount_u), 0) FROM ledger_entry AS entry WHERE run_id = :run_id"
        level = "entry.scope = budget.scope AND entry.period_key = budget.period_key"
        db.execute(
            f"UPDATE budget SET held_u = held_u + :more * ({moved} AND {level} AND {held}), "
            f"spent_u = spent_u + :more * ({moved} AND {level} AND kind IN ('post', 'adjust'))",
            {"run_id": run_id, "more": runs - 1},
        )


def _month_s() -> float:
    """How much of the month has passed."""
    now = datetime.now(UTC)
    return (now - now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)).total_seconds()


def _copy_rows(
    db: sqlite3.Connection, table: str, columns: list[tuple[int, str, str, int, object, int]], run_id: str, first: int
) -> None:
    """Copy the run's rows in this table once for each number: under names of their own, and that much earlier."""
    given = {}
    for _, name, kind, *_, key in columns:
        if kind == "INTEGER" and key == 1 and name != "run_id":
            continue  # the row's number, which SQLite gives
        if name in OWN:
            number = f"printf('%0{TAIL}d', number + {first})"
            if name == "run_id":  # has letters, and of digits those from 2 to 7
                number = f"replace(replace(replace(replace({number}, '0', 'a'), '1', 'b'), '8', 'c'), '9', 'd')"
            given[name] = f"substr({name}, 1, length({name}) - {TAIL}) || {number}"
        else:
            is_past = (name == "at" or name.endswith("_at")) and name != "due_at"
            given[name] = f"{name} - back_s" if is_past else name
    db.execute(
        f"INSERT INTO {table} ({', '.join(given)}) "
        f"SELECT {', '.join(given.values())} FROM {table}, copy WHERE run_id = ? ORDER BY number DESC",
        (run_id,),
    )
