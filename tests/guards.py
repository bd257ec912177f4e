"""Code without one of its guards: a test that passes with all of them and fails without one proves something.

A guard is a function, also a private one, or a constant. It is named by where it is, and replaced in a process before
the program starts; how its code is written does not matter. What guards the money inside of a statement is cut out of a
copy of the code.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from tests.forks import Nursery

HERE = Path(__file__).resolve().parent.parent
Cut = tuple[str, str, str]  # file, old text, new text


@dataclass(frozen=True)
class Guard:
    """One thing that keeps the money right, and how the code reads without it."""

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
def nursery(*modules: str) -> Nursery:
    """A process that has imported these, and forks."""
    return Nursery(*modules, environment={**os.environ, "PYTHONPATH": str(HERE)})


async def run_copy(folder: Path, module: str, *arguments: str) -> tuple[int, str, str]:
    """A module of a copy, run on that copy alone: exit code, standard output and standard error."""
    libraries = nursery("hypothesis.stateful", "pytest", "sqlite_utils", "zoneinfo")  # none of the copy's own modules
    return await libraries.run(module, *arguments, folder=folder, environment=os.environ)


async def run_without(guards: Sequence[Replaced], module: str, *arguments: str) -> tuple[int, str, str]:
    """A module of ours, run in a process without the guards: exit code, standard output and standard error."""
    ours = nursery("hypothesis.stateful", "pytest", "tests.world")
    before = "".join(guard.code for guard in guards)
    return await ours.run(module, *arguments, folder=HERE, environment=os.environ, before=before)


@dataclass(frozen=True)
class Replaced:
    """A guard by its name, where it is, as `module:Class.function` or `module:CONSTANT`, and what stands in for it."""

    name: str
    of: str
    by: str  # as source: an expression, or one function of any name; `original` is what it stands in for

    def __str__(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def code(self) -> str:
        """What a process runs before it starts, to be without the guard."""
        return f"from tests.guards import replace\nreplace({self.of!r}, {self.by!r})\n"


# What the story of a process says where the stand-in itself does not fit the code any more.
BROKEN = re.compile(
    r"NameError|AttributeError|UnboundLocalError|unexpected keyword argument"
    r"|required (positional|keyword-only) argument|takes \d+ positional arguments?"
)


def replace(of: str, by: str) -> list[tuple[object, str, object]]:
    """Put another function or value in the place of one, also where it was imported by name; what was there before."""
    module_name, _, path = of.partition(":")
    module = importlib.import_module(module_name)
    *way, name = path.split(".")
    holder: object = module
    for each in way:
        holder = getattr(holder, each)
    old = getattr(holder, name)
    new = _stand_in(module, by, old)
    places = [holder]
    if not way:
        ours = ("bot", "cogs", "storage")
        modules = [each for each in sys.modules.values() if getattr(each, "__name__", "").startswith(ours)]
        places = [each for each in modules if getattr(each, name, None) is old]
    for place in places:
        setattr(place, name, new)
    return [(place, name, old) for place in places]


def _stand_in(module: ModuleType, by: str, original: object) -> object:
    """What the source says, with everything at hand that the module's own code has."""
    scope: dict[str, object] = {**vars(module), "original": original}
    try:
        expression = compile(by.strip(), "<guard>", "eval")
    except SyntaxError:
        made: dict[str, object] = {}
        exec(f"from __future__ import annotations\n{by}", scope, made)  # noqa: S102 - of our own tests
        made.pop("annotations", None)
        assert len(made) == 1, f"{by!r} is not one function"
        return next(iter(made.values()))
    return eval(expression, scope)  # noqa: S307 - the same


@contextmanager
def replaced(guard: Replaced) -> Iterator[None]:
    """This process without the guard."""
    before = replace(guard.of, guard.by)
    try:
        yield
    finally:
        for place, name, old in before:
            setattr(place, name, old)
