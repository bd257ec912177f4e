"""Reads in bulk beside the writer: in a thread of its own, on a connection that cannot write, one snapshot each time.

Such a connection never makes a checkpoint, so that the writer stays the only one that does (see SQLite's docs, WAL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from bot.domain.limits import EVERYWHERE
from bot.domain.records import Act
from bot.domain.report import RunFact
from bot.domain.runs import Ending, RunState
from bot.errors import StoreDown
from storage.sqlite.store import database_path, names_of

Result = TypeVar("Result")

ROWS_AT_ONCE = 20  # about half a millisecond of work
BREATH_S = 0.0001

_COLUMNS = (*(field.name for field in fields(RunFact)), "server")
_FACTS = f"""
    SELECT {", ".join("budget_channel" if name == "channel" else name for name in _COLUMNS)} FROM run_view
    WHERE created_at >= :since AND created_at < :until AND (server = :server OR :server IS NULL)
    ORDER BY created_at, run_id"""
_ACT_COLUMNS = tuple(field.name for field in fields(Act))
_ACTS = f"""
    SELECT {", ".join(_ACT_COLUMNS)} FROM act
    WHERE server = :server OR (:server = '{EVERYWHERE}' AND member != '') ORDER BY act_id DESC"""


class Archive:
    """`bot.ports.Archive` on the SQLite file of `url`, one reading at a time. Close it with `close()`."""

    def __init__(self, url: str) -> None:
        self._path = Path(database_path(url))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._reading: sqlite3.Connection | None = None

    def close(self) -> None:
        """Break off what is being read."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if (reading := self._reading) is not None:
            reading.interrupt()

    async def facts(
        self, server: str | None, since: float, until: float, use: Callable[[Iterator[RunFact]], Result]
    ) -> Result:
        values = {"server": server, "since": since, "until": until}
        return await self._read(lambda db: use(_facts(_in_turn(db.execute(_FACTS, values)))))

    async def acts(self, server: str, use: Callable[[Iterator[Act]], Result]) -> Result:
        return await self._read(lambda db: use(_acts(_in_turn(db.execute(_ACTS, {"server": server})))))

    async def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._in_snapshot, work)
        except sqlite3.Error as error:
            raise StoreDown from error

    def _in_snapshot(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
            connection.execute("BEGIN")
            self._reading = connection
            try:
                return work(connection)
            finally:
                self._reading = None


def _in_turn(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The same rows, with a breath after every few of them.

    Without it this thread takes the interpreter back before any other that waits for it has woken up, and each
    statement of the writer costs a whole switch interval of 5 ms (Python docs, sys.setswitchinterval).
    """
    for number, row in enumerate(rows):
        if number % ROWS_AT_ONCE == 0:
            time.sleep(BREATH_S)
        yield row


def _acts(rows: Iterable[tuple[Any, ...]]) -> Iterator[Act]:
    return (Act(**dict(zip(_ACT_COLUMNS, row, strict=True))) for row in rows)


def _facts(rows: Iterable[tuple[Any, ...]]) -> Iterator[RunFact]:
    """One that cannot be read is missing."""
    for row in rows:
        try:
            fact = _fact(row)
        except (ValueError, TypeError):
            continue
        yield fact


def _fact(row: tuple[Any, ...]) -> RunFact:
    values = dict(zip(_COLUMNS, row, strict=True))
    server = values.pop("server")  # which is also the name of the role that everybody in it has
    ending = values["ending"]
    return RunFact(
        **values
        | {
            "roles": tuple(role for role in names_of(values["roles"]) if role != server),
            "state": RunState(values["state"]),
            "ending": None if ending is None else Ending(ending),
        }
    )
