"""The connection to Discord's gateway comes back with growing pauses, and ends where Discord refuses us for good."""

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
from sandbox.discord.gateway import Gateway
from tests.harness import WAIT_S, Scene, scene

DAY_S = 86_400


async def ready(world: Scene) -> None:
    """Wait until the bot itself knows of its session."""
    async with asyncio.timeout(WAIT_S):
        while not world.logged("ready"):  # noqa: ASYNC110 - told in its log
            await asyncio.sleep(0.01)


async def two_of(tries: list[float]) -> None:
    """Give a second try as long as it takes, and a third the time that it must not come in."""
    async with asyncio.timeout(WAIT_S):
        while len(tries) < 2 or time.monotonic() < tries[0] + 1.3:  # noqa: ASYNC110 - another process sends them
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("way", ["op 9", "close", "cut"])
async def test_a_session_that_cannot_be_resumed_is_tried_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """However its RESUME is refused: a few tries, a line in the log for each, and then the bot is there again."""
    tries: list[float] = []

    def refuse(_: Gateway, connection: Any, __: Any) -> None:
        tries.append(time.monotonic())
        match way:
            case "op 9":
                connection.send({"op": 9, "d": True})
            case "close":
                closing.append(asyncio.create_task(connection.socket.close(code=4000)))
            case "cut":
                connection.abort()

    closing: list[asyncio.Task[Any]] = []
    async with scene(tmp_path) as world:
        await ready(world)
        with monkeypatch.context() as patched:
            patched.setattr(Gateway, "_resume", refuse)
            await world.discord.drop_gateway(4000)
            await two_of(tries)
        assert sum(at < tries[0] + 1.3 for at in tries) <= 3
        await world.until_resumed()
        lines = len(world.logged("no connection to Discord's gateway"))
        assert len(tries) <= lines <= len(tries) + 2
        assert "Traceback" not in world.log


async def test_a_gateway_that_cannot_be_reached_is_one_line_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    async def away(_: web.WebSocketResponse, __: web.BaseRequest) -> None:
        tries.append(time.monotonic())
        raise web.HTTPServiceUnavailable

    async with scene(tmp_path) as world:
        await ready(world)
        with monkeypatch.context() as patched:
            patched.setattr(web.WebSocketResponse, "prepare", away)
            await world.discord.drop_gateway()
            await two_of(tries)
        assert sum(at < tries[0] + 1.3 for at in tries) <= 3
        await world.until_resumed()
        assert "WSServerHandshakeError" in world.log
        assert "Traceback" not in world.log


def test_the_pauses_grow_and_spend_no_token() -> None:
    """None before the first try, then twice as long each time; at their longest a day takes fewer than 1000 tries."""
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
async def test_a_close_code_that_is_for_good_is_told_in_its_own_words(tmp_path: Path, code: int, words: str) -> None:
    """It ends the bot, as a fault that its operator can mend, without a trace."""
    async with scene(tmp_path) as world:
        await world.discord.drop_gateway(code)
        assert world.bot is not None
        async with asyncio.timeout(WAIT_S):
            assert await world.bot.wait() == 2
        (line,) = [each for each in world.log.splitlines() if f"(code {code})" in each]
        assert words in line
        assert ("DISCORD_TOKEN" in line) == (code == 4004)
        assert "Traceback" not in world.log


async def test_an_answer_before_the_librarys_thread_wakes_up_is_no_delay(caplog: pytest.LogCaptureFixture) -> None:
    """The answer to a heartbeat may come before whoever sent it is told that it was sent."""

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
