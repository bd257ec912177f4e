"""One owner of the data: one process writes, others read or copy beside it; nothing is sold that cannot be kept.

In one piece, because each way to touch the data is tried while the same bot owns it.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import sqlite3
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from bot.domain.limits import Level, Rules
from bot.domain.periods import period_at
from bot.errors import NotAllowed, StoreDown
from storage import SqliteStore, check_books, open_store
from tests.harness import ROOT, WAIT_S, Scene, notice_of, nursery, scene
from tests.money import Inline, dump, new_run, store_at

FOX = "a red fox"
LEVEL = Level(scope="member:discord:1", period=period_at(0.0, "month", ZoneInfo("UTC")), limit_u=None)
NOTHING_STARTED = "I can't reach my records right now, so nothing was started. Try again soon."
START = {"DISCORD_TOKEN": "a.b.c", "RUNFLOW_API_KEY": "rf_live_test", "WEB_PORT": "0", "OPERATOR_PORT": "0"}
READING = (("ledger", "check"), ("ledger", "export"), ("backup", "copy.db"))


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def bot(
    *arguments: str,
    database: Path,
    environment: Mapping[str, str] = START,
    wrapped: Sequence[str] = (),
    bytes_max: int | None = None,
) -> tuple[int, str, str]:
    """Exit code, output and errors of `python -m bot` in the database's folder.

    `wrapped`: the words before it; `bytes_max`: what each of its files may grow to, as on a disk that is full.
    """

    def fill_disk() -> None:
        if bytes_max is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))

    folder, environment = database.parent, {**environment, "DATABASE_URL": url(database)}
    if not wrapped and bytes_max is None:
        return await nursery().run("bot", *arguments, folder=folder, environment=environment)
    surroundings = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    process = await asyncio.create_subprocess_exec(
        *wrapped,
        *(sys.executable, "-m", "bot", *arguments),
        cwd=folder,
        env={**surroundings, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=fill_disk,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def refused(*arguments: str, database: Path, bytes_max: int | None = None) -> str:
    """The one sentence with which the command stops, having written nothing out."""
    code, output, errors = await bot(*arguments, database=database, bytes_max=bytes_max)
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    assert re.fullmatch(r"\S.*\.\n", errors)
    return errors.strip()


async def admit(store: SqliteStore, name: str) -> None:
    await store.admit(new_run(name, now=0.0), lambda _: [LEVEL])


@pytest.fixture
async def books(tmp_path: Path) -> Path:
    """A database of three runs, whose bot was stopped."""
    path = tmp_path / "veo.db"
    store = store_at(path)
    for name in "abc":
        await admit(store, name)
    await store.close()
    return path


def files(folder: Path) -> dict[str, bytes]:
    """What lies in the folder, but for locks and what SQLite needs to read beside a writer."""
    return {
        each.name: each.read_bytes()
        for each in folder.iterdir()
        if each.is_file() and not each.name.endswith((".lock", "-wal", "-shm"))
    }


def garble(path: Path, table: str) -> None:
    """Make the first page of a table unreadable, as a dying disk might."""
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table])
        ((size,),) = connection.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


async def readiness(world: Scene) -> tuple[int, dict[str, bool]]:
    async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/readyz") as reply:
        return reply.status, await reply.json()


AT_ONCE = "from bot.web import operator; operator.RESULTS_KEPT_S = 0.0"  # so that readiness is checked each time
UP = (200, {"discord": True, "database": True, "media": True})
DOWN = (503, {"discord": True, "database": False, "media": True})


@contextmanager
def full_disk(world: Scene) -> Iterator[None]:
    """Nothing fits into the database any more, whose log is longer than this from its start on; a little log does."""
    assert world.bot is not None
    assert (world.folder / "veo.db-wal").stat().st_size > 65536
    room = resource.prlimit(world.bot.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.bot.pid, resource.RLIMIT_FSIZE, (65536, room[1]))
    try:
        yield
    finally:
        resource.prlimit(world.bot.pid, resource.RLIMIT_FSIZE, room)


async def ready(world: Scene) -> None:
    """Wait until the bot is; Discord takes a moment to say so."""
    async with asyncio.timeout(WAIT_S):
        while await readiness(world) != UP:  # noqa: ASYNC110 - another process decides it
            await asyncio.sleep(0.02)


async def quiet(world: Scene) -> None:
    """Wait until no run has anything left to do."""
    async with asyncio.timeout(WAIT_S):
        while world.rows("SELECT 1 FROM run WHERE due_at IS NOT NULL"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)


async def delivered_once(world: Scene, runs: int) -> None:
    """Each of so many runs was bought, charged and posted once."""
    await quiet(world)
    posted = Counter(found[0] for each in world.posts() if (found := notice_of(each)))
    assert (len(posted), set(posted.values())) == (runs, {1})
    assert len(world.runflow.runs) == runs
    assert world.rows("SELECT held_u, spent_u FROM budget WHERE scope = 'total'") == [
        {"held_u": 0, "spent_u": runs * 3_200_000}
    ]


# Copies


async def test_everything_can_be_read_beside_a_busy_writer(tmp_path: Path) -> None:
    """Audit, export and backup all succeed while runs are admitted without a pause, and the writer never waits."""
    path, numbers, over = tmp_path / "veo.db", count(), asyncio.Event()
    store = open_store(url(path))
    store.writer.connection.execute("PRAGMA busy_timeout = 0")  # a lock of another's would be an error at once

    async def write() -> None:
        while not over.is_set():
            await admit(store, str(next(numbers)))

    async def read(*arguments: str) -> tuple[int, str]:
        code, output, errors = await bot(*arguments, database=path)
        assert (code, errors) == (0, "")
        return code, output

    await admit(store, "first")
    writers = [asyncio.create_task(write()) for _ in range(8)]
    before = len(dump(path)["run"])
    answers = await asyncio.gather(*(read(*each) for each in (*READING, ("backup", "second.db"))))
    after = len(dump(path)["run"])
    over.set()
    await asyncio.gather(*writers)
    await store.close()
    said, how_much = answers[0][1].splitlines()
    assert said == "The books balance: every invariant holds over the whole database."
    proven = re.fullmatch(r"Proven: .*\((\d+) in run, (\d+) in ledger_entry, 1 in budget, .*", how_much)
    assert proven is not None, how_much
    assert before < int(proven[1]) == int(proven[2]) <= after
    for name in ("copy.db", "second.db"):
        assert check_books(url(tmp_path / name)) == []
        assert before < len(dump(tmp_path / name)["run"]) <= after
    assert check_books(url(path)) == []


async def test_a_backup_is_one_file_that_only_its_owner_reads(books: Path) -> None:
    """Beside an open writer, with what stands in its log alone: the copy has every row and needs no other file."""
    store = open_store(url(books))
    await admit(store, "late")
    code, output, errors = await bot("backup", "copy.db", database=books)
    await store.close()
    copy = books.with_name("copy.db")
    size = copy.stat().st_size
    assert (code, errors) == (0, "")
    assert output == f"Copied the database to copy.db: {size:,} bytes, all checked.\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {each.name for each in books.parent.iterdir()} == {"veo.db", "veo.db.lock", "copy.db"}
    with closing(sqlite3.connect(f"{copy.as_uri()}?immutable=1", uri=True)) as alone:  # no log would be read
        assert alone.execute("SELECT count(*) FROM run").fetchone() == (4,)
    assert dump(copy) == dump(books)
    again = open_store(url(copy))
    await admit(again, "in the copy")
    await again.close()
    assert check_books(url(copy)) == []


async def test_a_backup_of_a_killed_bots_database_is_whole(world: Scene) -> None:
    """What only the log of the dead process holds is in the copy, and the log is left to the next start."""
    await world.end_of(await world.veo(FOX))
    await quiet(world)
    await world.kill()
    log = (world.folder / "veo.db-wal").read_bytes()
    assert log
    code, _, errors = await bot("backup", "copy.db", database=world.folder / "veo.db")
    assert (code, errors) == (0, "")
    assert (world.folder / "veo.db-wal").read_bytes() == log
    assert dump(world.folder / "copy.db") == dump(world.folder / "veo.db")


async def test_a_database_of_an_older_version_is_copied_as_it_is(books: Path) -> None:
    """Before an update is when a backup is wanted most."""
    with closing(sqlite3.connect(books)) as connection, connection:
        connection.execute("DELETE FROM _sqlite_migrations WHERE id = (SELECT max(id) FROM _sqlite_migrations)")
    code, _, errors = await bot("backup", "copy.db", database=books)
    assert (code, errors) == (0, "")
    assert dump(books.with_name("copy.db")) == dump(books)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("note.txt", "note.txt already exists and is not overwritten; name a new file, or move that one away."),
        ("veo.db", "veo.db already exists and is not overwritten; name a new file, or move that one away."),
        ("dangling", "dangling already exists and is not overwritten; name a new file, or move that one away."),
        ("old.db", "old.db-wal already exists and is not overwritten; name a new file, or move that one away."),
        ("folder", "folder is a folder; name a new file in it, such as folder/veo-backup.db."),
        ("no/copy.db", "There is no folder no for the backup; make it, or name a file in another one."),
        ("note.txt/copy.db", "There is no folder note.txt for the backup; make it, or name a file in another one."),
        ("/proc/copy.db", "The backup /proc/copy.db cannot be written (No such file or directory); check its folder"),
        ("x" * 300, f"The backup {'x' * 300} cannot be written (File name too long); check its folder"),
    ],
    ids=["file", "itself", "link", "leftover", "folder", "no-folder", "file-as-folder", "unwritable", "long-name"],
)
async def test_a_backup_never_overwrites(books: Path, target: str, told: str) -> None:
    """Where the name is taken, leads nowhere or cannot be written, one sentence says so and nothing is changed."""
    books.with_name("note.txt").write_text("a note")
    books.with_name("old.db-wal").write_text("of another database")
    books.with_name("dangling").symlink_to("nowhere")
    books.with_name("folder").mkdir()
    before = {each: each.lstat().st_mtime_ns for each in books.parent.rglob("*")}
    said = await refused("backup", target, database=books)
    assert said.startswith(told)
    assert {each: each.lstat().st_mtime_ns for each in books.parent.rglob("*")} == before


async def test_a_backup_on_a_full_disk_leaves_nothing(books: Path) -> None:
    """A copy that does not fit is no copy: one sentence, and no half file."""
    told = await refused("backup", "copy.db", database=books, bytes_max=50_000)
    assert re.fullmatch(r"The backup copy\.db cannot be written \(.+\); check its folder and the room on its .+", told)
    assert set(files(books.parent)) == {"veo.db"}
    assert [each for each in books.parent.iterdir() if each.is_dir()] == []


async def test_a_backup_that_is_stopped_leaves_nothing(books: Path) -> None:
    """SIGTERM in its middle: no half copy, under whatever name, stays behind with the tokens in it."""
    with closing(sqlite3.connect(books)) as connection, connection:
        connection.execute("INSERT INTO installation VALUES ('ballast', zeroblob(100000000))")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "backup", "copy.db"),
        cwd=books.parent,
        env={"PYTHONPATH": str(ROOT), "DATABASE_URL": url(books)},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        while not list(books.parent.glob(".veo-backup-*/*")):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (130, b"")
    assert set(files(books.parent)) == {"veo.db"}
    assert [each for each in books.parent.iterdir() if each.is_dir()] == []


async def test_a_damaged_database_is_not_copied(books: Path) -> None:
    """Whoever restores a backup is not to find the damage in it; the page that was not used yet is found too."""
    garble(books, "act_of_server")
    before = files(books.parent)
    told = await refused("backup", "copy.db", database=books)
    assert re.fullmatch(rf"The database {books} is damaged \(.+\), so it was not copied; restore an earlier .+", told)
    assert files(books.parent) == before


# Not ours, and not whole


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE guestbook (name TEXT)")


async def newer(path: Path) -> None:
    await open_store(url(path)).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('veo-bot', 'step_99', '2030')"
        )


@pytest.mark.parametrize("kind", ["foreign", "newer"])
async def test_no_command_touches_what_is_not_ours(tmp_path: Path, kind: str) -> None:
    """Another program's database, and one of a newer version: the bot, its audit, export and backup say whose."""
    path = tmp_path / "veo.db"
    if kind == "foreign":
        foreign(path)
    else:
        await newer(path)
    before = files(tmp_path)
    told = await asyncio.gather(*(refused(*each, database=path) for each in (("run",), *READING)))
    words = "is a database of another program;" if kind == "foreign" else "was written by a newer version of this"
    assert all(each.startswith(f"{path} {words}") for each in told)
    assert files(tmp_path) == before


def header(path: Path) -> None:
    path.write_bytes(b"this was a database once" + path.read_bytes()[24:])


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def schema(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * 3996 + content[4096:])


@pytest.mark.parametrize(
    "harm",
    [header, cut, schema, lambda path: garble(path, "_sqlite_migrations"), lambda path: garble(path, "installation")],
    ids=["header", "cut", "schema", "steps", "key"],
)
async def test_no_bot_starts_on_a_damaged_database(books: Path, harm: Callable[[Path], None]) -> None:
    """One sentence, exit code 2, and the file is left as it is for whoever can save something of it."""
    harm(books)
    before = files(books.parent)
    told = await refused("run", database=books)
    assert re.match(rf"The database (sqlite:///)?{books} cannot be (opened|used) \(.*(malformed|not a database)", told)
    assert files(books.parent) == before


async def test_damage_that_the_start_meets_late_stops_it_too(tmp_path: Path) -> None:
    """Where the open runs cannot be found the bot, logged in by then, says so and ends."""
    async with scene(tmp_path) as world:
        await world.end_of(await world.veo(FOX))
        await quiet(world)
        await world.stop()
        path = tmp_path / "veo.db"
        whole = path.read_bytes()
        garble(path, "run_due")
        before = path.read_bytes()
        code, output, errors = await bot("run", database=path, environment=world.environment)
        assert (code, output) == (2, "")
        assert "Traceback" not in errors
        assert re.match(rf"The database sqlite:///{path} cannot be used \(.*malformed\);", errors.splitlines()[-1])
        assert path.read_bytes() == before
        path.write_bytes(whole)


async def test_damage_sells_nothing_and_a_backup_mends_it(tmp_path: Path) -> None:
    """Found in use it refuses `/veo` and turns readiness red for good; the bot lives, and on the copy it goes on."""
    path, copy = tmp_path / "veo.db", tmp_path / "copy.db"
    async with scene(tmp_path, before=AT_ONCE) as world:
        await world.end_of(await world.veo(FOX))
        await quiet(world)
        assert (await bot("backup", str(copy), database=path))[0] == 0
        await world.stop()
        garble(path, "ledger_entry")
        await world.start()
        await ready(world)
        answer = await world.answer_to(await world.veo("a blue fox"))
        assert answer["content"] == f"### Not made\n> a blue fox\n{NOTHING_STARTED}"  # where nothing can be kept of it
        assert await readiness(world) == DOWN
        assert await readiness(world) == DOWN
        assert await world.stop() == 0
        copy.replace(path)
        for side in ("-wal", "-shm"):
            path.with_name(f"veo.db{side}").unlink(missing_ok=True)
        await world.start()
        await ready(world)
        await world.end_of(await world.veo("a green fox"))
        await delivered_once(world, 2)


# What cannot be kept


async def test_a_full_disk_sells_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """`/veo` is refused, readiness is red, a callback is taken; with room the paid run is delivered once."""
    async with scene(tmp_path, runflow={"end": "never"}, before=AT_ONCE) as world:
        paid = await world.veo(FOX)
        await world.card(paid, "In the works")
        await ready(world)
        (run,) = world.runflow.runs
        world.runflow.switches.end = "succeeded"
        with full_disk(world):
            assert await readiness(world) == DOWN
            before = dump(tmp_path / "veo.db")
            answer = await world.answer_to(await world.veo("a blue fox"))
            assert (
                answer["content"] == f"### Not made\n> a blue fox\n{NOTHING_STARTED}"
            )  # where nothing can be kept of it
            await world.runflow.finish(run, end="succeeded")
            assert [each["status_code"] for each in world.runflow.courier.deliveries[run][0].attempts] == [202]
            assert dump(tmp_path / "veo.db") == before
            assert list(world.runflow.runs) == [run]
            assert await readiness(world) == DOWN
        assert await readiness(world) == UP
        await world.end_of(paid)
        await world.end_of(await world.veo("a green fox"))
        await delivered_once(world, 2)


async def test_an_order_whose_answer_cannot_be_kept_is_not_repeated(tmp_path: Path) -> None:
    """The disk fills up between the order and its answer: with room again the run is found, bought and posted once."""
    switches = {"end": "never", "reply_delay_s": 0.5}
    async with scene(tmp_path, runflow=switches, PYTHONDONTWRITEBYTECODE="1") as world:
        asked = await world.veo(FOX)
        async with asyncio.timeout(WAIT_S):
            while not world.runflow.runs:  # noqa: ASYNC110 - the sandbox has no signal for it
                await asyncio.sleep(0.01)
        with full_disk(world):
            async with asyncio.timeout(WAIT_S):
                while not world.logged("running at the provider"):  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.01)
            assert world.rows("SELECT state, provider_id FROM run") == [{"state": "submitting", "provider_id": None}]
            (run,) = world.runflow.runs
            world.runflow.switches.reply_delay_s = 0.0
            await world.runflow.finish(run, end="succeeded")
        await world.end_of(asked)
        await delivered_once(world, 1)


# The bot's process then has a small disk of its own at MEDIA_DIR.
SMALL_DISK = """
import ctypes, os, pathlib
me = (os.getuid(), os.getgid())
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000 | 0x00020000) == 0  # a user and a mount namespace
pathlib.Path("/proc/self/setgroups").write_text("deny")
for name, number in zip(("uid_map", "gid_map"), me):
    pathlib.Path("/proc/self", name).write_text(f"0 {number} 1")
folder = os.environ["MEDIA_DIR"].encode()
os.mkdir(folder)
assert libc.mount(b"none", folder, b"tmpfs", 0, b"size=34m") == 0
"""


async def may_mount() -> None:
    """Skip the test where the system does not let one."""
    if shutil.which("unshare") is None:
        pytest.skip("this system has no unshare(1)")
    words = ("unshare", "--user", "--map-root-user", "--mount", "true")
    probe = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    if await probe.wait() != 0:
        pytest.skip("this system does not let a test mount")


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


async def test_with_a_full_clip_disk_what_was_bought_comes_as_a_link(tmp_path: Path) -> None:
    """The books can be kept, a clip cannot: its member has Runflow's link at once, the operator red, nobody a lie."""
    await may_mount()
    async with scene(tmp_path, before=f"{AT_ONCE}\n{SMALL_DISK}") as world:
        assert world.bot is not None
        await ready(world)
        ballast = Path(f"/proc/{world.bot.pid}/root{tmp_path}/media/ballast")
        fill(ballast)
        assert await readiness(world) == (503, {"discord": True, "database": True, "media": False})
        end = await world.end_of(await world.veo(FOX))
        assert not end["attachments"]
        assert f"{world.runflow.url}/files/" in end["content"]
        await quiet(world)
        assert world.rows("SELECT delivery, delivery_tries, charged_u FROM run_view") == [
            {"delivery": "delivered", "delivery_tries": 1, "charged_u": 3_200_000}
        ]
        assert "it cannot be written to MEDIA_DIR (No space left on device)" in world.log
        ballast.unlink()
        assert await readiness(world) == UP
        assert (await world.end_of(await world.veo("a blue fox")))["attachments"]
        await delivered_once(world, 2)


async def test_what_the_bot_keeps_is_its_owners_alone(tmp_path: Path) -> None:
    """Database, clips and their folders, whatever the umask at the start; and a `.env` that others read is told."""
    (tmp_path / ".env").write_text("# nothing\n")
    (tmp_path / ".env").chmod(0o640)
    async with scene(
        tmp_path,
        discord={"upload_limit": 1000},
        before="import os; os.umask(0)",
        DATABASE_URL=url(tmp_path / "data" / "veo.db"),
        MEDIA_DIR=str(tmp_path / "data" / "media"),
    ) as world:
        assert "/media/" in (await world.end_of(await world.veo(FOX)))["content"]
        kept = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
        assert len(kept) > 4
        for each in kept:
            assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600), each
        assert ".env holds secrets and others can read it (mode 640); run chmod 600 .env" in world.log
        await world.stop()
        (tmp_path / ".env").chmod(0o600)
        await world.start()
        assert world.log.count("others can read it") == 1


@pytest.mark.parametrize("there", [False, True], ids=["fresh", "again"])
async def test_no_bot_starts_on_a_full_disk(books: Path, there: bool) -> None:
    """One sentence instead of a bot that can keep nothing, and what is there stays as it is."""
    path = books if there else books.with_name("fresh.db")
    before = dump(books)
    told = await refused("run", database=path, bytes_max=0)
    assert re.match(rf"The database {path} cannot be opened \(.+\); check DATABASE_URL, the folder and the disk", told)
    assert dump(books) == before


async def test_no_bot_starts_on_a_read_only_disk(books: Path) -> None:
    """One sentence names the database and says that its disk cannot be written."""
    frozen = f"mount --bind {books.parent} {books.parent} && mount -o remount,ro,bind {books.parent}"
    wrapped = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{frozen} && exec "$@"', "sh")
    await may_mount()
    before = files(books.parent)
    code, output, errors = await bot("run", database=books, wrapped=wrapped)
    assert (code, output) == (2, "")
    assert re.fullmatch(rf"The database {books} cannot be opened \(.*Read-only file system.*\); check .+\.\n", errors)
    assert files(books.parent) == before


def full(store: SqliteStore, yes: bool) -> None:
    """Not a page more than there is, or as many as it takes."""
    pages = store.writer.connection.execute("PRAGMA page_count").fetchone()[0] if yes else 1_000_000
    store.writer.connection.execute(f"PRAGMA max_page_count = {pages}")


def frozen(store: SqliteStore, yes: bool) -> None:
    """SQLite's own answer to every write is then that of a read-only file."""
    store.writer.connection.execute(f"PRAGMA query_only = {yes:d}")


@pytest.fixture
async def store(books: Path) -> AsyncIterator[SqliteStore]:
    opened = open_store(url(books), executor=Inline())
    yield opened
    await opened.close()


async def test_a_wish_without_room_is_not_half_kept(store: SqliteStore, books: Path) -> None:
    """Where SQLite finds the disk full (SQLITE_FULL) nothing of the admission stays; with room the same one works."""
    before = dump(books)
    full(store, yes=True)
    wish = new_run("large", now=0.0, channel="x" * 50_000)
    with pytest.raises(StoreDown) as refusal:
        await store.admit(wish, lambda _: [LEVEL])
    assert isinstance(refusal.value.__cause__, sqlite3.OperationalError)
    assert refusal.value.__cause__.sqlite_errorcode == sqlite3.SQLITE_FULL
    assert dump(books) == before
    full(store, yes=False)
    assert (await store.admit(wish, lambda _: [LEVEL])).run_id == "run-large"
    assert check_books(url(books)) == []


async def test_a_disk_that_turns_read_only_is_noticed(store: SqliteStore, books: Path) -> None:
    """Neither a wish nor the check is kept, though all can still be read; once it can be written both are."""
    before = dump(books)
    frozen(store, yes=True)
    for verb in (store.check, lambda: admit(store, "d")):
        with pytest.raises(StoreDown):
            await verb()
    assert await store.get("run-a") is not None
    assert dump(books) == before
    frozen(store, yes=False)
    await store.check()
    await admit(store, "d")
    assert check_books(url(books)) == []


async def test_what_could_not_be_undone_is_undone_before_anything_else(tmp_path: Path) -> None:
    """A disk that fails at the end of a refused wish leaves no transaction open: the next one is as any other."""
    store = store_at(tmp_path / "veo.db", Inline())
    real = store.writer.connection
    torn = Torn(real)
    store.writer.connection = cast("sqlite3.Connection", torn)

    def refuse(rules: Rules) -> list[Level]:
        raise NotAllowed("no")

    with pytest.raises(NotAllowed):
        await store.admit(new_run("1", now=1.0), refuse)
    assert (torn.failures, real.in_transaction) == (1, True)
    assert await store.lookup_proven() is False
    assert not real.in_transaction
    await store.check()
    store.writer.damage = sqlite3.DatabaseError("database disk image is malformed")
    with pytest.raises(StoreDown):  # nothing is written into a file that has shown to be corrupt
        await store.admit(new_run("2", now=1.0), lambda _: [LEVEL])
    assert await store.get("run-2") is None
    await store.close()


class Torn:
    """A connection whose first ROLLBACK does not get through."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "ROLLBACK" and not self.failures:
            self.failures += 1
            raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(sql, *values)


async def test_a_check_is_really_written(store: SqliteStore, books: Path) -> None:
    """Each one adds to the log on the disk, also where an earlier one stands, and leaves nothing in the books."""
    before, log = dump(books), books.with_name("veo.db-wal")
    sizes = [log.stat().st_size]
    for _ in range(3):
        await store.check()
        sizes.append(log.stat().st_size)
    assert sizes == sorted(set(sizes))
    after = dump(books)
    assert len(after.pop("installation")) == len(before.pop("installation")) + 1
    assert after == before


async def test_checks_at_once_share_one_commit(books: Path) -> None:
    """A crowd that asks whether the bot is ready costs the disk no more than one does."""
    executor, statements = Inline(), list[str]()
    store = open_store(url(books), executor=executor)
    store.writer.connection.set_trace_callback(statements.append)
    executor.gather()
    checks = asyncio.gather(*(store.check() for _ in range(20)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    executor.go()
    await checks
    assert statements.count("COMMIT") == 1
    await store.close()


@pytest.mark.parametrize("table", ["run", "run_placed", "budget", "ledger_entry", "one_hold"])
async def test_damage_once_seen_is_not_forgotten(books: Path, table: str) -> None:
    """Wherever an admission meets it, nothing of that stays, and no check calls the database sound afterwards."""
    before, whole = dump(books), books.read_bytes()
    garble(books, table)
    harmed = books.read_bytes()
    store = open_store(url(books), executor=Inline())
    await store.check()
    for _ in range(2):
        with pytest.raises(StoreDown):
            await admit(store, "d")
        with pytest.raises(StoreDown):
            await store.check()
    assert books.read_bytes() == harmed
    await store.close()
    books.write_bytes(whole)
    assert dump(books) == before
