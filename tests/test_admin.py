"""`/veo-admin` through the sandbox: every act by an admin, kept with its actor, and refused to a member.

In one piece, because every command of the admins is tried on the same few worlds.
"""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image

from sandbox.discord import CommandRefused
from tests.harness import Scene, labels_of, read, scene

FOX = "a red fox in falling snow"
EVERY_ACT: dict[str, dict[str, Any]] = {
    "limit set": {"amount": "5"},
    "limit show": {},
    "limit lift": {},
    "grant": {"amount": "1"},
    "access block": {"member": "Bo"},
    "access unblock": {"member": "Bo"},
    "access allow": {"role": "Editors"},
    "access disallow": {"role": "Editors"},
    "pause": {},
    "resume": {},
    "requests": {},
    "language": {"language": "de"},
    "refund": {"run": "abc", "reason": "a test"},
    "report": {},
    "log": {},
    "bot limit": {"amount": "5"},
    "bot lift": {},
    "bot pause": {},
    "bot resume": {},
    "bot server": {"on": True},
    "bot report": {},
    "bot log": {},
}


def named(world: Scene, options: dict[str, Any]) -> dict[str, Any]:
    """Options with members and roles in the place of their names."""
    found = dict(options)
    if "member" in found:
        found["member"] = world.member(str(found["member"])).id
    if "role" in found:
        found["role"] = editors(world).id
    return found


def editors(world: Scene):  # type: ignore[no-untyped-def]  # the sandbox's own role
    return next(role for role in world.discord.world.servers[0].roles if role.name == "Editors")


async def refusal(world: Scene, member: str = "Bo", **options: Any) -> str:
    """What the member reads, and below it what is on the buttons."""
    refused = await world.answer_to(await world.veo(FOX, member=member, **options))
    return "\n".join([refused["content"], *labels_of(refused)])


async def test_every_act_is_refused_to_a_member(world: Scene) -> None:
    """Discord does not let who may not manage the server use any of them, and none is missing from this list."""
    registered = world.discord.registered("veo-admin")
    assert registered["default_member_permissions"] == "32"
    paths = {
        f"{part['name']} {inner['name']}" if part["type"] == 2 else part["name"]
        for part in registered["options"]
        for inner in (part.get("options") or [{"name": ""}] if part["type"] == 2 else [{"name": ""}])
    }
    assert paths == set(EVERY_ACT)
    for command, options in EVERY_ACT.items():
        with pytest.raises(CommandRefused, match="may not use /veo-admin"):
            await world.discord.invoke(world.member(), world.channel, f"veo-admin {command}", named(world, options))
    assert world.rows("SELECT * FROM act") == []


def described(part: dict[str, Any], path: str) -> list[tuple[str, str]]:
    """The description of a command, of its groups and commands, and of each option, by where it stands."""
    here = f"{path} {part['name']}".strip()
    inner = [each for option in part.get("options") or [] for each in described(option, here)]
    return [(here, part["description"]), *inner]


async def test_every_command_and_each_of_its_options_has_a_description(world: Scene) -> None:
    """In words of their own: none is empty, and none is what the library fills in."""
    found = [each for command in world.discord.commands if command["type"] == 1 for each in described(command, "")]
    assert {"veo prompt", "veo-admin bot server on", "veo-admin access block member"} <= {path for path, _ in found}
    assert [path for path, text in found if len(text.strip(" .…")) < 10] == []


async def test_acts_on_the_whole_bot_belong_to_its_owner(world: Scene) -> None:
    """An admin of another server is told so, and nothing is done."""
    lobby = world.discord.world.channel("lobby")
    for command, options in EVERY_ACT.items():
        if command.startswith("bot "):
            dana = world.discord.world.member("Dana", lobby.server)
            used = await world.discord.invoke(dana, lobby, f"veo-admin {command}", named(world, options))
            answer = await used.wait(lambda message: bool(message["content"]))
            assert answer["content"].startswith("Only the bot's owner can do that")
    assert world.rows("SELECT * FROM act") == []


async def test_each_level_can_be_limited_and_its_refusal_names_it_without_figures(world: Scene) -> None:
    """Server, channel, pool, role and member: set, refused by name, lifted again."""
    await world.end_of(await world.veo(FOX, member="Cem"))
    role, channel = editors(world), world.channel
    levels: list[tuple[dict[str, Any], str]] = [
        ({}, "over the limit of this server"),
        ({"channel": channel}, f"over the limit of <#{channel.id}>"),
        ({"role": role, "pool": True}, f"over the limit of everyone with <@&{role.id}> together"),
    ]
    for options, said in levels:
        answer = await world.act("limit set", amount="$6.00", **options)
        assert "$6.00 a month" in answer
        refused = await refusal(world, "Cem")
        assert said in refused
        assert "$2.80" not in refused  # what is left there is other people's affair
        assert refused.splitlines()[-4:] == ["6 s · $2.40", "No sound · $1.60", "4 s · $1.60", "Change"]
        await world.act("limit lift", **options)
    own: list[dict[str, Any]] = [{"role": role}, {"member": world.member("Cem")}]
    for options in own:
        await world.act("limit set", amount="6", **options)
        assert "you have $2.80 left" in await refusal(world, "Cem")
        await world.act("limit lift", **options)
    await world.act("bot limit", amount="6")
    assert "over the limit of the whole bot" in await refusal(world, "Cem")
    await world.act("bot lift")
    assert len(world.runflow.runs) == 1
    verbs = [row["verb"] for row in world.rows("SELECT verb FROM act ORDER BY act_id")]
    assert (
        verbs
        == ["limit set", "limit lifted"] * 3
        + ["member limit set", "member limit lifted"]
        + [
            "limit set",
            "limit lifted",
        ]
        * 2
    )
    assert {row["actor_name"] for row in world.rows("SELECT actor_name FROM act")} == {"Ada"}


async def test_an_own_limit_comes_before_the_roles_and_periods_may_differ(tmp_path: Path) -> None:
    """The best role counts for who has no own limit; a daily limit counts what today already cost."""
    async with scene(tmp_path, QUOTA_USER_USD="3.20") as world:
        await world.end_of(await world.veo(FOX, member="Cem"))
        assert "you have nothing left" in await refusal(world, "Cem")
        await world.act("limit set", amount="7", role=editors(world), per="week")
        await world.end_of(await world.veo(FOX, member="Cem"))
        assert "you have $0.60 left" in await refusal(world, "Cem")
        await world.act("limit set", amount="9.60", member=world.member("Cem"), per="day")
        await world.end_of(await world.veo(FOX, member="Cem"))
        assert "you have nothing left" in await refusal(world, "Cem")
        await world.act("limit set", amount="none", member=world.member("Cem"))
        await world.end_of(await world.veo(FOX, member="Cem"))


async def test_runs_at_a_time_can_be_limited_on_every_level(tmp_path: Path) -> None:
    """Beside the dollars a level may allow so many runs at a time; the refusal says which."""
    async with scene(tmp_path, runflow={"end": "never"}) as world:
        await world.card(await world.veo(FOX, member="Cem"), "In the works")
        levels: list[tuple[dict[str, Any], str]] = [
            ({}, "This server already has a video in the works"),
            ({"channel": world.channel}, "This channel already has a video in the works"),
            ({"role": editors(world), "pool": True}, "Your role already has a video in the works"),
            ({"member": world.member("Cem")}, "You already have a video in the works"),
        ]
        for options, said in levels:
            assert "1 video in the works at a time" in await world.act("limit set", runs=1, **options)
            assert said in await refusal(world, "Cem")
            await world.act("limit lift", **options)


async def test_a_grant_counts_for_this_period(tmp_path: Path) -> None:
    """So much more, at once, on top of the limit; kept in the ledger with who gave it and why."""
    async with scene(tmp_path, QUOTA_USER_USD="1.00") as world:
        assert "you have $1.00 left" in await refusal(world)
        answer = await world.act("grant", amount="2.20", member=world.member(), reason="a birthday")
        assert "$3.20 of $3.20 left this month, $2.20 of it extra" in answer
        await world.end_of(await world.veo(FOX))
        (entry,) = world.rows("SELECT * FROM ledger_entry WHERE kind = 'grant'")
        assert (entry["amount_u"], entry["actor"], entry["reason"]) == (
            2_200_000,
            f"discord:{world.member('Ada').id}",
            "a birthday",
        )
        assert "no limit to add to" in await world.act("grant", amount="1", channel=world.channel)


async def test_an_answer_says_what_applies_now(tmp_path: Path) -> None:
    """After a limit was lifted, a name taken from a list, or a limit set beside extras: what holds, not what was."""
    async with scene(tmp_path, QUOTA_USER_USD="20.00", QUOTA_GUILD_USD="90.00") as world:
        bo, cem, role, lab = world.member(), world.member("Cem"), editors(world), world.channel
        await world.act("grant", amount="5", member=bo)
        assert (await world.act("limit set", amount="3", member=bo)).splitlines() == [
            f"Done: <@{bo.id}> can spend up to $3.00 a month.",
            "With $5.00 extra, $8.00 is left for now.",
        ]
        assert await world.act("limit set", amount="0", member=bo) == f"Done: <@{bo.id}> can't make videos."
        assert "extra budget wouldn't help" in await world.act("grant", amount="1", member=bo)
        lifted = await world.act("limit lift", member=bo)
        removed, now = lifted.splitlines()
        assert removed == f"Done. That limit for <@{bo.id}> is gone. What applies now:"
        assert now.startswith(f"**<@{bo.id}>**: $25.00 of $25.00 left this month, $5.00 of it extra")
        await world.act("limit set", amount="25", role=role)
        await world.act("limit set", amount="40", role=role, pool=True)
        await world.act("limit set", amount="7", member=cem)
        assert f"**<@{cem.id}>**: $25.00 of $25.00 left this month" in await world.act("limit lift", member=cem)
        pool = f"everyone with <@&{role.id}> together: $40.00 a month"
        assert (await world.act("limit lift", role=role)).splitlines()[1:] == [pool]
        assert "Other limits of theirs" in await world.act("limit lift", role=role, pool=True)
        await world.act("limit set", amount="9")
        assert "**this server**: $90.00 of $90.00 left this month" in await world.act("limit lift")
        await world.act("limit set", amount="9", channel=lab)
        assert f"**<#{lab.id}>**: no limit this month" in await world.act("limit lift", channel=lab)
        eli = world.member("Eli")
        await world.act("limit set", amount="4", member=eli)
        assert "Other limits of theirs, or the default." in await world.act("limit lift", member=eli)
        general = world.discord.world.channel("general")
        for channel in (lab, general):
            await world.act("access allow", channel=channel)
        assert f"Still on the list: <#{lab.id}>." in await world.act("access disallow", channel=general)
        assert "The list is empty, so `/veo` works in every channel." in await world.act("access disallow", channel=lab)


async def test_a_refund_beside_a_limit_of_nothing_is_told_as_such(tmp_path: Path) -> None:
    """It is booked, and what it is worth for now is said."""
    async with scene(tmp_path) as world:
        made = await world.veo(FOX, duration="4s", generate_audio=False)
        await world.end_of(made)
        await world.act("limit set", amount="0", member=world.member())
        answer = await world.act("refund", run=await world.run_id(made), reason="a poor fox")
        assert "Their limit is 0, so that doesn't help until you raise it." in answer
        assert "You don't have a budget for videos here" in await refusal(world)
        await world.act("limit set", amount="1", member=world.member())
        quota = await world.told("veo-quota", by="Bo")
        assert "**$1.00** left of $1.80 this month" in quota
        assert "$0.80 of your limit is extra" in quota


async def test_who_may_ask_is_the_admins_to_say(world: Scene) -> None:
    """Block and unblock, allowed roles and channels, pause and resume: at once, with a sentence."""
    await world.act("access block", member=world.member(), reason="spam")
    assert "You can't use `/veo` in this server" in await refusal(world)
    await world.act("access unblock", member=world.member())
    await world.act("access allow", role=editors(world))
    assert "You need a role to use `/veo` here" in await refusal(world)
    await world.end_of(await world.veo(FOX, member="Cem"))
    await world.act("access disallow", role=editors(world))
    general = world.discord.world.channel("general")
    await world.act("access allow", channel=general)
    assert f"Use `/veo` in <#{general.id}>" in await refusal(world)
    await world.act("access disallow", channel=general)
    await world.act("pause", reason="the bill")
    assert "`/veo` is paused in this server" in await refusal(world)
    await world.act("resume")
    await world.act("bot pause")
    assert "`/veo` is paused everywhere" in await refusal(world)
    await world.act("bot resume")
    await world.end_of(await world.veo(FOX))


async def test_a_pause_stops_no_run_that_is_under_way(tmp_path: Path) -> None:
    """What was paid for is delivered."""
    async with scene(tmp_path, run_s=0.5) as world:
        interaction = await world.veo(FOX)
        await world.run_id(interaction)
        await world.act("pause")
        await world.end_of(interaction)


async def test_a_server_can_be_switched_on_by_the_owner(world: Scene) -> None:
    """Where the settings do not name it, the owner's word does, and takes it back."""
    lobby = world.discord.world.channel("lobby")
    assert lobby.server is not None
    dana = world.discord.world.member("Dana", lobby.server)
    await world.act("bot server", on=True, server=lobby.server.id)
    await world.end_of(await world.discord.invoke(dana, lobby, "veo", {"prompt": FOX}))
    await world.act("bot server", on=False, server=lobby.server.id)
    answer = await world.answer_to(await world.discord.invoke(dana, lobby, "veo", {"prompt": FOX}))
    assert "isn't switched on in this server" in answer["content"]


async def test_the_owner_switches_off_what_the_settings_have_on_and_on_again(tmp_path: Path) -> None:
    """Their own server, and any with `*`: for good, until the same command takes it back; each answer is true."""
    for servers in ("", "*"):
        folder = tmp_path / f"by {servers or 'ownership'}"
        folder.mkdir()
        async with scene(folder, DISCORD_SERVERS=servers) as world:
            aurora, elsewhere = world.discord.world.servers
            assert await world.act("bot server", on=True) == "`/veo` is already on in that server."
            answer = await world.act("bot server", on=False)
            assert answer.startswith(f"Done. `/veo` is off in “Aurora Studio” (`{aurora.id}`). Videos in the works")
            assert "It stays off until" in answer
            assert "`/veo` is switched off in this server" in await refusal(world)
            assert "switched off" in await world.act("limit set", amount="5")
            assert "is already off in that server" in await world.act("bot server", on=False)
            await world.kill()
            await world.start()
            assert "switched off in this server" in await refusal(world)
            answer = await world.act("bot server", on=True)
            assert answer == f"Done. `/veo` works in “Aurora Studio” (`{aurora.id}`)."
            await world.run_id(await world.veo(FOX, duration="4s", generate_audio=False))
            await world.act("bot server", on=not servers, server=elsewhere.id)
            log = (await world.act("bot log")).splitlines()
            assert f"switched {'off' if servers else 'on'} “Elsewhere” (`{elsewhere.id}`)" in log[0]
            assert f"switched on “Aurora Studio” (`{aurora.id}`)" in log[1]
            assert f"switched off “Aurora Studio” (`{aurora.id}`)" in log[2]


async def test_a_server_without_the_bot_is_not_switched_on(world: Scene) -> None:
    """It is told so with the invite, and nothing is written; while Discord does not say, nothing is claimed either."""
    for number in ("123456789012345678", "99999999999999999999"):
        answer = await world.act("bot server", on=True, server=number)
        assert answer.startswith(f"I'm not in server `{number}`. Invite me first, then switch `/veo` on: <https://")
        assert f"client_id={world.discord.world.application_id}" in answer
        assert "is already off in that server" in await world.act("bot server", on=False, server=number)
    world.discord.fault("GET", r"/guilds/\d+", status=503, times=9)
    answer = await world.act("bot server", on=True, server="123456789012345678")
    assert answer.startswith("Discord can't tell me right now whether I'm in that server.")
    assert world.rows("SELECT * FROM act") == world.rows("SELECT * FROM rule") == []


async def test_a_refund_gives_the_member_room_and_is_given_once(tmp_path: Path) -> None:
    """The member may spend it again; the server goes on counting what Runflow billed."""
    async with scene(tmp_path, QUOTA_USER_USD="3.20", QUOTA_GUILD_USD="100") as world:
        interaction = await world.veo(FOX)
        await world.end_of(interaction)
        run_id = await world.run_id(interaction)
        assert "you have nothing left" in await refusal(world)
        answer = await world.act("refund", run=f"veo-{run_id}.mp4", reason="it was upside down")
        assert "can spend $3.20 more in this server this period" in answer
        assert "was already refunded" in await world.act("refund", run=run_id, reason="again")
        history = await world.discord.invoke(world.member(), world.channel, "veo-history", {})
        shown = await history.wait(lambda message: bool(message["components"]))
        assert "$3.20 refunded" in read(shown)["content"]
        await world.end_of(await world.veo(FOX))
        spent = {row["scope"].partition(":")[0]: row["spent_u"] for row in world.rows("SELECT * FROM budget")}
        assert spent == dict.fromkeys(("total", "server", "channel", "member"), 6_400_000)


async def test_what_cannot_be_refunded_is_said(tmp_path: Path) -> None:
    """A run under way, one that cost nothing, one that nobody knows."""
    async with scene(tmp_path, runflow={"end": "never"}) as world:
        running = await world.veo(FOX)
        await world.card(running, "In the works")
        assert "still in the works" in await world.act("refund", run=await world.run_id(running), reason="x")
        failed = await world.veo(f"{FOX} [402]")
        await world.end_of(failed)
        assert "wasn't charged" in await world.act("refund", run=await world.run_id(failed), reason="x")
        assert "No video in this server" in await world.act("refund", run="nosuchrun", reason="x")


async def test_an_unknown_run_is_released_by_an_admins_word(tmp_path: Path) -> None:
    """Nobody can tell whether it was bought: the admin decides, and the hold is free again."""
    async with scene(tmp_path, runflow={"before": "500"}, RUNFLOW_SETTLE_S="0.3") as world:
        interaction = await world.veo(FOX)
        await world.end_of(interaction, kind="unknown")
        assert "Released. The $3.20 on hold" in await world.act(
            "refund", run=await world.run_id(interaction), reason="Runflow's support says no"
        )
        await world.until("SELECT 1 FROM run WHERE state = 'failed' AND delivery = 'delivered'")
        assert world.rows("SELECT DISTINCT held_u, spent_u FROM budget") == [{"held_u": 0, "spent_u": 0}]


async def test_an_operators_ceiling_holds_whatever_admins_set(tmp_path: Path) -> None:
    """Above it nothing can be set, and no grant passes it."""
    async with scene(tmp_path, QUOTA_GUILD_USD="5.00", QUOTA_TOTAL_USD="50.00") as world:
        assert "above the bot owner's ceiling of $5.00 a month" in await world.act("limit set", amount="5.01")
        assert "above the bot owner's ceiling" in await world.act(
            "limit set", amount="6", member=world.member(), per="day"
        )
        await world.act("limit set", amount="4")
        await world.act("grant", amount="10")
        await world.end_of(await world.veo(FOX))
        assert "over the limit of this server" in await refusal(world)
        assert "above the bot owner's ceiling of $50.00" in await world.act("bot limit", amount="51")


AMOUNTS = [
    ("0", "can't make videos"),
    ("10.0050", "$10.005 a month"),
    ("10,50", "$10.50 a month"),
    ("$ 7", "$7.00 a month"),
    ("1,000.50", "$1,000.50 a month"),
    ("none", "without a limit"),
    ("-5", "below zero"),
    ("ten", "isn't an amount of dollars"),
    ("1,000", "two ways. Write `1000` or `1.00`"),
    ("1.000", "two ways. Write `1000` or `1.00`"),
    ("€5", "isn't an amount of dollars"),
    ("99999999999999999999", "over a billion dollars"),
]


async def test_amounts_are_taken_as_people_write_them_or_refused_in_a_sentence(world: Scene) -> None:
    """Unambiguous ones are accepted and repeated; others change nothing."""
    for amount, said in AMOUNTS:
        before = len(world.rows("SELECT * FROM act"))
        answer = await world.act("limit set", amount=amount)
        assert said in answer
        accepted = answer.startswith("Done: ")
        assert len(world.rows("SELECT * FROM act")) == before + accepted


async def test_a_wrong_choice_of_options_gets_a_sentence(world: Scene) -> None:
    """Two subjects, none, a pool without a role, a period without an amount, no limit to remove."""
    both: dict[str, Any] = {"member": world.member(), "channel": world.channel}
    assert "Name only one of" in await world.act("limit set", amount="5", **both)
    assert "Name an amount" in await world.act("limit set")
    assert "Only a role can share a budget" in await world.act("limit set", amount="5", pool=True)
    assert "Name an amount for that period" in await world.act("limit set", per="day", runs=1)
    assert "no limit to remove" in await world.act("limit lift")
    assert "Name a role or a channel" in await world.act("access allow")
    assert "Name an amount above 0" in await world.act("grant", amount="0", member=world.member())
    assert "can't write in" in await world.act("requests", channel=world.discord.world.channel("read-only"))
    assert world.rows("SELECT * FROM act") == []


async def test_the_report_shows_who_spent_what_and_gives_a_chart_and_a_table(world: Scene) -> None:
    """By member, role, channel and day, success and wait; a picture and a CSV beside it, for the admin alone."""
    await world.end_of(await world.veo(FOX, member="Cem"))
    await world.end_of(await world.veo(f"{FOX} [failed]"))
    used = await world.discord.invoke(world.member("Ada"), world.channel, "veo-admin report", {"days": 7})
    message = await used.wait(lambda each: bool(each["embeds"]))
    assert message["flags"] & 64
    fields = {each["name"]: each["value"] for each in message["embeds"][0]["fields"]}
    assert fields["Spent"].startswith("$3.20")
    assert fields["Succeeded"].startswith("50% of 2")
    assert fields["By member"].splitlines()[0] == f"<@{world.member('Cem').id}> · $3.20 · 1 video"
    assert f"<@&{editors(world).id}> · $3.20" in fields["By role"]
    assert fields["By channel"] == f"<#{world.channel.id}> · $3.20 · 1 video"
    (file,) = message["attachments"]  # the chart is in the embed, so it is none of them
    assert file["filename"] == "veo-report.csv"
    async with aiohttp.ClientSession() as session:
        async with session.get(message["embeds"][0]["image"]["url"]) as reply:
            picture = await reply.read()
        async with session.get(file["url"]) as reply:
            table = (await reply.read()).decode("utf-8-sig")
    assert Image.open(io.BytesIO(picture)).size == (640, 240)
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [(row["member_name"], row["channel_name"], row["charged_usd"]) for row in rows] == [
        ("Cem", "video-lab", "3.20"),
        ("Bo", "video-lab", "0.00"),
    ]
    assert "Editors" in rows[0]["roles"]


async def test_the_quota_shows_every_level_that_concerns_the_member(world: Scene) -> None:
    """Own first, then server, channel and pool with used, held, left and a live reset."""
    await world.act("limit set", amount="50", per="week")
    await world.act("limit set", amount="20", role=editors(world), pool=True)
    await world.end_of(await world.veo(FOX, member="Cem"))
    quota = await world.discord.invoke(world.member("Cem"), world.channel, "veo-quota", {})
    lines = read(await quota.wait(lambda each: bool(each["components"])))["content"].splitlines()
    assert lines[1:3] == ["▰▱▱▱▱▱▱▱▱▱ **$96.80** left of $100.00 this month", "About 5 more videos at $3.20 each."]
    assert lines[3].startswith("Resets <t:")
    assert lines[4].startswith("$46.80 of $50.00 left this week for this server, resets <t:")
    assert lines[5].startswith(f"$16.80 of $20.00 left this month for everyone with <@&{editors(world).id}> together")


async def test_a_thread_spends_what_its_channel_may(world: Scene) -> None:
    """A limit of a channel cannot be walked around by opening threads."""
    await world.act("limit set", amount="4", channel=world.channel)
    await world.end_of(await world.veo(FOX))
    thread = next(each for each in world.discord.world.channels() if each.parent is not None)
    answer = await world.answer_to(await world.discord.invoke(world.member(), thread, "veo", {"prompt": FOX}))
    assert f"over the limit of <#{world.channel.id}>" in answer["content"]


async def test_rules_survive_a_kill(world: Scene) -> None:
    """What was answered is on disk."""
    await world.act("limit set", amount="1")
    await world.kill()
    await world.start()
    assert "is $1.00, and the cheapest video costs $0.80" not in await refusal(world)
    shown = await world.act("limit show")
    assert "this server: $1.00 a month" in shown
    assert "4 videos in the works at a time" in await world.act("limit set", runs=4, role=editors(world))
    assert "4 videos at a time" in await world.act("limit show", role=editors(world))


async def test_limits_of_the_settings_apply_from_the_next_start_and_rewrite_nothing(world: Scene) -> None:
    """Another limit and another period count what this period already cost; no entry of before changes."""
    await world.end_of(await world.veo(FOX))
    await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
    before = world.rows("SELECT * FROM ledger_entry ORDER BY entry_id")
    await world.stop()
    await world.start(QUOTA_USER_USD="4.00", QUOTA_PERIOD="week")
    assert "you have $0.80 left" in await refusal(world)
    await world.end_of(await world.veo(FOX, duration="4s", generate_audio=False))
    after = world.rows("SELECT * FROM ledger_entry ORDER BY entry_id")
    assert after[: len(before)] == before
    await world.stop()
    await world.start(QUOTA_USER_USD="4.00", QUOTA_PERIOD="month")
    assert "you have nothing left" in await refusal(world)


async def test_acts_at_once_are_all_kept(world: Scene) -> None:
    """Two admins at the same time lose none of each other's."""
    await asyncio.gather(*(world.act("grant", amount=str(1 + n), member=world.member()) for n in range(5)))
    assert world.rows("SELECT sum(amount_u) AS u FROM ledger_entry WHERE kind = 'grant'") == [{"u": 15_000_000}]
    assert len(world.rows("SELECT * FROM act")) == 5


async def test_what_still_bounds_is_named_where_a_limit_is_taken_away(tmp_path: Path) -> None:
    """A ceiling of the settings is not called no limit, and where there is none, none is promised."""
    with_ceilings, without = tmp_path / "ceilings", tmp_path / "none"
    with_ceilings.mkdir()
    without.mkdir()
    async with scene(with_ceilings, QUOTA_GUILD_USD="500", QUOTA_TOTAL_USD="1000") as world:
        said = await world.act("limit set", amount="none")
        assert said == "Done: this server has no limit of its own. The settings still allow $500.00 a month at most."
        assert "The settings still allow $1,000.00 a month at most." in await world.act("bot limit", amount="none")
        assert (await world.act("bot lift")).endswith("\nThe settings allow the whole bot $1,000.00 a month.")
    async with scene(without) as world:
        assert await world.act("limit set", amount="none") == "Done: this server can spend without a limit."
        assert await world.act("bot limit", amount="none") == "Done: the whole bot can spend without a limit."
        assert (await world.act("bot lift")).endswith("\nThe whole bot can spend without a limit.")


async def test_the_role_that_everybody_has_is_called_all_members(world: Scene) -> None:
    """It has the server's own id, and its mention would ping in words what nobody calls it."""
    everyone = next(role for role in world.discord.world.servers[0].roles if role.id == world.channel.guild_id)
    said = [
        await world.act("limit set", amount="3.30", role=everyone, pool=True),
        await world.act("grant", amount="0.50", role=everyone),
        await world.act("limit show", role=everyone),
    ]
    await world.end_of(await world.veo())
    said.append((await world.answer_to(await world.veo("another")))["content"])
    said.append(await world.told("veo-quota", by="Bo"))
    said += (await world.act("log")).splitlines()
    for each in said:
        assert "all members together" in each
        assert everyone.id not in each


async def test_the_log_tells_of_acts_that_were_done_with_their_figures(world: Scene) -> None:
    """What was refused is no act; what was done says how much and why."""
    await world.act("resume")
    await world.act("grant", amount="0", member=world.member())
    await world.act("access unblock", member=world.member())
    assert world.logged("act by an admin") == []
    await world.act("grant", amount="2.50", member=world.member(), reason="a birthday")
    (line,) = world.logged("act by an admin")
    assert (line["verb"], line["reason"]) == ("grant", "a birthday")
    assert "2500000" in line["detail"]
