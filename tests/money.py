"""What the tests of the money share: an executor without threads, wishes, new books, and all of them as rows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from bot.domain.limits import Plan, Rule, no_levels
from bot.domain.models import VeoRequest
from bot.domain.records import Act, Change, NewRun, Wish
from bot.ports import Rulebook
from storage import SqliteStore, open_store

PRICE_U = 1_000_000
Dump = dict[str, list[tuple[Any, ...]]]
Result = TypeVar("Result")


class Inline(Executor):
    """Runs each job in the caller's thread: at once, or, between `gather` and `go`, one after the other at `go`."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] | None = None

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        done: Future[Result] = Future()

        def job() -> None:
            try:
                done.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - an executor hands every error to its future
                done.set_exception(error)

        if self._waiting is None:
            job()
        else:
            self._waiting.append(job)
        return done

    def gather(self) -> None:
        """Let jobs queue up from now on, as they do while the disk is busy."""
        self._waiting = []

    def go(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for job in waiting:
            job()


@contextmanager
def home() -> Iterator[Path]:
    """A folder for small books, in memory where the machine has some: how long a disk takes is not the test."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="veo-test-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@cache
def empty_books() -> bytes:
    """A database that nobody has used yet: a copy of it is there sooner than one made by all the migrations."""

    def make() -> bytes:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "veo.db"
            asyncio.run(open_store(f"sqlite:///{path}", executor=Inline()).close())
            return path.read_bytes()

    with ThreadPoolExecutor(1) as thread:  # where no other loop runs
        return thread.submit(make).result()


def store_at(path: Path, executor: Executor | None = None) -> SqliteStore:
    """The store of the books there; where there are none, of new ones."""
    if not path.exists():
        path.write_bytes(empty_books())
    return open_store(f"sqlite:///{path}", executor=executor)


def wish(name: str, **changes: object) -> Wish:
    """A wish of Bo's whose origin is named after `name`."""
    bo = Wish(
        origin=f"origin-{name}",
        member="discord:1",
        member_name="Bo",
        server="discord:2",
        channel="discord:3",
        budget_channel="discord:3",
        roles=("discord:4",),
        request=VeoRequest(prompt="a red fox"),
    )
    return replace(bo, **changes)  # type: ignore[arg-type]  # a test names the fields that matter to it


def new_run(name: str, *, price_u: int = PRICE_U, now: float, **changes: object) -> NewRun:
    """A wish that is ready for the books, everything about it named after `name`."""
    return NewRun(
        wish=wish(name, **changes),
        run_id=f"run-{name}",
        price_u=price_u,
        callback_token=f"token-{name}",
        now=now,
    )


async def put_rule(store: Rulebook, rule: Rule, act: Act, opens: Plan = no_levels) -> None:
    """Put a rule in force by an act of those whose it is."""
    await store.decide(replace(act, server=rule.server), lambda _: Change(put=(rule,), opens=opens))


async def lift_rule(store: Rulebook, rule: Rule, act: Act, opens: Plan = no_levels) -> None:
    """Take it out of force."""
    await store.decide(replace(act, server=rule.server), lambda _: Change(lift=(rule,), opens=opens))


def dump(path: Path) -> Dump:
    """Every committed row of every table, read beside the store."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        rows = {name: connection.execute(f"SELECT * FROM {name}") for (name,) in tables}
        return {name: sorted(found, key=repr) for name, found in rows.items()}


def only_opened(before: Dump, after: Dump) -> bool:
    """Whether no more was written in between than periods that were opened, with the runs that they had already."""
    if any(after[name] != rows for name, rows in before.items() if name not in ("budget", "ledger_entry")):
        return False
    opened = {row[:2] for row in after["budget"]} - {row[:2] for row in before["budget"]}  # scope and key
    made = {row[1:] for row in after["ledger_entry"]} - {row[1:] for row in before["ledger_entry"]}
    of_runs = {(row[1], *row[4:]) for row in before["ledger_entry"]}
    return (
        [row for row in after["budget"] if row[:2] not in opened] == before["budget"]
        and set(before["ledger_entry"]) <= set(after["ledger_entry"])
        and all(row[1:3] in opened and (row[0], *row[3:]) in of_runs for row in made)
    )


@contextmanager
def work_of(store: SqliteStore) -> Iterator[list[int]]:
    """How many hundreds of steps the database takes meanwhile."""
    steps = [0]

    def step() -> None:
        steps[0] += 1

    connection = store.writer.connection
    connection.set_progress_handler(step, 100)
    yield steps
    connection.set_progress_handler(None, 100)
