"""Copies of the code without one of its guards: what notices them has teeth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.forks import Nursery

HERE = Path(__file__).resolve().parent.parent
Cut = tuple[str, str, str]  # file, old text, new text


@dataclass(frozen=True)
class Guard:
    """One thing that keeps money or delivery right, and how the code reads without it."""

    name: str
    cuts: tuple[Cut, ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def guard(name: str, *cut: str) -> Guard:
    """A guard by its name and its cuts, three texts each."""
    return Guard(name, tuple((cut[at], cut[at + 1], cut[at + 2]) for at in range(0, len(cut), 3)))


def copy_of_the_code(folder: Path, cuts: Sequence[Cut], tests: Sequence[str]) -> None:
    """`bot`, `storage` and these files of the tests, with each old text, which is there exactly once, replaced."""
    for package in ("bot", "storage"):
        shutil.copytree(HERE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("__init__.py", *tests):
        shutil.copy(HERE / "tests" / name, folder / "tests" / name)
    for name, old, new in cuts:
        path = folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}: name the guard as it reads now"
        path.write_text(text.replace(old, new))


@cache
def nursery() -> Nursery:
    """Of the copies: it has imported what they need and is no part of them."""
    return Nursery("hypothesis.stateful", "pytest", "sqlite_utils", "zoneinfo", environment=os.environ)


async def run_copy(folder: Path, module: str, *arguments: str) -> tuple[int, str, str]:
    """A module of a copy, run on that copy alone: exit code, standard output and standard error."""
    return await nursery().run(module, *arguments, folder=folder, environment=os.environ)
