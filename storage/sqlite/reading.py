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
from pathlib import Path
from typing import Any, TypeVar

from bot.domain.records import Act, Figures
from bot.domain.report import RunFact
from bot.errors import StoreDown
from storage.dialect import Transaction
from storage.sqlite.store import database_path
from storage.verbs import reports

Result = TypeVar("Result")

ROWS_AT_ONCE = 20  # about half a millisecond of work
BREATH_S = 0.0001


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

    async def facts(
        self, server: str | None, since: float, until: float, use: Callable[[Iterator[RunFact]], Result]
    ) -> Result:
        def work(tx: Transaction) -> Result:
            return use(reports.read_facts(_in_turn(reports.ask_facts(tx, server, since, until))))

        return await self._read(work, self._thread)

    async def acts(self, server: str, use: Callable[[Iterator[Act]], Result]) -> Result:
        def work(tx: Transaction) -> Result:
            return use(reports.read_acts(_in_turn(reports.ask_acts(tx, server))))

        return await self._read(work, self._thread)

    async def _read(self, work: Callable[[Transaction], Result], thread: ThreadPoolExecutor) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, self._in_snapshot, work)
        except sqlite3.Error as error:
            raise StoreDown from error

    def _in_snapshot(self, work: Callable[[Transaction], Result]) -> Result:
        address = f"{self._path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, check_same_thread=False)) as connection:
            connection.execute("BEGIN")
            self._reading.add(connection)
            try:
                return work(connection)
            finally:
                self._reading.discard(connection)


def _in_turn(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The same rows, with a breath after every few of them.

    Without it this thread takes the interpreter back before any other that waits for it has woken up, and each
    statement of the writer costs a whole switch interval of 5 ms (Python docs, sys.setswitchinterval).
    """
    for number, row in enumerate(rows):
        if number % ROWS_AT_ONCE == 0:
            time.sleep(BREATH_S)
        yield row
