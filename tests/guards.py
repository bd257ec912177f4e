"""Code without one of its guards: what notices that has teeth.

Money and delivery are tried on copies, each with a text cut out. Where the bot as a whole is tried, the guard is a
function that is replaced in the process before it starts.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, reduce
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


async def run_without(guards: Sequence[Replaced], module: str, *arguments: str) -> tuple[int, str, str]:
    """A module of ours, run in a process without these guards: exit code, standard output and standard error."""
    before = "".join(guard.code for guard in guards)
    return await nursery().run(module, *arguments, folder=HERE, environment=os.environ, before=before)


@dataclass(frozen=True)
class Replaced:
    """A guard by its name, the function that it is, as `module:Class.function`, and another in its place."""

    name: str
    of: str
    by: str  # the whole function, as source, in which `original` is the one in whose place it comes

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def code(self) -> str:
        """What a process runs before it starts, to be without the guard."""
        return f"from tests.guards import replace\nreplace({self.of!r}, {self.by!r})\n"


def without(name: str, of: str, old: str, new: str) -> Replaced:
    """A guard inside a function, by the text that is to be another there, and is there exactly once."""
    module, _, path = of.partition(":")
    function = reduce(getattr, path.split("."), importlib.import_module(module))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{of} has {source.count(old)} times {old!r}: name the guard as it reads now"
    return Replaced(name, of, source.replace(old, new))


def replace(of: str, by: str) -> list[tuple[object, str, object]]:
    """Put another function in the place of one, also where it was imported by name; what was there before."""
    module_name, _, path = of.partition(":")
    module = importlib.import_module(module_name)
    *way, name = path.split(".")
    holder: object = module
    for each in way:
        holder = getattr(holder, each)
    old = getattr(holder, name)
    made: dict[str, object] = {}
    known = {**vars(module), "original": old}
    exec(f"from __future__ import annotations\n{by}", known, made)  # noqa: S102 - of our own tests
    assert name in made, f"{by!r} is no {name}"
    ours = [
        each for each in sys.modules.values() if getattr(each, "__name__", "").startswith(("bot", "cogs", "storage"))
    ]
    places = [holder] if way else [each for each in ours if getattr(each, name, None) is old]
    for place in places:
        setattr(place, name, made[name])
    return [(place, name, old) for place in places]


@contextmanager
def replaced(guard: Replaced) -> Iterator[None]:
    """This process without the guard."""
    before = replace(guard.of, guard.by)
    try:
        yield
    finally:
        for place, name, old in before:
            setattr(place, name, old)
