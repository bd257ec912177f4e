"""Nothing holds up a run but its own trouble: bad rows, runs without an end, full lines, clocks that are set."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import harness
from tests.harness import Scene, scene

CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}  # $0.80
NO_PROMPT = """'{"duration": "4s"}'"""
NO_LIST = """'["a red fox"]'"""


async def gauge(world: Scene, name: str) -> int:
    """What the bot's metrics say now."""
    async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/metrics") as answer:
        lines = [line.split() for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return int(float(dict(lines)[f"veo_{name}"]))


async def filming(world: Scene, runs: int, marker: str = "") -> None:
    """Order so many and wait until Runflow has all of them."""
    for number in range(runs):
        await world.veo(f"fox {number} {marker}", **CHEAP)
    await world.until(f"SELECT 1 WHERE (SELECT count(*) FROM run WHERE state = 'running') = {runs}")


async def delivered(world: Scene, runs: int) -> None:
    """Wait until so many are, with Runflow ending each at once."""
    async with asyncio.timeout(harness.WAIT_S):
        while len(world.rows("SELECT 1 FROM run WHERE delivery = 'delivered'")) < runs:
            await world.runflow.finish_all()
            await asyncio.sleep(0.02)


# Rows that cannot be read


@pytest.mark.parametrize(
    "damage",
    [f"request = {NO_PROMPT}", f"request = {NO_LIST}", "roles = '7'", """roles = '[{"id": "1"}]'"""],
    ids=["no-prompt", "a-list", "no-roles", "no-names"],
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
        await history.wait(
            lambda shown: bool(shown["components"]), timeout=harness.WAIT_S
        )  # not lost with one of its rows
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
        await world.press(offer, "Make it")
        await delivered(world, 3)
        orders: list[Any] = [each.body for each in world.runflow.received if each.method == "POST"]
        orders = [each["input"] for each in orders]
        assert [each.get("style") for each in orders] == [None, "noir", "noir"]
        assert orders[1]["camera"] == [1, 2]
        stored = world.rows("SELECT json_extract(request, '$.style') AS style FROM run")
        assert [each["style"] for each in stored] == ["noir"] * 3


# Runs without an end


@pytest.mark.parametrize("marker", ["never", "unknown-for-ever", "no-answer"])
async def test_a_run_without_an_end_frees_its_place(tmp_path: Path, marker: str) -> None:
    """Past the deadline it is told, counted and watched, and those behind it and its member go on."""
    async with scene(tmp_path, RUN_DEADLINE_S="0.4", RUNS_IN_FLIGHT_TOTAL="1", QUOTA_RUNS_IN_FLIGHT="1") as world:
        if marker == "no-answer":
            world.runflow.next_run(read="503", read_fault_times=10**6)
        stuck = await world.veo(f"without an end [{marker}]", **CHEAP)
        await world.end_of(stuck, kind="overdue")
        assert await gauge(world, "runs_overdue") == 1
        await world.end_of(await world.veo("the next", **CHEAP))
        run_id = await world.run_id(stuck)
        released = await world.act("refund", run=run_id, reason="their support says so")
        assert "The $0.80 on hold" in released
        assert "If Runflow bills it within a day" in released
        assert "release" in await world.act("log")
        await world.until(f"SELECT 1 FROM run WHERE run_id = '{run_id}' AND state = 'failed' AND due_at > 0")
        assert await gauge(world, "runs_overdue") == 0
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 800_000}]


async def test_what_a_released_run_is_billed_after_all_is_booked(tmp_path: Path) -> None:
    """The admin's word frees the money; Runflow's bill, should one come within a day, still counts."""
    async with scene(tmp_path, RUN_DEADLINE_S="0.3") as world:
        stuck = await world.veo("without an end [never]", **CHEAP)
        await world.end_of(stuck, kind="overdue")
        run_id = await world.run_id(stuck)
        await world.act("refund", run=run_id, reason="it hangs")
        await world.until("SELECT 1 FROM run WHERE state = 'failed' AND delivery = 'delivered'")
        await world.stop()
        (job,) = world.runflow.runs
        await world.runflow.finish(job, end="succeeded")
        world.change("UPDATE run SET ended_at = ended_at - 61, state_at = state_at - 61, due_at = due_at - 61")
        world.change("DROP TRIGGER ledger_only_grows")
        world.change("UPDATE ledger_entry SET at = at - 61 WHERE kind = 'void'")
        world.change(
            "CREATE TRIGGER ledger_only_grows BEFORE UPDATE ON ledger_entry\n"
            "    BEGIN SELECT RAISE(ABORT, 'ledger entries are never changed'); END"
        )
        await world.start()
        await world.until("SELECT 1 FROM run_view WHERE charged_u = 800000 AND cost_u = 800000")


async def test_a_wish_that_waits_past_the_deadline_costs_nothing(tmp_path: Path) -> None:
    """The one place is taken by an order in doubt; who waits behind it is told so and charged nothing."""
    async with scene(
        tmp_path, runflow={"before": "500"}, RUNFLOW_SETTLE_S="30", RUN_DEADLINE_S="2", RUNS_IN_FLIGHT_TOTAL="1"
    ) as world:
        await world.veo("in doubt", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'ambiguous'")
        waiting = await world.veo("behind it", **CHEAP)
        told = await world.end_of(waiting)
        assert told["content"].endswith(", your video couldn't be made.")
        assert "\nNothing was charged · " in await world.card(waiting, "Too many videos were in line before it.")
        assert world.rows("SELECT charged_u FROM run_view WHERE failure_code = 'NO_TURN'") == [{"charged_u": 0}]
        assert len(world.runflow.received) - len([1 for each in world.runflow.received if each.method == "GET"]) == 1


async def test_who_waits_for_a_place_costs_nothing_and_comes_in_turn(tmp_path: Path) -> None:
    """No timer runs for those in line; each end lets the oldest in, also where it is told by a callback alone."""
    async with scene(
        tmp_path, runflow={"end": "never"}, RUNS_IN_FLIGHT_TOTAL="2", QUOTA_RUNS_IN_FLIGHT="99", POLL_INTERVAL_S="0.1"
    ) as world:
        for number in range(12):
            await world.veo(f"fox {number}", **CHEAP)
        await world.until("SELECT 1 FROM run GROUP BY in_line HAVING in_line = 1 AND count(*) = 10")
        (before,) = world.rows("SELECT sum(tries) AS tries, min(due_at - created_at) AS due_s FROM run WHERE in_line")
        assert before["due_s"] > 1000
        await asyncio.sleep(0.5)
        (after,) = world.rows("SELECT sum(tries) AS tries, min(due_at - created_at) AS due_s FROM run WHERE in_line")
        assert after == before
        for number in range(10):
            first, *_ = world.rows("SELECT provider_id FROM run WHERE state = 'running' ORDER BY created_at")
            await world.runflow.finish(first["provider_id"], end="succeeded")
            await world.until(f"SELECT 1 WHERE (SELECT count(*) FROM run WHERE state != 'reserved') = {number + 3}")
        turns = "SELECT json_extract(request, '$.prompt') AS prompt FROM run ORDER BY posted_at"
        assert [row["prompt"] for row in world.rows(turns)] == [f"fox {number}" for number in range(12)]


async def test_a_line_outlives_a_restart(tmp_path: Path) -> None:
    """Those in line are still there, oldest first, and a place more lets one more in."""
    async with scene(tmp_path, runflow={"end": "never"}, RUNS_IN_FLIGHT_TOTAL="1", QUOTA_RUNS_IN_FLIGHT="9") as world:
        for number in range(4):
            await world.veo(f"fox {number}", **CHEAP)
        await world.until("SELECT 1 FROM run GROUP BY in_line HAVING in_line = 1 AND count(*) = 3")
        await world.stop()
        await world.start(RUNS_IN_FLIGHT_TOTAL="3")
        await world.until("SELECT 1 WHERE (SELECT count(*) FROM run WHERE state = 'running') = 3")
        (last,) = world.rows("SELECT json_extract(request, '$.prompt') AS prompt FROM run WHERE in_line")
        assert last["prompt"] == "fox 3"


# Clips


async def test_what_cannot_be_uploaded_becomes_a_link(tmp_path: Path) -> None:
    """Three uploads that come to nothing are enough: the message is posted with a link, once, and says why."""
    async with scene(tmp_path) as world:
        posting = rf"/channels/{world.channel.id}/messages"
        world.discord.fault("POST", posting, status=503, times=3)
        message = await world.end_of(await world.veo("a red fox", **CHEAP))
        assert message["attachments"] == []
        assert "couldn't be attached here" in message["content"]
        assert "/media/" in message["content"]
        assert len(world.discord.messages(world.channel)) == 1


async def test_a_file_that_is_refused_in_any_words_becomes_a_link(tmp_path: Path) -> None:
    """Without the words first, then without the file: only then is the place not the one for it."""
    async with scene(tmp_path) as world:
        posting = rf"/channels/{world.channel.id}/messages"
        world.discord.fault("POST", posting, status=400, code=240000, times=2)
        message = await world.end_of(await world.veo("a red fox", **CHEAP))
        assert message["attachments"] == []
        assert "/media/" in message["content"]


async def test_a_video_is_shown_again_while_deliveries_hang(tmp_path: Path) -> None:
    """Each has transfers of its own, so neither waits for the other."""
    async with scene(tmp_path, QUOTA_RUNS_IN_FLIGHT="9") as world:
        made = await world.veo("a red fox", **CHEAP)
        message = await world.end_of(made)
        await world.card(made, "in the channel")
        world.discord.delete_message(message["id"])
        for number in range(5):
            await world.veo(f"fox {number} [stall]", **CHEAP)
        hanging = "SELECT count(*) FROM run WHERE delivery_tries > 0 AND delivery = 'pending'"
        await world.until(f"SELECT 1 WHERE ({hanging}) >= 4")
        shown = await world.shown(run=await world.run_id(made))
        assert len(shown["attachments"]) == 1


async def test_who_orders_does_not_wait_for_clips_that_hang(tmp_path: Path) -> None:
    """More of them than steps at once, all found at a start: but for the transfers none keeps its step."""
    async with scene(
        tmp_path, runflow={"end": "never"}, QUOTA_RUNS_IN_FLIGHT="99", RUNS_IN_FLIGHT_TOTAL="99", QUOTA_USER_USD="999"
    ) as world:
        await filming(world, 36, "[stall]")
        await world.kill()
        for made in list(world.runflow.runs):
            await world.runflow.finish(made, end="succeeded")
        await world.start()
        await world.until("SELECT 1 WHERE (SELECT count(*) FROM run WHERE state = 'succeeded') = 36")
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        assert 0 < len(list(tmp_path.rglob("*.part"))) <= 4


async def test_who_orders_does_not_wait_for_what_a_channel_takes_slowly(tmp_path: Path) -> None:
    """Discord takes five messages in five seconds; sixty ends at once leave steps for orders."""
    async with scene(
        tmp_path, runflow={"end": "never"}, QUOTA_RUNS_IN_FLIGHT="99", RUNS_IN_FLIGHT_TOTAL="99", QUOTA_USER_USD="999"
    ) as world:
        await filming(world, 60)
        for made in list(world.runflow.runs):
            await world.runflow.finish(made, end="failed")
        await world.veo("a red fox", **CHEAP)
        async with asyncio.timeout(4):
            await world.until("SELECT 1 FROM run WHERE posts = 1 AND json_extract(request, '$.prompt') = 'a red fox'")
        await world.kill()


async def test_an_order_that_a_callback_says_was_bought_can_be_released(tmp_path: Path) -> None:
    """Its record can never be read: past the deadline it is told as unknown, and takes no place."""
    async with scene(
        tmp_path,
        runflow={"read": "503", "read_fault_times": 10**6, "end": "never"},
        RUN_DEADLINE_S="1",
        RUNS_IN_FLIGHT_TOTAL="1",
        QUOTA_RUNS_IN_FLIGHT="9",
        RUNFLOW_CALLBACK_SECRETS="",
    ) as world:
        await world.veo("first", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE state = 'running'")
        named = await world.veo("second", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE in_line")
        (row,) = world.rows("SELECT callback_token FROM run WHERE in_line")
        (job,) = world.runflow.runs
        address = f"{world.web_url}/callbacks/runflow/{row['callback_token']}"
        async with aiohttp.ClientSession() as session, session.post(address, json={"run_id": job}) as answer:
            assert answer.status == 202
        await world.end_of(named, kind="unknown")
        assert "The $0.80 on hold" in await world.act("refund", run=await world.run_id(named), reason="nobody can tell")


async def test_a_file_that_is_refused_while_there_is_no_link_goes_to_its_member(tmp_path: Path) -> None:
    """It is not uploaded over and over."""
    async with scene(tmp_path, PUBLIC_URL="") as world:
        posting = rf"/channels/{world.channel.id}/messages"
        world.discord.fault("POST", posting, status=400, code=240000, times=10**6, delay_s=0.3)
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE delivery = 'sending'")
        world.runflow.switches.read, world.runflow.switches.read_fault_times = "503", 10**6
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered' AND direct = 1")


@pytest.mark.parametrize("code", [50083, 50278])  # archived; no server in common
async def test_a_place_that_is_closed_for_a_moment_still_gets_the_file(tmp_path: Path, code: int) -> None:
    """That it took no message says nothing about the file, nor about the words."""
    async with scene(tmp_path) as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", status=403, code=code, times=3)
        message = await world.end_of(await world.veo("a red fox", **CHEAP))
        assert len(message["attachments"]) == 1
        assert "a red fox" in message["content"]


DRIPPING = "from bot.runflow import clips; clips.SLOW_AFTER_S, clips.BYTES_PER_S_MIN = 0.0, 10**12\n"


async def test_a_clip_that_always_drips_becomes_a_link(tmp_path: Path) -> None:
    """Not lost after a day: there is an address for it."""
    async with scene(tmp_path, before=DRIPPING) as world:
        message = await world.end_of(await world.veo("a red fox", **CHEAP))
        assert message["attachments"] == []
        assert re.search(r"^https?://\S+$", message["content"], re.MULTILINE)


async def test_a_clip_that_comes_after_its_run_was_told_as_empty_can_be_shown(tmp_path: Path) -> None:
    """Whenever Runflow is read again it may have the clip by now."""
    async with scene(tmp_path) as world:
        made = await world.veo("a red fox [empty]", **CHEAP)
        await world.end_of(made)
        run_id = await world.run_id(made)
        assert "can't get that video anymore" in await world.told("veo-show", by="Bo", run=run_id)


# Messages that Discord refuses for good


@pytest.mark.parametrize(("status", "code"), [(400, 240000), (400, 50035), (403, 200000)])
async def test_a_message_that_is_refused_for_its_words_is_posted_without_them(
    tmp_path: Path, status: int, code: int
) -> None:
    """A filter objects to the prompt: the video comes without it, in its channel."""
    async with scene(tmp_path) as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", status=status, code=code)
        used = await world.veo("a red fox", **CHEAP)
        end = await world.end_of(used)
        assert end["attachments"]
        assert "red fox" not in end["content"]
        assert [each["filename"] for each in end["attachments"]] == [f"veo-{await world.run_id(used)}.mp4"]
        assert len(world.posts()) == 1


async def test_a_message_that_is_refused_in_any_words_comes_to_its_member_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as world:
        posting = rf"/channels/{world.channel.id}/messages"
        world.discord.fault("POST", posting, status=400, code=240000, times=10**6)
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered' AND direct AND plain")
        assert world.posts() == []


async def test_a_member_who_takes_no_message_has_it_kept(tmp_path: Path) -> None:
    """No common server any more (50278): nothing is tried for a week, and `/veo-show` has the video."""
    async with scene(tmp_path) as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", status=404, code=10003, times=10**6)
        world.discord.fault("POST", r"/channels/\d+/messages", status=403, code=50278, times=10**6)
        await world.veo("a red fox", **CHEAP)
        await world.until("SELECT 1 FROM run WHERE delivery = 'undeliverable'")


async def test_a_limit_of_the_moment_is_no_refusal(tmp_path: Path) -> None:
    """Too many messages at once in the channel: the same message is posted a little later."""
    async with scene(tmp_path) as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", status=400, code=20028, times=2)
        end = await world.end_of(await world.veo("a red fox", **CHEAP))
        assert "red fox" in end["content"]
