"""Nothing holds up a run but its own trouble: bad rows, runs without an end, full lines, clocks that are set."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness import WAIT_S, Scene, scene

CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}  # $0.80
NO_PROMPT = """'{"duration": "4s"}'"""
NO_LIST = """'["a red fox"]'"""


async def gauge(world: Scene, name: str) -> int:
    """What the bot's metrics say now."""
    async with aiohttp.ClientSession() as session, session.get(f"{world.web_url}/metrics") as answer:
        lines = [line.split() for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return int(dict(lines)[f"veo_{name}"])


async def delivered(world: Scene, runs: int) -> None:
    """Wait until so many are, with Runflow ending each at once."""
    async with asyncio.timeout(WAIT_S):
        while len(world.rows("SELECT 1 FROM run WHERE delivery = 'delivered'")) < runs:
            await world.runflow.finish_all()
            await asyncio.sleep(0.02)


# Rows that cannot be read


@pytest.mark.parametrize(
    "damage",
    [f"request = {NO_PROMPT}", f"request = {NO_LIST}", "roles = '7'"],
    ids=["no-prompt", "a-list", "no-roles"],
)
@pytest.mark.parametrize("state", ["reserved", "running"])
async def test_a_row_that_cannot_be_read_stops_no_other(tmp_path: Path, state: str, damage: str) -> None:
    """It is parked, counted and said once; it takes no place, also where there is only one."""
    async with scene(tmp_path, RUNS_IN_FLIGHT_TOTAL="1", QUOTA_RUNS_IN_FLIGHT="1") as world:
        await world.veo("the first [queued]", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        await world.kill()
        if state == "reserved":
            world.change("UPDATE run SET state = 'reserved', provider_id = NULL")
        request = world.rows("SELECT request, roles FROM run")[0]
        world.change(f"UPDATE run SET {damage}")
        await world.start()
        second = await world.veo("the second", **CHEAP)
        await world.end_of(second)
        history = await world.use("veo-history", by="Bo")
        await history.wait(lambda shown: bool(shown["embeds"]), timeout=WAIT_S)  # not lost with one of its rows
        assert await gauge(world, "runs_unreadable") == 1
        assert world.log.count("cannot be read") == 1
        await world.stop()
        assert len(world.rows("SELECT 1 FROM run WHERE parked_at IS NOT NULL AND due_at > parked_at + 3599")) == 1
        # A program that can read it goes on with it.
        kept = {name: "NULL" if value is None else f"'{value}'" for name, value in request.items()}
        world.change("UPDATE run SET {} WHERE parked_at > 0".format(", ".join(f"{n} = {v}" for n, v in kept.items())))
        await world.start()
        await world.until("SELECT 1 FROM run WHERE parked_at IS NULL AND origin = (SELECT min(origin) FROM run)")
        assert await gauge(world, "runs_unreadable") == 0
        await delivered(world, 2)


async def test_a_rolled_back_program_goes_on_with_options_that_it_does_not_know(tmp_path: Path) -> None:
    """What a newer one stored is filmed as it was asked for, shown as far as it is known, and lost nowhere."""
    async with scene(tmp_path, RUNS_IN_FLIGHT_TOTAL="1") as world:
        await world.veo("on its way [queued]", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        await world.veo("waiting", **CHEAP)
        offer = await world.answer_to(await world.veo("a dear one", resolution="4k"))
        await world.stop()
        world.change("""UPDATE run SET request = json_set(request, '$.style', 'noir', '$.camera', json('[1, 2]'))""")
        world.change("""UPDATE offer SET wish = json_set(wish, '$.request.style', 'noir', '$.language', 'de'),
                     choices = json_set(choices, '$[0].request.style', 'noir', '$[0].note', 'new')""")
        await world.start()
        await world.press(offer, "Film it")
        await delivered(world, 3)
        orders: list[Any] = [each.body for each in world.runflow.received if each.method == "POST"]
        orders = [each["input"] for each in orders]
        assert [each.get("style") for each in orders] == [None, "noir", "noir"]
        assert orders[1]["camera"] == [1, 2]
        stored = world.rows("SELECT json_extract(request, '$.style') AS style FROM run")
        assert [each["style"] for each in stored] == ["noir"] * 3
