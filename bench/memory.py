"""Memory: of a bot at rest, of what waits in line, and of clips on their way."""

from __future__ import annotations

import asyncio

from bench.parts import Bench
from bench.processes import BARE, IDLE, NO_POLLS, OURS
from bench.table import Goal

WAITING, CLIPS, CLIP_BYTES = 100_000, 40, 15_000_000


async def idle(bench: Bench) -> None:
    """Connected, and nothing done yet, beside the library's client alone; on books that were made before."""
    row = bench.table.row("memory at rest", "MiB", Goal(bound="<=", number=1.4, of="ratio"), baseline="bare client")
    for _ in range(bench.rounds):
        for what, figures in ((OURS, row.ours), (IDLE, row.baseline)):
            async with bench.started(what, books=("posted", 2) if what == OURS else None) as (out, bot):
                await out.quiet(1.0)
                figures.append(bot.memory_mib())


async def line(bench: Bench) -> None:
    """What a bot with 100,000 runs in line has more than one with a single run in it, for each of them."""
    count = bench.size(WAITING)
    goal = Goal(bound="<=", number=0.03)
    row = bench.table.row(f"memory of a waiting run, {count:,} in line", "kB", goal)
    places = NO_POLLS | {"RUNS_IN_FLIGHT_TOTAL": "1"}
    for _ in range(bench.rounds):
        kib = []
        for runs in (2, count):
            async with bench.started(OURS, places, books=("waiting", runs)) as (out, bot):
                await out.quiet(2.0)
                kib.append(bot.memory_mib() * 1024)
        row.ours.append((kib[1] - kib[0]) / count)


async def clips(bench: Bench) -> None:
    """40 callbacks at once, each for a clip of 15 MB: the peak over what there was before."""
    count = bench.size(CLIPS)
    size = bench.size(CLIP_BYTES, least=100_000)
    goal = Goal(bound="<=", number=12)
    row = bench.table.row(f"memory of {count} clips of {size / 1e6:.3g} MB", "MiB", goal, baseline="bare")
    for _ in range(bench.rounds):
        for what, figures in ((OURS, row.ours), (BARE, row.baseline)):
            async with bench.started(what, NO_POLLS, clip_bytes=size) as (out, bot):
                clicks = [out.veo() for _ in range(count)]
                await asyncio.gather(*(click.wait("ordered") for click in clicks))
                await out.quiet()
                bot.forget_peak()
                before = bot.memory_mib()
                await asyncio.gather(*map(out.finish, clicks))
                await asyncio.gather(*(click.wait("posted") for click in clicks))
                figures.append(bot.memory_mib("VmHWM") - before)
