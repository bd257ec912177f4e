"""Orders: how many a second, at what cost, and how soon a click is acknowledged when many come at once."""

from __future__ import annotations

import asyncio

from bench.outside import Outside
from bench.parts import Bench, closed_loop, set_limits
from bench.payloads import CHANNEL_ID
from bench.processes import BARE, NO_POLLS, OURS, Bot
from bench.table import Goal, Row, percentile

ORDERS, WARM_UP, AT_ONCE, MOST_S = 500, 64, 32, 5.0
CLICKS, BURSTS = 200, 2


async def orders(bench: Bench) -> None:
    """`/veo` on five levels, 32 at once, each until its order has reached Runflow."""
    row = bench.table.row
    rate = row("/veo ordered per second", "/s", Goal(bound=">=", number=0.8, of="ratio"), baseline="bare")
    cpu = row("CPU per ordered /veo", "ms", Goal(bound="<=", number=1.3, of="ratio"), baseline="bare")
    stop = row("longest stop of the loop, orders", "ms", Goal(bound="<=", number=50), baseline="bare")
    for _ in range(bench.rounds):
        for what in (OURS, BARE):
            async with bench.started(what, NO_POLLS, watched=True) as (out, bot):
                await set_limits(what, out)
                await _load(bench, out, WARM_UP)
                bot.forget_stops()
                before = bot.cpu_s()
                done, took_s = await _load(bench, out, ORDERS)
                for each, figure in ((rate, done / took_s), (cpu, (bot.cpu_s() - before) / done * 1e3)):
                    (each.ours if what == OURS else each.baseline).append(figure)
                note_stop(stop, bot, what)


async def _load(bench: Bench, out: Outside, count: int) -> tuple[int, float]:
    """So many orders; what they leave behind is over, too, when this returns."""

    async def order() -> None:
        await out.veo(channel=CHANNEL_ID).wait("ordered")

    done, took_s = await closed_loop(bench.size(count), AT_ONCE, order, most_s=MOST_S)
    await out.quiet()
    return done, took_s


async def acks(bench: Bench) -> None:
    """Bursts of 200 clicks: until the slowest of them are acknowledged."""
    p99 = bench.table.row(
        f"acknowledged, {bench.size(CLICKS)} clicks at once, p99",
        "ms",
        Goal(bound="<=", number=1.0, of="ratio"),
        baseline="bare",
    )
    for _ in range(bench.rounds):
        for what in (OURS, BARE):
            async with bench.started(what, NO_POLLS) as (out, _):
                await set_limits(what, out)
                await _load(bench, out, WARM_UP)
                took = []
                for _ in range(BURSTS):
                    clicks = [out.veo(channel=CHANNEL_ID) for _ in range(bench.size(CLICKS))]
                    await asyncio.gather(*(click.wait("acked") for click in clicks))
                    took += [click.ms("acked") for click in clicks]
                    await out.quiet()
                (p99.ours if what == OURS else p99.baseline).append(percentile(took, 99))


def note_stop(row: Row, bot: Bot, what: tuple[str, ...] = OURS) -> None:
    """Keep the longest stop, and how much of the longest of ours the loop's thread was computing."""
    stop_ms, cpu_ms = bot.longest_stop_ms()
    (row.ours if what == OURS else row.baseline).append(stop_ms)
    if what == OURS and stop_ms == max(row.ours):
        row.note = f"of the longest {cpu_ms:.0f} ms were CPU"
