"""What a verb needs of a database: statements, and the few words that databases do not share.

The verbs in `storage.verbs` run on a `Transaction` and use nothing else that only one database understands. The
functions here give the words of SQLite; a second database would answer in them by the kind of its transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol


class Rows(Protocol):
    """What a statement gave. Reading it may be the moment in which the database is waited for."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | Any: ...

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Transaction(Protocol):
    """One transaction; a value in a statement is written `:name`."""

    def execute(self, sql: str, values: Mapping[str, Any] = ..., /) -> Rows: ...

    def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]], /) -> object: ...


def lock_books(tx: Transaction) -> None:
    """Wait until no other transaction decides about money, and keep the others waiting until this one is over.

    It is the first statement of each verb that moves money, makes a rule or answers a question. On SQLite nothing is
    left to do, because a transaction begins with the write lock (`BEGIN IMMEDIATE`).
    """


def lock_places(tx: Transaction) -> None:
    """The same for a caller that counts the free places at the provider and takes one."""


def skip_locked(tx: Transaction) -> str:
    """The end of a SELECT that takes its rows for this transaction and passes over those that another one has."""
    return ""


def among(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A list of names for `column IN (...)`: the marks, and their values."""
    values = {f"name_{number}": name for number, name in enumerate(names)}
    return ", ".join(f":{mark}" for mark in values), values
