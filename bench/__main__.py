"""`python -m bench`: measure, and print one table."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.books import Library
from bench.callbacks import callbacks, commits, whole
from bench.growth import ledger, refused, report, start
from bench.memory import clips, idle, line
from bench.orders import acks, orders
from bench.parts import Bench
from bench.reads import reads
from bench.table import Table
from bench.verbs import verbs

PARTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "orders": orders,
    "acks": acks,
    "whole": whole,
    "callbacks": callbacks,
    "memory": idle,
    "clips": clips,
    "commits": commits,
    "reads": reads,
    "verbs": verbs,
    "start": start,
    "line": line,
    "report": report,
    "refused": refused,
    "ledger": ledger,
}
RUNS = 50_000


def main() -> int:
    """0, unless a goal that was missed is asked for."""
    options = _parser().parse_args()
    began, table = perf_counter(), Table()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in the stand-in would be taken for the bot's slowness
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as folder:
        bench = Bench(
            table=table,
            folder=Path(folder),
            rounds=options.rounds,
            scale=options.scale,
            runs=options.runs or max(100, round(RUNS * options.scale)),
            library=Library(Path(folder)),
        )
        asyncio.run(_measure(bench, options.only))
        fsync_us = _fdatasync_us(Path(folder))
    print("\n".join(table.lines()))
    for failure in table.failures:
        print(failure)
    print(
        f"\n{os.cpu_count()} cores; Python {platform.python_version()}; fdatasync {fsync_us:.0f} us in {options.folder}"
        f"\nrounds: {options.rounds}, medians (least to most); took {perf_counter() - began:.0f} s"
    )
    return int(options.check and table.is_missed())


async def _measure(bench: Bench, names: list[str]) -> None:
    """One part after the other, but beside the three minutes of `reads`, whose bots rest, all that come after it."""
    async with asyncio.TaskGroup() as group:
        for name in names:
            part = group.create_task(_part(bench, name))
            if name != "reads":
                await part


async def _part(bench: Bench, name: str) -> None:
    began = perf_counter()
    try:
        await PARTS[name](bench)
    except Exception as error:  # noqa: BLE001 - the other parts are worth their figures
        bench.table.failures.append(f"{name}: not measured: {type(error).__name__}: {error}")
    gc.collect()
    print(f"{name}: {perf_counter() - began:.0f} s", file=sys.stderr)


def _fdatasync_us(folder: Path, times: int = 200) -> float:
    """The median cost of making 4 kB durable there."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(times):
            file.write(bytes(4096))
            file.flush()
            began = perf_counter()
            os.fdatasync(file.fileno())
            took.append((perf_counter() - began) * 1e6)
    return median(took)


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the bot beside a bare one.")
    add = parser.add_argument
    add("--only", type=_parts, default=list(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    add("--rounds", type=int, default=3, help="rounds of each part; 3 by default")
    add("--scale", type=float, default=1.0, help="size of every load and of all books, as a share of the usual one")
    add("--runs", type=int, help=f"runs in the books of `ledger` and `report`; {RUNS:,} by default")
    add("--folder", type=Path, default=Path("/var/tmp"), help="where the books lie: a disk, not memory")  # noqa: S108
    add("--check", action="store_true", help="exit with 1 where a goal is missed by more than noise")
    return parser


if __name__ == "__main__":
    sys.exit(main())
