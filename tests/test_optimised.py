"""Guards of the money hold whatever Python is told: what `tests.optimised` tries is tried without assertions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.harness import ROOT


def test_no_guard_of_the_money_is_an_assertion(tmp_path: Path) -> None:
    """`python -O` leaves assertions out: each thing that must not be possible is refused all the same."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "tests.optimised", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    *tries, last = done.stdout.splitlines()
    assert last == "asserts are left out, breaches []", done.stderr
    assert len(tries) == 10
    assert {each.rpartition(": ")[2] for each in tries} == {"InvariantError", "IntegrityError"}, tries
    assert sum(each.endswith("IntegrityError") for each in tries) == 1  # what the database itself refuses
