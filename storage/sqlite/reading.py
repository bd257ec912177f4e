"""Reads in bulk beside the writer: in a thread of its own, on a connection that cannot write, one snapshot each time.

Such a connection never makes a checkpoint, so that the writer stays the only one that does (see SQLite's docs, WAL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from bot.domain.records import Act, Figures
from bot.domain.report import Day, Report, ReportedRun
from bot.errors import StoreDown
from storage.dialect import Transaction
from storage.sqlite.store import database_path
from storage.verbs import reports

Result = TypeVar("Result")

ROWS_AT_ONCE = 40  # about 0.3 ms of work
BREATH_S = 0.002  # so most of the time belongs to the others
CACHE_KIB = 16_384  # of what is read, and of what a report sorts: more than that is read again, or goes to a file


class Archive:
    """`bot.ports.Archive` on the SQLite file of `url`: one report at a time, and figures. Close it with `close()`."""

    def __init__(self, url: str) -> None:
        self._path = Path(database_path(url))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._reading: set[sqlite3.Connection] = set()

    def close(self) -> None:
        """Break off what is being read."""
        for thread in (self._thread, self._counting):
            thread.shutdown(wait=False, cancel_futures=True)
        for reading in tuple(self._reading):
            reading.interrupt()

    async def figures(self) -> Figures:
        return await self._read(reports.figures, self._counting)

    async def report(
        self, server: str | None, days: Sequence[Day], use: Callable[[Iterator[ReportedRun]], object]
    ) -> Report:
        def work(tx: Transaction) -> Report:
            found = reports.report(tx, server, days)
            use(reports.reported_runs(tx, server, days[0].starts_at, days[-1].ends_at))
            return found

        return await self._read(work, self._thread)

    async def acts(self, server: str, use: Callable[[Iterator[Act]], Result]) -> Result:
        return await self._read(lambda tx: use(reports.acts(tx, server)), self._thread)

    async def _read(self, work: Callable[[Transaction], Result], thread: ThreadPoolExecutor) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, self._in_snapshot, work)
        except sqlite3.Error as error:
            raise StoreDown from error

    def _in_snapshot(self, work: Callable[[Transaction], Result]) -> Result:
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
            for part in ("main", "temp"):
                connection.execute(f"PRAGMA {part}.cache_size = -{CACHE_KIB}")
            connection.execute("BEGIN")
            self._reading.add(connection)
            try:
                return work(_Considerate(connection))
            finally:
                self._reading.discard(connection)


class _Considerate:
    """`storage.dialect.Transaction` on a connection, for a reader who lets the others go first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> _InTurn:
        return _InTurn(self._connection.execute(sql, {} if values is None else values))

    def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        self._connection.executemany(sql, rows)


class _InTurn:
    """What a statement gave, with a breath after every few of its rows.

    Without it this thread takes the interpreter back before any other that waits for it has woken up, and each
    statement of the writer costs a whole switch interval of 5 ms (Python docs, sys.setswitchinterval).
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.description = cursor.description
        self.rowcount = cursor.rowcount

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        while rows := self._cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows
            time.sleep(BREATH_S)
