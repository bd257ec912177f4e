"""How a start and the look for due runs grow with the runs in flight: 10,000 beside ten, in the same run.

    .venv/bin/python -m bench.restart

A start is everything from opening the database to the first claimed runs. The look for due runs is measured beside the
shortest statement that SQLite knows. Bounds: a start under one second, the look at most five times the one among ten.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from storage import open_store
from tests.long_runs import EPOCH, in_flight

ROUNDS = 9
QUERIES = 2000


async def start(path: Path) -> tuple[float, float, float]:
    """Seconds until the first runs are claimed; then microseconds of a look, and of the shortest statement."""
    began = time.perf_counter()
    store = open_store(f"sqlite:///{path}")
    await store.recover(EPOCH + 1.0, deadline_s=3600.0)
    claimed = await store.claim_due(EPOCH + 1.0, lease_until=EPOCH + 91.0, limit=32, total_max=99)
    took_s = time.perf_counter() - began
    assert claimed
    connection = store.writer.connection
    figures = []
    for sql in ("SELECT min(due_at) FROM run WHERE due_at IS NOT NULL", "SELECT 1"):
        began = time.perf_counter()
        for _ in range(QUERIES):
            connection.execute(sql).fetchone()
        figures.append((time.perf_counter() - began) / QUERIES * 1e6)
    await store.close()
    return took_s, figures[0], figures[1]


def measured(runs: int) -> tuple[float, float, float]:
    """The medians of some rounds, each on books of its own."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            path = Path(folder) / f"{number}.db"
            in_flight(path, runs)
            rounds.append(asyncio.run(start(path)))
    took_s, look_us, shortest_us = (median(each) for each in zip(*rounds, strict=True))
    return took_s, look_us, shortest_us


def main() -> int:
    """Print the figures; 1 where a bound is missed."""
    few, many = measured(10), measured(10_000)
    print(f"{'runs':>8} {'start ms':>9} {'look us':>8} {'shortest us':>12}")
    for runs, (took_s, look_us, shortest_us) in ((10, few), (10_000, many)):
        print(f"{runs:>8} {took_s * 1e3:>9.1f} {look_us:>8.2f} {shortest_us:>12.2f}")
    print(f"a start: {many[0] / few[0]:.1f} times that of ten; a look: {many[1] / few[1]:.2f} times")
    return 0 if many[0] < 1.0 and many[1] <= 5 * few[1] else 1


if __name__ == "__main__":
    sys.exit(main())
