"""A database is made, found again, or refused in a sentence and left as it was."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.errors import DatabaseError
from bot.ledger import Level, Period
from bot.ports import NewRun
from bot.runs import Run, VeoRequest
from storage import SqliteStore, check_books, migrations, open_store

NOBODY = 65534
LEVEL = Level(scope="member:bo", period=Period(key="2026-11", resets_at=30.0), limit_u=None)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def one_run(store: SqliteStore) -> Run:
    new = NewRun(
        run_id="run",
        origin="origin",
        member="bo",
        server="server",
        channel="channel",
        request=VeoRequest(prompt="a red fox"),
        price_u=1,
        callback_token="token",
        reply_to=None,
        reply_until=None,
        upload_limit_bytes=None,
        now=0.0,
    )
    return await store.admit(new, [LEVEL], in_flight_max=9)


def schema(path: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return list(connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name"))


def refused(path: Path, words: str) -> None:
    """The database is refused in one sentence with these words, and not a byte of it changes."""
    files = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file() and each.suffix != ".lock"}
    with pytest.raises(DatabaseError, match=words) as refusal:
        open_store(url(path))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).endswith(".")
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
        assert await store.next_due() is None
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
        assert (await again.get("run"), await again.media_key(), schema(path)) == (run, key, made)
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
                    connection.execute(f"INSERT INTO budget VALUES ('total', '2026-11', {value}, 0, 0, 0)")  # noqa: S608 - a constant

    async def test_the_tables_refuse_what_the_rules_forbid(self, tmp_path: Path) -> None:
        """Even raw SQL cannot pass a limit, go below zero, or change and remove an entry of the ledger."""
        path = tmp_path / "veo.db"
        store = open_store(url(path))
        await one_run(store)
        await store.close()
        copied = "INSERT INTO ledger_entry SELECT {}, run_id, scope, period_key, '{}', 1, at, '', '' FROM ledger_entry"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"{copied.format(8, 'void')} WHERE kind = 'hold'")
            for statement in (
                "UPDATE budget SET limit_u = 0",
                "UPDATE budget SET held_u = -1",
                "UPDATE budget SET spent_u = -1",
                "UPDATE budget SET excess_u = -1",
                "UPDATE ledger_entry SET amount_u = 2",
                "DELETE FROM ledger_entry",
                f"{copied.format(9, 'hold')} WHERE kind = 'hold'",
                f"{copied.format(9, 'post')} WHERE kind = 'hold'",
                f"{copied.format(9, 'void')} WHERE kind = 'hold'",
                f"{copied.format(9, 'gift')} WHERE kind = 'hold'",
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
            patch.setattr(migrations, "SCHEMA_1", f"{migrations.SCHEMA_1}; CREATE TABLE run (again TEXT);")
            with pytest.raises(DatabaseError, match="cannot be opened"):
                open_store(url(path))
        assert schema(path) == []
        await open_store(url(path)).close()
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
        with pytest.raises(DatabaseError, match="newer version"):
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
        with pytest.raises(DatabaseError, match="cannot be opened"):
            open_store(url(tmp_path / "data" / "veo.db"))
        assert (tmp_path / "data").read_text() == "a note"

    def test_a_folder_that_cannot_be_written(self) -> None:
        """In a read-only folder nothing is started, and the sentence says what to check."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o555)
            with unprivileged():
                for path in (folder / "veo.db", folder / "data" / "veo.db"):
                    with pytest.raises(
                        DatabaseError, match=r"cannot be opened \(.*ermission denied.*\); check DATABASE_URL"
                    ):
                        open_store(url(path))
            assert list(folder.iterdir()) == []

    async def test_a_mended_database_opens_in_the_same_process(self, tmp_path: Path) -> None:
        """A refusal keeps no lock: once the file is out of the way, the same program may start on it."""
        path = tmp_path / "veo.db"
        path.write_bytes(b"this was a database once" * 200)
        with pytest.raises(DatabaseError, match="not a database"):
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
            with pytest.raises(DatabaseError, match=rf"in use by process {os.getpid()};"):
                open_store(url(path))
        await one_run(store)
        await store.close()
        again = open_store(url(path))
        assert await again.get("run") is not None
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
        with pytest.raises(DatabaseError, match=rf"in use by process {owner.pid};"):
            open_store(url(path))
        owner.kill()
        await owner.communicate()
        await open_store(url(path)).close()

    async def test_two_databases_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        """The lock is that of the file, not of the program."""
        stores = [open_store(url(tmp_path / name)) for name in ("a.db", "b.db")]
        for store in stores:
            await one_run(store)
            await store.close()
