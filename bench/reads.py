"""How often Runflow is asked about a run of three minutes."""

from __future__ import annotations

import asyncio

from bench.outside import Outside
from bench.parts import Bench
from bench.processes import OURS
from bench.table import Goal, Row

RUN_S, RUNS = 180.0, 4


async def reads(bench: Bench) -> None:
    """With the settings as they come, in real time, and so once only; with callbacks and without both at once.

    The bot without has seen some runs of the kind before: what it learns from them is what it polls less by.
    """
    run_s = RUN_S * min(1.0, bench.scale)
    name = f"reads of a run of {run_s:.0f} s, "
    called = bench.table.row(f"{name}with callbacks", "", Goal(bound="<=", number=3))
    polled = bench.table.row(f"{name}polled", "", Goal(bound="<=", number=12))
    await asyncio.gather(_called(bench, called, run_s), _polled(bench, polled, run_s))


async def _called(bench: Bench, row: Row, run_s: float) -> None:
    async with bench.started(OURS, run_s=run_s) as (out, _):
        clicks = [out.veo() for _ in range(RUNS)]
        await asyncio.gather(*(click.wait("ordered") for click in clicks))
        await asyncio.sleep(run_s)
        await asyncio.gather(*map(out.finish, clicks))
        await asyncio.gather(*(click.wait("posted") for click in clicks))
        _count(row, out)


async def _polled(bench: Bench, row: Row, run_s: float) -> None:
    async with bench.started(OURS, {"PUBLIC_URL": ""}, run_s=run_s, books=("posted", 5)) as (out, _):
        clicks = [out.veo() for _ in range(RUNS)]
        await asyncio.gather(*(click.wait("posted", timeout=2 * run_s + 60) for click in clicks))
        _count(row, out)


def _count(row: Row, out: Outside) -> None:
    row.ours.append(out.counts["reads"] / RUNS)
    row.note = f"and {out.counts['lists'] / RUNS:.2g} lists"
