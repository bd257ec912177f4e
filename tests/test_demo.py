"""The commands of the README and every scenario of the demo, run as a newcomer would."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.runflow import unsound_mp4
from sandbox.demo import SCENARIOS
from tests.forks import Nursery
from tests.harness import ROOT

CONTRACT = ("callback", "polling", "nsfw", "failed", "cancelled", "partial", "quota", "too-large", "slow")
COST = {"delivered": "1.60", "nsfw": "1.60", "failed": None, "cancelled": None, "unknown": None, "refused": None}


@cache
def nursery() -> Nursery:
    """Of the demos of this test process."""
    return Nursery("sandbox.demo", environment={**os.environ, "PYTHONPATH": str(ROOT)})


async def demo(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, the JSON lines, and what went to standard error; the demo starts its bot itself."""
    code, output, errors = await nursery().run(
        "bot", "demo", "--headless", *arguments, folder=ROOT, environment=os.environ
    )
    return code, [json.loads(line) for line in output.splitlines()], errors


async def test_every_scenario_of_the_contract_exists() -> None:
    """The names that others call are there."""
    assert set(CONTRACT) <= set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_ends_as_it_should(name: str, tmp_path: Path) -> None:
    """Exit code 0, the outcome last, its cost exact, and a playable clip where one was posted."""
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
    """`--option` takes every option of `/veo`; the card shows what was understood."""
    options = ("duration=4s", "resolution=4k", "generate_audio=false", "seed=7", "aspect_ratio=9:16")
    code, lines, _ = await demo("--prompt", "a calm sea", *(f"--option={each}" for each in options))
    assert code == 0
    card = next(line["card"] for line in lines if "card" in line)
    assert card["Options"].startswith("4 s · 4k · 9:16 · no sound · seed 7")
    assert (card["Price"], card["prompt"].splitlines()[0]) == ("$1.60", "> `a calm sea`")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--option", "colour=red"), "'colour=red' is not NAME=VALUE with a name of prompt, duration"),
        (("--option", "duration=5s"), "The command was not sent"),
    ],
)
async def test_a_wrong_option_gets_one_sentence(arguments: tuple[str, str], sentence: str) -> None:
    """What Discord would not send is said, not tried."""
    code, lines, errors = await demo(*arguments)
    assert (code, lines) == (2, [])
    assert sentence in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("which", ["discord", "runflow"])
async def test_an_emulator_alone_tells_how_to_reach_it(which: str) -> None:
    """`sandbox NAME` prints the settings that another client needs, serves, and stops in order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "sandbox", which, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    told: Mapping[str, str] = json.loads(await process.stdout.readline())
    address = told["DISCORD_API_URL"] + "/gateway" if which == "discord" else told["RUNFLOW_API_URL"] + "/v1/health"
    async with aiohttp.ClientSession() as session, session.get(address) as reply:
        assert reply.status in (200, 401)
    process.terminate()
    assert await process.wait() == 0


async def test_the_chat_page_is_served_until_it_is_stopped() -> None:
    """`demo` prints the page's address, and ends with the bot when it is interrupted."""
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
    async with aiohttp.ClientSession() as session, session.get(page) as reply:
        assert reply.status == 200
        assert reply.content_type == "text/html"
    process.terminate()
    assert await process.wait() == 0


async def test_a_port_that_is_taken_gets_one_sentence() -> None:
    """Another program on the chosen port is said, with exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, lines, errors = await demo("--port", str(taken.getsockname()[1]))
    assert (code, lines) == (2, [])
    assert errors.startswith("The demo cannot start: ")
    assert errors.endswith("Choose another --port.\n")
