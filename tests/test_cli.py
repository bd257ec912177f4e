"""The command line: what each command promises, and one sentence with exit code 2 if it cannot start."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from bot.__main__ import progress
from bot.domain.limits import Level
from bot.domain.periods import period_at
from storage import open_store
from storage.invariants import INVARIANTS
from tests.harness import ROOT, WAIT_S, Scene, nursery, scene
from tests.money import new_run


async def run_module(*arguments: str, folder: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `python -m bot`, away from any `.env`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def bot(*arguments: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    """The same, quicker where importing the command would take longer than running it."""
    return await nursery().run("bot", *arguments, folder=folder, environment={"PATH": "/usr/bin:/bin", **environment})


def sentence(errors: str) -> str:
    """The last line; there may be log lines before it, but no traceback."""
    assert "Traceback" not in errors
    return errors.strip().splitlines()[-1]


async def refused(world: Scene, **changes: str) -> str:
    """The sentence of a bot that cannot start with these settings."""
    environment: Mapping[str, str] = {**world.environment, **changes}
    code, output, errors = await bot("run", folder=world.folder, **environment)
    assert (code, output) == (2, "")
    assert world.discord.token not in errors
    return sentence(errors)


async def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    """Wrong token, no key, refused key, unusable database, busy port: one sentence, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with scene(tmp_path, start=False) as world:
            told = await refused(world, DISCORD_TOKEN="MTIz.wrong.token")
            assert told.startswith("DISCORD_TOKEN is refused by Discord; copy")
            told = await refused(world, RUNFLOW_API_KEY="")
            assert told.startswith("RUNFLOW_API_KEY is not set (API key, from Runflow's dashboard); set it")
            told = await refused(world, RUNFLOW_API_KEY="rf_live_wrong")
            assert told.startswith(f"RUNFLOW_API_KEY is refused by {world.runflow.url} (HTTP 401)")
            told = await refused(world, DATABASE_URL="sqlite:////proc/nowhere/veo.db")
            assert told.startswith("The database /proc/nowhere/veo.db cannot be opened")
            told = await refused(world, MEDIA_DIR="/proc/nowhere/media")
            assert told.startswith("MEDIA_DIR /proc/nowhere/media cannot be used (No such file or directory); set")
            told = await refused(world, WEB_PORT=port)
            assert told.startswith(f"The web server cannot listen on 127.0.0.1:{port} (")
            told = await refused(world, PRICE_USD_PER_SECOND='{"720p": {"silent": "0.2", "audio": "0.4"}}')
            assert told.startswith("PRICE_USD_PER_SECOND must price exactly the resolutions 720p, 1080p, and 4k")
            await world.start()


HOOK = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as for process 1 of a container
bot = os.getpid()
class Finder:
    def find_spec(name, *_):
        if name == {module!r}:
            {deed}
sys.meta_path.insert(0, Finder)
"""


def interrupted(folder: Path, *arguments: str, **deeds: str) -> tuple[int, str, str]:
    """What comes of a command when the import of a module does something else first."""
    hooks = [HOOK.format(module=f"bot.{module}", deed=deed) for module, deed in deeds.items()]
    (folder / "sitecustomize.py").write_text("".join(hooks))
    done = subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,  # ends when no process is left that could write
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


STOP = "os.kill(bot, signal.SIGTERM)"


@pytest.mark.parametrize(
    ("command", "code", "deeds"),
    [
        ("run", 0, {"app": STOP, "settings_reader": "time.sleep(600)"}),
        ("run", 0, {"settings_reader": STOP}),
        ("run", 0, {"settings_reader": "os.kill(os.getpid(), signal.SIGTERM)"}),
        ("run", 0, {"settings_reader": "raise KeyboardInterrupt"}),
        ("ledger check", 130, {"settings_reader": STOP}),
    ],
)
def test_a_stop_is_obeyed_from_the_first_moment(tmp_path: Path, command: str, code: int, deeds: dict[str, str]) -> None:
    """Also as process 1 of a container, while it still imports its code, and while its child reads the settings."""
    assert interrupted(tmp_path, *command.split(), **deeds) == (code, "", "")


@pytest.mark.parametrize(
    ("deed", "told"),
    [("os.kill(os.getpid(), signal.SIGKILL)", "ChildProcessError"), ("raise ZeroDivisionError", "ZeroDivisionError")],
)
def test_settings_that_nobody_could_read_stop_the_start(tmp_path: Path, deed: str, told: str) -> None:
    """The process that reads them was killed, or has a fault: the bot does not start, and the trace says why."""
    code, output, errors = interrupted(tmp_path, "run", settings_reader=deed)
    assert (code, output) == (1, "")
    assert told in errors


async def test_a_second_bot_on_the_same_database_is_refused(world: Scene) -> None:
    """Two writers would sell twice: the second is told which process the first is."""
    assert world.bot is not None
    told = await refused(world, WEB_PORT="0")
    assert told.startswith(f"The database {world.folder / 'veo.db'} is in use by process {world.bot.pid}; stop")


async def test_healthz_is_the_process_and_readyz_the_whole(world: Scene) -> None:
    """Ready means that a member would get an answer and the clip: gateway, database and media folder."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{world.operator_url}/healthz") as reply:
            assert reply.status == 200
        async with asyncio.timeout(WAIT_S):
            while True:
                async with session.get(f"{world.operator_url}/readyz") as reply:
                    if reply.status == 200:
                        break
                    await asyncio.sleep(0.05)
                    assert await reply.json() == {"discord": False, "database": True, "media": True}


async def test_ledger_check_proves_the_books_beside_the_running_bot(world: Scene) -> None:
    """0 and a sentence while they balance; 1 and the rows once somebody broke them."""
    await world.end_of(await world.veo())
    code, output, _ = await bot("ledger", "check", folder=world.folder, DATABASE_URL=world.database_url)
    proven = (
        f"Proven: the file, its schema, and {len(INVARIANTS)} invariants over all rows (1 in run, 8 in ledger_entry, "
        "4 in budget, 0 in act, 0 in rule, 0 in offer); $3.20 charged and $0.00 held.\n"
    )
    assert (code, output) == (0, f"The books balance: every invariant holds over the whole database.\n{proven}")
    await bot("backup", "copy.db", folder=world.folder, DATABASE_URL=world.database_url)
    with closing(sqlite3.connect(world.folder / "copy.db")) as connection, connection:
        connection.execute("UPDATE budget SET spent_u = 1 WHERE scope = 'total'")
    code, output, _ = await bot("ledger", "check", folder=world.folder, DATABASE_URL="sqlite:///copy.db")
    lines = output.splitlines(keepends=True)
    assert (code, len(lines), lines[1]) == (1, 2, proven)
    assert lines[0].startswith("each level's held and spent are what its entries add up to: {")


def test_a_long_check_says_at_a_terminal_what_it_looks_at() -> None:
    """Every two seconds, and to nobody where nobody looks on."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, io.StringIO() as file:
        times = iter([0.0, 0.1, 1.9, 2.1, 2.1, 3.0, 14.2, 14.2])
        for out in (terminal, file):
            watch = progress(out, lambda: next(times, 99.0))
            for part in ("the file", "the file", "every hold", "every hold", "every role"):
                watch(part)
        assert file.getvalue() == ""
    assert os.read(ours, 999).decode().splitlines() == [
        "Checking for 2 s; now: every hold.",
        "Checking for 14 s; now: every role.",
    ]
    os.close(ours)


async def test_ledger_export_writes_the_books_of_the_running_bot(world: Scene) -> None:
    """Every entry of a delivered run, as CSV by default or as JSON lines, of the days asked for."""
    await world.end_of(await world.veo())

    async def export(*arguments: str) -> str:
        code, output, errors = await bot(
            "ledger", "export", *arguments, folder=world.folder, DATABASE_URL=world.database_url
        )
        assert (code, errors) == (0, "")
        return output

    table = list(csv.DictReader(io.StringIO(await export(), newline="")))
    lines = [json.loads(line) for line in (await export("--format", "jsonl")).splitlines()]
    assert [row["kind"] for row in table] == [line["kind"] for line in lines]
    assert {line["kind"] for line in lines if line["scope"] == "total"} == {"hold", "post"}
    assert {line["amount_usd"] for line in lines} == {line["quote_usd"] for line in lines}
    assert (await export("--to", "2026-01-01")).count("\n") == 1
    assert await export("--from", "2026-01-01", "--to", "9999-12-31") == await export("--format", "csv")


async def books(url: str) -> None:
    """The smallest books: one run, held on its member."""
    store = open_store(url)
    new = new_run("one", now=0.0, member_name="狐")
    level = Level(scope="member:discord:1", period=period_at(0.0, "month", ZoneInfo("UTC")), limit_u=None)
    await store.admit(new, lambda _: [level])
    await store.close()


def export_into(out: int | IO[bytes], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """An export of such books to this target, on a terminal with ASCII."""
    url = f"sqlite:///{folder}/veo.db"
    asyncio.run(books(url))
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "DATABASE_URL": url}
    command = (sys.executable, "-m", "bot", "ledger", "export")
    return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, cwd=folder, env=environment, check=False)


def test_ledger_export_is_utf_8_everywhere(tmp_path: Path) -> None:
    """Whatever the encoding of the terminal."""
    done = export_into(subprocess.PIPE, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = csv.DictReader(io.StringIO(done.stdout.decode(), newline=""))
    assert row["member_name"] == "狐"


def test_ledger_export_ends_quietly_when_nobody_reads_on(tmp_path: Path) -> None:
    """As with `head`, which closes the pipe when it has seen enough."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = export_into(write, tmp_path)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("task", [("ledger", "check"), ("settings",)], ids=" ".join)
def test_what_is_printed_for_nobody_changes_no_verdict(task: tuple[str, ...], tmp_path: Path) -> None:
    """A reader who left, or a closed output, is no breach of the books."""
    asyncio.run(books(f"sqlite:///{tmp_path / 'veo.db'}"))
    command = [sys.executable, "-m", "bot", *task]
    env = {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path / 'veo.db'}"}
    reading, writing = os.pipe()
    os.close(reading)
    for out in (writing, None):
        shell = command if out else ["/bin/sh", "-c", '"$@" >&-', "sh", *command]
        done = subprocess.run(
            shell, cwd=tmp_path, env=env, stdout=out, stderr=subprocess.PIPE, timeout=WAIT_S, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("task", [("ledger", "check"), ("settings",)], ids=" ".join)
def test_what_cannot_be_printed_is_said(task: tuple[str, ...], tmp_path: Path) -> None:
    """With the code of a command that could not do its work, not that of books that are wrong."""
    asyncio.run(books(f"sqlite:///{tmp_path / 'veo.db'}"))
    env = {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path / 'veo.db'}"}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bot", *task],
            cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert sentence(done.stderr).startswith("The output cannot be written (No space left on device); check")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_ledger_export_says_that_the_disk_is_full(tmp_path: Path) -> None:
    """So that nobody takes an incomplete export for a whole one."""
    with Path("/dev/full").open("wb") as full:
        done = export_into(full, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"The export is incomplete because it cannot be written (")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("task", ["check", "export"])
async def test_the_ledger_without_a_database_says_so(task: str, tmp_path: Path) -> None:
    """Looking creates nothing."""
    code, output, errors = await bot("ledger", task, folder=tmp_path)
    assert (code, output) == (2, "")
    assert sentence(errors).startswith("There is no database at data/veo.db yet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ((), "python -m bot: the following arguments are required: COMMAND."),
        (("fly",), "python -m bot: argument COMMAND: invalid choice: 'fly'"),
        (("ledger",), "python -m bot ledger: the following arguments are required: TASK."),
        (("ledger", "burn"), "python -m bot ledger: argument TASK: invalid choice: 'burn'"),
        (
            ("ledger", "export", "--format", "xml"),
            "python -m bot ledger export: argument --format: invalid choice: 'xml'",
        ),
        (
            ("ledger", "export", "--from", "2026-13-01"),
            "python -m bot ledger export: argument --from: '2026-13-01' is not a date",
        ),
        (
            ("ledger", "export", "--to", "20261122"),
            "python -m bot ledger export: argument --to: '20261122' is not a date such as",
        ),
        (
            ("ledger", "export", "--from", "2026-11-23", "--to", "2026-11-22"),
            "--from 2026-11-23 is after --to 2026-11-22; name",
        ),
        (("demo", "--scenario", "x"), "python -m bot demo: argument --scenario: invalid choice: 'x'"),
        (("demo", "--port", "99999"), "python -m bot demo: argument --port: '99999' isn't a port number"),
        (("sandbox", "slack"), "python -m bot sandbox: argument which: invalid choice: 'slack'"),
    ],
)
async def test_a_wrong_argument_gets_one_line(arguments: tuple[str, ...], start: str, tmp_path: Path) -> None:
    """It says what is wrong and where the help is."""
    code, output, errors = await run_module(*arguments, folder=tmp_path)
    assert (code, output) == (2, "")
    assert errors.startswith(start)
    assert errors.count("\n") == 1


async def test_another_package_with_our_name_is_noticed(tmp_path: Path) -> None:
    """A package `storage` that hides ours is reported, not imported."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("")
    code, _, errors = await run_module("settings", folder=tmp_path)
    assert code == 2
    assert sentence(errors).startswith("Python finds another package storage than the one beside bot/; run this from")
