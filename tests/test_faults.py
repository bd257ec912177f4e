"""Faults of ours are ours: told with their trace at once, and never taken for trouble with the network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cogs.front import is_ours
from tests.harness import WAIT_S, labels_of, scene, status_of

BREAK = """
import {module}
def broken(*_, **__):
    {fault}
{module}.{name} = broken
"""
TRIPS = "raise TypeError('not what was expected')"


async def test_a_message_without_words_brings_the_video_all_the_same(tmp_path: Path) -> None:
    """Its member is told at once that something went wrong on our side; the trace is in the log."""
    before = BREAK.format(module="cogs.front", name="notice", fault=TRIPS)
    async with scene(tmp_path, before=before) as world:
        message = await world.end_of(await world.veo())
        assert "something went wrong on my side" in message["content"]
        assert len(message["attachments"]) == 1
        assert world.logged("fault of ours")
        assert "TypeError: not what was expected" in world.log


@pytest.mark.parametrize("fault", [TRIPS, "return object()"], ids=["ours", "found by the library"])
async def test_a_message_that_cannot_be_made_is_not_tried_for_a_week(tmp_path: Path, fault: str) -> None:
    """Five tries, without the prompt, with a link and to the member alone, each with its trace; then the card tells."""
    before = BREAK.format(module="cogs.render", name="buttons", fault=fault)
    async with scene(tmp_path, before=before) as world:
        used = await world.veo()
        await world.until("SELECT 1 FROM run WHERE delivery = 'undeliverable'")
        told = world.logged("fault of ours: a message cannot be made")
        assert len(told) == 5
        assert all("Traceback" in str(each) for each in told)
        card = await used.wait(lambda each: "/veo-show" in status_of(each), timeout=WAIT_S)
        assert labels_of(card) == []
        assert world.posts() == []


async def test_a_card_that_cannot_be_made_is_told_with_its_trace(tmp_path: Path) -> None:
    """It is decoration, so that the video comes all the same."""
    before = BREAK.format(module="cogs.front", name="card", fault="raise TypeError('not what was expected')")
    async with scene(tmp_path, before=before) as world:
        await world.veo()
        async with asyncio.timeout(WAIT_S):
            while not world.posts():  # noqa: ASYNC110 - shown by the bot
                await asyncio.sleep(0.01)
        assert "TypeError: not what was expected" in world.log


async def test_a_background_task_that_fails_goes_on(tmp_path: Path) -> None:
    """Old clips are swept again after a sweep that failed, which the log tells with its trace."""
    before = """
import bot.app, bot.media
bot.app.SWEEP_S = 0.05
def broken(self):
    raise PermissionError('not today')
bot.media.Media.sweep = broken
"""
    async with scene(tmp_path, before=before) as world, asyncio.timeout(WAIT_S):
        while world.log.count("PermissionError: not today") < 3:  # noqa: ASYNC110 - told in its log
            await asyncio.sleep(0.01)


def test_what_the_library_makes_of_an_answer_is_no_fault_of_ours() -> None:
    """Only where our code is the last to stumble, or what it gave to be sent."""

    def raised_in(module: str, name: str) -> BaseException:
        scope: dict[str, object] = {"__name__": module}
        exec(f"def {name}(): raise KeyError('id')", scope)  # noqa: S102 - a frame of that module
        try:
            scope[name]()  # type: ignore[operator]  # the function just made
        except KeyError as error:
            return error
        raise AssertionError

    assert is_ours(raised_in("bot.views.runs", "notice"))
    assert is_ours(raised_in("discord.http", "handle_message_parameters"))
    assert is_ours(raised_in("discord.abc", "send"))
    assert not is_ours(raised_in("discord.message", "__init__"))
    assert not is_ours(raised_in("aiohttp.client", "_request"))
    assert not is_ours(ConnectionResetError())
