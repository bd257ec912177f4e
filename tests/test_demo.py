"""The demo and sandbox commands: every scenario, the options, the errors and the help, each run as a process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.runflow import unsound_mp4
from sandbox.demo import USUAL_PORT
from sandbox.runflow import MARKERS
from sandbox.scenarios import SCENARIOS
from tests import harness
from tests.forks import Nursery
from tests.harness import ROOT

CONTRACT = ("callback", "polling", "nsfw", "failed", "cancelled", "partial", "quota", "too-large", "slow")
COST = {"delivered": "1.60", "nsfw": "1.60", "failed": None, "cancelled": None, "unknown": None, "refused": None}


@cache
def nursery() -> Nursery:
    """Starts the demos of this test process; they and their bots have their imports done."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Nursery("sandbox.demo", "tests.forks", environment=environment, lent=[harness.nursery()])


async def demo(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run a headless demo: its exit code, its JSON lines and its standard error."""
    before = f"from tests.forks import order_from\norder_from({harness.nursery().number})"
    code, output, errors = await nursery().run(
        "bot", "demo", "--headless", *arguments, folder=ROOT, environment=os.environ, before=before
    )
    return code, [json.loads(line) for line in output.splitlines()], errors


async def test_every_scenario_of_the_contract_exists() -> None:
    """The scenario names that other programs use exist."""
    assert set(CONTRACT) <= set(SCENARIOS)


async def test_out_must_be_a_new_file(tmp_path: Path) -> None:
    """A folder is refused before the run, and nothing is said about ports."""
    for out, said in ((tmp_path, "is a folder. Name a file in it"), (tmp_path / "no" / "clip.mp4", "doesn't exist")):
        code, lines, errors = await demo("--out", str(out))
        assert (code, lines) == (2, [])
        assert said in errors
        assert "--port" not in errors


async def test_a_reader_who_leaves_ends_the_demo_quietly(tmp_path: Path) -> None:
    """As with `head -1`: no sentence about ports, no trace."""
    command = (sys.executable, "-m", "bot", "demo", "--headless", "--option", "duration=4s")
    read, write = os.pipe()
    os.close(read)
    try:
        ended = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=write, stderr=asyncio.subprocess.PIPE)
    finally:
        os.close(write)
    _, errors = await ended.communicate()
    assert ended.returncode == 0
    assert b"Traceback" not in errors
    assert b"can't start" not in errors


async def test_the_command_as_a_person_types_it(tmp_path: Path) -> None:
    """Nothing is imported before, neither for the demo nor for its bot: one that is delivered, and its clip."""
    clip = tmp_path / "clip.mp4"
    command = (sys.executable, "-m", "bot", "demo", "--headless", "--option=duration=4s", "--out", str(clip))
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    output, _ = await running.communicate()
    assert running.returncode == 0
    end = json.loads(output.splitlines()[-1])
    assert (end["outcome"], end["cost_usd"]) == ("delivered", "1.60")
    assert unsound_mp4(clip) is None


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_ends_as_it_should(name: str, tmp_path: Path) -> None:
    """The demo exits with 0, prints the outcome and exact cost last, and saves a playable clip if one was posted."""
    outcome = SCENARIOS[name].outcome
    clip = tmp_path / "clip.mp4"
    code, lines, errors = await demo("--scenario", name, "--option", "duration=4s", "--out", str(clip))
    assert code == 0, errors
    end = lines[-1]
    assert set(end) == {"outcome", "run_id", "cost_usd", "message_id"}
    assert (end["outcome"], end["cost_usd"]) == (outcome, COST[outcome])
    assert (end["message_id"] is None) == (outcome == "refused")
    assert lines[0] == {"shown": "new", "to": "caller", "message_id": lines[0]["message_id"], "thinking": True}
    assert clip.exists() == (outcome == "delivered")
    if outcome == "delivered":
        assert unsound_mp4(clip) is None


async def test_prompt_and_options_are_typed_as_registered() -> None:
    """`--option` accepts every option of `/veo`; the card shows the values that the bot received."""
    options = ("duration=4s", "resolution=4k", "generate_audio=false", "seed=7", "aspect_ratio=9:16")
    code, lines, _ = await demo("--prompt", "a calm sea", *(f"--option={each}" for each in options))
    assert code == 0
    card = next(line["text"] for line in lines if line["to"] == "caller" and "text" in line)
    assert "\n> a calm sea\n" in card
    assert "\n4 s · 4k · 9:16 · no sound · seed 7\n$1.60 · " in card


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--option", "colour=red"), "'colour=red' isn't NAME=VALUE, where NAME is one of: prompt, duration"),
        (("--option", "duration=5s"), "The command was not sent"),
    ],
)
async def test_a_wrong_option_gets_one_sentence(arguments: tuple[str, str], sentence: str) -> None:
    """An option that Discord would not send is reported, and the command isn't sent."""
    code, lines, errors = await demo(*arguments)
    assert (code, lines) == (2, [])
    assert sentence in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("which", ["discord", "runflow"])
async def test_a_sandbox_alone_prints_the_settings_of_its_clients(which: str) -> None:
    """`sandbox NAME` prints the settings that a client needs, serves it, and exits with 0 when it is stopped."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "sandbox", which, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    settings: Mapping[str, str] = json.loads(await process.stdout.readline())
    address = (
        settings["DISCORD_API_URL"] + "/gateway" if which == "discord" else settings["RUNFLOW_API_URL"] + "/v1/health"
    )
    async with aiohttp.ClientSession() as session, session.get(address) as reply:
        assert reply.status in (200, 401)
    process.terminate()
    assert await process.wait() == 0


async def test_the_chat_page_is_served_until_it_is_stopped() -> None:
    """`demo` prints the page's URL, of a free port if the usual one is taken; a signal stops it with its bot."""
    with socket.socket() as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # else somebody else has it, which is as good
            usual.bind(("127.0.0.1", USUAL_PORT))
            usual.listen()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            "demo",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "BROWSER": "true"},
        )
        assert process.stdout is not None
        address = ""
        async with asyncio.timeout(30):
            while "http://" not in address:
                address = (await process.stdout.readline()).decode()
    page = address.split()[-1]
    assert not page.endswith(f":{USUAL_PORT}")
    async with aiohttp.ClientSession() as session, session.get(page) as reply:
        assert reply.status == 200
        assert reply.content_type == "text/html"
    process.terminate()
    assert await process.wait() == 0


async def test_the_help_lists_every_scenario_and_marker() -> None:
    """`demo --help` names everything that a reader can choose from."""
    code, output, _ = await nursery().run("bot", "demo", "--help", folder=ROOT, environment=os.environ)
    assert code == 0
    assert all(f"\n  {name} " in output for name in SCENARIOS)
    assert all(f"[{name}]" in output for name in MARKERS)


async def test_a_port_that_is_taken_gets_one_sentence() -> None:
    """If another program uses the chosen port, the demo names the port and exits with code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines, errors = await demo("--port", str(port))
    assert (code, lines) == (2, [])
    assert errors == f"The demo can't start: another program uses port {port}. Choose another --port.\n"
