"""The bot reconnects to Discord's gateway with growing pauses, and stops if Discord refuses it permanently."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from discord.gateway import KeepAliveHandler

from cogs.gateway import PAUSE_MAX_S, Socket, pause_before
from sandbox.discord.gateway import ResumeRefusal
from tests.harness import WAIT_S, Scene, scene

DAY_S = 86_400


async def ready(world: Scene) -> None:
    """Wait until the bot has received READY."""
    async with asyncio.timeout(WAIT_S):
        while not world.logged("ready"):  # noqa: ASYNC110 - another process logs it
            await asyncio.sleep(0.01)


async def wait_for_two(tries: list[float]) -> None:
    """Wait until there are two tries and at least 1.3 s have passed since the first."""
    async with asyncio.timeout(WAIT_S):
        while len(tries) < 2 or time.monotonic() < tries[0] + 1.3:  # noqa: ASYNC110 - another process sends them
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("way", ["op 9", "close", "cut"])
async def test_a_refused_resume_is_retried_with_growing_pauses(tmp_path: Path, way: ResumeRefusal) -> None:
    """However its RESUME is refused, the bot tries a few times, logs each try, and then reconnects."""
    async with scene(tmp_path) as world:
        await ready(world)
        with world.discord.refused_resumes(way) as refusals:
            await world.discord.drop_gateway(4000)
            await wait_for_two(refusals)
        assert sum(at < refusals[0] + 1.3 for at in refusals) <= 3
        await world.until_resumed()
        lines = len(world.logged("no connection to Discord's gateway"))
        assert len(refusals) <= lines <= len(refusals) + 2
        assert "Traceback" not in world.log


async def test_an_unreachable_gateway_is_logged_once_per_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the gateway refuses connections, the bot logs one line for each try, without a traceback."""
    tries: list[float] = []

    async def refuse(_: web.WebSocketResponse, __: web.BaseRequest) -> None:
        tries.append(time.monotonic())
        raise web.HTTPServiceUnavailable

    async with scene(tmp_path) as world:
        await ready(world)
        with monkeypatch.context() as patched:
            patched.setattr(web.WebSocketResponse, "prepare", refuse)
            await world.discord.drop_gateway()
            await wait_for_two(tries)
        assert sum(at < tries[0] + 1.3 for at in tries) <= 3
        await world.until_resumed()
        assert "WSServerHandshakeError" in world.log
        assert "Traceback" not in world.log


def test_the_pauses_grow_and_stay_within_the_daily_limit() -> None:
    """The first try has no pause, then each is longer; with the longest, a day has fewer than 1000 tries."""
    pauses = [pause_before(tries, new_session=False) for tries in range(2000)]
    assert pauses[0] == 0
    assert all(before < after or after == PAUSE_MAX_S for before, after in pairwise(pauses))
    assert all(pause_before(tries, new_session=True) >= max(5, pauses[tries]) for tries in range(20))
    assert DAY_S / (0.75 * PAUSE_MAX_S) < 1000 - 10


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4004, "DISCORD_TOKEN"),
        (4010, "update the bot"),
        (4011, "in more servers than one connection may hear"),
        (4012, "update the bot"),
        (4013, "does not know an intent"),
        (4014, "Developer Portal"),
    ],
)
async def test_a_permanent_close_code_stops_the_bot_and_says_what_to_do(tmp_path: Path, code: int, words: str) -> None:
    """It stops the bot with exit code 2 and one sentence for the operator, without a traceback."""
    async with scene(tmp_path) as world:
        await world.discord.drop_gateway(code)
        assert world.bot is not None
        async with asyncio.timeout(WAIT_S):
            assert await world.bot.wait() == 2
        (line,) = [each for each in world.log.splitlines() if f"(code {code})" in each]
        assert words in line
        assert ("DISCORD_TOKEN" in line) == (code == 4004)
        assert "Traceback" not in world.log


async def test_an_early_heartbeat_acknowledgement_is_no_latency(caplog: pytest.LogCaptureFixture) -> None:
    """The latency is right even if a heartbeat is acknowledged before the sending thread continues."""

    class Answering:
        async def send_str(self, _: str) -> None:
            beats.ack()

    socket: Any = Socket(Answering(), loop=asyncio.get_running_loop())  # type: ignore[arg-type]
    socket._max_heartbeat_timeout = 60.0
    socket._keep_alive = beats = KeepAliveHandler(ws=socket, interval=41.25)
    beats._last_send = time.perf_counter() - 41.25
    await socket.send_heartbeat(beats.get_payload())
    assert beats.latency < 1
    assert not caplog.records
