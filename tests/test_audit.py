"""The audit finds each kind of breach in a broken database, and none in a healthy one, beside whatever writes it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.errors import DatabaseError
from bot.ledger import Level, Period
from bot.ports import End, NewRun, RunChanges
from bot.runs import Ending, Run, RunState, VeoRequest
from storage import SqliteStore, check_books, open_store
from storage.audit import INVARIANTS

PRICE_U = 1_000_000
LEVELS = [
    Level(scope=scope, period=Period(key="2026-11", resets_at=30.0), limit_u=limit_u)
    for scope, limit_u in (("total", None), ("member:bo", 20 * PRICE_U))
]

BALANCE = "each level's held, spent and excess are what its entries add up to"
LIMIT = "held and spent stay within the limit and the recorded excess"
ENDS = "an ended run has exactly one post or void for each of its holds, and any other run has none"
PAIRS = "every run holds its price on at least one level, and every entry belongs to a run"
HELD = "nothing is posted, given back or adjusted where nothing was held"
POSTS = "a post never exceeds its hold"
COST = "a run whose cost is known is charged exactly that"
LOOKED = "a run that is not over or not delivered will be looked at again"


@dataclass(frozen=True)
class Breach:
    """Statements that break a healthy database, and the sentence that must be said of it."""

    name: str
    sentence: str
    sql: Sequence[str]


ENTRY = "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) VALUES "
BREACHES = [
    Breach("held too much", BALANCE, ["UPDATE budget SET held_u = held_u + 1 WHERE scope = 'total'"]),
    Breach("spent too little", BALANCE, ["UPDATE budget SET spent_u = spent_u - 1 WHERE scope = 'member:bo'"]),
    Breach("an excess without its entry", BALANCE, ["UPDATE budget SET excess_u = excess_u + 1"]),
    Breach("a leaked hold", BALANCE, ["UPDATE budget SET held_u = held_u + 1000000"]),
    Breach("a level is lost", BALANCE, ["DELETE FROM budget WHERE scope = 'total'"]),
    Breach("an entry is lost", BALANCE, ["DELETE FROM ledger_entry WHERE kind = 'adjust' AND scope = 'total'"]),
    Breach("an entry is changed", BALANCE, ["UPDATE ledger_entry SET amount_u = 1 WHERE kind = 'post'"]),
    Breach(
        "an entry in another period",
        BALANCE,
        ["UPDATE ledger_entry SET period_key = '2026-12' WHERE run_id = 'run-open' AND scope = 'total'"],
    ),
    Breach("over the limit", LIMIT, ["UPDATE budget SET limit_u = held_u + spent_u - excess_u - 1"]),
    Breach("no end of an ended run", ENDS, ["DELETE FROM ledger_entry WHERE run_id = 'run-even' AND kind = 'post'"]),
    Breach("two posts", ENDS, [f"{ENTRY} ('run-even', 'total', '2026-11', 'post', 0, 9.0, 'test', '')"]),
    Breach("a post and a void", ENDS, [f"{ENTRY} ('run-even', 'total', '2026-11', 'void', 5, 9.0, 'test', '')"]),
    Breach("an end of an open run", ENDS, [f"{ENTRY} ('run-open', 'total', '2026-11', 'void', 5, 9.0, 'test', '')"]),
    Breach(
        "an end of an unknown run",
        ENDS,
        [f"{ENTRY} ('run-unknown', 'total', '2026-11', 'post', 5, 9.0, 'test', '')"],
    ),
    Breach("a run without a hold", PAIRS, ["DELETE FROM ledger_entry WHERE run_id = 'run-open'"]),
    Breach("a hold below the price", PAIRS, ["UPDATE run SET price_u = price_u + 1 WHERE run_id = 'run-open'"]),
    Breach("entries without a run", PAIRS, ["DELETE FROM run WHERE run_id = 'run-void'"]),
    Breach(
        "given back without a hold",
        HELD,
        ["DELETE FROM ledger_entry WHERE run_id = 'run-void' AND kind = 'hold' AND scope = 'total'"],
    ),
    Breach(
        "adjusted in another period",
        HELD,
        ["UPDATE ledger_entry SET period_key = '2026-12' WHERE kind = 'adjust' AND scope = 'total'"],
    ),
    Breach(
        "a post above its hold",
        POSTS,
        ["UPDATE ledger_entry SET amount_u = amount_u + 1 WHERE run_id = 'run-even' AND kind = 'post'"],
    ),
    Breach("a post below zero", POSTS, ["UPDATE ledger_entry SET amount_u = -1 WHERE kind = 'post'"]),
    Breach("another cost", COST, ["UPDATE run SET cost_u = cost_u + 1 WHERE run_id = 'run-even'"]),
    Breach("a free video", COST, ["UPDATE run SET cost_u = 0 WHERE run_id = 'run-guessed'"]),
    Breach("a forgotten run", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-open'"]),
    Breach("a forgotten unknown run", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-unknown'"]),
    Breach("a forgotten delivery", LOOKED, ["UPDATE run SET due_at = NULL WHERE run_id = 'run-even'"]),
]


async def a_run(store: SqliteStore, name: str) -> Run:
    new = NewRun(
        run_id=f"run-{name}",
        origin=name,
        member="bo",
        server="server",
        channel="channel",
        request=VeoRequest(prompt="a red fox"),
        price_u=PRICE_U,
        callback_token=f"token-{name}",
        reply_to=None,
        reply_until=None,
        upload_limit_bytes=None,
        now=0.0,
    )
    begun = await store.begin_submit(await store.admit(new, LEVELS, in_flight_max=99), now=1.0, total_max=99)
    assert begun is not None
    return begun


async def fill(store: SqliteStore) -> None:
    """Runs in every position towards the money: open, unknown, charged, given back, corrected."""
    lost = await store.advance(await a_run(store, "unknown"), RunState.AMBIGUOUS, now=2.0, changes=RunChanges())
    assert lost is not None
    await store.advance(lost, RunState.UNKNOWN, now=3.0, changes=RunChanges())
    ends = {
        "even": End(ending=Ending.VIDEO, cost_u=PRICE_U),
        "below": End(ending=Ending.NSFW, cost_u=5),
        "above": End(ending=Ending.VIDEO, cost_u=3 * PRICE_U),
        "free": End(ending=Ending.EMPTY, cost_u=0),
        "void": End(ending=Ending.FAILED),
        "guessed": End(ending=Ending.VIDEO),
        "cheaper": End(ending=Ending.VIDEO),
        "dearer": End(ending=Ending.CANCELLED),
    }
    for name, end in {**ends, "open": None}.items():
        changes = RunChanges(provider_id=f"job-{name}")
        run = await store.advance(await a_run(store, name), RunState.RUNNING, now=2.0, changes=changes)
        assert run is not None
        if end is not None:
            run = await store.settle(run, end, now=3.0)
            assert run is not None
        if name in ("cheaper", "dearer"):
            await store.correct(run, 7, now=4.0)
    await store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "veo.db"
    loop = asyncio.new_event_loop()
    loop.run_until_complete(fill(open_store(f"sqlite:///{path}")))
    loop.close()
    return path


@pytest.fixture
def healthy(filled: Path, tmp_path: Path) -> Path:
    """A database of the test's own with all those runs in it."""
    return Path(shutil.copy(filled, tmp_path / "healthy.db"))


def broken(path: Path, statements: Sequence[str]) -> str:
    """The address of a copy of a database that something got past all its guards."""
    copy = path.with_name("broken.db")
    shutil.copy(path, copy)
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for name in ("ledger_only_grows", "ledger_keeps_all"):
            connection.execute(f"DROP TRIGGER {name}")
        for name in ("one_hold", "one_end"):
            connection.execute(f"DROP INDEX {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    return f"sqlite:///{copy}"


def test_healthy_books_balance(healthy: Path) -> None:
    """Open, unknown, charged, freed and corrected runs: there is nothing to say, and the file is only read."""
    before = healthy.read_bytes()
    assert check_books(f"sqlite:///{healthy}") == []
    assert check_books(broken(healthy, [])) == []  # losing the guards alone breaks nothing
    assert healthy.read_bytes() == before


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_every_breach_is_found(healthy: Path, breach: Breach) -> None:
    """Each way to break the books is reported under its sentence, with the row that breaks it."""
    found = check_books(broken(healthy, breach.sql))
    assert any(line.startswith(f"{breach.sentence}: {{") for line in found), found


def test_no_invariant_goes_unproven() -> None:
    """Every sentence of the audit has a breach above that it must find."""
    assert {breach.sentence for breach in BREACHES} == set(INVARIANTS)


def test_a_line_names_the_row(healthy: Path) -> None:
    """A line carries what is stored and what the entries say, so that the row can be found."""
    (line,) = check_books(broken(healthy, ["UPDATE budget SET held_u = held_u + 1 WHERE scope = 'member:bo'"]))
    assert '"scope": "member:bo"' in line
    assert f'"held_u": {2 * PRICE_U + 1}' in line
    assert f'"held_by_entries": {2 * PRICE_U}' in line


async def test_the_audit_works_beside_a_writer(healthy: Path) -> None:
    """An open writer is not disturbed, its commits are seen, and what it has not committed yet is not."""
    url = f"sqlite:///{healthy}"
    store = open_store(url)
    await a_run(store, "new")
    assert check_books(url) == []
    store._db.execute("BEGIN IMMEDIATE")
    store._db.execute("UPDATE budget SET held_u = held_u + 1")
    assert check_books(url) == []
    store._db.execute("COMMIT")
    assert len(check_books(url)) == len(LEVELS)
    await a_run(store, "newer")
    await store.close()


async def test_what_a_dead_writer_left_is_read_and_stays(healthy: Path, tmp_path: Path) -> None:
    """After a kill the commits that stand in the log alone are audited too, and neither file is touched."""
    store, left = open_store(f"sqlite:///{healthy}"), tmp_path / "left"
    await a_run(store, "new")
    store._db.execute("UPDATE budget SET held_u = held_u + 1")
    left.mkdir()
    files = {name: Path(shutil.copy(tmp_path / name, left)) for name in ("healthy.db", "healthy.db-wal")}
    await store.close()
    before = {name: path.read_bytes() for name, path in files.items()}
    assert len(check_books(f"sqlite:///{files['healthy.db']}")) == len(LEVELS)
    assert {name: path.read_bytes() for name, path in files.items()} == before


def test_there_is_nothing_to_audit_yet(tmp_path: Path) -> None:
    """Before the first start a sentence says so, and no file is made."""
    with pytest.raises(DatabaseError, match="no database at"):
        check_books(f"sqlite:///{tmp_path}/veo.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 99], ids=["empty", "garbage"])
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes) -> None:
    """An unreadable file is no healthy database: a sentence names it, and it stays as it is."""
    path = tmp_path / "veo.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"veo\.db cannot be read"):
        check_books(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_foreign_books_are_not_audited(tmp_path: Path) -> None:
    """Another program's database is not read as ours."""
    path = tmp_path / "veo.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE guestbook (name TEXT)")
    with pytest.raises(DatabaseError, match="another program"):
        check_books(f"sqlite:///{path}")
