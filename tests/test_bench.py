"""`python -m bench` measures the real bot beside the bare one, and prints one table."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.books import multiply
from bench.callbacks import commits_in
from bench.table import Goal, Row, Table, percentile
from storage import open_store, prove
from tests.harness import ROOT
from tests.long_runs import POLICY
from tests.money import new_run

FIGURE = r"[\d,.]+(e[+-]\d+)?"


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "--folder", str(folder), "--rounds", "1", "--scale", "0.01", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_each_row_has_its_figure_its_baseline_its_goal_and_a_verdict(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "orders")
    assert done.returncode == 0, done.stderr
    rate = rf"/veo ordered per second +{FIGURE} /s +{FIGURE} bare +{FIGURE} +>= 0\.8 +(ok|missed)"
    cpu = rf"CPU per ordered /veo +{FIGURE} ms +{FIGURE} bare +{FIGURE} +<= 1\.3 +(ok|missed)"
    stop = rf"longest stop of the loop, orders +{FIGURE} ms +{FIGURE} bare +<= 50 +(ok|missed)"
    for row in (rate, cpu, stop):
        assert re.search(row, done.stdout), done.stdout
    assert "not measured" not in done.stdout
    assert re.search(rf"\d+ cores; Python [\d.]+; fdatasync {FIGURE} us in {re.escape(str(tmp_path))}", done.stdout)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "orders,ordres")
    assert done.returncode == 2
    assert "no part 'ordres'; there are orders, " in done.stderr


async def test_books_that_are_multiplied_balance(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/veo.db")
    new = new_run("00000042", now=time.time())
    await store.admit(new, POLICY.levels(new.wish.spender, new.now))
    await store.close()
    multiply(tmp_path / "veo.db", 100)
    proof = prove(f"sqlite:///{tmp_path}/veo.db")
    assert (proof.breaches, proof.held_u) == ([], 100 * new.price_u)


@pytest.mark.parametrize(
    ("ours", "missed", "noise"),
    [([1.0, 1.1, 1.2], False, False), ([1.6, 1.7, 1.8], True, False), ([1.0, 1.4, 1.9], True, True)],
)
def test_a_spread_wider_than_the_way_to_the_goal_is_noise(ours: list[float], missed: bool, noise: bool) -> None:
    goal = Goal(bound="<=", number=1.35, of="ratio")
    row = Row(name="CPU", unit="ms", goal=goal, ours=ours, baseline=[1.0, 1.0, 1.0])
    assert (row.is_missed(), row.is_noise()) == (missed, noise)
    assert row.cells()[-1] == ("missed" if missed else "ok") + (", noise" if noise else "")


def test_the_check_fails_for_what_is_missed_for_sure_or_not_measured() -> None:
    table = Table()
    stop = table.row("longest stop", "ms", Goal(bound="<=", number=50))
    table.row("not begun", "ms", Goal(bound="<=", number=1))
    stop.ours += [40.0, 60.0, 70.0]
    assert not table.is_missed(), "that is noise"
    stop.ours[:] = [60.0, 61.0, 62.0]
    assert table.is_missed()
    stop.ours[:] = [40.0, 41.0, 42.0]
    assert not table.is_missed()
    table.failures.append("reads: not measured")
    assert table.is_missed()


def test_the_99th_of_a_few_is_the_slowest() -> None:
    assert percentile([float(each) for each in range(20)], 99) == 19.0
    assert percentile([float(each) for each in range(200)], 50) == 100.0


async def test_commits_are_counted_from_outside(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/veo.db")
    before = commits_in(tmp_path / "veo.db-wal")
    for _ in range(3):
        await store.check()
    after = commits_in(tmp_path / "veo.db-wal")
    await store.close()
    assert (after[0], after[1] - before[1]) == (before[0], 3)
