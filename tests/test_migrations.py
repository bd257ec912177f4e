"""A database is made, found again, or refused in a sentence and left as it was.

In one piece, because every refusal and every step starts from the same old files.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlite_utils import Database

from bot.domain.limits import Level, OverLimit, Policy, Rule, RuleKind, Spender
from bot.domain.models import VeoRequest
from bot.domain.periods import Period, period_at
from bot.domain.records import Act, End, RunChanges, Wanted
from bot.domain.report import Day
from bot.domain.runs import Delivery, Ending, Run, RunState
from bot.errors import DatabaseError
from storage import Archive, SqliteStore, check_books, open_store
from storage.sqlite import migrations
from storage.sqlite import schema as steps
from tests.money import dump, lift_rule, new_run, put_rule, wish
from tests.words import refuses, said

NOBODY = 65534
LEVEL = Level(
    scope="member:discord:1",
    period=Period(kind="month", key="2026-11", starts_at=0.0, resets_at=30.0),
    limit_u=None,
)
ACT = Act(at=0.0, server="discord:2", actor="9", actor_name="Ada", verb="set", subject="total")


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def one_run(store: SqliteStore) -> Run:
    return await store.admit(new_run("1", now=0.0), lambda _: [LEVEL])


def schema(path: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return list(connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name"))


def refused(path: Path, words: str) -> None:
    """The database is refused in one sentence with these words, and not a byte of it changes."""
    files = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file() and each.suffix != ".lock"}
    with refuses(DatabaseError, words) as refusal:
        open_store(url(path))
    assert str(path) in said(refusal.value)
    assert "\n" not in said(refusal.value)
    assert said(refusal.value).endswith(".")
    after = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file() and each.suffix != ".lock"}
    assert after == files


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere, so it becomes nobody for a while; the modes of folders then hold for it too."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


class TestMaking:
    async def test_a_fresh_database_is_made_with_its_folder(self, tmp_path: Path) -> None:
        """The first start makes folder, file and schema, with empty books that balance."""
        path = tmp_path / "data" / "deep" / "veo.db"
        store = open_store(url(path))
        assert await store.history(Wanted(member="bo"), 1) == []
        assert check_books(url(path)) == []
        await store.close()
        names = {name for kind, name, _ in schema(path) if kind in ("table", "view", "trigger")}
        assert {"run", "budget", "ledger_entry", "run_view", "ledger_only_grows", "ledger_keeps_all"} <= names

    async def test_three_slashes_are_relative_and_four_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`sqlite:///data/veo.db` lies under the working directory, `sqlite:////...` where it says."""
        monkeypatch.chdir(tmp_path)
        for address, path in (("sqlite:///data/a.db", "data/a.db"), (f"sqlite:///{tmp_path}/b.db", "b.db")):
            await open_store(address).close()
            assert (tmp_path / path).is_file()

    async def test_a_database_is_found_again(self, tmp_path: Path) -> None:
        """A second start changes nothing of the schema, loses no run and keeps the key of the media links."""
        path = tmp_path / "veo.db"
        store = open_store(url(path))
        run, key, made = await one_run(store), await store.media_key(), schema(path)
        await store.close()
        again = open_store(url(path))
        assert (await again.get("run-1"), await again.media_key(), schema(path)) == (run, key, made)
        await again.close()

    async def test_every_installation_has_its_own_key(self, tmp_path: Path) -> None:
        """Links are signed with 32 random octets that no other database has."""
        keys = []
        for name in ("a.db", "b.db"):
            store = open_store(url(tmp_path / name))
            keys.append(await store.media_key())
            await store.close()
        assert [len(key) for key in keys] == [32, 32]
        assert keys[0] != keys[1]

    async def test_money_tables_take_whole_numbers_only(self, tmp_path: Path) -> None:
        """Fractions and words are refused as amounts by the tables themselves."""
        path = tmp_path / "veo.db"
        await open_store(url(path)).close()
        with closing(sqlite3.connect(path)) as connection:
            for value in ("0.5", "'much'"):
                with pytest.raises(sqlite3.IntegrityError):
                    connection.execute(f"INSERT INTO budget (scope, period_key, held_u) VALUES ('a', 'b', {value})")

    async def test_the_tables_refuse_what_the_rules_forbid(self, tmp_path: Path) -> None:
        """Even raw SQL cannot go below zero, or change and remove what the ledger and the acts keep."""
        path = tmp_path / "veo.db"
        store = open_store(url(path))
        await one_run(store)
        rule = Rule(server="discord:2", subject="member:discord:1", kind=RuleKind.LIMIT, period="day", limit_u=1)
        await put_rule(store, rule, ACT)
        await store.close()
        copied = (
            "INSERT INTO ledger_entry SELECT {}, run_id, scope, period_key, '{}', 1, at, '', '', {} FROM ledger_entry"
        )
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"{copied.format(8, 'void', 'NULL')} WHERE kind = 'hold'")
            connection.execute(f"{copied.format(7, 'refund', 1)} WHERE kind = 'hold'")
            for statement in (
                "UPDATE budget SET held_u = -1",
                "UPDATE budget SET spent_u = -1",
                "UPDATE ledger_entry SET amount_u = 2",
                "DELETE FROM ledger_entry",
                f"{copied.format(9, 'hold', 'NULL')} WHERE kind = 'hold'",
                f"{copied.format(9, 'post', 'NULL')} WHERE kind = 'hold'",
                f"{copied.format(9, 'void', 'NULL')} WHERE kind = 'hold'",
                f"{copied.format(9, 'gift', 1)} WHERE kind = 'hold'",
                f"{copied.format(9, 'refund', 1)} WHERE kind = 'hold'",
                f"{copied.format(9, 'grant', 1)} WHERE kind = 'hold'",
                "INSERT INTO ledger_entry SELECT 9, NULL, scope, period_key, 'grant', 1, at, '', '', NULL "
                "FROM ledger_entry WHERE kind = 'hold'",
                "INSERT INTO ledger_entry SELECT 9, NULL, scope, period_key, 'post', 1, at, '', '', NULL "
                "FROM ledger_entry WHERE kind = 'hold'",
                "UPDATE act SET actor = 'me'",
                "DELETE FROM act",
                "UPDATE rule SET limit_u = -1",
                "UPDATE rule SET period = NULL",
                "UPDATE rule SET period = 'year'",
                "UPDATE rule SET in_flight = -1",
                "UPDATE run SET state = 'running'",
                "UPDATE run SET state = 'failed'",
                "UPDATE run SET ended_at = 1.0",
                "UPDATE run SET state = 'lost'",
            ):
                with pytest.raises(sqlite3.IntegrityError):
                    connection.execute(statement)

    async def test_a_migration_that_fails_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step that breaks in its middle is undone whole, and a mended program starts afresh on the same file."""
        path = tmp_path / "veo.db"
        with monkeypatch.context() as patch:
            patch.setattr(steps, "SCHEMA_1", f"{steps.SCHEMA_1}; CREATE TABLE run (again TEXT);")
            with refuses(DatabaseError, "cannot be opened"):
                open_store(url(path))
        assert schema(path) == []
        await open_store(url(path)).close()
        assert check_books(url(path)) == []


NOV_25 = 1795608000.0
OCT_24 = 1792800000.0
REQUEST = (
    '{"prompt": "a red fox", "duration": "8s", "resolution": "720p", "aspect_ratio": "16:9", "generate_audio": false, '
    '"negative_prompt": null, "seed": null, "auto_fix": true, "safety_tolerance": "4"}'
)
OLD_RUNS = [
    # run, member, server, asked at, period, state, ending, cost_u, delivery
    ("corrected", "discord:1", "discord:2", OCT_24, "2026-10", "succeeded", "video", 1_200_000, "delivered"),
    ("doubted", "discord:1", "discord:2", OCT_24 + 9, "2026-10", "unknown", None, None, "delivered"),
    ("beyond", "discord:1", "discord:2", NOV_25 - 90_000, "2026-11", "succeeded", "video", 2_000_000, "delivered"),
    ("failed", "discord:1", "discord:2", NOV_25 - 80_000, "2026-11", "failed", "failed", None, "pending"),
    ("open", "discord:1", "discord:2", NOV_25 - 70_000, "2026-11", "running", None, None, "none"),
    ("estimated", "discord:5", "discord:9", NOV_25 - 60_000, "2026-11", "succeeded", "video", None, "delivered"),
    ("waiting", "discord:5", "discord:9", NOV_25 - 50_000, "2026-11", "reserved", None, None, "none"),
]
OLD_ENTRIES = [
    ("corrected", "hold", 1_600_000, "admitted"),
    ("corrected", "post", 1_600_000, "video, no cost given"),
    ("doubted", "hold", 1_600_000, "admitted"),
    ("corrected", "adjust", -400_000, "Runflow named the cost later"),
    ("beyond", "hold", 1_600_000, "admitted"),
    ("beyond", "post", 1_600_000, "video, cost by Runflow"),
    ("beyond", "adjust", 400_000, "the cost is above the hold"),
    ("failed", "hold", 1_600_000, "admitted"),
    ("open", "hold", 1_600_000, "admitted"),
    ("failed", "void", 1_600_000, "failed, no cost given"),
    ("estimated", "hold", 1_600_000, "admitted"),
    ("waiting", "hold", 1_600_000, "admitted"),
    ("estimated", "post", 1_600_000, "video, no cost given"),
]
OLD_BUDGETS = [
    # scope, period, limit_u, held_u, spent_u, excess_u
    ("member:discord:1", "2026-10", 10_000_000, 1_600_000, 1_200_000, 0),
    ("member:discord:1", "2026-11", 10_000_000, 1_600_000, 2_000_000, 400_000),
    ("member:discord:5", "2026-11", None, 1_600_000, 1_600_000, 0),
]
POLICY = Policy(
    member_limit_u=10_000_000,
    server_ceiling_u=None,
    total_ceiling_u=None,
    period="month",
    zone=ZoneInfo("UTC"),
    runs_per_member=9,
)
BO = Spender(member="discord:1", server="discord:2", channel="discord:3", roles=("discord:4",))


def old_database(path: Path) -> None:
    """What the first published version of the program leaves behind."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            'CREATE TABLE "_sqlite_migrations" (\n   "id" INTEGER PRIMARY KEY,\n   "migration_set" TEXT,\n'
            '   "name" TEXT,\n   "applied_at" TEXT\n) STRICT;'
            'CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"\n'
            '    ON "_sqlite_migrations" ("migration_set", "name");'
        )
        connection.executescript(steps.SCHEMA_1)
        connection.execute(
            "INSERT INTO _sqlite_migrations VALUES "
            "(1, 'veo-bot', 'step_1_runs_and_ledger', '2026-10-20 08:00:00.000000+00:00')"
        )
        connection.execute("INSERT INTO installation VALUES ('media_key', ?)", [bytes(range(32))])
        for name, member, server, at, period, state, ending, cost_u, delivery in OLD_RUNS:
            over = ending is not None
            row = {
                "run_id": f"run-{name}",
                "origin": f"origin-{name}",
                "callback_token": f"token-{name}",
                "member": member,
                "server": server,
                "channel": "discord:3",
                "request": REQUEST,
                "price_u": 1_600_000,
                "member_scope": f"member:{member}",
                "member_period": period,
                "state": state,
                "state_at": at + 5,
                "created_at": at,
                "ending": ending,
                "ended_at": at + 5 if over else None,
                "cost_u": cost_u,
                "notice": "result" if over else None,
                "delivery": delivery,
                "provider_id": None if state in ("reserved", "unknown") else f"job-{name}",
                "due_at": None if over and delivery == "delivered" else at + 60,
            }
            columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
            connection.execute(f"INSERT INTO run ({columns}) VALUES ({marks})", row)
        connection.executemany("INSERT INTO budget VALUES (?, ?, ?, ?, ?, ?)", OLD_BUDGETS)
        connection.executemany(
            "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
            "SELECT run_id, member_scope, member_period, ?, ?, iif(? = 'hold', created_at, state_at), 'bot', ? "
            "FROM run WHERE run_id = 'run-' || ?",
            [(kind, amount_u, kind, reason, name) for name, kind, amount_u, reason in OLD_ENTRIES],
        )


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table by the names of its columns, in the order of its making."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        order = {"run_role": "role, run_id"}  # which has no numbers for its rows
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY {order.get(name, 'rowid')}")]
            for name in names
        }


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "veo.db"
    old_database(path)
    return path


class TestMigrating:
    """A database of the first version, with runs in the present and an older period, is opened by this one."""

    def test_a_published_step_is_never_changed(self) -> None:
        """There are databases that were made by it."""
        published = (steps.SCHEMA_1, steps.SCHEMA_2, steps.SCHEMA_3)
        assert [hashlib.sha256(each.encode()).hexdigest()[:16] for each in published] == DIGESTS

    async def test_nothing_is_lost(self, old: Path) -> None:
        """Every run, entry, amount and key is what it was, and the books balance."""
        before = rows_of(old)
        store = open_store(url(old))
        after = rows_of(old)
        for row in before["budget"]:  # which were kept for a check that is there no more
            del row["limit_u"], row["excess_u"]
        for table, rows in before.items():
            if table != "_sqlite_migrations":
                assert [{name: row[name] for name in rows[0]} for row in after[table]] == rows
        assert after["_sqlite_migrations"][: len(before["_sqlite_migrations"])] == before["_sqlite_migrations"]
        assert await store.media_key() == bytes(range(32))
        assert check_books(url(old)) == []
        await store.close()

    async def test_old_runs_read_as_runs(self, old: Path) -> None:
        """Each is charged what it was, to the channel in which it was asked for, by a member of no known roles."""
        store = open_store(url(old))
        charged = {"corrected": 1_200_000, "beyond": 2_000_000, "estimated": 1_600_000}
        for name, member, server, at, _, state, ending, cost_u, _ in OLD_RUNS:
            run = await store.get(f"run-{name}")
            assert run is not None
            assert (run.member, run.server, run.channel, run.created_at) == (member, server, "discord:3", at)
            assert (run.state, run.ending, run.cost_u) == (state, ending, cost_u)
            assert (run.charged_u, run.refunded_u) == (charged.get(name, 0), 0)
            assert (run.budget_channel, run.member_name, run.roles) == ("discord:3", "", ())
            assert run.request == VeoRequest(prompt="a red fox", generate_audio=False)
        await store.close()
        archive = Archive(url(old))
        charges = set[int]()
        days = [Day(key="all", starts_at=0.0, ends_at=NOV_25)]
        await archive.report("discord:2", days, lambda runs: charges.update(run.charged_u for run in runs))
        archive.close()
        assert charges == {0, 1_200_000, 2_000_000}

    async def test_every_level_has_the_runs_of_before(self, old: Path) -> None:
        """Levels that the first version did not have stand where the runs of their period put them."""
        store, plan = open_store(url(old)), POLICY.levels(BO, NOV_25)
        found = {each.scope: (each.held_u, each.spent_u) for each in await store.standings(BO, plan)}
        assert found == {
            "total": (3_200_000, 3_600_000),
            "server:discord:2": (1_600_000, 2_000_000),
            "channel:discord:3": (3_200_000, 3_600_000),
            "member:discord:1": (1_600_000, 2_000_000),
        }
        october = await store.standings(BO, POLICY.levels(BO, OCT_24))
        assert {(each.held_u, each.spent_u) for each in october} == {(1_600_000, 1_200_000)}
        await store.close()

    @pytest.mark.parametrize("late", [False, True], ids=["before the levels", "after the levels"])
    async def test_an_open_run_goes_on(self, old: Path, late: bool) -> None:
        """It is settled by its cost on its own level, and on the shared ones, opened by then or not."""
        store, plan = open_store(url(old)), POLICY.levels(BO, NOV_25)
        if late:
            await store.admit(new_run("new", now=NOV_25), plan)
        run = await store.get("run-open")
        assert run is not None
        settled = await store.settle(run, End(ending=Ending.VIDEO, cost_u=1_500_000), now=NOV_25 + 1)
        assert settled is not None
        assert (settled.charged_u, settled.delivery) == (1_500_000, Delivery.PENDING)
        if not late:
            await store.admit(new_run("new", now=NOV_25), plan)
        found = {each.scope: (each.held_u, each.spent_u) for each in await store.standings(BO, plan)}
        assert found == {
            "total": (2_600_000, 5_100_000),
            "server:discord:2": (1_000_000, 3_500_000),
            "channel:discord:3": (2_600_000, 5_100_000),
            "member:discord:1": (1_000_000, 3_500_000),
        }
        await store.close()
        assert check_books(url(old)) == []

    async def test_an_older_period_is_settled_in_its_own(self, old: Path) -> None:
        """A run of October that was in doubt is found in November, and October is charged, on every level."""
        store = open_store(url(old))
        run = await store.get("run-doubted")
        assert run is not None
        found = await store.advance(run, RunState.RUNNING, now=NOV_25, changes=RunChanges(provider_id="job-9"))
        assert found is not None
        assert await store.settle(found, End(ending=Ending.VIDEO), now=NOV_25) is not None
        october = await store.standings(BO, POLICY.levels(BO, OCT_24))
        assert {(each.held_u, each.spent_u) for each in october} == {(0, 2_800_000)}
        november = await store.standings(BO, POLICY.levels(BO, NOV_25))
        assert november[-1].spent_u == 2_000_000
        await store.close()
        assert check_books(url(old)) == []

    @pytest.mark.parametrize("scope", ["total", "server:discord:2", "channel:discord:3", "role:discord:4"])
    async def test_a_limit_set_afterwards_counts_what_was_before(self, old: Path, scope: str) -> None:
        """To the micro-dollar; roles of before are not known, so that a pool starts empty."""
        store = open_store(url(old))
        used_u = {"total": 6_800_000, "server:discord:2": 3_600_000, "channel:discord:3": 6_800_000}.get(scope, 0)
        server = "*" if scope == "total" else "discord:2"
        for room_u in (999_999, 1_000_000):
            rule = Rule(server=server, subject=scope, kind=RuleKind.LIMIT, period="month", limit_u=used_u + room_u)
            await put_rule(store, rule, ACT)
            wanted = store.admit(new_run("new", now=NOV_25), POLICY.levels(BO, NOV_25))
            if room_u < 1_000_000:
                with pytest.raises(OverLimit) as refusal:
                    await wanted
                assert refusal.value.scope == scope
            else:
                await wanted
        held = [row for row in rows_of(old)["ledger_entry"] if row["run_id"] == "run-new"]
        shared = {"total", "server:discord:2", "channel:discord:3", "member:discord:1"}
        assert {row["scope"] for row in held} == shared | {scope}
        # The member's period of before has no bounds, so that of now is another, with all the runs of both.
        assert {row["period_key"] for row in held} == {"2026-11", "2026-11#2"}
        await store.close()
        assert check_books(url(old)) == []

    async def test_a_members_limit_goes_on(self, old: Path) -> None:
        """The month of before is in the way; while a day counts instead, the month goes on and knows the day's runs."""
        store = open_store(url(old))
        with pytest.raises(OverLimit) as refusal:
            await store.admit(new_run("new", price_u=6_400_001, now=NOV_25), POLICY.levels(BO, NOV_25))
        assert refusal.value.standing.left_u == 6_400_000
        rule = Rule(
            server="discord:2", subject="member:discord:1", kind=RuleKind.LIMIT, period="day", limit_u=9_000_000
        )
        await put_rule(store, rule, ACT)
        await store.admit(new_run("new", price_u=6_400_001, now=NOV_25), POLICY.levels(BO, NOV_25))
        day, month = period_at(NOV_25, "day", POLICY.zone), period_at(NOV_25, "month", POLICY.zone)
        levels = [Level(scope="member:discord:1", period=period, limit_u=None) for period in (day, month)]
        found = await store.standings(BO, lambda _: levels)
        assert [(each.held_u, each.spent_u) for each in found] == [(6_400_001, 0), (8_000_001, 2_000_000)]
        await lift_rule(store, Rule(server="discord:2", subject="member:discord:1", kind=RuleKind.LIMIT), ACT)
        with pytest.raises(OverLimit) as refusal:
            await store.admit(new_run("newer", price_u=1, now=NOV_25), POLICY.levels(BO, NOV_25))
        assert refusal.value.standing.held_u == 8_000_001
        assert (await store.standings(BO, POLICY.levels(BO, NOV_25)))[-1].held_u == 8_000_001
        await store.close()
        assert check_books(url(old)) == []

    async def test_a_second_opening_changes_nothing(self, old: Path) -> None:
        """The steps that were taken are not taken again, and the schema is that of a database made anew."""
        await open_store(url(old)).close()
        before, made = dump(old), schema(old)
        await open_store(url(old)).close()
        assert (dump(old), schema(old)) == (before, made)
        fresh = old.with_name("fresh.db")
        await open_store(url(fresh)).close()
        assert schema(fresh) == made

    async def test_a_step_that_fails_leaves_the_old_database(self, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is then still that of the old program, row for row, and the mended program migrates it."""
        before, made = dump(old), schema(old)
        with monkeypatch.context() as patch:
            patch.setattr(steps, "SCHEMA_2", f"{steps.SCHEMA_2}; CREATE TABLE run (again TEXT);")
            with refuses(DatabaseError, "cannot be opened"):
                open_store(url(old))
        assert (dump(old), schema(old)) == (before, made)
        await open_store(url(old)).close()
        assert check_books(url(old)) == []


DIGESTS = ["7544e0e4b881d52f", "7df4b174f1bfeee9", "202bb1e0ff5c4ad2"]
NOON = datetime(2026, 11, 10, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """Books as the third version left them, with whatever it got wrong.

    A refund of a run that was free in the end, a fortune that another server's admin granted, four requests of one
    member of which an approval added to a limit of zero, and a channel's month that was read by New York's bounds.
    """
    path = tmp_path / "veo.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(Path(__file__).with_name("version_3.sql").read_text())
    return path


def policy(zone: str) -> Policy:
    return replace(POLICY, zone=ZoneInfo(zone), member_limit_u=100_000_000)


async def stands(store: SqliteStore, zone: str, server: str = "discord:2") -> dict[str, tuple[Any, ...]]:
    """Limit, extras, held and spent of each level, in millions."""
    who = Spender(member="discord:1", server=server, channel="discord:3", roles=("discord:4",))
    found = await store.standings(who, policy(zone).levels(who, NOON))
    names = ("limit_u", "granted_u", "held_u", "spent_u")
    return {each.scope: tuple((getattr(each, name) or 0) // 10**6 for name in names) for each in found}


class TestMigratingTheThirdVersion:
    async def test_the_books_balance(self, third: Path) -> None:
        """What was booked stays, what was wrong is mended by entries of its own, and the bot goes on."""
        before = rows_of(third)["ledger_entry"]
        store = open_store(url(third))
        assert check_books(url(third)) == []
        after = rows_of(third)["ledger_entry"]
        assert after[: len(before)] == before
        assert [(row["kind"], row["amount_u"], row["actor"]) for row in after[len(before) :]] == [
            ("refund", -1_000_000, "bot")
        ]
        for zone in ("America/New_York", "UTC", "Asia/Tokyo"):
            who = wish(zone).spender
            await store.admit(new_run(zone, now=NOON), policy(zone).levels(who, NOON))
            assert check_books(url(third)) == []
        await store.close()

    @pytest.mark.parametrize(("zone", "first_u"), [("UTC", 1), ("America/New_York", 0)])
    async def test_every_level_stands_at_the_runs_of_its_period(self, third: Path, zone: str, first_u: int) -> None:
        """In whatever zone: the run of the first minutes of November, too. Extras count in their own server."""
        store = open_store(url(third))
        assert await stands(store, zone) == {
            "total": (0, 0, 3, 1 + first_u),
            "server:discord:2": (0, 0, 3, 1 + first_u),
            "channel:discord:3": (35, 5, 3, 1 + first_u),
            "role:discord:4": (40, 0, 3, 1),
            "member:discord:1": (8, 3, 3, 1 + first_u),
        }
        assert (await stands(store, zone, "discord:5"))["member:discord:1"] == (1100, 1000, 3, 1 + first_u)
        await store.close()

    async def test_acts_and_requests_are_what_they_were(self, third: Path) -> None:
        """Each act names whom it touched; a request knows its answer, and of two that were open the later still is."""
        store = open_store(url(third))
        acts = [(act.verb, act.server, act.member) for act in await store.acts("*", 99)]
        assert ("grant", "discord:5", "discord:1") in acts
        assert {verb for verb, _, _ in acts} == {
            *("limit set", "grant", "refund", "release", "block", "unblock", "request approved", "request denied")
        }
        offers = rows_of(third)["offer"]
        assert [row["state"] for row in offers] == ["taken", "denied", "replaced", "open"]
        for row, verb in zip(offers, ("request approved", "request denied", None, None), strict=True):
            offer = await store.offer_of(row["offer_id"])
            assert offer is not None
            assert (offer.answer and offer.answer.verb) == verb
            assert offer.message is not None
        await store.close()


class TestMigratingRoles:
    @pytest.mark.parametrize(
        ("roles", "found"),
        [
            ("[]", set()),
            ('["discord:2", "discord:4"]', {"discord:2", "discord:4"}),
            ('["discord:4", "discord:4", "discord:9"]', {"discord:4", "discord:9"}),
            ("7", {"discord:4"}),
            ('[{"id": "1"}]', {"discord:4"}),
            ('["discord:9", 7]', {"discord:4", "discord:9"}),
            ('{"a": "discord:9"}', {"discord:4"}),
        ],
    )
    async def test_every_run_is_found_by_its_roles(self, tmp_path: Path, roles: str, found: set[str]) -> None:
        """Those that its row names; of one that cannot be read at least those on whose pools it is held."""
        path = tmp_path / "veo.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            migrations.steps().apply(Database(connection), stop_before="step_11_roles_by_name")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "INSERT INTO run (run_id, origin, callback_token, member, server, channel, request, price_u, "
                "member_scope, member_period, state, state_at, created_at, due_at, roles) VALUES ('run-1', '1', '1', "
                "'discord:1', 'discord:2', 'discord:3', ?, 5, 'member:discord:1', '2026-11', 'reserved', 1, 1, 1, ?)",
                [REQUEST, roles],
            )
            held = ["member:discord:1", *(["role:discord:4"] if "discord:4" in found else [])]
            for scope in held:
                connection.execute("INSERT INTO budget (scope, period_key, held_u) VALUES (?, '2026-11', 5)", [scope])
                connection.execute(
                    "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason) "
                    "VALUES ('run-1', ?, '2026-11', 'hold', 5, 1, 'bot', 'admitted')",
                    [scope],
                )
        await open_store(url(path)).close()
        assert {row["role"] for row in rows_of(path)["run_role"]} == found
        assert check_books(url(path)) == []


class TestRefusing:
    def test_a_foreign_database_is_left_alone(self, tmp_path: Path) -> None:
        """Another program's file is refused, with its tables and journal mode as they were."""
        path = tmp_path / "veo.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE guestbook (name TEXT)")
        refused(path, "another program")

    def test_a_foreign_database_with_migrations_of_its_own(self, tmp_path: Path) -> None:
        """A program that counts its steps in a table of the same name is still another program."""
        path = tmp_path / "veo.db"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TABLE _sqlite_migrations "
                "(id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)"
            )
            connection.execute("INSERT INTO _sqlite_migrations VALUES (1, 'guestbook', 'step_1', '2026-11-22')")
        refused(path, "another program")

    async def test_a_newer_database_is_left_alone(self, tmp_path: Path) -> None:
        """A step that this program does not know is named, and the file waits for the program that does."""
        path = tmp_path / "veo.db"
        await open_store(url(path)).close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
                "VALUES ('veo-bot', 'step_9_time_travel', '2030-01-01')"
            )
        refused(path, "newer version.*step_9_time_travel")
        with refuses(DatabaseError, "newer version"):
            check_books(url(path))

    def test_a_corrupt_file_is_left_alone(self, tmp_path: Path) -> None:
        """What is no database is said to be none; nothing is made in its place."""
        path = tmp_path / "veo.db"
        path.write_bytes(b"this was a database once" * 200)
        refused(path, "cannot be opened.*not a database")

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        """A directory of that name is no database and is left alone."""
        path = tmp_path / "veo.db"
        path.mkdir()
        refused(path, "cannot be opened")
        assert list(path.iterdir()) == []

    def test_a_file_where_its_folder_should_be(self, tmp_path: Path) -> None:
        """A path through a file cannot be made, and a sentence says so."""
        (tmp_path / "data").write_text("a note")
        with refuses(DatabaseError, "cannot be opened"):
            open_store(url(tmp_path / "data" / "veo.db"))
        assert (tmp_path / "data").read_text() == "a note"

    def test_a_folder_that_cannot_be_written(self) -> None:
        """In a read-only folder nothing is started, and the sentence says what to check."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o555)
            with unprivileged():
                for path in (folder / "veo.db", folder / "data" / "veo.db"):
                    with refuses(DatabaseError, r"cannot be opened \(.*ermission denied.*\); check DATABASE_URL"):
                        open_store(url(path))
            assert list(folder.iterdir()) == []

    async def test_a_mended_database_opens_in_the_same_process(self, tmp_path: Path) -> None:
        """A refusal keeps no lock: once the file is out of the way, the same program may start on it."""
        path = tmp_path / "veo.db"
        path.write_bytes(b"this was a database once" * 200)
        with refuses(DatabaseError, "not a database"):
            open_store(url(path))
        path.unlink()
        await open_store(url(path)).close()


class TestOneWriter:
    async def test_a_second_writer_is_told_who_is_first(self, tmp_path: Path) -> None:
        """While a store is open a second is refused by the name of the first, which goes on undisturbed."""
        path = tmp_path / "veo.db"
        path.with_name("veo.db.lock").write_text("process 99999999999999")  # of one that died long ago
        store = open_store(url(path))
        for _ in range(2):
            with refuses(DatabaseError, rf"in use by process {os.getpid()};"):
                open_store(url(path))
        await one_run(store)
        await store.close()
        again = open_store(url(path))
        assert await again.get("run-1") is not None
        await again.close()

    async def test_another_process_is_named_and_its_death_frees_the_database(self, tmp_path: Path) -> None:
        """The lock holds between processes and goes with its owner, also when that one is killed."""
        path = tmp_path / "veo.db"
        program = (
            "import sys, time; from storage import open_store\n"
            "store = open_store(sys.argv[1]); print('open', flush=True); time.sleep(60)"
        )
        owner = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url(path), stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
        )
        assert owner.stdout is not None
        assert await owner.stdout.readline() == b"open\n"
        with refuses(DatabaseError, rf"in use by process {owner.pid};"):
            open_store(url(path))
        owner.kill()
        await owner.communicate()
        await open_store(url(path)).close()

    async def test_another_name_of_the_same_file_is_no_other_database(self, tmp_path: Path) -> None:
        """Whether the file is a symbolic link, or a folder on the way to it; and also before it is there."""
        (tmp_path / "real").mkdir()
        (tmp_path / "folder").symlink_to("real")
        (tmp_path / "link.db").symlink_to("folder/veo.db")
        names = [tmp_path / "link.db", tmp_path / "real" / "veo.db", tmp_path / "folder" / "veo.db"]
        for first in names:
            store = open_store(url(first))
            for second in names:
                with refuses(DatabaseError, rf"in use by process {os.getpid()};"):
                    open_store(url(second))
            await store.close()
        assert [each.name for each in tmp_path.rglob("*.lock")] == ["veo.db.lock"]

    @pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
    async def test_a_disk_without_locks_is_told_as_such(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        """No second bot is made up; without the lock a real one could not be kept out, so nothing is opened."""

        def no_locks(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", no_locks)
        with pytest.raises(DatabaseError) as told:
            open_store(url(tmp_path / "veo.db"))
        assert said(told.value).startswith(f"The database {tmp_path / 'veo.db'} cannot be locked ({os.strerror(code)})")
        assert said(told.value).endswith("name a file on a local disk in DATABASE_URL.")
        assert not (tmp_path / "veo.db").exists()

    async def test_two_databases_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """The lock is that of the file, not of the program."""
        stores = [open_store(url(tmp_path / name)) for name in ("a.db", "b.db")]
        for store in stores:
            await one_run(store)
            await store.close()
