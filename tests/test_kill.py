"""The real process, killed with -9 while runs are open, and started again: one post, one charge, balanced books."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.harness import WAIT_S, Scene, notice_of, scene
from tests.kills import everything_is_quiet, kill_at_random

FOX = "a red fox"


def assert_each_once(world: Scene, runs: int) -> None:
    """Every run was ordered, billed, charged and posted exactly once."""
    posted = Counter(found[0] for each in world.posts() if (found := notice_of(each)))
    assert len(posted) == runs
    assert set(posted.values()) == {1}
    assert len(world.runflow.runs) == runs
    assert all(world.runflow.posts(run.client_ref or "") == 1 for run in world.runflow.runs.values())
    assert world.rows("SELECT sum(held_u) AS held_u, sum(spent_u) AS spent_u FROM budget WHERE scope = 'total'") == [
        {"held_u": 0, "spent_u": runs * 3_200_000}
    ]


async def test_killed_while_the_order_is_on_its_way(tmp_path: Path) -> None:
    """The intent was on disk: the next start finds the run that was bought and orders no other."""
    async with scene(tmp_path, runflow={"reply_delay_s": 3.0}) as world:
        await world.veo(FOX)
        await world.until("SELECT 1 FROM run WHERE state = 'submitting'")
        async with asyncio.timeout(WAIT_S):
            while not world.runflow.runs:  # noqa: ASYNC110 - the sandbox has no signal for it
                await asyncio.sleep(0.01)
        await world.kill()
        world.runflow.switches.reply_delay_s = 0.0
        await world.start()
        await everything_is_quiet(world)
        assert_each_once(world, 1)


async def test_killed_while_the_video_is_being_made(tmp_path: Path) -> None:
    """The run ends while nobody listens and its callback is lost for good; the next start delivers it."""
    async with scene(tmp_path, runflow={"end": "never"}) as world:
        interaction = await world.veo(FOX)
        await world.card(interaction, "In the works")
        await world.kill()
        (run,) = world.runflow.runs
        await world.runflow.finish(run, end="succeeded")
        await world.start()
        await world.card(interaction, "in the channel")
        await everything_is_quiet(world)
        assert_each_once(world, 1)


async def test_killed_between_the_post_and_its_answer(tmp_path: Path) -> None:
    """The message stands, the bot does not know: the next start finds it instead of posting again."""
    async with scene(tmp_path, discord={"latency_s": 0.0}) as world:
        world.discord.fault(
            "POST", rf"/channels/{world.channel.id}/messages", status=500, effect=True, delay_s=5, times=1
        )
        interaction = await world.veo(FOX)
        await world.end_of(interaction)
        assert world.rows("SELECT delivery FROM run") == [{"delivery": "sending"}]
        await world.kill()
        world.discord.clock.advance(600)  # beyond the window in which Discord itself would notice the repeat
        await world.start()
        await everything_is_quiet(world)
        assert_each_once(world, 1)


async def test_restarts_repeat_nothing(tmp_path: Path) -> None:
    """What was delivered stays delivered, however often the bot is started."""
    async with scene(tmp_path) as world:
        await world.end_of(await world.veo(FOX))
        await everything_is_quiet(world)
        for _ in range(2):
            await world.stop()
            await world.start()
        await everything_is_quiet(world)
        assert_each_once(world, 1)


async def test_a_stop_in_order_loses_nothing_either(tmp_path: Path) -> None:
    """SIGTERM ends with 0 while runs are open, and the next start goes on with them."""
    async with scene(tmp_path, run_s=1.0) as world:
        for number in range(3):
            await world.veo(f"fox {number}")
        await world.until("SELECT 1 FROM run GROUP BY 1 HAVING count(*) = 3")
        assert await world.stop() == 0
        await world.start()
        await everything_is_quiet(world)
        assert_each_once(world, 3)


@pytest.mark.timeout(180)
async def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Kills wherever they fall: each run once ordered, once billed, once posted, or held and told as unknown."""
    told = await kill_at_random(tmp_path, 8, seed=20261126)
    assert told["kills"] == 8
    assert told["runs"] > 0
