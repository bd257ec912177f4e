"""What much that is in the books does to a start, to a report, to a refusal and to the proof of the books."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter

from bench import payloads
from bench.orders import note_stop
from bench.outside import WAIT_S, Outside
from bench.parts import Bench
from bench.processes import NO_POLLS, OURS, command
from bench.table import Goal

FLYING, FEW_FLYING, MONTH, FEW_MONTH = 100_000, 10, 100_000, 100
ALONE, REFUSED, DAYS = 15, 15, 366


async def start(bench: Bench) -> None:
    """From the start of the process to the first look at a run at Runflow."""
    many = bench.size(FLYING, least=FEW_FLYING)
    goal = Goal(bound="<=", number=0.2, of="difference")
    row = bench.table.row(f"start to the first look, {many:,} in flight", "s", goal, baseline=f"at {FEW_FLYING}")
    for _ in range(bench.rounds):
        for runs, figures in ((many, row.ours), (FEW_FLYING, row.baseline)):
            async with bench.started(OURS, connected=False, books=("running", runs)) as (out, bot):
                async with asyncio.timeout(WAIT_S):
                    while not out.read_at:  # noqa: ASYNC110 - the time is taken where it happens
                        await asyncio.sleep(0.01)
                figures.append(out.read_at - bot.started_at)
                await out.connected()
                await out.quiet(1.0, timeout=2.0)


async def report(bench: Bench) -> None:
    """Orders while an admin's report is made of all the runs of a year, beside orders alone."""
    name = f"an order beside a report, {bench.runs:,} runs"
    row = bench.table.row(name, "ms", Goal(bound="<=", number=1.5, of="ratio"), baseline="alone")
    stop = bench.table.row("longest stop of the loop, report", "ms", Goal(bound="<=", number=50))
    worst, lasted = [], []
    async with bench.started(OURS, NO_POLLS, watched=True, books=("posted", bench.runs)) as (out, bot):
        for _ in range(3):
            await _order(out)
        for _ in range(bench.rounds):
            row.baseline.append(median([await _order(out) for _ in range(ALONE)]))
            bot.forget_stops()
            asked, beside = out.use(payloads.report(DAYS)), []
            while not asked.has("edited"):
                beside.append(await _order(out))
            row.ours.append(median(beside))
            worst.append(max(beside))
            lasted.append(asked.ms("edited") / 1e3)
            note_stop(stop, bot)
            await out.quiet()
    row.note = f"slowest {max(worst):.0f} ms, reports took {median(lasted):.1f} s"


async def _order(out: Outside) -> float:
    click = out.veo()
    await click.wait("ordered")
    return click.ms("ordered")


async def refused(bench: Bench) -> None:
    """Refusals of a `/veo` under a role's limit, which was set when more than that had been spent already."""
    many = bench.size(MONTH, least=FEW_MONTH)
    goal = Goal(bound="<=", number=2, of="ratio")
    row = bench.table.row(f"a refusal under a late limit, {many:,} runs", "ms", goal, baseline=f"at {FEW_MONTH}")
    async with (
        bench.started(OURS, NO_POLLS, books=("posted", many)) as (there, _),
        bench.started(OURS, NO_POLLS, books=("posted", FEW_MONTH)) as (here, _),
    ):
        for out in (there, here):
            limit = out.use(payloads.limit_set("1.25", role=True))
            await limit.wait("edited")
            assert "1.25" in limit.said, f"the limit was not set: {limit.said}"
            if out is there:
                row.note = f"the limit was set in {limit.ms('edited'):.0f} ms"
        for _ in range(bench.rounds):
            took = [(await _refusal(there), await _refusal(here)) for _ in range(REFUSED)]
            row.ours.append(median(many for many, _ in took))
            row.baseline.append(median(few for _, few in took))


async def _refusal(out: Outside) -> float:
    click = out.veo()
    await click.wait("edited")
    await out.quiet(0.05)
    assert click.run is None, "it was to be refused"
    return click.ms("edited")


async def ledger(bench: Bench) -> None:
    """`ledger check`, which proves every invariant, beside SQLite's own check of the file."""
    goal = Goal(bound="<=", number=3, of="ratio")
    row = bench.table.row(f"ledger check, {bench.runs:,} runs", "s", goal, baseline="integrity_check")
    with bench.new_folder() as folder:
        path = await bench.library.copy("posted", bench.runs, folder)
        for _ in range(bench.rounds):
            took_s, said = await command("bot", "ledger", "check", environment={"DATABASE_URL": f"sqlite:///{path}"})
            assert "balance" in said, said
            row.ours.append(took_s)
            row.baseline.append(await asyncio.to_thread(_integrity_check, path))


def _integrity_check(path: Path) -> float:
    began = perf_counter()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return perf_counter() - began
