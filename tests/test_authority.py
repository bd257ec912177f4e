"""Whose word counts where: two servers with their admins, the bot's owner and its team.

Ada owns the bot and Aurora Studio, with Bo, Cem and Dana in it. Dana owns Elsewhere, with Eli in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.errors import BadRequest, NotAllowed, OfferGone
from bot.ports import Admin
from bot.quota import RuleKind, Spender
from tests.core import ADA, Bot
from tests.harness import Json, Scene, scene
from tests.money import PRICE_U
from tests.test_admin import EVERY_ACT, FOX, named

Start = Callable[..., AbstractAsyncContextManager[Scene]]
OFF = "This bot is not switched on in this server."
CHEAP: dict[str, Any] = {"duration": "4s", "generate_audio": False}  # $0.80
DORA = Admin(server="discord:5", actor="discord:80", name="Dora")  # of another server than Ada


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A world whose bot works in both servers, if nothing else is said."""
    return partial(scene, tmp_path, DISCORD_SERVERS="*")


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    opened = Bot(tmp_path / "books.db")
    yield opened
    await opened.close()


async def refused(world: Scene, *, by: str, place: str = "video-lab") -> str:
    return str((await world.answer_to(await world.veo(FOX, member=by, place=place, **CHEAP)))["content"])


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
        assert "$1000000.50 left" in answer
        assert "Your limit is $0.50" in await refused(world, by="Dana")
        assert "$0.50 left" in await world.told("veo-quota", by="Dana")
        made = await world.veo(FOX, member="Dana", place="lobby", **CHEAP)
        await world.end_of(made)
        run = await world.run_id(made)
        # What she spent there counts here too, for a member has one limit; what is given back there does not.
        await world.act("refund", by="Dana", place="lobby", run=run, reason="mine")
        assert "**$0.00 left** of $0.50. Used $0.80" in await world.told("veo-quota", by="Dana")
        there = await world.told("veo-quota", by="Dana", place="lobby")
        assert "**$1000000.50 left** of $1000001.30, $1000000.80 of it extra. Used $0.80" in there


async def test_figures_of_people_who_are_not_here_are_not_shown(start: Start) -> None:
    """Discord lets anybody be named by id: what somebody spends in another server is not this admin's to read."""
    async with start() as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        for command, options in (("limit show", {}), ("grant", {"amount": "1"})):
            answer = await world.act(command, by="Dana", place="lobby", member=world.member("Bo"), **options)
            assert "is not a member of this server" in answer
            assert "$" not in answer
        assert world.rows("SELECT * FROM act") == []
        assert "used $0.80" in await world.act("limit show", member=world.member("Bo"))


async def test_the_owners_log_names_the_server_in_which_something_was_done_to_a_member(start: Start) -> None:
    """Grants, blocks and limits of members anywhere, and what was done to the whole bot; not a server's own affairs."""
    async with start() as world:
        eli = world.member("Eli")
        await world.act("grant", by="Dana", place="lobby", amount="5", member=eli)
        await world.act("limit set", by="Dana", place="lobby", amount="7")
        await world.act("access block", by="Dana", place="lobby", member=eli, reason="a bet")
        await world.act("bot limit", amount="100")
        lines = (await world.act("bot log")).splitlines()
        elsewhere = f"in `Elsewhere` ({world.discord.world.servers[1].id})"
        assert [line.split("> ")[2].partition(":")[0] for line in lines] == ["limit set", "block", "grant"]
        assert [elsewhere in line for line in lines] == [False, True, True]
        assert f"grant: <@{eli.id}>" in lines[2]
        here = await world.act("log", by="Dana", place="lobby")
        assert "Elsewhere" not in here
        assert "limit set: this server" in here
        assert await world.act("log") == "Nothing was done here yet."


async def test_a_run_of_another_server_is_nobody_elses_to_refund_or_to_read(bot: Bot) -> None:
    """Refund, release, receipt, approval and denial ask for the admins of the server in which the run was asked for."""
    await bot.admins.set_desk(ADA, "channel:discord:77")
    run = await bot.ended()
    with pytest.raises(BadRequest, match="No run of this server"):
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


async def requested(world: Scene, member: str = "Bo", place: str = "video-lab", desk: str = "general") -> Json:
    """A member's request, as it lies before the admins."""
    refused = await world.veo(FOX, member=member, place=place, **CHEAP)
    await world.press(await world.answer_to(refused), "Ask an admin", member=member)
    channel = world.discord.world.channel(desk)
    return await world.discord.wait_message(channel, lambda each: "asks for a video" in each["content"])


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
        await world.whispered("Bo", "An admin has blocked you")
        await world.act("access unblock", member=world.member())
        await world.act("pause")
        await world.press(answer, "Ask an admin")
        await world.whispered("Bo", "An admin has paused the bot")
        assert world.discord.messages(desk) == []


# What Discord sent with the interaction


async def test_roles_and_places_bind_before_the_gateway_has_told_of_a_server(start: Start) -> None:
    """READY came and GUILD_CREATE did not, at each start and in an outage: every limit by role or channel binds."""
    async with start(DISCORD_SERVERS="", discord={"servers_away": True}) as world:
        editors, cem, lab = world.member("Cem").roles[0], world.member("Cem"), world.channel
        everyone = world.discord.world.servers[0].roles[0]
        rules: list[tuple[dict[str, Any], str]] = [
            ({"role": editors}, "Your limit is $0.00"),
            ({"role": editors, "pool": True}, f"The limit of the pool of <@&{editors.id}> is $0.00"),
            ({"channel": lab}, f"The limit of <#{lab.id}> is $0.00"),
        ]
        for options, reason in rules:
            assert "$0.00 per month" in await world.act("limit set", amount="0", **options)
            assert reason in await refused(world, by="Cem")
            await world.act("limit lift", **options)
        await world.act("limit set", amount="0", channel=lab)
        assert f"The limit of <#{lab.id}> is $0.00" in await refused(world, by="Bo", place="takes")  # a thread of it
        await world.act("limit lift", channel=lab)
        await world.act("limit set", amount="7", role=everyone)
        assert "**$7.00 left** of $7.00" in await world.told("veo-quota", by="Bo")
        await world.act("limit set", amount="9", role=editors)
        assert "$9.00 left of $9.00" in await world.act("limit show", member=cem)
        await world.act("access allow", role=editors)
        assert "Only some roles may use /veo" in await refused(world, by="Bo")
        assert "Requests go to" in await world.act("requests", channel=world.discord.world.channel("general"))
        await world.end_of(await world.veo(FOX, member="Cem", **CHEAP))


async def test_only_the_owners_servers_are_on_while_all_of_them_are_away(start: Start) -> None:
    """Whose a server is, Discord's REST says where its gateway does not; without an answer nothing is started."""
    async with start(DISCORD_SERVERS="", discord={"servers_away": True}) as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        assert (await refused(world, by="Eli", place="lobby")).startswith(OFF)
        world.discord.fault("GET", rf"/guilds/{world.discord.world.servers[0].id}", status=503, times=2)
        assert "Discord does not say right now" in await refused(world, by="Bo")
        assert len(world.runflow.runs) == 1
        assert "Discord does not say right now" in await world.act("grant", amount="1", member=world.member())
        assert world.rows("SELECT * FROM act") == []


async def test_a_role_that_was_lost_does_not_help_to_agree_to_a_price(start: Start) -> None:
    """A question is answered by the member as they are when they answer."""
    async with start(QUOTA_CONFIRM_ABOVE_USD="0.50", QUOTA_USER_USD="0") as world:
        cem = world.member("Cem")
        await world.act("limit set", amount="9", role=cem.roles[0])
        question = await world.answer_to(await world.veo(FOX, member="Cem", **CHEAP))
        cem.roles.clear()
        await world.press(question, "Film it", member="Cem")
        await world.whispered("Cem", "This run costs $0.80")
        assert world.runflow.runs == {}


# Who owns the bot


OWNERS_ONLY = "That belongs to whoever runs this bot"
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
        ("something new", True, False),
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
        assert "Discord does not say right now who runs this bot" in await world.told("veo-admin bot pause", by="Cem")
        assert world.rows("SELECT * FROM act") == before


async def test_where_the_application_changes_hands_its_servers_do_too(start: Start) -> None:
    """Asked again every few minutes for `/veo`, and at once for what moves money by an admin's word."""
    quick = "import cogs.servers\ncogs.servers.ASK_AGAIN_S = 0.5"
    async with start(DISCORD_SERVERS="", before=quick) as world:
        await world.end_of(await world.veo(FOX, **CHEAP))
        world.discord.world.owner = world.member("Dana").user
        assert (await world.act("grant", amount="5", member=world.member())).startswith(OFF)
        assert (await world.act("grant", by="Dana", place="lobby", amount="5", member=world.member("Eli"))).startswith(
            "Granted"
        )
        async with asyncio.timeout(10):
            while True:
                if (await world.told("veo-quota", by="Bo")).startswith(OFF):
                    break
        assert (await refused(world, by="Bo")).startswith(OFF)
        await world.end_of(await world.veo(FOX, member="Eli", place="lobby", **CHEAP))
