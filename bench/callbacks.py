"""Whole runs with callbacks: what one costs, how often it commits, and how soon its upload begins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.orders import note_stop
from bench.outside import Click, Outside, outside
from bench.parts import ADOPTED_S, Bench, closed_loop, set_limits, whole_run
from bench.processes import BARE, NO_POLLS, OURS, bot
from bench.table import Goal, Row, percentile

RUNS, WARM_UP, AT_ONCE, MOST_S = 96, 16, 8, 10.0
ALONE, TOGETHER = 20, 40
PLACES, WAITING, POLLED = 20, 300, 500


async def whole(bench: Bench) -> None:
    """The CPU of a run, from the click to the post of a clip of 20 kB, 8 at once."""
    cpu = bench.table.row("CPU of a whole run", "ms", Goal(bound="<=", number=1.8, of="ratio"), baseline="bare")
    for _ in range(bench.rounds):
        for what in (OURS, BARE):
            async with bench.started(what, NO_POLLS) as (out, process):
                await set_limits(what, out)

                async def run(out: Outside = out) -> None:
                    await whole_run(out)

                await closed_loop(bench.size(WARM_UP), AT_ONCE, run, most_s=MOST_S)
                await out.quiet()
                before = process.cpu_s()
                done, _ = await closed_loop(bench.size(RUNS), AT_ONCE, run, most_s=MOST_S)
                await out.quiet()
                figure = (process.cpu_s() - before) / done * 1e3
                (cpu.ours if what == OURS else cpu.baseline).append(figure)


async def commits(bench: Bench) -> None:
    """Commits of one run alone, counted in the write-ahead log."""
    row = bench.table.row("commits of a run, alone", "", Goal(bound="<=", number=6))
    for _ in range(bench.rounds):
        with bench.new_folder() as folder:
            async with outside() as out, bot(OURS, out, folder, more=NO_POLLS):
                await set_limits(OURS, out)
                counts = []
                for _ in range(bench.size(6)):
                    before = commits_in(folder / "veo.db-wal")
                    await whole_run(out)
                    await out.quiet(0.5)
                    after = commits_in(folder / "veo.db-wal")
                    if before[0] == after[0]:  # else the log was begun anew meanwhile
                        counts.append(after[1] - before[1])
                row.ours.append(median(counts))


def commits_in(wal: Path) -> tuple[bytes, int]:
    """The salt of SQLite's write-ahead log, and how many commits stand in it (sqlite.org/fileformat2.html, 4.1)."""
    log = wal.read_bytes()
    page, salt = int.from_bytes(log[8:12]), log[16:24]
    count = 0
    for at in range(32, len(log), page + 24):
        if log[at + 8 : at + 16] != salt:
            break
        count += log[at + 4 : at + 8] != bytes(4)  # the size of the database after a commit; 0 in other frames
    return salt, count


async def callbacks(bench: Bench) -> None:
    """From the callback to the head of the request that uploads the clip."""
    stop = bench.table.row("longest stop of the loop, callbacks", "ms", Goal(bound="<=", number=50))
    alone = _rows(bench, "alone", 15, 30, "bare")
    together = _rows(bench, f"{bench.size(TOGETHER)} at once", 200, 300, "bare")
    waiting = _rows(bench, f"{bench.size(WAITING)} in line", 20, 60)
    polled = _rows(bench, f"{bench.size(POLLED)} polled", 20, 60)
    for _ in range(bench.rounds):
        for what in (OURS, BARE):
            async with bench.started(what, NO_POLLS, watched=True) as (out, process):
                await set_limits(what, out)
                await _one_by_one(out, [await _ordered(out) for _ in range(3)])
                process.forget_stops()
                _keep(alone, what, await _one_by_one(out, [await _ordered(out) for _ in range(bench.size(ALONE))]))
                clicks = [await _ordered(out) for _ in range(bench.size(TOGETHER))]
                await out.quiet()
                await asyncio.gather(*map(out.finish, clicks))
                await asyncio.gather(*(click.wait("posted") for click in clicks))
                _keep(together, what, clicks)
                if what == OURS:
                    note_stop(stop, process)
        await _beside_waiting(bench, waiting)
        await _beside_polled(bench, polled)


async def _beside_waiting(bench: Bench, rows: list[Row]) -> None:
    """Every place is taken and 300 wait for one: each run that ends lets one of them go."""
    places = bench.size(PLACES)
    async with bench.started(OURS, NO_POLLS | {"RUNS_IN_FLIGHT_TOTAL": str(places)}) as (out, _):
        clicks = [out.veo() for _ in range(places + bench.size(WAITING))]
        await asyncio.gather(*(click.wait("acked") for click in clicks))
        await out.quiet(1.5, timeout=60)
        ordered = [click for click in clicks if click.has("ordered")]
        assert len(ordered) == places, f"{len(ordered)} of {places} places are taken"
        _keep(rows, OURS, await _one_by_one(out, ordered))


async def _beside_polled(bench: Bench, rows: list[Row]) -> None:
    """500 runs are under way, of which the bot hears nothing unless it asks."""
    async with bench.started(OURS) as (out, _):
        clicks = [out.veo() for _ in range(bench.size(POLLED) + bench.size(ALONE))]
        await asyncio.gather(*(click.wait("ordered") for click in clicks))
        await out.quiet(timeout=2.0)
        before = out.counts["reads"]
        ended = await _one_by_one(out, clicks[-bench.size(ALONE) :])
        _keep(rows, OURS, ended)
        polls = out.counts["reads"] - before - len(ended)
        rows[0].note = f"beside {polls} reads of other runs"


async def _ordered(out: Outside) -> Click:
    click = out.veo()
    await click.wait("ordered")
    return click


async def _one_by_one(out: Outside, clicks: list[Click]) -> list[Click]:
    """End these runs, each once the one before is posted, but no more after some seconds; those that have ended."""
    began = perf_counter()
    for number, click in enumerate(clicks):
        if perf_counter() - began > MOST_S:
            return clicks[:number]
        await asyncio.sleep(ADOPTED_S)
        await out.finish(click)
        await click.wait("posted")
    return clicks


def _rows(bench: Bench, beside: str, p50: float, p99: float, baseline: str = "") -> list[Row]:
    name = f"callback -> upload begun, {beside}, "
    goals = (("p50", p50), ("p99", p99))
    return [
        bench.table.row(name + each, "ms", Goal(bound="<=", number=number), baseline=baseline) for each, number in goals
    ]


def _keep(rows: list[Row], what: tuple[str, ...], clicks: list[Click]) -> None:
    took = [click.ms("uploading", since="called") for click in clicks]
    for row, per_cent in zip(rows, (50, 99), strict=True):
        (row.ours if what == OURS else row.baseline).append(percentile(took, per_cent))
