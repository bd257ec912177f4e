"""Orders and messages in doubt, over TCP: sent again where they surely never arrived, told once wherever that goes."""

from __future__ import annotations

import asyncio
import re
import string
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.domain.lookup import ABSENT_S, EMPTY_COUNTS_SHARE
from bot.domain.records import Unclear
from bot.domain.runs import LOOKUP_SAMPLE, Notice, Run, RunState
from bot.services.delivery import CLOSED_S
from cogs.front import DiscordFront, nonce_of
from sandbox.discord import Channel, Interaction
from tests.engine_bench import seen, started
from tests.harness import WAIT_S, Scene, read, scene, status_of
from tests.parts import LIMITS
from tests.test_runs import a_run

FOX = "a red fox"
SEND_MESSAGES, READ_MESSAGE_HISTORY = 1 << 11, 1 << 16
QUICK = (100, 1.0)  # posts a second: else the library paces the tries, not the engine
LOCKED = 160005  # Discord docs, Opcodes and Status Codes: the thread is locked


async def filmed(world: Scene, member: str, channel: Channel | None = None) -> Interaction:
    """A member's `/veo` whose run is at Runflow and does not end by itself."""
    place = channel or world.channel
    used = await world.discord.invoke(world.member(member), place, "veo", {"prompt": f"{FOX} [never]"})
    await world.card(used, "In the works")
    return used


async def ends(world: Scene, interaction: Interaction) -> str:
    """Let Runflow finish the interaction's run; its id."""
    run_id = await world.run_id(interaction)
    (provider_id,) = (run.id for run in world.runflow.runs.values() if run.client_ref == f"veo-{run_id}")
    await world.runflow.finish(provider_id, end="succeeded")
    return run_id


async def tried(world: Scene, run_id: str, times: int) -> None:
    """Wait until the run's message was tried so often, and the last of these tries is over."""
    async with asyncio.timeout(WAIT_S):
        while len(world.logged("not delivered", run=run_id)) < times:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


def row(world: Scene, run_id: str) -> dict[str, Any]:
    """The run as the bot keeps it."""
    (found,) = world.rows("SELECT * FROM run WHERE run_id = :run_id", run_id=run_id)
    return found


async def delivered(world: Scene, *run_ids: str, end: str = "delivered") -> None:
    """Wait until the results of these runs came to that end."""
    async with asyncio.timeout(WAIT_S):
        while {row(world, run_id)["delivery"] for run_id in run_ids} != {end}:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


def earlier(world: Scene, column: str, seconds: float) -> None:
    """Let so much time pass for a stopped bot's open runs, since what the column tells."""
    world.change(f"UPDATE run SET {column} = {column} - {seconds} WHERE due_at IS NOT NULL")


def direct(world: Scene, member: str) -> list[dict[str, Any]]:
    """What the bot wrote to a member alone."""
    return world.discord.messages(world.discord.direct_channel(world.member(member)))


def posting(channel: Channel) -> str:
    return rf"/channels/{channel.id}/messages"


def sent(world: Scene, channel: Channel) -> list[Any]:
    """Each request to post into the channel, in the order of arrival."""
    return [each for each in world.discord.requests if (each.method, each.path) == ("POST", posting(channel))]


def delete(channel: Channel) -> None:
    """As its admins would; the interactions of its members can still be answered in this sandbox."""
    assert channel.server is not None
    channel.server.channels.remove(channel)


async def test_the_result_of_a_deleted_channel_goes_to_its_member_alone(world: Scene) -> None:
    """Written to the member once, with the clip and the channel's name; kept for `/veo-show` where that is refused."""
    lab, general = world.channel, world.discord.world.channel("general")
    bos, cems = await filmed(world, "Bo"), await filmed(world, "Cem")
    delete(lab)
    run_id = await ends(world, bos)
    await world.card(bos, "Your video is in your direct messages.\n$3.20 charged")
    (message,) = direct(world, "Bo")
    assert [each["filename"] for each in message["attachments"]] == [f"red-fox-never-{run_id}.mp4"]
    assert f"I couldn't post it in <#{lab.id}>, so it comes to you alone." in message["content"]
    assert "$" not in message["content"]

    answer = await world.shown(place=general.name, run=run_id)
    assert f"https://discord.com/channels/@me/{message['channel_id']}/{message['id']}" in answer["content"]

    world.discord.switches.dm_closed = True
    kept = await ends(world, cems)
    await world.card(cems, "`/veo-show` tries again, also in another channel.\n$3.20 charged")
    await delivered(world, kept, end="undeliverable")
    answer = await world.shown("Cem", general.name, run=kept)
    assert answer["attachments"][0]["filename"] == f"red-fox-never-{kept}.mp4"
    assert (len(direct(world, "Bo")), direct(world, "Cem"), world.posts(lab)) == (1, [], [])


async def test_a_place_that_is_closed_is_waited_for_and_then_given_up(world: Scene) -> None:
    """A lost permission, an archived and a locked thread: posted once when open again, or told to the member alone."""
    lab, thread = world.channel, world.discord.world.channel("takes")
    world.discord.switches.buckets["channel_post"] = QUICK

    bos, cems = await filmed(world, "Bo"), await filmed(world, "Cem", thread)
    world.discord.set_permissions(lab, deny=SEND_MESSAGES)
    world.discord.fault("POST", posting(thread), status=403, code=LOCKED, times=3)
    first, second = await ends(world, bos), await ends(world, cems)
    await world.card(bos, "on its way into the channel")
    await tried(world, first, 2)
    await tried(world, second, 3)
    assert (world.posts(lab), world.posts(thread)) == ([], [])
    world.discord.set_permissions(lab)
    await delivered(world, first, second)
    assert (len(world.posts(lab)), len(world.posts(thread))) == (1, 1)

    bos, cems = await filmed(world, "Bo"), await filmed(world, "Cem", thread)
    danas = await filmed(world, "Dana", thread)
    world.discord.set_permissions(lab, deny=SEND_MESSAGES)
    world.discord.archive_thread(thread)
    third, fourth, fifth = await ends(world, bos), await ends(world, cems), await ends(world, danas)
    for run_id in (third, fourth, fifth):
        await tried(world, run_id, 1)
    assert (direct(world, "Bo"), direct(world, "Cem")) == ([], [])
    await world.stop()
    earlier(world, "first_try_at", CLOSED_S)
    earlier(world, "last_try_at", CLOSED_S)
    # One try was cut off before anything was known of it: the place shows that it came to nothing.
    world.change("UPDATE run SET delivery = 'sending' WHERE due_at IS NOT NULL AND member_name = 'Dana'")
    await world.start()
    await delivered(world, third, fourth, fifth)
    world.discord.set_permissions(lab)
    world.discord.archive_thread(thread, archived=False)
    await world.card(bos, "Your video is in your direct messages")
    for member, run_id in (("Bo", third), ("Cem", fourth), ("Dana", fifth)):
        (message,) = direct(world, member)
        assert [each["filename"] for each in message["attachments"]] == [f"red-fox-never-{run_id}.mp4"]
    assert (len(world.posts(lab)), len(world.posts(thread))) == (1, 1)


async def test_a_message_in_doubt_is_repeated_only_where_that_cannot_double_it(world: Scene) -> None:
    """Soon after, by the nonce that Discord still knows; later only once the channel shows whether it stands."""
    bos, cems = await filmed(world, "Bo"), await filmed(world, "Cem")
    world.discord.set_permissions(world.channel, deny=READ_MESSAGE_HISTORY)
    world.discord.fault("POST", posting(world.channel), status=503, effect=True)
    first = await ends(world, bos)
    await delivered(world, first)
    doubted, repeated = sent(world, world.channel)
    assert (doubted.status, repeated.status) == (503, 200)
    assert doubted.json["nonce"] == repeated.json["nonce"]
    assert len(world.posts()) == 1

    world.discord.fault("POST", posting(world.channel), status=500, effect=True)
    second = await ends(world, cems)
    await world.end_of(cems)
    await world.kill()  # the library waits a second before it repeats what was answered with 500
    world.discord.clock.advance(world.discord.switches.nonce_window_s + 1)
    earlier(world, "first_try_at", DiscordFront.repeat_s)
    await world.start()
    await tried(world, second, len(world.logged("not delivered", run=second)) + 2)  # the gateway has told by then
    assert (len(world.posts()), len(sent(world, world.channel))) == (2, 3)
    assert "Read Message History is missing or not known yet" in world.log
    world.discord.set_permissions(world.channel)
    await delivered(world, second)
    assert (len(world.posts()), len(sent(world, world.channel))) == (2, 3)


async def test_a_post_through_every_kind_of_trouble_is_one_message(world: Scene) -> None:
    """500, 429, 503, a cut connection and a lost answer, one after the other: one nonce, longer pauses, one message."""
    world.discord.switches.buckets["channel_post"] = QUICK
    path = posting(world.channel)
    world.discord.fault("POST", path, status=500)
    world.discord.fault("POST", path, status=429, retry_after=0.05)
    world.discord.fault("POST", path, status=503)  # the first that the library does not wait out by itself
    world.discord.fault("POST", path, cut="before")
    world.discord.fault("POST", path, cut="before")
    world.discord.fault("POST", path, cut="after")
    interaction = await world.veo(FOX)
    await world.card(interaction, "in the channel")
    tries = sent(world, world.channel)
    assert [each.status for each in tries] == [500, 429, 503, 0, 0, 0]
    assert len({each.json["nonce"] for each in tries if each.json}) == 1
    *_, second, third, fourth = (each.at for each in tries)  # the first pause may be cut short by the callback
    assert (third - second > 0.09, fourth - third > 0.18) == (True, True)
    assert world.rows("SELECT delivery, delivery_tries FROM run") == [{"delivery": "delivered", "delivery_tries": 5}]
    assert len(world.posts()) == 1


class TestNonce:
    def test_it_is_fixed_by_run_and_notice(self) -> None:
        """25 lower-case characters (Discord docs, Create Message), the same for every try, whatever else changed."""
        run = a_run(notice=Notice.RESULT)
        later = replace(run, state=RunState.SUCCEEDED, tries=9, delivery_tries=4, message="m", charged_u=5)
        assert re.fullmatch(r"[a-z2-7]{25}", nonce_of(run))
        assert nonce_of(run) == nonce_of(later)

    def test_each_notice_has_its_own_in_each_place(self) -> None:
        """The notices of one run, the same notice of two runs, and the one to a member alone are different messages."""
        runs = [
            a_run(run_id=run_id, notice=notice, direct=direct)
            for run_id in ("one", "two")
            for notice in (*Notice, None)
            for direct in (False, True)
        ]
        assert len({nonce_of(run) for run in runs}) == len(runs) == 16

    @given(st.text(string.printable), st.text(string.printable))
    def test_they_differ_as_runs_do(self, one: str, other: str) -> None:
        """Whatever a run is called, its nonce has 25 characters and is its own."""
        first, second = (nonce_of(a_run(run_id=name, notice=Notice.RESULT)) for name in (one, other))
        assert len(first) == len(second) == 25
        assert (first == second) == (one == other)


# Orders

FRESH = (
    "SELECT sum(lookup_fresh) AS fresh FROM "
    "(SELECT lookup_fresh FROM run WHERE lookup_fresh IS NOT NULL ORDER BY posted_at DESC LIMIT 3)"
)


def looks(world: Scene, run_id: str) -> int:
    """How often the list was asked for the run."""
    return sum(each.path == "/v1/runs" and run_id in each.query.get("q", "") for each in world.runflow.received)


def in_sample(run_id: str) -> bool:
    return zlib.crc32(run_id.encode()) % LOOKUP_SAMPLE == 0


async def made(world: Scene) -> str:
    """A video from the wish to its message; the run's id."""
    interaction = await world.veo(FOX)
    await world.end_of(interaction)
    return await world.run_id(interaction)


async def test_an_order_is_sent_again_only_where_its_absence_is_proven(tmp_path: Path) -> None:
    """Never by a list that shows no run; by one that showed three it is, thrice at most, and given back after a day."""
    async with scene(tmp_path, runflow={"list_lag_s": 3600.0}, RUNFLOW_SETTLE_S="0.5") as world:
        world.discord.switches.buckets["channel_post"] = QUICK
        world.runflow.next_run(run_s=0.6)
        await made(world)
        assert world.rows("SELECT lookup_fresh FROM run") == [{"lookup_fresh": 0}]
        world.runflow.next_run(before="reset")
        lost = await world.veo(FOX)
        notice = await world.end_of(lost, kind="unknown")
        assert "can't tell yet whether your video is being made" in notice["content"]
        assert posts(world, await world.run_id(lost)) == 1

        world.runflow.switches.list_lag_s = 0.0
        await proven(world)
        before = len(world.runflow.runs)
        world.runflow.next_run(before="reset")
        again = await world.veo(FOX)
        await world.card(again, "Veo didn't answer clearly")
        world.runflow.next_run(before="reset", post_fault_times=1000)
        thrice = await world.veo(FOX)
        message = await world.end_of(again)
        assert len(message["attachments"]) == 1
        assert any("never got your video, so I'm sending it again" in status_of(each) for each in again.history)
        await world.end_of(thrice, kind="unknown")
        assert [posts(world, await world.run_id(each)) for each in (lost, again, thrice)] == [1, 2, 3]
        assert len(world.runflow.runs) == before + 1
        assert "$3.20 is on hold" in await world.card(thrice, "on hold until I know")
        assert world.rows("SELECT DISTINCT held_u FROM budget") == [{"held_u": 6_400_000}]
        await a_day_later(world, lost, thrice)


async def a_day_later(world: Scene, *orders: Interaction) -> None:
    """The orders are told as lost, and what was held for them is given back."""
    await world.stop()
    earlier(world, "posted_at", ABSENT_S)
    await world.start()
    for order in orders:
        message = await world.end_of(order)
        assert message["content"] == f"<@{order.member.id}>, your video couldn't be made."
        card = await world.card(order, "Your video couldn't be made.\nIt never reached Veo. Try again.")
        assert "\nNothing was charged · " in card
    assert world.rows("SELECT failure_code FROM run WHERE state = 'failed'") == 2 * [{"failure_code": "NEVER_ARRIVED"}]
    bought = len(world.runflow.runs)
    assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": bought * 3_200_000}]
    asked = await world.discord.invoke(world.member(), world.channel, "veo-history", {})
    history = read(await asked.wait(lambda each: bool(each["components"])))["content"]
    assert history.count("didn't work · not charged") == 2


def posts(world: Scene, run_id: str) -> int:
    return world.runflow.posts(f"veo-{run_id}")


async def proven(world: Scene) -> None:
    """Make videos until the list has shown three in time; from then on it is asked for a sample alone."""
    for _ in range(10):  # on a slow machine an answer may come too late to count
        run_id = await made(world)
        if row(world, run_id)["lookup_fresh"]:
            assert looks(world, run_id) == 1
        if world.rows(FRESH) == [{"fresh": 3}]:
            break
    for _ in range(2):
        run_id = await made(world)
        assert looks(world, run_id) == in_sample(run_id)


async def test_an_order_of_which_a_callback_says_that_it_arrived_is_not_sent_again(tmp_path: Path) -> None:
    """The run that it named cannot be read, and a proven list shows nothing: that is no absence, so it is unknown."""
    async with started(tmp_path) as bench:
        bench.script.record = lambda provider_id: (
            None if provider_id == "rf-named" else seen(provider_id.removeprefix("rf-"), "running")
        )
        for number in range(3):
            shown = await bench.admit(str(number))
            bench.script.listed.append(seen(shown, "running"))
            await bench.until(shown, lambda row: bool(row.lookup_fresh))
        bench.script.answers = [Unclear(reason="HTTP 500")]
        run = await bench.admit("lost")
        await bench.until(run, lambda row: row.state == RunState.AMBIGUOUS)
        assert await bench.engine.wake(run.callback_token, "rf-named")
        for _ in range(2):
            bench.time.at += EMPTY_COUNTS_SHARE * LIMITS.settle_s
            await bench.until(run, lambda row: row.empty_since is not None)
        given_up = await bench.until(run, lambda row: row.state in (RunState.UNKNOWN, RunState.RUNNING))
        assert (given_up.state, given_up.posts, bench.script.submitted) == (RunState.UNKNOWN, 1, 4)


async def test_a_run_that_turns_up_while_its_order_waits_to_be_sent_again_is_adopted(tmp_path: Path) -> None:
    """A callback names the run of the earlier POST after all: it is the run, and no second POST is made."""
    async with started(tmp_path) as bench:
        bench.script.record = lambda provider_id: seen(provider_id.removeprefix("rf-"), "running")
        for number in range(3):
            shown = await bench.admit(str(number))
            bench.script.listed.append(seen(shown, "running"))
            await bench.until(shown, lambda row: bool(row.lookup_fresh))
        bench.script.answers = [Unclear(reason="HTTP 500")]
        run = await bench.admit("lost")
        await bench.until(run, lambda row: row.state == RunState.AMBIGUOUS)
        begin_submit = bench.store.begin_submit

        async def no_place(run: Run, *, now: float, total_max: int) -> Run | None:
            return await begin_submit(run, now=now, total_max=0)

        bench.store.begin_submit = no_place  # type: ignore[method-assign] # it waits when it is to be sent again
        bench.time.at += EMPTY_COUNTS_SHARE * LIMITS.settle_s
        await bench.until(run, lambda row: row.empty_since is not None)
        bench.time.at += LIMITS.settle_s
        await bench.until(run, lambda row: row.state == RunState.RESERVED and row.tries > 0)
        assert await bench.engine.wake(run.callback_token, f"rf-{run.run_id}")
        bench.store.begin_submit = begin_submit  # type: ignore[method-assign] # the same
        adopted = await bench.until(run, lambda row: row.state == RunState.RUNNING)
        assert (adopted.provider_id, adopted.posts, bench.script.submitted) == (f"rf-{run.run_id}", 1, 4)
