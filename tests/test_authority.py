"""Whose word counts where: two servers with their admins, the bot's owner and its team.

Ada owns the bot and Aurora Studio, with Bo, Cem and Dana in it. Dana owns Elsewhere, with Eli in it.

In one piece, because the two servers and those who rule them are the stage of every test.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from sqlite3 import IntegrityError
from typing import Any

import pytest

from bot.domain.acts import Detail, Verb
from bot.domain.limits import RuleKind, Rules, Spender
from bot.domain.records import Admin
from bot.domain.runs import RunState
from bot.errors import BadRequest, NotAllowed, OfferGone
from sandbox.discord import CommandRefused, Interaction
from sandbox.discord.permissions import MANAGE_SERVER, SEND_MESSAGES, SEND_MESSAGES_IN_THREADS
from tests import harness, test_delivery, test_limits
from tests.core import ADA, Bot
from tests.guards import Replaced, replaced
from tests.harness import Json, Scene, scene
from tests.money import PRICE_U, dump
from tests.test_admin import EVERY_ACT, FOX, named

Start = Callable[..., AbstractAsyncContextManager[Scene]]
OFF = "`/veo` isn't switched on in this server yet."
CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}  # $0.80
DORA = Admin(server="discord:5", actor="discord:80", name="Dora")  # of another server than Ada


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A world whose bot works in both servers, if nothing else is said."""
    return partial(scene, tmp_path, DISCORD_SERVERS="*")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Bot]:
    bot = Bot(folder / "books.db")
    yield bot
    await bot.close()


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with opened(tmp_path) as found:
        yield found


async def refused(world: Scene, *, by: str, place: str = "video-lab") -> str:
    """What is said below the prompt, which the member keeps."""
    answer = await world.answer_to(await world.veo(FOX, member=by, place=place, **CHEAP))
    _, quote, *said = str(answer["content"]).split("\n")
    assert quote == f"> {FOX}"
    return "\n".join(said)


# A server's admin rules that server


async def test_where_the_bot_is_off_nothing_can_be_administered(start: Start) -> None:
    """Anybody may add the bot to a server of their own; each act there is refused, and nothing is kept of it."""
    async with start(DISCORD_SERVERS="") as world:
        for command, options in EVERY_ACT.items():
            if not command.startswith("bot "):
                values = named(world, options)
                if "role" in values:
                    values["role"] = world.discord.world.servers[1].roles[1].id
                answer = await world.told(f"veo-admin {command}", by="Dana", place="lobby", **values)
                assert answer.startswith(OFF), command
        for command in ("veo-quota", "veo-show"):
            assert (await world.told(command, by="Eli", place="lobby")).startswith(OFF)
        assert world.rows("SELECT * FROM act") == []
        assert world.rows("SELECT * FROM rule") == []


async def test_an_extra_counts_in_the_server_whose_admin_gave_it(start: Start) -> None:
    """Dana grants herself a fortune in her own server, and has nothing of it in Ada's."""
    async with start(QUOTA_USER_USD="0.50") as world:
        dana = world.member("Dana")
        answer = await world.act("grant", by="Dana", place="lobby", amount="1000000", member=dana)
        assert "$1,000,000.50 of $1,000,000.50 left" in answer
        assert "Your limit is $0.50, and" in await refused(world, by="Dana")
        assert "**$0.50** left" in await world.told("veo-quota", by="Dana")
        made = await world.veo(FOX, member="Dana", place="lobby", **CHEAP)
        await world.end_of(made)
        run = await world.run_id(made)
        # What she spent there counts here too, for a member has one limit; what is given back there does not.
        await world.act("refund", by="Dana", place="lobby", run=run, reason="mine")
        assert "Nothing left this month: $0.80 of $0.50 used." in await world.told("veo-quota", by="Dana")
        there = await world.told("veo-quota", by="Dana", place="lobby")
        assert "**$1,000,000.50** left of $1,000,001.30 this month" in there


async def test_figures_of_people_who_are_not_here_are_not_shown(start: Start) -> None:
    """Discord lets anybody be named by id: what somebody spends in another server is not this admin's to read."""
    async with start() as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        for command, options in (("limit show", {}), ("grant", {"amount": "1"})):
            answer = await world.act(command, by="Dana", place="lobby", member=world.member("Bo"), **options)
            assert "isn't in this server" in answer
            assert "$" not in answer
        assert world.rows("SELECT * FROM act") == []
        assert "$0.80 used" in await world.act("limit show", member=world.member("Bo"))


async def test_the_owners_log_names_the_server_in_which_something_was_done_to_a_member(start: Start) -> None:
    """Grants, blocks and limits of members anywhere, and what was done to the whole bot; not a server's own affairs."""
    async with start() as world:
        eli = world.member("Eli")
        await world.act("grant", by="Dana", place="lobby", amount="5", member=eli)
        await world.act("limit set", by="Dana", place="lobby", amount="7")
        await world.act("access block", by="Dana", place="lobby", member=eli, reason="a bet")
        await world.act("bot limit", amount="100")
        lines = (await world.act("bot log")).splitlines()
        elsewhere = f"in “Elsewhere” (`{world.discord.world.servers[1].id}`)"
        assert [line.split("> ")[2].split("<")[0].rstrip(": ") for line in lines] == [
            "set a limit: the whole bot · $100.00 a month",
            "blocked",
            "gave extra budget",
        ]
        assert [elsewhere in line for line in lines] == [False, True, True]
        assert f"gave extra budget: <@{eli.id}>" in lines[2]
        here = await world.act("log", by="Dana", place="lobby")
        assert "Elsewhere" not in here
        assert "set a limit: this server" in here
        assert await world.act("log") == "Nobody did anything here yet."


async def test_a_run_of_another_server_is_nobody_elses_to_refund_or_to_read(bot: Bot) -> None:
    """Refund, release, receipt, approval and denial ask for the admins of the server in which the run was asked for."""
    await bot.admins.set_request_channel(ADA, "channel:discord:77")
    run = await bot.ended()
    with pytest.raises(BadRequest, match=r"run\.not_here"):
        await bot.admins.refund(DORA, run.run_id, "mine")
    with pytest.raises(NotAllowed):
        await bot.admission.receipt_of(run.run_id, member="discord:80", server=DORA.server)
    assert (await bot.admission.receipt_of(run.run_id, member="discord:90", server=ADA.server)).run_id == run.run_id
    await bot.limit("member:discord:1", "0")
    offer = await bot.request()
    for answer in (bot.admission.approve, bot.admission.deny):
        with pytest.raises(OfferGone):
            await answer(offer.offer_id, DORA)
    assert bot.rows("SELECT verb FROM act ORDER BY act_id") == [("requests here",), ("limit set",)]


async def test_the_extras_of_a_server_do_not_raise_what_counts_elsewhere(bot: Bot) -> None:
    """Whatever level a server's admin adds to, a wish in another server does not see it."""
    await bot.limit("member:discord:1", "1")
    who = Spender(member="discord:1", server=DORA.server, channel="discord:50")
    await bot.admins.set_limit(DORA, "member:discord:1", RuleKind.LIMIT, amount="1", period=None, in_flight=None)
    await bot.admins.grant(DORA, "member:discord:1", who, "9", "a friend")
    assert (await bot.stands("member:discord:1")).left_u == PRICE_U
    there = await bot.stands("member:discord:1", server=DORA.server, channel="discord:50", budget_channel="discord:50")
    assert there.left_u == 10 * PRICE_U


# What is switched off, paused or blocked meanwhile stays so


async def requested(
    world: Scene, member: str = "Bo", place: str = "video-lab", desk: str = "general", text: str = FOX
) -> Json:
    """A member's request, as it lies before the admins."""
    refused = await world.veo(text, member=member, place=place, **CHEAP)
    await world.press(await world.answer_to(refused), "Ask an admin", member=member)
    channel = world.discord.world.channel(desk)
    return await world.discord.wait_message(
        channel, lambda each: "would like a video" in each["content"] and text in each["content"]
    )


async def test_no_request_is_answered_in_a_server_that_was_switched_off(start: Start) -> None:
    """The operator's word comes before the admins': neither yes nor no, and nobody asks any more."""
    async with start(DISCORD_SERVERS="", QUOTA_USER_USD="0") as world:
        elsewhere = world.discord.world.servers[1].id
        await world.act("bot server", on=True, server=elsewhere)
        await world.act("requests", by="Dana", place="lobby", channel=world.discord.world.channel("lobby"))
        request = await requested(world, "Eli", "lobby", "lobby")
        refused = await world.veo(FOX, member="Eli", place="lobby", **CHEAP)
        await world.act("bot server", on=False, server=elsewhere)
        for label in ("Approve", "Deny"):
            await world.press(request, label, member="Dana")
        await world.press(await world.answer_to(refused), "Ask an admin", member="Eli")
        await world.whispered("Dana", OFF, "lobby")
        await world.whispered("Eli", OFF, "lobby")
        assert world.rows("SELECT state FROM offer ORDER BY rowid") == [{"state": "open"}] * 2
        await world.act("bot server", on=True, server=elsewhere)
        await world.press(request, "Approve", member="Dana")
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        assert len(world.runflow.runs) == 1


async def test_who_may_not_ask_may_not_ask_the_admins(start: Start) -> None:
    """A member who was blocked, or whose server was paused, after the refusal that offered the button."""
    async with start(QUOTA_USER_USD="0") as world:
        desk = world.discord.world.channel("general")
        await world.act("requests", channel=desk)
        answer = await world.answer_to(await world.veo(FOX, **CHEAP))
        await world.act("access block", member=world.member())
        await world.press(answer, "Ask an admin")
        await world.whispered("Bo", "You can't use `/veo` in this server")
        await world.act("access unblock", member=world.member())
        await world.act("pause")
        await world.press(answer, "Ask an admin")
        await world.whispered("Bo", "`/veo` is paused in this server")
        assert world.discord.messages(desk) == []


async def test_show_obeys_what_stands_between_a_member_and_a_video(start: Start) -> None:
    """The block, the pause, the roles and channels that are allowed, and what the bot may do in that place."""
    async with start() as world:
        await world.end_of(await world.veo(FOX))
        editors, general = world.member("Cem").roles[0], world.discord.world.channel("general")
        before = world.seen()
        stories: list[tuple[str, str, dict[str, Any], str]] = [
            ("access block", "access unblock", {"member": world.member()}, "You can't use `/veo` in this server"),
            ("pause", "resume", {}, "`/veo` is paused in this server"),
            ("bot pause", "bot resume", {}, "`/veo` is paused everywhere"),
            ("access allow", "access disallow", {"role": editors}, "You need a role to use `/veo` here"),
            ("access allow", "access disallow", {"channel": general}, f"Use `/veo` in <#{general.id}>"),
        ]
        for begin, end, options, said in stories:
            await world.act(begin, **options)
            assert said in await world.told("veo-show", by="Bo")
            await world.act(end, **options)
        for place, lacking in (("read-only", "Send Messages"), ("no-files", "Attach Files")):
            assert lacking in await world.told("veo-show", by="Bo", place=place)
            assert world.seen(place) == []
        assert world.seen() == before
        await world.shown()


# What Discord sent with the interaction


async def test_roles_and_places_bind_before_the_gateway_has_told_of_a_server(start: Start) -> None:
    """READY came and GUILD_CREATE did not, at each start and in an outage: every limit by role or channel binds."""
    async with start(DISCORD_SERVERS="", discord={"servers_away": True}) as world:
        editors, cem, lab = world.member("Cem").roles[0], world.member("Cem"), world.channel
        everyone = world.discord.world.servers[0].roles[0]
        rules: list[tuple[dict[str, Any], str]] = [
            ({"role": editors}, "You don't have a budget for videos here"),
            ({"role": editors, "pool": True}, f"the limit of everyone with <@&{editors.id}> together is 0"),
            ({"channel": lab}, f"the limit of <#{lab.id}> is 0"),
        ]
        for options, reason in rules:
            assert "can't make videos" in await world.act("limit set", amount="0", **options)
            assert reason in await refused(world, by="Cem")
            await world.act("limit lift", **options)
        await world.act("limit set", amount="0", channel=lab)
        assert f"the limit of <#{lab.id}> is 0" in await refused(world, by="Bo", place="takes")  # a thread of it
        await world.act("limit lift", channel=lab)
        await world.act("limit set", amount="7", role=everyone)
        assert "**$7.00** left of $7.00 this month" in await world.told("veo-quota", by="Bo")
        await world.act("limit set", amount="9", role=editors)
        assert "$9.00 of $9.00 left" in await world.act("limit show", member=cem)
        await world.act("access allow", role=editors)
        assert "You need a role to use `/veo` here" in await refused(world, by="Bo")
        assert "Requests go to" in await world.act("requests", channel=world.discord.world.channel("general"))
        await world.end_of(await world.veo(FOX, member="Cem", **CHEAP))


async def test_only_the_owners_servers_are_on_while_all_of_them_are_away(start: Start) -> None:
    """Whose a server is, Discord's REST says where its gateway does not; without an answer nothing is started."""
    async with start(DISCORD_SERVERS="", discord={"servers_away": True}) as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        assert (await refused(world, by="Eli", place="lobby")).startswith(OFF)
        world.discord.fault("GET", rf"/guilds/{world.discord.world.servers[0].id}", status=503, times=2)
        assert "Discord can't tell me right now" in await refused(world, by="Bo")
        assert len(world.runflow.runs) == 1
        assert "Discord can't tell me right now" in await world.act("grant", amount="1", member=world.member())
        assert world.rows("SELECT * FROM act") == []


async def test_a_role_that_was_lost_does_not_help_to_agree_to_a_price(start: Start) -> None:
    """A question is answered by the member as they are when they answer."""
    async with start(QUOTA_CONFIRM_ABOVE_USD="0.50", QUOTA_USER_USD="0") as world:
        cem = world.member("Cem")
        await world.act("limit set", amount="9", role=cem.roles[0])
        question = await world.answer_to(await world.veo(FOX, member="Cem", **CHEAP))
        cem.roles.clear()
        await world.press(question, "Make it", member="Cem")
        await world.whispered("Cem", "This video costs $0.80")
        assert world.runflow.runs == {}


async def test_an_approval_is_for_the_member_as_they_are_by_then(start: Start) -> None:
    """A role that was needed and is lost, or a member who left: nothing is filmed, and the request stays."""
    async with start(QUOTA_USER_USD="0") as world:
        server, cem = world.discord.world.servers[0], world.member("Cem")
        await world.act("requests", channel=world.discord.world.channel("general"))
        await world.act("access allow", role=cem.roles[0])
        request = await requested(world, "Cem")
        kept, cem.roles = cem.roles, []
        await world.press(request, "Approve", member="Ada")
        await world.whispered("Ada", "The member can't use `/veo` there right now", "general")
        cem.roles = kept
        server.members.remove(cem)
        await world.press(request, "Approve", member="Ada")
        await world.whispered("Ada", "The member isn't in this server anymore", "general")
        assert world.rows("SELECT state FROM offer") == [{"state": "open"}]
        server.members.append(cem)
        await world.press(request, "Approve", member="Ada")
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        assert len(world.runflow.runs) == 1


async def test_what_a_member_did_is_not_shown_where_the_bot_is_off(start: Start) -> None:
    """Also to the member: the operator switched the whole of it off there."""
    async with start(DISCORD_SERVERS="") as world:
        assert OFF in await world.told("veo-history", by="Eli", place="lobby")


# Where nothing bounds what an admin may allow


@pytest.mark.parametrize(
    ("ceilings", "warned"),
    [
        ({}, True),
        ({"QUOTA_GUILD_USD": "50"}, False),
        ({"QUOTA_TOTAL_USD": "0"}, False),
        ({"QUOTA_USER_USD": "5"}, True),
    ],
)
async def test_a_missing_ceiling_is_said_at_the_start(start: Start, ceilings: dict[str, str], warned: bool) -> None:
    """Who manages a server can lift every limit that is not the operator's, so the operator is to know."""
    async with start(**ceilings) as world:
        assert ("neither QUOTA_GUILD_USD nor QUOTA_TOTAL_USD is set, so there is no ceiling" in world.log) == warned


# Who owns the bot


OWNERS_ONLY = "Only the bot's owner can do that"
EVERY_OWNER_ACT = [command for command in EVERY_ACT if command.startswith("bot ")]


async def owner_acts(world: Scene, *, by: str, place: str = "video-lab") -> set[str]:
    """What somebody, to whom every server gave the command, is told of all the acts on the whole bot."""
    for server in world.discord.world.servers:
        server.command_permissions["veo-admin"] = {each.id for each in server.members}
    answers = set()
    for command in EVERY_OWNER_ACT:
        used = await world.use(f"veo-admin {command}", by=by, place=place, **named(world, EVERY_ACT[command]))
        shown = await used.wait(lambda message: bool(message["content"] or message["embeds"]))
        answers.add("refused" if shown["content"].startswith(OWNERS_ONLY) else "done")
    return answers


async def test_the_bot_belongs_to_its_owner_alone_where_there_is_no_team(start: Start) -> None:
    """Not to the admins of any server, nor to whom they gave the command."""
    async with start() as world:
        for by, place in (("Bo", "video-lab"), ("Dana", "video-lab"), ("Dana", "lobby"), ("Eli", "lobby")):
            assert await owner_acts(world, by=by, place=place) == {"refused"}, by
        assert world.rows("SELECT 1 FROM act") == []
        assert await owner_acts(world, by="Ada") == {"done"}


@pytest.mark.parametrize(
    ("role", "accepted", "rules"),
    [
        ("admin", True, True),
        ("developer", True, True),
        ("read_only", True, False),
        ("admin", False, False),
        ("developer", False, False),
    ],
)
async def test_of_a_team_those_rule_who_accepted_and_may_change_the_bot(
    start: Start, role: str, accepted: bool, rules: bool
) -> None:
    """Owner, admins and developers of the team; not the invited, nor those who may only read."""
    async with start(start=False) as world:
        team = world.discord.world.make_team(Bo=role)
        team.members[-1].accepted = accepted
        await world.start()
        assert await owner_acts(world, by="Bo") == {"done" if rules else "refused"}
        assert await owner_acts(world, by="Cem") == {"refused"}
        assert await owner_acts(world, by="Ada") == {"done"}


async def test_who_leaves_the_team_rules_no_longer(start: Start) -> None:
    """Each act asks Discord anew, also in a bot that has run for long; where Discord does not say, nothing is done."""
    async with start() as world:
        team = world.discord.world.make_team(Bo="admin")
        assert await owner_acts(world, by="Bo") == {"done"}
        team.members.pop()
        assert await owner_acts(world, by="Bo") == {"refused"}
        world.discord.world.team = None
        world.discord.world.owner = world.member("Cem").user
        assert await owner_acts(world, by="Ada") == {"refused"}
        assert await owner_acts(world, by="Cem") == {"done"}
        before = world.rows("SELECT * FROM act")
        world.discord.fault("GET", "/oauth2/applications/@me", status=503, times=1)
        assert "Discord can't tell me right now who owns this bot" in await world.told("veo-admin bot pause", by="Cem")
        assert world.rows("SELECT * FROM act") == before


async def test_where_the_application_changes_hands_its_servers_do_too(start: Start) -> None:
    """Asked again every few minutes for `/veo`, and at once for what moves money by an admin's word."""
    quick = "import cogs.servers\ncogs.servers.ASK_AGAIN_S = 0.5"
    async with start(DISCORD_SERVERS="", before=quick) as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        world.discord.world.owner = world.member("Dana").user
        assert (await world.act("grant", amount="5", member=world.member())).startswith(OFF)
        assert (await world.act("grant", by="Dana", place="lobby", amount="5", member=world.member("Eli"))).startswith(
            "Done. $5.00 extra"
        )
        async with asyncio.timeout(harness.WAIT_S):
            while True:
                if (await world.told("veo-quota", by="Bo")).startswith(OFF):
                    break
        assert (await refused(world, by="Bo")).startswith(OFF)
        await world.end_of(await world.veo(FOX, member="Eli", place="lobby", **CHEAP))


# Who presses what


async def test_presses_are_for_whom_they_concern(start: Start) -> None:
    """Requests are for who manages that server, receipts for them and the member, questions for the member alone."""
    async with start(QUOTA_USER_USD="1.00", QUOTA_CONFIRM_ABOVE_USD="1.00") as world:
        await world.act("requests", channel=world.channel)
        mia = world.discord.world.join("Mia", world.discord.world.servers[0])
        world.discord.world.servers[0].command_permissions["veo-admin"] = {mia.id}
        result = await world.end_of(await world.veo(FOX, **CHEAP))
        request = await requested(world, desk="video-lab")
        await world.act("limit set", by="Mia", amount="100", member=world.member("Cem"))  # to whom the server gave it
        question = await world.answer_to(await world.veo(FOX, member="Cem"))
        run = world.rows("SELECT run_id FROM run")[0]["run_id"]
        offers = {each["kind"]: each["offer_id"] for each in world.rows("SELECT kind, offer_id FROM offer")}
        for by in ("Cem", "Dana", "Mia", "Bo"):
            for label in ("Approve", "Deny"):
                await world.press(request, label, member=by)
            await world.whispered(by, "Only people who can manage this server can answer requests.")
        for by in ("Cem", "Dana", "Mia"):
            await world.press(result, "Receipt", member=by)
            await world.whispered(by, "Only the member who asked for a video")
        # In Dana's own server she manages, and nothing of Aurora's is there to be managed.
        names = [f"veo:{verb}:{offers['request']}:800000" for verb in ("approve", "deny", "ask")]
        names += [f"veo:receipt:{run}", f"veo:yes:{offers['confirm']}:0"]
        stray = await world.forge(*((f"button {at}", name) for at, name in enumerate(names)), place="lobby")
        for number, said in enumerate(
            ("That request is no longer open", "That request is no longer open", "That question has expired")
        ):
            await world.press(stray, f"button {number}", member="Dana")
            await world.whispered("Dana", said, "lobby")
        for by in ("Dana", "Eli"):
            await world.press(stray, "button 3", member=by)
            await world.whispered(by, "Only the member who asked for a video", "lobby")
        await world.press(stray, "button 4", member="Eli")
        await world.whispered("Eli", "That button isn't for you", "lobby")
        assert [row["state"] for row in world.rows("SELECT state FROM offer")] == ["open", "open"]
        assert len(world.runflow.runs) == 1
        assert {row["verb"] for row in world.rows("SELECT verb FROM act")} == {"requests here", "limit set"}
        for by in ("Bo", "Ada"):
            await world.press(result, "Receipt", member=by)
            await world.whispered(by, "$0.80 charged")
        await world.press(question, "Make it", member="Cem")
        await world.press(request, "Deny", member="Ada")
        await world.until("SELECT 1 FROM offer WHERE state = 'denied'")
        await world.until("SELECT 1 FROM offer WHERE state = 'taken'")


async def test_a_question_is_not_answered_where_the_bot_was_switched_off(start: Start) -> None:
    """A price that was shown while the server was on."""
    async with start(DISCORD_SERVERS="", QUOTA_CONFIRM_ABOVE_USD="0.50") as world:
        elsewhere = world.discord.world.servers[1].id
        await world.act("bot server", on=True, server=elsewhere)
        question = await world.answer_to(await world.veo(FOX, member="Eli", place="lobby", **CHEAP))
        await world.act("bot server", on=False, server=elsewhere)
        await world.press(question, "Make it", member="Eli")
        await world.whispered("Eli", OFF, "lobby")
        assert world.rows("SELECT * FROM run") == []


async def test_an_admin_of_a_server_that_was_switched_off_reads_nobodys_receipts(start: Start) -> None:
    """The member still reads their own."""
    async with start(DISCORD_SERVERS="") as world:
        elsewhere = world.discord.world.servers[1].id
        await world.act("bot server", on=True, server=elsewhere)
        result = await world.end_of(await world.veo(FOX, member="Eli", place="lobby", **CHEAP))
        await world.act("bot server", on=False, server=elsewhere)
        await world.press(result, "Receipt", member="Dana")
        await world.whispered("Dana", "Only the member who asked for a video", "lobby")
        await world.press(result, "Receipt", member="Eli")
        await world.whispered("Eli", "$0.80 charged", "lobby")


async def test_a_thread_asks_for_the_permission_to_write_in_threads(start: Start) -> None:
    """It is another than that for channels, and only it counts there."""
    async with start() as world:
        thread = world.discord.world.channel("takes")
        world.discord.set_permissions(thread, deny=SEND_MESSAGES_IN_THREADS)
        assert "I need Send Messages In Threads" in await refused(world, by="Bo", place="takes")
        world.discord.set_permissions(thread, deny=SEND_MESSAGES)
        await world.end_of(await world.veo(FOX, place="takes", **CHEAP))
        assert "I need Send Messages" in await refused(world, by="Bo")


async def test_only_our_own_message_stands_for_a_run(start: Start) -> None:
    """What the bot wrote under a video, written by somebody, or its earlier notice of it: neither keeps it back."""
    async with start(POLL_INTERVAL_S="0.5") as world:
        world.discord.fault("POST", rf"/channels/{world.channel.id}/messages", status=503)
        await world.veo(FOX, **CHEAP)
        await world.until("SELECT 1 FROM run WHERE delivery_tries = 1 AND delivery = 'sending'")
        (run,) = world.rows("SELECT run_id FROM run")
        world.discord.say(
            world.member("Cem"), world.channel, f"<@{world.discord.world.bot.id}> mine!\n-# Video `{run['run_id']}`"
        )
        async with asyncio.timeout(10):
            while not world.logged("not delivered"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
        late = await world.forge(("Receipt", f"veo:receipt:{run['run_id']}"))  # as the version before told of it
        await world.until("SELECT 1 FROM run WHERE delivery = 'delivered'")
        said = world.discord.messages(world.channel)
        assert [each["author"]["username"] for each in said] == ["cem", "veo-bot", "veo-bot"]
        assert said[1]["id"] == late["id"]
        assert len(said[2]["attachments"]) == 1


async def test_what_is_kept_of_a_question_opens_nothing(start: Start) -> None:
    """The address at which its card is changed is a secret, and is not kept with it."""
    async with start(QUOTA_CONFIRM_ABOVE_USD="0.50") as world:
        asked = await world.veo(FOX, **CHEAP)
        await world.answer_to(asked)
        (offer,) = world.rows("SELECT * FROM offer")
        assert asked.token not in str(offer)
        kept = json.loads(offer["wish"])
        assert (kept["reply_to"], kept["reply_until"]) == (None, None)


async def test_a_release_is_in_the_ledger_by_the_act_and_the_admin(bot: Bot) -> None:
    """Whoever reads the books sees by whose word the hold was given back."""
    run = await bot.moved(await bot.run(), RunState.SUBMITTING, RunState.AMBIGUOUS, RunState.UNKNOWN)
    await bot.admins.refund(ADA, run.run_id, "their support says no")
    entries = bot.rows(
        "SELECT DISTINCT entry.actor, verb, act.reason FROM ledger_entry AS entry JOIN act USING (act_id)"
    )
    assert entries == [(ADA.actor, "release", "their support says no")]
    assert bot.rows("SELECT count(*) FROM ledger_entry WHERE kind = 'void' AND act_id IS NULL") == [(0,)]


# What several do at once, or what comes twice


async def test_two_admins_at_once_lose_nothing_of_each_others(bot: Bot) -> None:
    """One sets dollars, the other runs at a time, a third moves where requests go: whoever comes second adds to it."""
    scope = "member:discord:1"
    eve = replace(ADA, actor="discord:91", name="Eve")
    for number in range(20):
        amount, runs = f"{20 + number}.00", number % 5 + 1
        dollars = bot.admins.set_limit(ADA, scope, RuleKind.LIMIT, amount=amount, period="day", in_flight=None)
        flights = bot.admins.set_limit(eve, scope, RuleKind.LIMIT, amount=None, period=None, in_flight=runs)
        desks = [
            bot.admins.set_request_channel(each, f"channel:discord:{70 + number + at}")
            for at, each in enumerate((ADA, eve))
        ]
        await asyncio.gather(dollars, flights, *desks)
        rules = await bot.admins.rules(ADA.server)
        rule = rules.get(scope, RuleKind.LIMIT)
        assert rule is not None
        assert (rule.limit_u, rule.period, rule.in_flight) == (int(amount[:2]) * PRICE_U, "day", runs)
        assert len(rules.subjects(RuleKind.REQUEST_CHANNEL)) == 1
        await bot.admins.change(ADA, Verb.LIFT_LIMIT, scope)
    details = [detail for (detail,) in bot.rows("SELECT detail FROM act WHERE verb = 'limit set' ORDER BY act_id DESC")]
    dollars_alone = Detail(period="day", limit_u=39 * PRICE_U).to_json()
    flights_alone = Detail(in_flight=5).to_json()
    both = Detail(period="day", limit_u=39 * PRICE_U, in_flight=5).to_json()
    assert sorted(details[:2]) in (
        sorted([both, dollars_alone]),
        sorted([flights_alone, both]),
    )


async def test_two_admins_at_once_over_discord(start: Start) -> None:
    """The same through the whole bot, with two who manage the server."""
    async with start() as world:
        world.discord.world.join("Mia", world.discord.world.servers[0], permissions=MANAGE_SERVER)
        for number in range(1, 6):
            await asyncio.gather(
                world.act("limit set", amount=f"{number}", per="day", member=world.member("Cem")),
                world.act("limit set", by="Mia", runs=number, member=world.member("Cem")),
            )
            shown = await world.act("limit show", member=world.member("Cem"))
            assert f"${number}.00 a day, {number} video" in shown
            await world.act("limit lift", member=world.member("Cem"))


async def replayed(world: Scene, used: Interaction) -> None:
    """Tell the bot of a use again, and wait until it has answered that too."""
    edits = sum(each.method == "PATCH" and used.token in each.path for each in world.discord.requests)
    world.discord.replay(used)
    async with asyncio.timeout(harness.WAIT_S):
        while sum(each.method == "PATCH" and used.token in each.path for each in world.discord.requests) == edits:  # noqa: ASYNC110 - another process sends it
            await asyncio.sleep(0.01)


async def test_what_comes_twice_has_one_effect_and_one_answer(start: Start) -> None:
    """A session that is resumed may tell of a command again, also after it was undone: nothing happens anew."""
    async with start(QUOTA_USER_USD="5.00") as world:
        bo, general = world.member(), world.discord.world.channel("general")
        await world.end_of(await world.veo(FOX, **CHEAP))
        run = world.rows("SELECT run_id FROM run")[0]["run_id"]
        stories: list[tuple[str, dict[str, Any], str | None, dict[str, Any]]] = [
            ("grant", {"amount": "5", "member": bo}, None, {}),
            ("refund", {"run": run, "reason": "a gift"}, None, {}),
            ("limit set", {"amount": "7", "member": bo}, "limit lift", {"member": bo}),
            ("pause", {}, "resume", {}),
            ("access block", {"member": bo}, "access unblock", {"member": bo}),
            ("access allow", {"channel": general}, "access disallow", {"channel": general}),
            ("requests", {"channel": general}, "requests", {}),
            ("bot limit", {"amount": "100"}, "bot lift", {}),
            ("bot pause", {}, "bot resume", {}),
            ("bot server", {"on": True}, "bot server", {"on": False}),
        ]
        for command, options, undo, undone in stories:
            used = await world.use(f"veo-admin {command}", by="Ada", **options)
            first = (await world.answer_to(used))["content"]
            if undo is not None:
                back = await world.use(f"veo-admin {undo}", by="Ada", **undone)
                await world.answer_to(back)
            kept = [world.rows(f"SELECT * FROM {table}") for table in ("act", "rule", "ledger_entry")]
            await replayed(world, used)
            assert [world.rows(f"SELECT * FROM {table}") for table in ("act", "rule", "ledger_entry")] == kept, command
            assert (await world.answer_to(used))["content"] == first
        await replayed(world, back)
        assert world.rows("SELECT sum(amount_u) AS u FROM ledger_entry WHERE kind = 'grant'") == [{"u": 5_000_000}]
        assert world.rows("SELECT count(DISTINCT origin) = count(*) AS each FROM act") == [{"each": 1}]


async def test_an_act_that_is_kept_is_not_carried_out_again(bot: Bot) -> None:
    """Also where its answer never was: whoever asks by the same request finds what it made, and changes nothing."""
    ended, lost = await bot.ended(), await bot.run()
    lost = await bot.moved(lost, RunState.SUBMITTING, RunState.AMBIGUOUS, RunState.UNKNOWN)
    await bot.admins.set_request_channel(ADA, "channel:discord:77")
    await bot.limit("member:discord:1", "0")
    offer = await bot.request()
    acts: list[Callable[[Admin], Any]] = [
        lambda by: bot.admins.set_limit(
            by, "channel:discord:3", RuleKind.LIMIT, amount="5", period="day", in_flight=None
        ),
        lambda by: bot.admins.grant(by, "channel:discord:3", None, "5", ""),
        lambda by: bot.admins.refund(by, ended.run_id, "a gift"),
        lambda by: bot.admins.refund(by, lost.run_id, "lost"),
        lambda by: bot.admins.change(by, Verb.BLOCK, "member:discord:11", ""),
        lambda by: bot.admins.change(by, Verb.UNBLOCK, "member:discord:11"),
        lambda by: bot.admins.change(by, Verb.PAUSE, reason=""),
        lambda by: bot.admins.change(by, Verb.RESUME),
        lambda by: bot.admins.set_request_channel(by, None),
        lambda by: bot.admission.deny(offer.offer_id, by),
    ]
    for number, act in enumerate(acts):
        by = replace(ADA, origin=f"discord:{number}")
        first = await act(by)
        before = dump(bot.path)
        again = await act(by)
        assert (list(again) == list(first)) if isinstance(first, Rules) else (again == first)
        assert dump(bot.path) == before
    assert await bot.admins.once(by, lambda: once("said")) == "said"
    assert await bot.admins.once(by, lambda: once("something else")) == "said"


async def once(said: str) -> str:
    return said


async def test_what_was_refused_is_refused_when_it_comes_again(start: Start) -> None:
    """There was nothing to resume; there is by the time that Discord tells of it again."""
    async with start() as world:
        used = await world.use("veo-admin resume", by="Ada")
        first = (await world.answer_to(used))["content"]
        assert "isn't paused" in first
        await world.act("pause")
        await replayed(world, used)
        assert (await world.answer_to(used))["content"] == first
        assert "`/veo` is paused in this server" in await refused(world, by="Bo")


async def test_a_gateway_that_tells_everything_twice_changes_nothing(start: Start) -> None:
    """Both at once, so that neither has been answered when the other comes."""
    async with start(discord={"gateway_duplicates": True}, QUOTA_USER_USD="20.00") as world:
        await world.act("requests", channel=world.channel)
        await asyncio.gather(*(world.act("grant", amount="5", member=world.member()) for _ in range(3)))
        assert world.rows("SELECT sum(amount_u) AS u, count(*) AS n FROM ledger_entry WHERE kind = 'grant'") == [
            {"u": 15_000_000, "n": 3}
        ]
        await world.end_of(await world.veo(FOX, **CHEAP))
        before = world.seen()
        await world.shown()
        await world.act("limit set", amount="0", member=world.member("Cem"))
        request = await requested(world, "Cem", desk="video-lab")
        await world.press(request, "Approve", member="Ada")
        await world.until("SELECT 1 FROM (SELECT count(*) AS n FROM run WHERE delivery = 'delivered') WHERE n = 2")
        denied = await requested(world, "Cem", desk="video-lab", text="a blue fox")
        await world.whispered("Cem", "### Asking the admins\n> a blue fox")
        await world.press(denied, "Deny", member="Ada")
        await world.whispered("Cem", "An admin said no to this video")
        await asyncio.sleep(0.2)
        # Shown once, requested twice, posted once more; the denial is told to its member alone, once.
        assert len(world.seen()) - len(before) == 4
        assert sum("An admin said no" in each for each in world.whispers("Cem")) == 1
        assert len(world.runflow.runs) == 2
        verbs = [row["verb"] for row in world.rows("SELECT verb FROM act ORDER BY act_id")]
        assert verbs == ["requests here", *["grant"] * 3, "limit set", "request approved", "request denied"]


# Their teeth: without any one of these guards a story above goes wrong

NO_CHECK = "async def {}(self, *args, **kwargs):\n    return None"
TRIES: list[tuple[Replaced, Callable[..., Any]]] = [
    (
        Replaced("the check of the server", "cogs.servers:Servers.check", NO_CHECK.format("check")),
        test_where_the_bot_is_off_nothing_can_be_administered,
    ),
    (
        Replaced(
            "what is asked for by an admin asks for the server",
            "cogs.servers:Servers.admin",
            """
async def admin(self, interaction, *, everywhere=False):
    if everywhere:
        await self.check_owner(interaction)
    server = EVERYWHERE if everywhere else f"discord:{interaction.guild_id}"
    return Admin(server=server, actor=f"discord:{interaction.user.id}", name="x", origin=str(interaction.id))
""",
        ),
        test_no_request_is_answered_in_a_server_that_was_switched_off,
    ),
    (
        Replaced("the owner of the bot", "cogs.servers:Servers.check_owner", NO_CHECK.format("check_owner")),
        test_the_bot_belongs_to_its_owner_alone_where_there_is_no_team,
    ),
    (
        Replaced(
            "the invited do not rule",
            "cogs.servers:_rulers",
            """
def _rulers(application):
    team = application.team
    return {each.id for each in team.members if each.role in _RULING} if team else {application.owner.id}
""",
        ),
        partial(
            test_of_a_team_those_rule_who_accepted_and_may_change_the_bot, role="admin", accepted=False, rules=False
        ),
    ),
    (
        Replaced(
            "those who may only read do not rule",
            "cogs.servers:_rulers",
            """
def _rulers(application):
    accepted, team = discord.TeamMembershipState.accepted, application.team
    if team is None:
        return {application.owner.id}
    return {each.id for each in team.members if each.membership_state == accepted}
""",
        ),
        partial(
            test_of_a_team_those_rule_who_accepted_and_may_change_the_bot, role="read_only", accepted=True, rules=False
        ),
    ),
    (
        Replaced(
            "the team",
            "cogs.servers:_rulers",
            "def _rulers(application):\n    return {application.owner.id}",
        ),
        partial(
            test_of_a_team_those_rule_who_accepted_and_may_change_the_bot, role="developer", accepted=True, rules=True
        ),
    ),
    (
        Replaced(
            "who owns the bot is asked anew",
            "cogs.servers:Servers._application_info",
            "async def _application_info(self, *, now):\n    return self._application",
        ),
        test_who_leaves_the_team_rules_no_longer,
    ),
    (
        Replaced(
            "what is asked again for the servers",
            "cogs.servers:Servers._is_the_owners",
            """
async def _is_the_owners(self, server_id, *, now):
    owner_id = self._application.owner.id
    return self._client.get_guild(server_id).owner_id == owner_id
""",
        ),
        test_where_the_application_changes_hands_its_servers_do_too,
    ),
    (
        Replaced(
            "a server that the gateway has not told of",
            "cogs.servers:Servers._is_the_owners",
            """
async def _is_the_owners(self, server_id, *, now):
    application = await self._application_info(now=now)
    return self._client.get_guild(server_id).owner_id == application.owner.id
""",
        ),
        test_only_the_owners_servers_are_on_while_all_of_them_are_away,
    ),
    (
        Replaced(
            "roles as they were sent",
            "cogs.context:roles_of",
            """
def roles_of(interaction, user):
    return tuple(f"discord:{role.id}" for role in user.roles)
""",
        ),
        test_roles_and_places_bind_before_the_gateway_has_told_of_a_server,
    ),
    (
        Replaced(
            "the roles of the moment",
            "bot.services.admission:Admission.confirm",
            """
async def confirm(self, answer, member):
    offer = await self._books.offer_of(answer.offer_id)
    return await self._take(offer, replace(answer, roles=None), approve=None)
""",
        ),
        test_a_role_that_was_lost_does_not_help_to_agree_to_a_price,
    ),
    (
        Replaced(
            "members of this server alone",
            "cogs.admin:spender_for",
            """
def spender_for(interaction, member):
    if member is None:
        return None
    server = f"discord:{interaction.guild_id}"
    return Spender(member=f"discord:{member.id}", server=server, channel="", roles=())
""",
        ),
        test_figures_of_people_who_are_not_here_are_not_shown,
    ),
    (
        Replaced(
            "a request of this server",
            "bot.services.admission:Admission.request_of",
            """
async def request_of(self, offer_id, admin):
    return await self._books.offer_of(offer_id)
""",
        ),
        test_a_run_of_another_server_is_nobody_elses_to_refund_or_to_read,
    ),
    (
        Replaced(
            "a refund of this server",
            "bot.services.administration:Administration._run_of",
            """
async def _run_of(self, admin, run_id):
    return await self._books.get(run_id)
""",
        ),
        test_a_run_of_another_server_is_nobody_elses_to_refund_or_to_read,
    ),
    (
        Replaced(
            "a receipt of this server",
            "bot.services.admission:Admission.receipt_of",
            """
async def receipt_of(self, run_id, *, member, server):
    run = await self._books.get(run_id)
    if run.member != member and server is None:
        raise NotAllowed("receipt.not_yours")
    return run
""",
        ),
        test_a_run_of_another_server_is_nobody_elses_to_refund_or_to_read,
    ),
    (
        Replaced(
            "a receipt where the server is on",
            "cogs.presses:Presses._concerning",
            """
async def _concerning(self, interaction, about):
    server = f"discord:{interaction.guild_id}" if interaction.permissions.manage_guild else None
    return await self._admission.receipt_of(about[0], member=_caller(interaction), server=server)
""",
        ),
        test_an_admin_of_a_server_that_was_switched_off_reads_nobodys_receipts,
    ),
    (
        Replaced(
            "who may approve",
            "cogs.presses:Presses._approve",
            """
async def _approve(self, interaction, card_id, about):
    offer = await self._admission.approve(about[0], await self._servers.admin(interaction))
    await self._show_request(interaction, decided(offer), offer)
""",
        ),
        test_presses_are_for_whom_they_concern,
    ),
    (
        Replaced(
            "the member as they are when approved",
            "cogs.presses:Presses._roles_of",
            """
async def _roles_of(self, interaction, offer):
    return None
""",
        ),
        test_an_approval_is_for_the_member_as_they_are_by_then,
    ),
    (
        Replaced(
            "who may deny",
            "cogs.presses:Presses._deny",
            """
async def _deny(self, interaction, card_id, about):
    offer = await self._admission.deny(about[0], await self._servers.admin(interaction))
    await self._show_request(interaction, decided(offer), offer)
""",
        ),
        test_presses_are_for_whom_they_concern,
    ),
    (
        Replaced(
            "a yes where the server is on",
            "cogs.presses:Presses._yes",
            """
async def _yes(self, interaction, card_id, about):
    answer = Answer(offer_id=about[0], roles=spender_of(interaction).roles)
    await self._admission.confirm(answer, _caller(interaction))
""",
        ),
        test_a_question_is_not_answered_where_the_bot_was_switched_off,
    ),
    (
        Replaced(
            "asking where the server is on",
            "cogs.presses:Presses._ask",
            """
async def _ask(self, interaction, card_id, about):
    await self._admission.put(about[0], spender_of(interaction))
""",
        ),
        test_no_request_is_answered_in_a_server_that_was_switched_off,
    ),
    (
        Replaced(
            "who may ask the admins",
            "bot.services.admission:check_access",
            "def check_access(who, rules):\n    return None",
        ),
        test_who_may_not_ask_may_not_ask_the_admins,
    ),
    (
        Replaced(
            "show where the server is on",
            "cogs.finding:Finding._check_place",
            """
async def _check_place(self, interaction):
    await self._admission.check_access(spender_of(interaction))
    check_permissions(interaction)
""",
        ),
        test_where_the_bot_is_off_nothing_can_be_administered,
    ),
    (
        Replaced(
            "show for who may ask",
            "cogs.finding:Finding._check_place",
            """
async def _check_place(self, interaction):
    await self._servers.check(interaction)
    check_permissions(interaction)
""",
        ),
        test_show_obeys_what_stands_between_a_member_and_a_video,
    ),
    (
        Replaced(
            "show where the bot may post",
            "cogs.finding:Finding._check_place",
            """
async def _check_place(self, interaction):
    await self._servers.check(interaction)
    await self._admission.check_access(spender_of(interaction))
""",
        ),
        test_show_obeys_what_stands_between_a_member_and_a_video,
    ),
    (
        Replaced(
            "the permission of threads",
            "cogs.context:check_permissions",
            """
def check_permissions(interaction):
    missing = [name for name in NEEDED if not getattr(interaction.app_permissions, name)]
    if missing:
        raise CannotPost("place.permissions", permissions=" ".join(missing).replace("_", " ").title())
""",
        ),
        test_a_thread_asks_for_the_permission_to_write_in_threads,
    ),
    (
        Replaced(
            "the author of a message",
            "cogs.front:DiscordFront._is_notice",
            """
def _is_notice(self, message, run):
    rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
    names = {getattr(each, "custom_id", None) for row in rows for each in row.children}
    shown = names.issuperset(map(render.custom_id_of, marks(run)))
    return shown or message.content.rstrip().endswith(_old_markers(run))
""",
        ),
        test_only_our_own_message_stands_for_a_run,
    ),
    (
        Replaced(
            "no address in a question",
            "storage.verbs.rows:without_reply",
            "def without_reply(wish):\n    return wish",
        ),
        test_what_is_kept_of_a_question_opens_nothing,
    ),
    (
        Replaced(
            "the act of a release",
            "storage.verbs.rules:release",
            """
def release(tx, run, act, end):
    return end_run(tx, run, end, act.at)
""",
        ),
        test_a_release_is_in_the_ledger_by_the_act_and_the_admin,
    ),
    (
        Replaced(
            "a rule is changed by what it is then",
            "storage.sqlite.store:SqliteStore.decide",
            """
async def decide(self, act, decision):
    change = decision(await self.rules(act.server))
    return await self.writer.write(lambda tx: rules.decide(tx, act, lambda _: change))
""",
        ),
        test_two_admins_at_once_lose_nothing_of_each_others,
    ),
    (
        Replaced(
            "one act for one request",
            "storage.verbs.rules:is_known",
            "def is_known(tx, act):\n    return False",
        ),
        test_an_act_that_is_kept_is_not_carried_out_again,
    ),
    (
        Replaced(
            "the first answer counts",
            "bot.services.administration:Administration.once",
            """
async def once(self, admin, do):
    return await do()
""",
        ),
        test_what_was_refused_is_refused_when_it_comes_again,
    ),
    (
        Replaced(
            "a video is shown once for one command",
            "bot.services.admission:Admission.is_first",
            "async def is_first(self, origin, said):\n    return True",
        ),
        test_a_gateway_that_tells_everything_twice_changes_nothing,
    ),
    (
        Replaced(
            "zero is nobody",
            "bot.domain.limits:Level.bound",
            """
def bound(self, granted_u, approved_u=0):
    bounds = [] if self.limit_u is None else [self.limit_u + granted_u]
    return min([*bounds, *([] if self.ceiling_u is None else [self.ceiling_u])], default=None)
""",
        ),
        partial(test_limits.test_zero_is_nobody_whatever_was_added, scope="member:discord:1"),
    ),
    (
        Replaced(
            "a period by its bounds",
            "storage.verbs.books:ask_book",
            """
def ask_book(tx, level):
    sql = "SELECT period_key, held_u, spent_u FROM budget WHERE scope = :scope AND period_key = :key"
    return tx.execute(sql, {"scope": level.scope, "key": level.period.key})
""",
        ),
        test_limits.test_another_zone_passes_no_limit,
    ),
    (
        Replaced(
            "a refund within the charge", "storage.verbs.books:take_back", "def take_back(*args):\n    return None"
        ),
        partial(test_limits.test_a_refund_and_a_cost_named_later_give_back_no_more_than_was_charged, late_u=0),
    ),
    (
        Replaced(
            "an extra belongs to its moment",
            "storage.verbs.books:ask_extras",
            """
def ask_extras(tx, levels):
    found = [
        tx.execute(
            "SELECT scope, '*', :at, amount_u FROM ledger_entry "
            "WHERE scope = :scope AND period_key = :key AND kind IN ('grant', 'refund')",
            {"scope": level.scope, "key": level.period.key, "at": level.period.starts_at},
        ).fetchall()
        for level in levels
    ]

    class Found:
        def fetchall(self):
            return sum(found, [])

    return Found()
""",
        ),
        partial(test_limits.test_what_was_added_survives_a_change_of_the_limits_period, way=("day", "month")),
    ),
    (
        Replaced(
            "what a button says that it adds",
            "bot.services.admission:most_u",
            "def most_u(over):\n    return 0",
        ),
        test_limits.test_an_approval_never_adds_more_than_its_button_says,
    ),
    (
        Replaced(
            "the operators limit of the whole bot",
            "bot.domain.limits:Level.bound",
            """
def bound(self, granted_u, approved_u=0):
    bounds = [] if self.limit_u is None else [max(self.limit_u + granted_u, approved_u)]
    return min([*bounds, *([] if self.ceiling_u is None else [self.ceiling_u])], default=None)
""",
        ),
        test_limits.test_the_owners_limit_of_the_whole_bot_is_passed_by_nobody,
    ),
    (
        Replaced(
            "one request a member",
            "storage.verbs.admissions:ask",
            """
def ask(tx, offer_id, *, now, pause_s):
    tx.execute("UPDATE offer SET asked_at = :now WHERE offer_id = :id", {"now": now, "id": offer_id})
    return []
""",
        ),
        test_limits.test_a_member_has_one_open_request_and_waits_an_hour_after_a_no,
    ),
    (
        Replaced(
            "what a callback says of an order",
            "bot.services.search:Search.may_resend",
            """
def may_resend(self, run):
    return run.unclear_posts < UNCLEAR_POSTS_MAX and not self._schedule.past_deadline(run)
""",
        ),
        test_delivery.test_an_order_of_which_a_callback_says_that_it_arrived_is_not_sent_again,
    ),
    (
        Replaced(
            "extras of this server alone",
            "storage.verbs.books:extra_counts",
            """
def extra_counts(extra, level, server):
    return extra.scope == level.scope
""",
        ),
        test_the_extras_of_a_server_do_not_raise_what_counts_elsewhere,
    ),
]


BROKEN = re.compile(r"(?:^|\\n)(?:sqlite3\.Operational|Attribute|Name|Type|Import)Error", re.M)
NOTICED = (AssertionError, TimeoutError, CommandRefused, IntegrityError, pytest.fail.Exception)


async def tell(story: Callable[..., Any], folder: Path, before: str = "") -> None:
    """One of the stories above, on a bot that runs this code first, or on this process's own."""
    parameters = inspect.signature(story).parameters
    if "tmp_path" in parameters:
        await story(folder)
    elif parameters.keys() & {"bot", "desk"}:
        async with opened(folder) as bot:
            if "desk" in parameters:
                await bot.admins.set_request_channel(ADA, "channel:discord:77")
            await story(bot)
    else:

        def start(**changes: Any) -> AbstractAsyncContextManager[Scene]:
            changes["before"] = before + changes.get("before", "")
            return scene(folder, **{"DISCORD_SERVERS": "*", **changes})

        await story(start)


@pytest.mark.parametrize(("without", "story"), TRIES, ids=[str(without) for without, _ in TRIES])
async def test_without_any_one_guard_a_story_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: Replaced, story: Callable[..., Any]
) -> None:
    """Each guard of who may do what, taken out alone, is noticed."""
    monkeypatch.setattr(harness, "WAIT_S", 2.5)
    with replaced(without), pytest.raises(NOTICED):
        await tell(story, tmp_path, without.code)
    for log in tmp_path.rglob("bot.log"):  # what went wrong is what was to be shown, not the code that stands in
        assert BROKEN.search(log.read_text()) is None, log.read_text()
