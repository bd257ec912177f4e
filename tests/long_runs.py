"""Books with many runs in flight."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

from bot.domain.limits import Policy
from bot.domain.records import RunChanges
from bot.domain.runs import Run, RunState
from storage import check_books, open_store
from tests.money import Inline, empty_books, new_run

EPOCH = 1_795_000_000.0
HOUR_S = 3600.0
POLICY = Policy(
    member_limit_u=None,
    server_ceiling_u=None,
    total_ceiling_u=None,
    period="month",
    zone=ZoneInfo("UTC"),
    runs_per_member=100_000,
)


def in_flight(path: Path, runs: int) -> None:
    """Books with that many runs in flight, each with its hold: one that was admitted, and copies of it."""

    async def first() -> None:
        store = open_store(f"sqlite:///{path}", executor=Inline())
        new = new_run("00000", now=EPOCH)
        run: Run | None = await store.admit(new, POLICY.levels(new.wish.spender, EPOCH))
        assert run is not None
        run = await store.begin_submit(run, now=EPOCH - HOUR_S / 2, total_max=1)
        assert run is not None
        changes = RunChanges(provider_id="job-run-00000", due_at=EPOCH)
        await store.advance(run, RunState.RUNNING, now=EPOCH, changes=changes)
        await store.close()

    path.write_bytes(empty_books())
    asyncio.run(first())
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(run)")]
        own = {"run_id", "origin", "callback_token", "provider_id"}
        columns = ", ".join(f"replace({name}, '00000', n)" if name in own else name for name in names)
        numbers = f"WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {runs - 1}), "
        numbers += "number (n) AS (SELECT printf('%05d', i) FROM c) "
        connection.execute(f"{numbers} INSERT INTO run ({', '.join(names)}) SELECT {columns} FROM run, number")
        connection.execute(
            f"{numbers} INSERT INTO run_role SELECT role, created_at, replace(run_id, '00000', n) FROM run_role, number"
        )
        entry = "scope, period_key, kind, amount_u, at, actor, reason, act_id"
        connection.execute(
            f"{numbers} INSERT INTO ledger_entry (run_id, {entry}) "
            f"SELECT replace(run_id, '00000', n), {entry} FROM ledger_entry, number"
        )
        connection.execute(f"UPDATE budget SET held_u = held_u * {runs}")
    assert check_books(f"sqlite:///{path}") == []
