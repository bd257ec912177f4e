"""Proves that the books balance: every invariant over the whole database, read-only, also beside a running bot."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from storage.invariants import INVARIANTS, RECORDS
from storage.quick_proof import Sums, quick_proof
from storage.sqlite import migrations
from storage.sqlite.snapshot import snapshot

if TYPE_CHECKING:
    from sqlite_utils import Database

# What the file is to be before its rows prove anything.
WHOLE = "the file is whole, and every index has its rows"
POINTS = "what a row points to is there"
MADE = "every table, index, trigger and view is as this program makes it"

_CACHE_KIB = 65_536  # of the indexes in which each entry is looked up
STEPS = 1_000_000  # of the database, between two words to who watches: some hundredths of a second
# The tables that point to others, but for the ledger and the roles of runs, which the quick proof has looked at.
_POINTING = ("(rule)", "(rule_change)", "(offer)")
_COUNTED = ("run", "ledger_entry", "budget", "act", "rule", "offer")
_SUMS = """
    SELECT coalesce(sum(held_u), 0), coalesce(sum(spent_u), 0) FROM (
        SELECT coalesce((SELECT sum(amount_u) FROM ledger_entry AS hold
                         WHERE hold.run_id = run.run_id AND hold.kind = 'hold' AND hold.scope = run.member_scope
                           AND hold.period_key = run.member_period AND run.ended_at IS NULL), 0) AS held_u,
               (SELECT charged_u FROM run_view WHERE run_view.run_id = run.run_id) AS spent_u
        FROM run)"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was looked at, and what is broken."""

    breaches: list[str]  # one line for each; empty where the books balance
    invariants: int = 0  # none where the file is too broken for its rows to be read
    counts: dict[str, int] = field(default_factory=dict)  # of the rows that were proven, by their tables
    held_u: int = 0
    charged_u: int = 0


def prove(url: str, watch: Callable[[str], None] = lambda part: None) -> Proof:
    """Prove the whole database: first that it is whole and as this program makes it, then every invariant.

    `watch` is called with the name of each part when its check begins, and repeatedly until it ends. Raises
    DatabaseError if there is no database of ours to read.
    """
    with snapshot(url) as db:
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        part = _Parts(db.conn, watch)
        unsound: list[str] = []
        try:
            part("the file")
            unsound.extend(_damage(db))
            unsound.extend(_unlike_ours(db))
            return _prove_rows(db, unsound, part)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:  # by a signal, while the watcher was told something
                raise KeyboardInterrupt from error
            if not unsound:
                raise
            return Proof(breaches=[*unsound, f"its rows cannot be proven: {error}"])


def check_books(url: str) -> list[str]:
    """One line for each thing that is broken; empty when the books balance. Raises DatabaseError as `prove` does."""
    return prove(url).breaches


class _Parts:
    """Tells a watcher what is looked at, also in the middle of a long statement."""

    def __init__(self, connection: sqlite3.Connection, watch: Callable[[str], None]) -> None:
        self._connection = connection
        self._watch = watch

    def __call__(self, part: str) -> None:
        self._watch(part)
        self._connection.set_progress_handler(lambda: self._watch(part), STEPS)


def _damage(db: Database) -> Iterator[str]:
    """What is wrong with the file itself: with a damaged index a row is there and not found, so this comes first."""
    for (line,) in db.execute("PRAGMA integrity_check").fetchall():
        if line != "ok":
            yield f"{WHOLE}: {line}"


def _unlike_ours(db: Database) -> Iterator[str]:
    """What guards and finds the rows, where it is not as this program makes it."""
    expected, found = migrations.whole_schema(), migrations.schema_of(db)
    for name in sorted(expected.keys() - found.keys()):
        yield f"{MADE}: {name} is missing"
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            yield f"{MADE}: {name} is another"
    for name in sorted(found.keys() - expected.keys()):
        if found[name].upper().startswith("CREATE TRIGGER"):  # what acts on our rows; other tables are nobody's harm
            yield f"{MADE}: {name} is unknown"


def _prove_rows(db: Database, unsound: list[str], part: Callable[[str], None]) -> Proof:
    """Prove the rows, quickly where nothing is wrong; every invariant by itself where something may be."""
    sums = None if unsound else quick_proof(db, part)
    tables, queries = ([""], INVARIANTS) if sums is None else (_POINTING, RECORDS)
    part(POINTS)
    lost = [row for table in tables for row in db.query(f"PRAGMA foreign_key_check{table}")]
    broken = [f"{POINTS}: {json.dumps(row)}" for row in lost]
    for sentence, query in queries.items():
        part(sentence)
        broken.extend(f"{sentence}: {json.dumps(row)}" for row in db.query(query))
    if sums is None:
        held_u, charged_u = db.execute(_SUMS).fetchone()
        sums = Sums(held_u=held_u, charged_u=charged_u)
    return Proof(
        breaches=unsound + broken,
        invariants=len(INVARIANTS),
        counts={table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _COUNTED},
        held_u=sums.held_u,
        charged_u=sums.charged_u,
    )
