"""`storage.dialect.Transaction` on a SQLite connection, and how one begins and ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any


class Answer:
    """What a statement gave, read to its end.

    A statement that is left half read, because the one after it failed, would keep its old snapshot of the file, and
    every later transaction of the connection would be refused as out of date.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._rows = iter(cursor.fetchall())
        self.description = cursor.description
        self.rowcount = cursor.rowcount

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class SqliteTransaction:
    """The statements of one transaction, or of a reading between two of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Answer:
        return Answer(self._connection.execute(sql, {} if values is None else values))

    def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> None:
        self._connection.executemany(sql, rows)


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[SqliteTransaction]:
    """One transaction that holds the write lock from its first statement; any exception undoes all of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield SqliteTransaction(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if connection.in_transaction:  # a full disk may already have rolled back
                undo(connection)
        raise


def undo(connection: sqlite3.Connection) -> None:
    """Undo the open transaction."""
    connection.execute("ROLLBACK")


def undo_job(connection: sqlite3.Connection) -> None:
    """Undo what the present job wrote, and nothing of those before it in the same transaction."""
    connection.execute("ROLLBACK TO job")
