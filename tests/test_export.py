"""The export is the ledger: every entry, exact, in order, of one moment, and no secrets."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.domain.limits import Level
from bot.domain.periods import Period
from bot.domain.records import Act, End, RunChanges
from bot.domain.runs import Ending, RunState
from bot.errors import DatabaseError
from storage import SqliteStore, check_books, export_entries, open_store
from storage.export import COLUMNS
from tests.money import PRICE_U, new_run
from tests.words import refuses

DAY = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
NEXT = DAY + 86400.0
MONTH = Period(kind="month", key="2026-11", starts_at=DAY - 21 * 86400.0, resets_at=DAY + 9 * 86400.0)
MEMBER = Level(scope="member:discord:1", period=MONTH, limit_u=100 * PRICE_U)
LEVELS = [
    Level(scope="total", period=MONTH, limit_u=None),
    Level(scope="server:discord:2", period=MONTH, limit_u=None),
    Level(scope="channel:discord:3", period=MONTH, limit_u=None),
    MEMBER,
]
FORMULA = '=HYPERLINK("https://evil.example", "prize")'
NAMES = (FORMULA, "+1", "-1", "@SUM(A1)", "\tBo", "\rBo", 'Bo, "the" fox', "狐 🦊", "Bo\nBo", "'Bo", "")
REPLY = "discord:a-reply-address"

Form = Literal["csv", "jsonl"]


def act(verb: str, at: float, reason: str) -> Act:
    return Act(at=at, server="discord:2", actor="discord:5", actor_name="Ada", verb=verb, subject="x", reason=reason)


async def a_run(store: SqliteStore, name: str, at: float, end: End | None = None, **changes: Any) -> None:
    """A run that was asked for at a time and, where it has an end, had it at the same."""
    addressed = {"reply_to": REPLY, "reply_until": NEXT, **changes}
    run = await store.admit(new_run(name, now=at, **addressed), lambda _: LEVELS)
    if end is not None:
        begun = await store.begin_submit(run, now=at, total_max=99)
        assert begun is not None
        running = await store.advance(begun, RunState.RUNNING, now=at, changes=RunChanges(provider_id=f"job-{name}"))
        assert running is not None
        await store.settle(running, end, now=at)


async def fill(store: SqliteStore) -> None:
    """Entries of every kind, at the borders of days, by members and admins with every sort of name."""
    await a_run(store, "before", DAY - 0.001, End(ending=Ending.VIDEO, cost_u=PRICE_U))
    await a_run(store, "first", DAY, End(ending=Ending.VIDEO, cost_u=PRICE_U + 1))
    await a_run(store, "last", NEXT - 0.001, End(ending=Ending.FAILED))
    await a_run(store, "after", NEXT)
    for place, name in enumerate(NAMES):
        end = End(ending=Ending.VIDEO, cost_u=PRICE_U // 3 + place)
        await a_run(store, f"{place}", NEXT + 1.0, end, price_u=PRICE_U // 2, member_name=name)
    await store.grant("discord:2", lambda _: MEMBER, 1_234_567_890_123_456, act("grant", NEXT + 2.0, FORMULA))
    await store.refund("run-first", lambda run: run.charged_u, lambda _: MEMBER, act("refund", NEXT + 3.0, "-"))
    await a_run(store, "guessed", NEXT + 4.0, End(ending=Ending.VIDEO))
    guessed = await store.get("run-guessed")
    assert guessed is not None
    await store.correct(guessed, 1, now=NEXT + 5.0)
    await store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "veo.db"
    asyncio.run(fill(open_store(f"sqlite:///{path}")))
    assert check_books(f"sqlite:///{path}") == []
    return path


@pytest.fixture
def ledger(filled: Path, tmp_path: Path) -> Path:
    """A database of the test's own with all of it."""
    return Path(shutil.copy(filled, tmp_path / "ledger.db"))


def exported(path: Path, form: Form, first: date | None = None, last: date | None = None) -> str:
    out = io.StringIO(newline="")
    export_entries(f"sqlite:///{path}", out, form, first=first, last=last)
    return out.getvalue()


def of_csv(text: str) -> list[dict[str, str]]:
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert tuple(header) == COLUMNS
    return [dict(zip(header, row, strict=True)) for row in rows]


def of_json(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n")[:-1]]


def rows(path: Path, sql: str) -> list[Mapping[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def runs_of(path: Path, first: date | None, last: date | None) -> set[str | None]:
    return {row["run_id"] for row in of_json(exported(path, "jsonl", first, last))}


def test_the_sums_of_each_level_are_its_budget(ledger: Path) -> None:
    """Whoever adds the export up gets, to the micro-dollar, what the bot decides by."""
    entries = of_csv(exported(ledger, "csv"))
    sums: Counter[tuple[str, str, str]] = Counter()
    for entry in entries:
        amount_u = Decimal(entry["amount_usd"]) * 1_000_000
        assert amount_u == int(amount_u)
        sums[entry["scope"], entry["period"], entry["kind"]] += int(amount_u)
    quotes = {(entry["run_id"], entry["scope"], entry["period"]): entry["quote_usd"] for entry in entries}
    ended = {(e["run_id"], e["scope"], e["period"]) for e in entries if e["kind"] in ("post", "void")}
    resolved: Counter[tuple[str, str]] = Counter()
    for run_id, scope, period in ended:
        resolved[scope, period] += int(Decimal(quotes[run_id, scope, period]) * 1_000_000)
    budgets = rows(ledger, "SELECT * FROM budget")
    assert {(budget["scope"], budget["period_key"]) for budget in budgets} == {key[:2] for key in sums}
    for budget in budgets:
        level = budget["scope"], budget["period_key"]
        assert sums[*level, "hold"] - resolved[level] == budget["held_u"]
        assert sums[*level, "post"] + sums[*level, "adjust"] == budget["spent_u"]
    assert {kind for _, _, kind in sums} == {"hold", "post", "void", "adjust", "grant", "refund"}


def test_both_formats_say_the_same_of_every_entry(ledger: Path) -> None:
    """Parsed back, each is the whole ledger in order, with who, why, and what the run was quoted and cost."""
    stored = rows(
        ledger,
        "SELECT entry_id, entry.at, run_id, scope, period_key, entry.kind, entry.amount_u, entry.actor, entry.reason, "
        "act.actor_name, act.verb, run.member_name, price_u, cost_u FROM ledger_entry AS entry "
        "LEFT JOIN run USING (run_id) LEFT JOIN act USING (act_id) ORDER BY entry_id",
    )
    as_json, as_csv = of_json(exported(ledger, "jsonl")), of_csv(exported(ledger, "csv"))
    assert len(as_json) == len(as_csv) == len(stored)
    for entry, cells, row in zip(as_json, as_csv, stored, strict=True):
        assert tuple(entry) == COLUMNS
        at = datetime.fromisoformat(entry["at"])
        assert at.utcoffset() == datetime.now(UTC).utcoffset()
        assert abs(at.timestamp() - row["at"]) < 0.001
        for name, column in {"amount_usd": "amount_u", "quote_usd": "price_u", "cost_usd": "cost_u"}.items():
            amount_u = None if entry[name] is None else Decimal(entry[name]) * 1_000_000
            assert amount_u == row[column]
        names = {"period": "period_key", "act": "verb"}
        same = ("entry_id", "run_id", "scope", "period", "kind", "actor", "actor_name", "reason", "act", "member_name")
        assert [entry[name] for name in same] == [row[names.get(name, name)] for name in same]
        unmarked = {name: cell.removeprefix("'") if cell[1:2] in "=+-@\t\r" else cell for name, cell in cells.items()}
        assert unmarked == {name: "" if value is None else str(value) for name, value in entry.items()}
    assert {entry["actor_name"] for entry in as_json} == {None, "Ada"}
    assert {entry["member_name"] for entry in as_json} == {None, "Bo", *NAMES}


@pytest.mark.parametrize(
    ("amount_u", "said"),
    [(1, "0.000001"), (PRICE_U, "1.00"), (-PRICE_U + 1, "-0.999999"), (10**15 + 1, "1000000000.000001")],
)
def test_amounts_are_exact(ledger: Path, amount_u: int, said: str) -> None:
    """At least cents, down to the micro-dollar where it counts, below zero too: a number, and no text, in CSV."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
            "VALUES ('run-first', 'total', '2026-11', 'adjust', ?, 0.0, 'bot', '')",
            (amount_u,),
        )
    assert of_csv(exported(ledger, "csv"))[-1]["amount_usd"] == said
    assert of_json(exported(ledger, "jsonl"))[-1]["amount_usd"] == said


def test_no_text_is_a_formula(ledger: Path) -> None:
    """Names and reasons that a spreadsheet would run are marked as texts; in JSON they are as they were."""
    table = exported(ledger, "csv")
    texts = {cell for row in of_csv(table) for name, cell in row.items() if not name.endswith("_usd")}
    assert not {text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))}
    assert {f"'{FORMULA}", "'-", "'+1", "'@SUM(A1)", "'\tBo", "'\rBo", "狐 🦊"} <= texts
    assert {FORMULA, "-"} <= {row["reason"] for row in of_json(exported(ledger, "jsonl"))}


@pytest.mark.parametrize(
    ("first", "last", "inside", "outside"),
    [
        (None, date(2026, 11, 21), {"run-before"}, {"run-first", "run-last", "run-after"}),
        (date(2026, 11, 22), date(2026, 11, 22), {"run-first", "run-last"}, {"run-before", "run-after"}),
        (date(2026, 11, 22), None, {"run-first", "run-last", "run-after"}, {"run-before"}),
        (date(2026, 11, 23), date(9999, 12, 31), {"run-after"}, {"run-before", "run-last"}),
        (date(1, 1, 1), date(2026, 11, 22), {"run-before", "run-first", "run-last"}, {"run-after"}),
    ],
)
def test_days_begin_and_end_at_midnight_in_utc(
    ledger: Path, first: date | None, last: date | None, inside: set[str], outside: set[str]
) -> None:
    """The first and the last day are in it whole, and not a millisecond more."""
    found = runs_of(ledger, first, last)
    assert inside <= found
    assert not outside & found


def test_days_add_up_to_everything(ledger: Path) -> None:
    """Each entry belongs to one day, so that exports day by day miss nothing and repeat nothing."""
    days = [exported(ledger, "jsonl", date(2026, 11, day), date(2026, 11, day)) for day in (21, 22, 23)]
    assert all(days)
    by_id = sorted((row for day in days for row in of_json(day)), key=lambda row: int(row["entry_id"]))
    assert by_id == of_json(exported(ledger, "jsonl"))


def test_a_span_without_entries_is_empty(ledger: Path) -> None:
    """As CSV the names of the columns stay."""
    nothing = date(2026, 1, 1), date(2026, 1, 31)
    assert exported(ledger, "csv", *nothing) == ",".join(COLUMNS) + "\r\n"
    assert exported(ledger, "jsonl", *nothing) == ""


async def test_an_open_writer_is_not_disturbed(ledger: Path) -> None:
    """What it has committed is in the export, what it has not is not, and it goes on."""
    store = open_store(f"sqlite:///{ledger}")
    await a_run(store, "new", NEXT)
    whole = exported(ledger, "csv")
    assert "run-new" in whole
    store.writer.connection.execute("BEGIN IMMEDIATE")
    store.writer.connection.execute(
        "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
        "VALUES ('run-new', 'total', '2026-11', 'adjust', 0, 0.0, 'bot', '')"
    )
    assert exported(ledger, "csv") == whole
    store.writer.connection.execute("ROLLBACK")
    await a_run(store, "newer", NEXT)
    await store.close()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_all_of_it_is_of_one_moment(ledger: Path, form: Form) -> None:
    """What is booked while the export is on its way is not in it, and is not held up by it."""
    before = exported(ledger, form)

    class Slow(io.StringIO):
        """Something is booked whenever a line has been written."""

        def write(self, text: str) -> int:
            with closing(sqlite3.connect(ledger)) as connection, connection:
                connection.execute(
                    "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
                    "VALUES ('run-first', 'total', '2026-11', 'adjust', 0, 0.0, 'bot', '')"
                )
            return super().write(text)

    out = Slow(newline="")
    export_entries(f"sqlite:///{ledger}", out, form)
    assert out.getvalue() == before
    assert len(exported(ledger, form)) > len(before)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_there_are_no_secrets_in_it(ledger: Path, form: Form) -> None:
    """Neither callback tokens nor reply addresses, nor the key of the media links, nor what was filmed."""
    (key,) = [row["value"] for row in rows(ledger, "SELECT value FROM installation")]
    runs = rows(ledger, "SELECT run_id, callback_token, reply_to, request FROM run")
    secrets = {row["callback_token"] for row in runs} | {row["reply_to"] for row in runs if row["reply_to"]}
    secrets |= {json.loads(row["request"])["prompt"] for row in runs} | {key.hex(), repr(key)[2:-1]}
    assert {"token-first", REPLY, "a red fox"} <= secrets
    text = exported(ledger, form)
    assert all(row["run_id"] in text for row in runs)
    assert not {secret for secret in secrets if secret in text}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_without_a_database_nothing_is_written(tmp_path: Path, form: Form) -> None:
    """A sentence says so, no file is made, and no line of an export that there is not is begun."""
    out = io.StringIO()
    with refuses(DatabaseError, "There is no database at"):
        export_entries(f"sqlite:///{tmp_path}/veo.db", out, form)
    assert out.getvalue() == ""
    assert list(tmp_path.iterdir()) == []
