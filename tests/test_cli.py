"""The command line: what it promises, and one sentence with exit code 2 where it cannot start."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.harness import ROOT, Scene, scene


async def bot(*arguments: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `python -m bot`, away from any `.env`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def sentence(errors: str) -> str:
    """The last line; whatever came before it are log lines, never a traceback."""
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
            assert told.startswith("RUNFLOW_API_KEY is not set (the API key, from Runflow's dashboard); put it")
            told = await refused(world, RUNFLOW_API_KEY="rf_live_wrong")
            assert told.startswith(f"RUNFLOW_API_KEY is refused by {world.runflow.url} (HTTP 401)")
            told = await refused(world, DATABASE_URL="sqlite:////proc/nowhere/veo.db")
            assert told.startswith("The database /proc/nowhere/veo.db cannot be opened")
            told = await refused(world, WEB_PORT=port)
            assert told.startswith(f"The web server cannot listen on 127.0.0.1:{port} (")
            told = await refused(world, PRICE_USD_PER_SECOND='{"720p": {"silent": "0.2", "audio": "0.4"}}')
            assert told.startswith("PRICE_USD_PER_SECOND must price exactly the resolutions 720p, 1080p, 4k")
            await world.start()


async def test_a_second_bot_on_the_same_database_is_refused(world: Scene) -> None:
    """Two writers would sell twice: the second is told who the first is."""
    assert world.bot is not None
    told = await refused(world, WEB_PORT="0")
    assert told.startswith(f"The database {world.folder / 'veo.db'} is in use by process {world.bot.pid}; stop")


async def test_health_tells_the_process_and_readiness_the_whole(world: Scene) -> None:
    """Ready means that a member would be answered: gateway and database both."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{world.web_url}/healthz") as reply:
            assert reply.status == 200
        async with asyncio.timeout(5):
            while True:
                async with session.get(f"{world.web_url}/readyz") as reply:
                    if reply.status == 200:
                        break
                    await asyncio.sleep(0.05)
                    assert await reply.json() == {"discord": False, "database": True}


async def test_ledger_check_proves_the_books_beside_the_running_bot(world: Scene) -> None:
    """0 and a sentence while they balance; 1 and the rows once somebody broke them."""
    await world.end_of(await world.veo())
    code, output, _ = await bot("ledger", "check", folder=world.folder, DATABASE_URL=world.database_url)
    assert (code, output) == (0, "The books balance: every invariant holds over the whole database.\n")


async def test_ledger_check_without_a_database_says_so(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    code, output, errors = await bot("ledger", "check", folder=tmp_path)
    assert (code, output) == (2, "")
    assert sentence(errors).startswith("There is no database at data/veo.db yet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ((), "python -m bot: the following arguments are required: COMMAND."),
        (("fly",), "python -m bot: argument COMMAND: invalid choice: 'fly'"),
        (("ledger", "burn"), "python -m bot ledger: argument what: invalid choice: 'burn'"),
        (("demo", "--scenario", "x"), "python -m bot demo: argument --scenario: invalid choice: 'x'"),
        (("demo", "--port", "99999"), "python -m bot demo: argument --port: '99999' is no port"),
        (("sandbox", "slack"), "python -m bot sandbox: argument which: invalid choice: 'slack'"),
    ],
)
async def test_a_wrong_argument_gets_one_line(arguments: tuple[str, ...], start: str, tmp_path: Path) -> None:
    """What is wrong and where the help is, in one line."""
    code, output, errors = await bot(*arguments, folder=tmp_path)
    assert (code, output) == (2, "")
    assert errors.startswith(start)
    assert errors.count("\n") == 1


async def test_another_package_of_our_names_is_noticed(tmp_path: Path) -> None:
    """`storage` is a common name: one that hides ours is said, not run."""
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("")
    code, _, errors = await bot("settings", folder=tmp_path)
    assert code == 2
    assert sentence(errors).startswith("The package storage is not the one beside bot/; run this from")
