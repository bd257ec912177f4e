"""The bot over TCP against both sandboxes: what a member sees, what is posted, what it costs.

In one piece, because it follows one `/veo` after the other through all that a member may see.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from discord import File

from cogs.acknowledge import Acknowledger
from cogs.client import log_in, new_client
from sandbox.discord import CommandRefused, DiscordSandbox
from sandbox.discord import Switches as DiscordSwitches
from tests.harness import SECRET, WAIT_S, Scene, labels_of, read, scene, status_of
from tests.words import SPEAKER

FOX = "a red fox in falling snow"


async def test_the_video_arrives_with_the_callers_mention_alone(world: Scene) -> None:
    """`/veo` ends with one message that carries the playable clip and notifies nobody but the caller."""
    interaction = await world.veo(FOX, seed=42)
    message = await world.end_of(interaction)
    run_id = await world.run_id(interaction)
    assert [each["filename"] for each in message["attachments"]] == [f"red-fox-in-falling-snow-{run_id}.mp4"]
    assert [each["id"] for each in message["mentions"]] == [interaction.member.id]
    assert message["content"].split("\n") == [
        f"<@{interaction.member.id}>, here's your video! “{FOX}”",
        f"-# 8 s · 720p · seed 42 · Video `{run_id}`",
    ]
    async with aiohttp.ClientSession() as session, session.get(message["attachments"][0]["url"]) as reply:
        assert (await reply.read())[4:8] == b"ftyp"
    assert await world.card(interaction, "in the channel") == (
        "Done\nYour video is in the channel.\nseed 42\n$3.20 charged, as quoted · $96.80 left this month"
    )
    assert len(world.posts()) == 1
    assert list((world.folder / "media").iterdir()) == []


async def test_all_nine_options_reach_runflow_as_given(world: Scene) -> None:
    """What the member chose is what is bought, field by field and type by type."""
    chosen: dict[str, Any] = {
        "duration": "4s",
        "resolution": "1080p",
        "aspect_ratio": "9:16",
        "generate_audio": False,
        "negative_prompt": "text, logos",
        "seed": 2**53 - 1,
        "auto_fix": False,
        "safety_tolerance": "2",
    }
    await world.end_of(await world.veo(FOX, **chosen))
    (run,) = world.runflow.runs.values()
    assert run.input == {"prompt": FOX, **chosen}


async def test_defaults_are_sent_and_what_has_none_is_left_out(world: Scene) -> None:
    """A field with a price is never left to Runflow's own default."""
    await world.end_of(await world.veo(FOX))
    (run,) = world.runflow.runs.values()
    assert run.input == {
        "prompt": FOX,
        "duration": "8s",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "generate_audio": True,
        "auto_fix": True,
        "safety_tolerance": "4",
    }


async def test_the_card_is_for_the_caller_and_moves_on_with_the_run(tmp_path: Path) -> None:
    """In line, being made, done: with price and rest, and not an edit more than there is news that lasts."""
    async with scene(tmp_path, queue_s=1.0, run_s=1.0, QUOTA_USER_USD="10.00") as world:
        interaction = await world.veo(FOX)
        await world.card(interaction, "in the channel")
        seen = [status for version in interaction.history if (status := status_of(version))]
        titles = [text.split("\n")[0] for text in seen]
        assert list(dict.fromkeys(titles)) == ["Making your video", "Done"]
        assert len(titles) <= len(set(seen)) + 1
        assert re.fullmatch(
            r"Making your video\nIn the works since <t:\d+:t>\.\nExpected <t:\d+:R>; usually ready by <t:\d+:t>\."
            r"\n\$3\.20 · \$6\.80 left this month",
            seen[titles.index("Making your video")],
        )
        assert all(version["flags"] & 64 for version in interaction.history)
        assert seen[-1].endswith("\n$3.20 charged, as quoted · $6.80 left this month")


async def test_an_order_that_takes_a_while_is_shown_on_its_way(tmp_path: Path) -> None:
    """Whoever waits for more than a second reads that the wish was understood; in less the order is there."""
    async with scene(tmp_path, runflow={"reply_delay_s": 1.3}) as world:
        interaction = await world.veo(FOX)
        await world.card(interaction, "in the channel")
        seen = [status for version in interaction.history if (status := status_of(version))]
        assert seen[0].startswith("Sending to Veo\nGot it, sending it to Veo.\n")


@pytest.mark.parametrize(
    ("marker", "reason", "charged", "cost_u"),
    [
        ("nsfw", "It was flagged as not safe for work, so I can't show it.", "$3.20 charged, as quoted", 3_200_000),
        ("failed", "Your video couldn't be made.", "Nothing was charged", 0),
        ("policy", "Veo's content rules said no.", "Nothing was charged", 0),
        ("cancelled", "It was cancelled at Veo.", "Nothing was charged", 0),
        ("empty", "It came back empty\nThat's usually a content filter.", "$3.20 charged, as quoted", 3_200_000),
        ("failed-cost", "Your video couldn't be made.", "$0.40 charged, what it cost (quoted $3.20)", 400_000),
        ("402", "Only the bot's owner can fix that.", "Nothing was charged", 0),
        ("422", "The request is not valid (prompt)", "Nothing was charged", 0),
    ],
)
async def test_an_end_without_a_video_says_what_happened_and_what_it_cost(
    world: Scene, marker: str, reason: str, charged: str, cost_u: int
) -> None:
    """The channel hears that there is none and nothing else; the caller's card and Details say why and the cost."""
    interaction = await world.veo(f"{FOX} [{marker}]")
    message = await world.end_of(interaction)
    assert message["content"] == f"<@{interaction.member.id}>, your video couldn't be made."
    assert [each["id"] for each in message["mentions"]] == [interaction.member.id]
    assert message["attachments"] == []
    assert labels_of(message) == ["Details"]
    card = await world.card(interaction, "harged")
    assert reason in card
    assert f"\n{charged} · " in card
    details = read(await (await world.press(message, "Details")).wait(lambda each: bool(status_of(each))))
    assert details["flags"] & 64
    assert reason in status_of(details)
    assert status_of(details).endswith(f"\n{charged}")
    (row,) = world.rows("SELECT charged_u FROM run_view")
    assert row == {"charged_u": cost_u}


@pytest.mark.parametrize("marker", ["partial", "nsfw-null", "skip", "back", "unknown", "early", "twice", "storm"])
async def test_odd_ways_still_deliver_once(world: Scene, marker: str) -> None:
    """Partial work, unchecked clips, strange states and callbacks of all kinds end in one post and one charge."""
    interaction = await world.veo(f"{FOX} [{marker}]")
    if marker == "unknown":
        await world.card(interaction, "In the works since")
        world.runflow.clock.advance(60)
    message = await world.end_of(interaction)
    assert len(message["attachments"]) == 1
    await world.runflow.idle()
    assert len(world.posts()) == 1
    assert world.rows("SELECT kind, amount_u FROM ledger_entry WHERE scope LIKE 'member:%'") == [
        {"kind": "hold", "amount_u": 3_200_000},
        {"kind": "post", "amount_u": 3_200_000},
    ]


async def test_without_callbacks_polling_alone_delivers(tmp_path: Path) -> None:
    """Without PUBLIC_URL no callback is asked for, and nothing is missing."""
    async with scene(tmp_path, PUBLIC_URL="") as world:
        await world.end_of(await world.veo(FOX))
        (run,) = world.runflow.runs.values()
        assert run.callback_url is None


async def test_a_callback_wakes_a_run_that_polling_would_find_late(tmp_path: Path) -> None:
    """With an hour between two polls the callback alone brings the end at once, and one reading is enough for it."""
    async with scene(tmp_path, run_s=0.5, POLL_INTERVAL_S="3600", POLL_INTERVAL_MAX_S="3600") as world:
        message = await world.end_of(await world.veo(FOX))
        assert len(message["attachments"]) == 1
        assert sum(each.path.startswith("/v1/runs/") for each in world.runflow.received) == 1


async def test_a_lost_callback_costs_a_poll_and_nothing_else(tmp_path: Path) -> None:
    """Callbacks are hints: without them the same run ends the same way."""
    async with scene(tmp_path, runflow={"callback_lost": True}) as world:
        await world.end_of(await world.veo(FOX))


async def test_a_dead_interaction_token_loses_the_card_only(tmp_path: Path) -> None:
    """Past the token's life the video is posted as if nothing had happened."""
    async with scene(tmp_path, discord={"token_life_s": 0.2}, run_s=0.6) as world:
        message = await world.end_of(await world.veo(FOX))
        assert len(message["attachments"]) == 1
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")


async def test_an_interaction_token_is_kept_no_longer_than_it_lives(tmp_path: Path) -> None:
    """The row says until when the token may be kept: the quarter of an hour that Discord honours it."""
    async with scene(tmp_path) as world:
        await world.end_of(await world.veo(FOX))
        (row,) = world.rows("SELECT reply_to, reply_until, created_at FROM run")
        assert row["reply_to"] is not None
        assert 0 < row["reply_until"] - row["created_at"] <= 900


async def test_a_clip_too_large_to_attach_becomes_a_link_of_our_own(tmp_path: Path) -> None:
    """Over the limit the bot's own web server gives the clip out, signed and for as long as it says."""
    async with scene(tmp_path, runflow={"file_bytes": 11 * 2**20}) as world:
        message = await world.end_of(await world.veo(FOX))
        assert message["attachments"] == []
        assert "too large to attach" in message["content"]
        (link,) = re.findall(r"^http\S+$", message["content"], re.MULTILINE)
        assert link.startswith(f"{world.web_url}/media/")
        async with (
            aiohttp.ClientSession() as session,
            session.get(link, headers={"Range": "bytes=4-7"}) as part,
            session.get(link) as whole,
        ):
            assert part.status == 206
            assert await part.read() == b"ftyp"
            assert len(await whole.read()) >= 11 * 2**20


@pytest.mark.parametrize(
    ("film", "extension", "remark"),
    [
        ("webm", "webm", "This file is WebM."),
        ("mkv", "mkv", "This file is Matroska. Download it to play it."),
        ("mov", "mov", "This file is QuickTime."),
        ("hevc", "mp4", "This video is HEVC, which some devices can't play."),
        ("tail", "mp4", ""),
    ],
)
async def test_a_film_of_another_kind_is_posted_at_once_as_what_it_is(
    world: Scene, film: str, extension: str, remark: str
) -> None:
    """Attached under its own extension with a word about it, and found again by /veo-show."""
    interaction = await world.veo(f"a red fox [{film}]")
    message = await world.end_of(interaction)
    run_id = await world.run_id(interaction)
    (attachment,) = message["attachments"]
    assert attachment["filename"] == f"red-fox-{film}-{run_id}.{extension}"
    assert re.findall(r"^This (?:file|video) is .*$", message["content"], re.MULTILINE) == ([remark] if remark else [])
    assert world.rows("SELECT delivery_tries AS tries FROM run_view WHERE run_id = :id", id=run_id) == [{"tries": 1}]
    assert attachment["filename"] in (await world.shown(run=run_id))["content"]


async def test_a_film_of_another_kind_that_is_too_large_is_linked_as_what_it_is(tmp_path: Path) -> None:
    """The message says it, and the link is served under its own type and name."""
    async with scene(tmp_path, discord={"upload_limit": 1000}) as world:
        message = await world.end_of(await world.veo("a red fox [webm]"))
        assert "too large to attach here.\nThis file is WebM." in message["content"]
        (link,) = re.findall(r"^http\S+$", message["content"], re.MULTILINE)
        async with aiohttp.ClientSession() as session, session.get(link) as response:
            assert (response.status, response.headers["Content-Type"]) == (200, "video/webm")
            assert response.headers["Content-Disposition"].endswith('.webm"')


async def test_without_an_address_of_our_own_the_link_is_runflows(tmp_path: Path) -> None:
    """Where the bot cannot be reached it hands on Runflow's link, and says whose it is and that it ends."""
    async with scene(tmp_path, runflow={"file_bytes": 11 * 2**20}, PUBLIC_URL="") as world:
        interaction = await world.veo(FOX)
        message = await world.end_of(interaction)
        assert "The link expires soon" in message["content"]
        (link,) = re.findall(r"^http\S+$", message["content"], re.MULTILINE)
        assert link.startswith(world.runflow.url)
        async with aiohttp.ClientSession() as session, session.get(link) as reply:
            assert reply.status == 200
        await world.card(interaction, "in the channel")
        assert list((world.folder / "media").iterdir()) == []


async def test_an_announced_limit_that_is_too_high_costs_a_try_and_not_the_clip(tmp_path: Path) -> None:
    """Discord's number may be wrong: its 413 turns the upload into a link."""
    limits = {"upload_limit": 5 * 2**20, "announced_upload_limit": 50 * 2**20}
    async with scene(tmp_path, discord=limits, runflow={"file_bytes": 6 * 2**20}) as world:
        message = await world.end_of(await world.veo(FOX))
        assert "/media/" in message["content"]
        assert [each.status for each in world.discord.requests if each.files] == [413]


async def test_a_prompt_can_ping_nobody_and_stays_text(world: Scene) -> None:
    """Mentions, markdown and links in a prompt are shown as they were typed and reach nobody."""
    dana = world.member("Dana")
    hostile = f"@everyone <@{dana.id}> <@&1> `**bold**` https://evil.test/x.png\n# big ```code"
    message = await world.end_of(await world.veo(hostile))
    assert [each["id"] for each in message["mentions"]] == [world.member().id]
    assert message["mention_everyone"] is False
    assert message["mention_roles"] == []
    quoted = message["content"].splitlines()[0].partition("“")[2]
    assert "@everyone" in quoted
    assert "big" in quoted
    assert re.findall(r"(?<!\\)[@<>#`*/]", quoted) == []


async def test_a_channel_that_cannot_take_the_video_is_refused_before_anything_is_paid(world: Scene) -> None:
    """Missing permissions are named at once; Runflow hears nothing."""
    for name, missing in (("read-only", "Send Messages"), ("no-files", "Attach Files")):
        channel = world.discord.world.channel(name)
        interaction = await world.discord.invoke(world.member("Ada"), channel, "veo", {"prompt": FOX})
        answer = await world.answer_to(interaction)
        assert missing in answer["content"]
        assert answer["flags"] & 64
    assert world.runflow.runs == {}
    assert world.rows("SELECT * FROM budget") == []


async def test_threads_work_like_channels(world: Scene) -> None:
    """In a thread the permission that counts there is asked for, and the video is posted there."""
    thread = next(each for each in world.discord.world.channels() if each.parent is not None)
    interaction = await world.discord.invoke(world.member(), thread, "veo", {"prompt": FOX})
    message = await world.end_of(interaction)
    assert message["channel_id"] == thread.id


async def test_only_chosen_servers_may_spend(tmp_path: Path) -> None:
    """Elsewhere the answer says how the operator switches the server on, and nothing is started."""
    async with scene(tmp_path) as world:
        lobby = world.discord.world.channel("lobby")
        dana = next(each for each in lobby.server.members if each.name == "Dana") if lobby.server else None
        assert dana is not None
        assert lobby.server is not None
        interaction = await world.discord.invoke(dana, lobby, "veo", {"prompt": FOX})
        answer = await world.answer_to(interaction)
        assert f"adding `{lobby.server.id}` to DISCORD_SERVERS" in answer["content"]
        assert world.runflow.runs == {}
        for chosen in (lobby.server.id, "*"):
            await world.stop()
            await world.start(DISCORD_SERVERS=chosen)
            interaction = await world.discord.invoke(dana, lobby, "veo", {"prompt": FOX})
            await world.end_of(interaction)


async def test_over_the_limit_the_refusal_says_what_would_fit(tmp_path: Path) -> None:
    """Price, rest and reset; what fits is on buttons, the nearest first; held money is named; nothing is held."""
    async with scene(tmp_path, runflow={"end": "never"}, QUOTA_USER_USD="5.00") as world:
        first = await world.veo(FOX)
        await world.card(first, "In the works")
        second = await world.veo(FOX)
        refused = await world.answer_to(second)
        answer = refused["content"]
        assert "costs $3.20, and you have $1.80 left" in answer
        assert re.search(r"resets <t:\d+:f>\.", answer)
        assert "$3.20 of your limit is on hold" in answer
        assert labels_of(refused) == ["No sound · $1.60", "4 s · $1.60", "No sound · 6 s · $1.20", "Change"]
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 3_200_000, "spent_u": 0}]
        third = await world.veo(FOX, member="Cem", duration="4s", generate_audio=False)
        await world.card(third, "In the works")
        assert len(world.runflow.runs) == 2


async def test_twenty_at_once_never_pass_a_limit_for_five(tmp_path: Path) -> None:
    """A burst through Discord itself: exactly as many start as the limit pays for, the rest hear why."""
    async with scene(tmp_path, runflow={"end": "never"}, QUOTA_USER_USD="16.00") as world:
        asked = await asyncio.gather(*(world.veo(f"fox {number}") for number in range(20)))
        answers = await asyncio.gather(*(each.wait(lambda message: bool(read(message)["content"])) for each in asked))
        assert sum(bool(status_of(answer)) for answer in answers) == 5
        assert sum("and you have" in read(answer)["content"] for answer in answers) == 15
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 16_000_000, "spent_u": 0}]


async def test_too_many_runs_at_a_time_are_refused_and_the_bots_own_total_waits(tmp_path: Path) -> None:
    """One member's runs beyond the limit are refused; beyond the bot's total they wait their turn, in order."""
    never = {"end": "never"}
    async with scene(tmp_path, runflow=never, QUOTA_RUNS_IN_FLIGHT="2", RUNS_IN_FLIGHT_TOTAL="1") as world:
        first = await world.veo("first")
        await world.card(first, "In the works")
        second = await world.veo("second")
        await world.card(second, "In line · 1st")
        refused = await world.veo("third")
        answer = await world.answer_to(refused)
        assert "You already have 2 videos in the works" in answer["content"]
        (running,) = world.runflow.runs
        await world.runflow.finish(running, end="succeeded")
        await world.end_of(first)
        await world.card(second, "In the works")


async def test_an_empty_or_endless_prompt_gets_one_sentence(tmp_path: Path) -> None:
    """What cannot be filmed is refused in words, before anything is held."""
    async with scene(tmp_path, PROMPT_MAX_CHARS="50") as world:
        for prompt in ("   ", "\u200b", "\u2800\u3164\u202e"):
            interaction = await world.veo(prompt)
            _, quote, *said = (await world.answer_to(interaction))["content"].split("\n")
            assert quote.startswith(">")
            assert said == ["Your prompt is empty. Describe the video you want."]
        for name in ("prompt", "negative_prompt"):  # Discord's own counter lets nobody write on in vain
            with pytest.raises(CommandRefused, match="takes 1 to 50 characters"):
                await world.veo(**{"prompt": "a red fox"} | {name: "x" * 51})
        assert world.rows("SELECT * FROM run") == []


async def test_text_that_turns_words_round_is_shown_upright(tmp_path: Path) -> None:
    """Card, post, receipt, history and the admins' log: in all of them the bot's own words stay as they are."""
    turning = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    hostile = "\u202eno pop \u2067here\u200f abc"
    async with scene(tmp_path, QUOTA_CONFIRM_ABOVE_USD="3.20") as world:
        interaction = await world.veo(hostile, negative_prompt=hostile)
        message = await world.end_of(interaction)
        card = await interaction.wait(lambda shown: bool(status_of(shown)))
        (stored,) = world.rows("SELECT json_extract(request, '$.prompt') AS prompt FROM run")
        assert stored == {"prompt": hostile}  # Veo gets what was written
        history = await (await world.use("veo-history", by="Bo")).wait(lambda shown: bool(shown["components"]))
        receipt = await (await world.press(message, "Receipt")).wait(lambda shown: "Receipt" in read(shown)["content"])
        await world.act("grant", amount="1", member=world.member(), reason=hostile)
        log = await world.act("log")
        for shown in (message, card, history, receipt, log):
            text = json.dumps(shown, ensure_ascii=False)
            assert "no pop here abc" in text
            assert not turning & set(text)


async def test_show_posts_a_finished_video_again(world: Scene) -> None:
    """From its message while that is there, freshly signed; from Runflow when it is gone; never another's."""
    interaction = await world.veo(FOX)
    message = await world.end_of(interaction)
    run_id = await world.run_id(interaction)
    await world.card(interaction, "in the channel")
    world.discord.clock.advance(2 * 86_400)  # the first link is dead by now
    answer = await world.shown(run=run_id)
    (link,) = re.findall(r"^http\S+$", answer["content"], re.MULTILINE)
    async with (
        aiohttp.ClientSession() as session,
        session.get(message["attachments"][0]["url"]) as old,
        session.get(link) as fresh,
    ):
        assert (old.status, fresh.status) == (404, 200)
    world.discord.delete_message(message["id"])
    assert (await world.shown())["attachments"][0]["filename"] == message["attachments"][0]["filename"]
    assert "None of your videos has that ID" in await world.told("veo-show", by="Dana", run=run_id)


async def test_what_show_cannot_do_is_said_to_the_caller_alone(world: Scene) -> None:
    """A wrong id, no video yet, too many in a while: nobody else reads of it, and mistakes use nothing up."""
    await world.end_of(await world.veo(FOX))
    before = world.seen()
    assert "None of your videos has that ID" in await world.told("veo-show", by="Bo", run="nosuch")
    assert await world.told("veo-show", by="Cem") == "No videos yet. Make your first with `/veo`."
    assert world.seen() == before
    for _ in range(2):
        await world.shown()
    assert (await world.told("veo-show", by="Bo")).startswith(
        "You've just posted 2 videos. You can post the next one <t:"
    )
    assert len(world.seen()) == len(before) + 2
    world.discord.clock.advance(31)
    await world.shown()


async def test_a_slow_runflow_never_delays_the_answer(tmp_path: Path) -> None:
    """The acknowledgement does not wait for the order: Discord's three seconds are never in danger."""
    async with scene(tmp_path, runflow={"reply_delay_s": 1.0}) as world:
        asked = await asyncio.gather(*(world.veo(f"fox {number}") for number in range(5)))
        assert max(each.acknowledged_after_s or 9.0 for each in asked) < 1.0
        world.runflow.switches.reply_delay_s = 0.0
        for each in asked:
            await world.end_of(each)


async def test_commands_are_registered_once_and_again_only_when_they_differ(world: Scene) -> None:
    """A start with the same commands asks and sends nothing; a difference is put right."""

    def puts() -> int:
        return sum(each.method == "PUT" for each in world.discord.requests)

    assert puts() == 1
    await world.stop()
    await world.start()
    assert puts() == 1
    await world.stop()
    command = world.discord.registered("veo-quota")
    command["description"] = "an older version"
    await world.start()
    assert puts() == 2


async def test_a_gateway_that_drops_is_resumed(world: Scene) -> None:
    """After a lost connection the next command is answered all the same."""
    await world.discord.drop_gateway(4000)
    await world.until_resumed()
    await world.end_of(await world.veo(FOX))


async def test_readiness_is_red_while_discord_is_gone(world: Scene) -> None:
    """A gateway that takes nobody for a while: `/readyz` says so, `/healthz` stays, and back it is green again."""

    async def until(green: bool) -> None:
        while await ready() is not green:  # noqa: ASYNC110 - another process decides it
            await asyncio.sleep(0.02)

    async def ready() -> bool:
        async with session.get(f"{world.operator_url}/readyz") as reply:
            parts = await reply.json()
            assert (parts["database"], parts["media"]) == (True, True)
            return reply.status == 200 and parts["discord"] is True

    async with aiohttp.ClientSession() as session, asyncio.timeout(WAIT_S):
        await until(green=True)
        world.discord.switches.gateway_away = True
        await world.discord.drop_gateway()
        await until(green=False)
        for _ in range(10):  # and it stays so
            assert not await ready()
            await asyncio.sleep(0.02)
        async with session.get(f"{world.operator_url}/healthz") as reply:
            assert reply.status == 200
        world.discord.switches.gateway_away = False
        await until(green=True)
    await world.end_of(await world.veo())


async def test_an_upload_may_take_as_long_as_its_size_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is large is given its time, and a small one is not waited for so long."""
    monkeypatch.setattr("cogs.client.UPLOAD_S", 0.1)
    async with (
        DiscordSandbox() as discord,
        new_client(discord.api_url, discord.gateway_url, acknowledger=Acknowledger(), speaker=SPEAKER) as client,
    ):
        await log_in(client, discord.token)
        channel = client.get_partial_messageable(int(discord.world.channel("video-lab").id))
        discord.switches.latency_s = 0.5
        with pytest.raises(TimeoutError):
            await channel.send(file=File(io.BytesIO(b"x"), "small.mp4"))
        await channel.send(file=File(io.BytesIO(bytes(64 * 1024)), "large.mp4"))


async def test_a_client_that_is_closed_tells_nobody_of_anything() -> None:
    """The library's tasks go on behind it: half a second after a connection it would tell of that without a loop."""
    async with new_client(None, None, acknowledger=Acknowledger(), speaker=SPEAKER) as client:
        await client.close()
        client.dispatch("ready")


async def test_a_gateway_that_falls_silent_is_no_gateway() -> None:
    """The connection stands and nothing comes, not even for heartbeats: after `silence_s` that is told, until it ends.

    With Discord's heartbeat of 41.25 s the library's own limit is 60 s.
    """
    quick = DiscordSwitches(heartbeat_interval_s=0.1, heartbeat_grace=100)
    async with (
        DiscordSandbox(switches=quick) as discord,
        new_client(
            discord.api_url, discord.gateway_url, silence_s=0.4, acknowledger=Acknowledger(), speaker=SPEAKER
        ) as client,
        asyncio.timeout(WAIT_S),
    ):

        async def until(hears: bool) -> None:
            while client.hears_discord() is not hears:  # noqa: ASYNC110 - the library has no event for silence
                await asyncio.sleep(0.01)

        assert not client.hears_discord()
        await log_in(client, discord.token)
        connection = asyncio.create_task(client.connect())
        try:
            await until(hears=True)
            await asyncio.sleep(0.6)
            assert client.hears_discord()
            discord.switches.gateway_silent = True
            await until(hears=False)
            assert client.is_ready()  # which is why it is not asked
            discord.switches.gateway_silent = False
            await discord.drop_gateway()  # the answers to what was sent meanwhile do not come any more
            await until(hears=True)
        finally:
            connection.cancel()
            await asyncio.gather(connection, return_exceptions=True)


async def test_forged_doubled_and_malformed_callbacks_change_nothing(tmp_path: Path) -> None:
    """Whatever reaches the callback address, the run ends by Runflow's record alone."""
    async with scene(tmp_path, runflow={"end": "never"}) as world:
        interaction = await world.veo(FOX)
        await world.card(interaction, "In the works")
        (run,) = world.runflow.runs.values()
        assert run.callback_url is not None
        lie = b'{"event":"run.completed","run_id":"x","status":"succeeded","output":{"outputs":[]}}'
        async with aiohttp.ClientSession() as session:
            statuses = []
            for body, headers in (
                (lie, {}),
                (lie, {"Runflow-Signature": "0" * 64}),
                (lie, {"Runflow-Signature": "é"}),
                (b"\x00" * 70_000, {}),
            ):
                async with session.post(run.callback_url, data=body, headers=headers) as reply:
                    statuses.append(reply.status)
        assert statuses == [401, 401, 401, 413]
        from sandbox.runflow.callbacks import sign

        async with aiohttp.ClientSession() as session:
            for body in (lie, lie, b"{", b""):
                signature = {"Runflow-Signature": sign(SECRET, body)}
                async with session.post(run.callback_url, data=body, headers=signature) as reply:
                    assert reply.status == 202
                async with session.post(
                    f"{world.web_url}/callbacks/runflow/nobody", data=body, headers=signature
                ) as reply:
                    assert reply.status == 404
        assert world.posts() == []
        assert world.rows("SELECT state FROM run") == [{"state": "running"}]
        await world.runflow.finish(run.id, end="succeeded")
        await world.end_of(interaction)


@pytest.mark.parametrize("fault", ["after-500", "after-504", "after-reset", "after-truncated", "after-no-body"])
async def test_an_order_without_a_clear_answer_is_found_and_never_repeated(world: Scene, fault: str) -> None:
    """The run that was bought all the same is adopted: one order, one charge, one video."""
    interaction = await world.veo(f"{FOX} [{fault}]")
    await world.end_of(interaction)
    assert world.runflow.posts(f"veo-{await world.run_id(interaction)}") == 1
    assert len(world.runflow.runs) == 1


async def test_an_order_that_nobody_can_find_is_unknown_and_held(tmp_path: Path) -> None:
    """Told as unknown, held and not ordered again; and delivered should it turn up after all."""
    async with scene(tmp_path, runflow={"after": "500", "list_lag_s": 3600.0, "callback_lost": True}) as world:
        interaction = await world.veo(FOX)
        notice = await world.end_of(interaction, kind="unknown")
        assert "can't tell yet whether your video is being made" in notice["content"]
        assert "$3.20 is on hold" in await world.card(interaction, "on hold until I know")
        assert world.rows("SELECT DISTINCT held_u FROM budget") == [{"held_u": 3_200_000}]
        world.runflow.clock.advance(4000)
        await world.end_of(interaction)
        assert world.runflow.posts(f"veo-{await world.run_id(interaction)}") == 1


async def test_the_callback_alone_finds_an_order_that_the_list_hides(tmp_path: Path) -> None:
    """The run named by a callback is read, and adopted because it carries our reference."""
    async with scene(tmp_path, runflow={"after": "500", "list_lag_s": 3600.0}, run_s=0.3) as world:
        interaction = await world.veo(FOX)
        await world.end_of(interaction)
        assert len(world.posts()) == 1


@pytest.mark.parametrize("marker", ["429", "retry-after"])
async def test_being_told_to_wait_is_waited_out(world: Scene, marker: str) -> None:
    """429 bought nothing: the order is sent again after the pause, and once."""
    interaction = await world.veo(f"{FOX} [{marker}]")
    await world.end_of(interaction)
    assert len(world.runflow.runs) == 1


async def test_an_unreachable_runflow_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    """Never sent means never bought: after the deadline the hold is released, and it is said why."""
    async with scene(tmp_path, RUNFLOW_API_URL="http://127.0.0.1:9", RUN_DEADLINE_S="1") as world:
        interaction = await world.veo(FOX)
        message = await world.end_of(interaction)
        assert message["content"].endswith(", your video couldn't be made.")
        assert "couldn't reach Veo in time" in await world.card(interaction, "harged")
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 0}]


async def test_a_run_past_its_deadline_is_told_watched_and_still_delivered(tmp_path: Path) -> None:
    """A local timeout is no verdict: overdue is said once, the hold stays, and the late video arrives."""
    async with scene(tmp_path, runflow={"end": "never"}, RUN_DEADLINE_S="0.3") as world:
        interaction = await world.veo(FOX)
        await world.end_of(interaction, kind="overdue")
        assert world.rows("SELECT DISTINCT held_u FROM budget") == [{"held_u": 3_200_000}]
        (run,) = world.runflow.runs
        await world.runflow.finish(run, end="succeeded")
        await world.end_of(interaction)
        assert len(world.posts()) == 2


@pytest.mark.parametrize("marker", ["reads-fail", "expired", "truncated-once", "redirect"])
async def test_trouble_on_the_way_to_the_clip_is_outlasted(world: Scene, marker: str) -> None:
    """Failing reads, dead links, broken downloads and redirects end in one whole clip."""
    message = await world.end_of(await world.veo(f"{FOX} [{marker}]"))
    async with aiohttp.ClientSession() as session, session.get(message["attachments"][0]["url"]) as reply:
        whole = Path("sandbox/runflow/clip.mp4").read_bytes()
        assert await reply.read() == whole


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"cut": "before"},
        {"cut": "after"},
        {"status": 500, "effect": True},
        {"status": 429, "retry_after": 0.1},
        {"status": 429, "via": False},
    ],
    ids=str,
)
async def test_a_post_that_fails_or_seems_to_is_made_exactly_once(world: Scene, fault: dict[str, Any]) -> None:
    """Whether Discord refused, broke off before or after, or answered an error after posting: one message."""
    world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", **fault)
    await world.end_of(await world.veo(FOX))
    await asyncio.sleep(0.2)
    assert len(world.posts()) == 1


async def test_a_lost_permission_is_outlasted(world: Scene) -> None:
    """Where the bot may not post any more the clip waits, and arrives when it may again."""
    interaction = await world.veo(f"{FOX} [never]")
    await world.card(interaction, "In the works")
    world.discord.set_permissions(world.channel, deny=1 << 11)
    (run,) = world.runflow.runs
    await world.runflow.finish(run, end="succeeded")
    await world.card(interaction, "on its way")
    world.discord.set_permissions(world.channel)
    await world.end_of(interaction)


async def test_a_cost_above_the_quote_is_booked_in_full_and_shown(world: Scene) -> None:
    """The receipt shows what Runflow billed; hold and excess both stand in the ledger."""
    interaction = await world.veo(f"{FOX} [dear]")
    await world.end_of(interaction)
    assert "$9.60 charged" in await world.card(interaction, "harged")
    assert world.rows("SELECT kind, amount_u FROM ledger_entry WHERE scope LIKE 'member:%'") == [
        {"kind": "hold", "amount_u": 3_200_000},
        {"kind": "post", "amount_u": 3_200_000},
        {"kind": "adjust", "amount_u": 6_400_000},
    ]
    assert world.rows("SELECT DISTINCT spent_u FROM budget") == [{"spent_u": 9_600_000}]


async def test_a_success_without_a_cost_is_charged_as_quoted(world: Scene) -> None:
    """Nothing is free because a figure is missing."""
    interaction = await world.veo(f"{FOX} [null-cost]")
    await world.end_of(interaction)
    assert "$3.20 charged, as quoted" in await world.card(interaction, "harged")
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
    (row,) = world.rows("SELECT cost_u, due_at - ended_at AS again_s FROM run")
    assert row["cost_u"] is None
    assert row["again_s"] == pytest.approx(60)


async def test_an_outage_of_discord_at_the_start_is_waited_out(tmp_path: Path) -> None:
    """A bot that is started while Discord is down comes up by itself when Discord does."""
    async with scene(tmp_path, start=False) as world:
        world.discord.fault("GET", r"/users/@me", status=503)
        world.discord.fault("GET", r"/applications/\d+/commands", status=503)
        await world.start()
        await world.end_of(await world.veo(FOX))
        assert world.logged("Discord cannot be reached", error="DiscordServerError")


async def test_an_outage_of_runflow_past_the_deadline_is_told_and_outlasted(tmp_path: Path) -> None:
    """While Runflow cannot be read the member hears that it is late; the video arrives when it can."""
    async with scene(tmp_path, run_s=0.1, RUN_DEADLINE_S="0.5") as world:
        world.runflow.switches.read = "503"
        world.runflow.switches.read_fault_times = 1_000_000
        interaction = await world.veo(FOX)
        await world.end_of(interaction, kind="overdue")
        world.runflow.switches.read = ""
        message = await world.end_of(interaction)
        assert len(message["attachments"]) == 1


async def test_a_prompt_of_any_letters_is_filmed_or_refused_in_words(world: Scene) -> None:
    """Letters of every kind, half characters included, reach Runflow as they are."""
    for prompt in ("狐狸 🦊 ٱلثَّعْلَب", "a\u0000b\u202ec", "half \ud83e of a fox", "'; DROP TABLE run; --"):
        interaction = await world.veo(prompt)
        await world.end_of(interaction)
    assert [run.input["prompt"] for run in world.runflow.runs.values()][-1] == "'; DROP TABLE run; --"
    assert world.rows("SELECT count(*) AS n FROM run") == [{"n": 4}]


async def test_an_event_that_comes_twice_makes_one_run(tmp_path: Path) -> None:
    """A gateway may replay what it has sent: one wish stays one order."""
    async with scene(tmp_path, discord={"gateway_duplicates": True}) as world:
        await world.end_of(await world.veo(FOX))
        assert len(world.runflow.runs) == 1
        assert world.rows("SELECT count(*) AS n FROM run") == [{"n": 1}]


async def test_an_answer_that_only_seems_to_fail_is_an_answer(world: Scene) -> None:
    """Discord took the acknowledgement and answered 500: the library's repeat is told so, and the run goes on."""
    world.discord.fault("POST", r"/interactions/\d+/.+/callback", status=500, effect=True)
    await world.end_of(await world.veo(FOX))
    assert len(world.runflow.runs) == 1


async def test_an_answer_that_is_too_late_starts_nothing(tmp_path: Path) -> None:
    """Where Discord shows the member that nothing came, nothing is bought either."""
    async with scene(tmp_path, discord={"acknowledge_within_s": 0.0}) as world:
        interaction = await world.discord.invoke(world.member(), world.channel, "veo", {"prompt": FOX})
        await interaction.settled()
        assert interaction.expired
        async with asyncio.timeout(WAIT_S):
            while not world.logged("interaction came too late to be answered"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        assert world.runflow.runs == {}
        assert world.rows("SELECT * FROM run") == []


async def test_a_clip_beyond_the_operators_cap_is_linked_and_not_fetched_again(tmp_path: Path) -> None:
    """What may not pass through the bot's disk is still given: by The link expires soon, once."""
    async with scene(tmp_path, runflow={"file_bytes": 6_000_000}, CLIP_MAX_MB="5") as world:
        interaction = await world.veo(FOX)
        message = await world.end_of(interaction)
        assert "The link expires soon" in message["content"]
        await world.card(interaction, "in the channel")
        assert list((world.folder / "media").iterdir()) == []
        assert world.runflow.url in (await world.shown())["content"]


async def test_a_card_that_discord_answers_with_a_page_costs_nothing(world: Scene) -> None:
    """An edge that answers the card's edits with HTML leaves order, charge and post as they are."""
    world.discord.fault("PATCH", r"/webhooks/.+", status=200, html=True, times=100)
    interaction = await world.discord.invoke(world.member(), world.channel, "veo", {"prompt": FOX})
    await world.discord.wait_message(world.channel, lambda message: bool(message["attachments"]), timeout=WAIT_S)
    assert not interaction.expired
    assert len(world.runflow.runs) == 1


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_acknowledgement_that_breaks_off_is_repeated(world: Scene, cut: Literal["before", "after"]) -> None:
    """Whether Discord had it or not, the member sees the card and one run is made."""
    world.discord.fault("POST", r"/interactions/\d+/.+/callback", cut=cut)
    interaction = await world.discord.invoke(world.member(), world.channel, "veo", {"prompt": FOX})
    await world.end_of(interaction)
    assert len(world.runflow.runs) == 1


async def test_a_busy_channel_does_not_hide_a_post(tmp_path: Path) -> None:
    """However much was said since the first try, the message is found before it is posted again."""
    quick = dict.fromkeys(("channel_post", "webhook", "default", "global"), (10_000, 1.0))
    switches = {"nonce_window_s": 0.1, "buckets": quick}
    async with scene(tmp_path, discord=switches, POLL_INTERVAL_S="1") as world:
        posting = rf"/channels/{world.channel.id}/messages"
        world.discord.fault("POST", posting, status=503)
        await world.veo(FOX)
        await world.until("SELECT 1 FROM run WHERE delivery_tries = 1 AND delivery = 'sending'")
        async with asyncio.timeout(WAIT_S):
            while not world.logged("not delivered"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        address = f"{world.discord.api_url}{posting}"
        headers = {"Authorization": f"Bot {world.discord.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            for number in range(520):
                async with session.post(address, json={"content": f"talk {number}"}) as reply:
                    assert reply.status == 200
        world.discord.fault("POST", posting, cut="after")
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        assert len(world.posts()) == 1


async def test_show_says_an_outage_as_such_and_leaves_nothing_behind(world: Scene) -> None:
    """An outage is told as one; a clip fetched for one answer is not kept."""
    interaction = await world.veo(FOX)
    message = await world.end_of(interaction)
    await world.card(interaction, "in the channel")
    world.discord.delete_message(message["id"])
    world.runflow.switches.read, world.runflow.switches.read_fault_times = "503", 1_000_000
    before = world.seen()
    assert await world.told("veo-show", by="Bo") == "I can't reach Veo right now. Try again later."
    assert world.seen() == before
    world.runflow.switches.read = ""
    assert (await world.shown())["attachments"]
    async with asyncio.timeout(WAIT_S):
        while list((world.folder / "media").iterdir()):  # noqa: ASYNC110 - another process throws it away
            await asyncio.sleep(0.01)


async def test_a_limit_below_every_price_promises_nothing(tmp_path: Path) -> None:
    """Where the next period would not help either, it is not named."""
    async with scene(tmp_path, QUOTA_USER_USD="0") as world:
        interaction = await world.veo(FOX)
        answer = (await world.answer_to(interaction))["content"]
        assert "You don't have a budget for videos here" in answer
        assert "resets" not in answer
