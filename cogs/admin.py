"""`/veo-admin`: limits, extras, who may ask, pauses, refunds, reports; answers are for the caller alone.

Discord shows the command to who may manage the server, and to whom a server's own command permissions add. What is
under `bot` concerns every server and asks for the application's owner or team besides.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from tempfile import TemporaryFile
from typing import Any, Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.limits import TOTAL, RuleKind, Spender, Standing, channel_scope, member_scope, role_scope, server_scope
from bot.domain.money import PeriodKind, usd
from bot.domain.records import Admin
from bot.domain.report import Report
from bot.errors import BadRequest, Refusal
from bot.services.administration import Administration
from cogs import answers, chart, words
from cogs.embeds import new_embed
from cogs.servers import Servers
from cogs.veo import acknowledge, invite_link, roles_of

ACTS_SHOWN = 20
REST_CHARS_MAX = 200  # what is said of the acts that are not shown
CHART, TABLE = "spend.png", "veo-report.csv"
REPORT_DAYS_MAX = 366

User = discord.User | discord.Member
Reason = app_commands.Range[str, 1, 300]
Amount = app_commands.Range[str, 1, 40]
Runs = app_commands.Range[int, 0, 10_000]
Do = Callable[[Admin], Awaitable[str]]


class _Places(app_commands.Transformer):
    """A channel as the interaction shows it, whether the gateway has told of it or not; threads count to theirs."""

    def __init__(self, *kinds: discord.ChannelType) -> None:
        self._kinds = list(kinds)

    @property
    def type(self) -> discord.AppCommandOptionType:
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        return self._kinds

    async def transform(
        self, interaction: discord.Interaction, value: app_commands.AppCommandChannel, /
    ) -> app_commands.AppCommandChannel:
        return value


_Kind = discord.ChannelType
Place = app_commands.Transform[  # in which members can be
    app_commands.AppCommandChannel,
    _Places(_Kind.text, _Kind.news, _Kind.voice, _Kind.stage_voice, _Kind.forum),
]
Desk = app_commands.Transform[app_commands.AppCommandChannel, _Places(_Kind.text, _Kind.news)]


class Admins(commands.Cog):
    """The acts of a server's admins, and those of whoever runs the bot."""

    admin = app_commands.Group(
        name="veo-admin",
        description="Limits, extras, access, refunds and reports of this server",
        guild_only=True,
        default_permissions=discord.Permissions(manage_guild=True),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )
    limit = app_commands.Group(name="limit", description="What may be spent", parent=admin)
    access = app_commands.Group(name="access", description="Who may use /veo, and where", parent=admin)
    bot_ = app_commands.Group(name="bot", description="The whole bot: for whoever runs it", parent=admin)

    def __init__(self, administration: Administration, servers: Servers) -> None:
        self._administration = administration
        self._servers = servers

    # Limits

    @limit.command(name="set", description="Limit dollars or runs at a time of this server, or of whom you name")
    @app_commands.describe(
        amount="Dollars, such as 25 or 12.50; 0: nobody may; none: no limit",
        per="The calendar period of the amount (default: as before, or the operator's)",
        runs="Runs at a time; more are refused",
        member="One member's own limit",
        role="What each member with this role may spend",
        channel="What may be spent in this channel",
        pool="With a role: what all who have it may spend together",
    )
    async def set_limit(
        self,
        interaction: discord.Interaction,
        amount: Amount | None = None,
        per: PeriodKind | None = None,
        runs: Runs | None = None,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        pool: bool = False,
    ) -> None:
        async def do(admin: Admin) -> str:
            subject, kind = subject_of(interaction, member, role, channel), kind_of(role, pool=pool)
            rule = await self._administration.set_limit(admin, subject, kind, amount=amount, period=per, in_flight=runs)
            standings = await self._standings(interaction, admin, subject, kind, member)
            return "\n".join([f"From now on {words.rule_line(rule)}.", *words.more_lines(standings)])

        await self._act(interaction, do)

    @limit.command(name="show", description="Every rule of this server, or where one level stands")
    @app_commands.describe(member="A member's level", role="The pool of a role", channel="A channel's level")
    async def show_limit(
        self,
        interaction: discord.Interaction,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
    ) -> None:
        async def do(admin: Admin) -> str:
            subject = subject_of(interaction, member, role, channel)
            standings = await self._administration.standing(admin, subject, spender_for(interaction, member))
            lines = [f"**{_who(subject)}**: {words.standing_line(each)}." for each in standings]
            everything = not (member or role or channel)
            rules = [rule for rule in await self._administration.rules(admin.server) if rule.server == admin.server]
            lines += sorted(words.rule_line(rule) for rule in rules if everything or rule.subject == subject)
            return "\n".join(lines)

        await self._answer(interaction, do)

    @limit.command(name="lift", description="Take a limit away: of this server, or of whom you name")
    @app_commands.describe(
        member="A member's own limit",
        role="What each member with this role may spend",
        channel="A channel's limit",
        pool="With a role: its pool",
    )
    async def lift_limit(
        self,
        interaction: discord.Interaction,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        pool: bool = False,
    ) -> None:
        async def do(admin: Admin) -> str:
            subject, kind = subject_of(interaction, member, role, channel), kind_of(role, pool=pool)
            rules = await self._administration.lift_limit(admin, subject, kind)
            left = [rule for rule in rules if rule.subject == subject and rule.kind in (RuleKind.LIMIT, RuleKind.EACH)]
            standings = await self._standings(interaction, admin, subject, kind, member)
            return "\n".join(["Lifted. What applies now:", *words.applying(subject, left, standings)])

        await self._act(interaction, do)

    @admin.command(name="grant", description="Allow so much more in the present period")
    @app_commands.describe(
        amount="Dollars, such as 5 or 2.50",
        member="To one member",
        role="To the pool of a role",
        channel="To a channel",
        reason="Why; it is kept in the log",
    )
    async def grant(
        self,
        interaction: discord.Interaction,
        amount: Amount,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        reason: Reason = "",
    ) -> None:
        async def do(admin: Admin) -> str:
            subject = subject_of(interaction, member, role, channel)
            spender = spender_for(interaction, member)
            standing = await self._administration.grant(admin, subject, spender, amount, reason)
            return f"Granted. **{_who(subject)}**: {words.standing_line(standing)}."

        await self._act(interaction, do)

    # Access

    @access.command(name="block", description="Let a member ask for nothing more in this server")
    @app_commands.describe(member="Who can't use /veo here any more", reason="Why; it is kept in the log")
    async def block(self, interaction: discord.Interaction, member: User, reason: Reason = "") -> None:
        async def do(admin: Admin) -> str:
            await self._administration.block(admin, member_scope(f"discord:{member.id}"), reason)
            return f"{member.mention} may not use `/veo` here any more. What runs is still delivered."

        await self._act(interaction, do)

    @access.command(name="unblock", description="Let a blocked member ask again")
    @app_commands.describe(member="Who can use /veo here again")
    async def unblock(self, interaction: discord.Interaction, member: User) -> None:
        async def do(admin: Admin) -> str:
            await self._administration.unblock(admin, member_scope(f"discord:{member.id}"))
            return f"{member.mention} may use `/veo` again."

        await self._act(interaction, do)

    @access.command(
        name="allow", description="Name a role or channel that may use /veo; others of its sort may not then"
    )
    @app_commands.describe(
        role="A role whose members can use /veo; members without an allowed role can't",
        channel="A channel where /veo works; it stops working in channels that aren't allowed",
    )
    async def allow(
        self, interaction: discord.Interaction, role: discord.Role | None = None, channel: Place | None = None
    ) -> None:
        async def do(admin: Admin) -> str:
            subject = subject_of(interaction, None, role, channel, need=True)
            await self._administration.allow(admin, subject)
            sort = "roles" if role else "channels"
            return f"{words.mention(subject)} may use `/veo`; {sort} that are not allowed too may not."

        await self._act(interaction, do)

    @access.command(name="disallow", description="Take a role or channel from those that may use /veo")
    @app_commands.describe(
        role="A role to take off the list; with no role left on it, every role can use /veo",
        channel="A channel to take off the list; with no channel left on it, /veo works in all of them",
    )
    async def disallow(
        self, interaction: discord.Interaction, role: discord.Role | None = None, channel: Place | None = None
    ) -> None:
        async def do(admin: Admin) -> str:
            subject = subject_of(interaction, None, role, channel, need=True)
            rules = await self._administration.disallow(admin, subject)
            return f"{words.mention(subject)} is not on the list any more. {words.allowed(subject, rules)}"

        await self._act(interaction, do)

    @admin.command(name="pause", description="Admit nothing more in this server, at once")
    @app_commands.describe(reason="Why; it is kept in the log")
    async def pause(self, interaction: discord.Interaction, reason: Reason = "") -> None:
        async def do(admin: Admin) -> str:
            await self._administration.pause(admin, reason)
            return "Paused: nothing more is admitted in this server. What runs is still delivered."

        await self._act(interaction, do)

    @admin.command(name="resume", description="Admit videos in this server again")
    async def resume(self, interaction: discord.Interaction) -> None:
        async def do(admin: Admin) -> str:
            await self._administration.resume(admin)
            return "Resumed: `/veo` works in this server again."

        await self._act(interaction, do)

    @admin.command(name="requests", description="Where members over their limit may ask; without a channel, nowhere")
    @app_commands.describe(channel="Where admins see the requests; leave it out to take none")
    async def requests(self, interaction: discord.Interaction, channel: Desk | None = None) -> None:
        async def do(admin: Admin) -> str:
            if channel is not None:
                _check_desk(channel)
            await self._administration.set_desk(admin, channel_scope(f"discord:{channel.id}") if channel else None)
            return f"Requests go to {channel.mention}." if channel else "Members cannot ask for more any longer."

        await self._act(interaction, do)

    # Runs

    @admin.command(name="refund", description="Refund a video's cost to its member, or release one that is stuck")
    @app_commands.describe(run="The run's id, as under its message", reason="Why; it is kept in the log")
    async def refund(
        self, interaction: discord.Interaction, run: app_commands.Range[str, 1, 100], reason: Reason
    ) -> None:
        async def do(admin: Admin) -> str:
            wanted = run.strip(" `").removeprefix("veo-").removesuffix(".mp4")
            done = await self._administration.refund(admin, wanted, reason)
            member = words.mention(f"member:{done.member}")
            if done.failure_code == "RELEASED" and not done.refunded_u:
                later = (
                    "Should Runflow have taken the order after all, its bill is not booked and its video not posted."
                    if done.provider_id is None
                    else "Should Runflow bill it within a day after all, that is booked; its video is not posted."
                )
                return f"Released: the {usd(done.price_u)} held for {member} are free again. {later}"
            spender = Spender.of(done)
            (own, *_) = await self._administration.standing(admin, member_scope(done.member), spender)
            nobody = (
                f" Their limit is {usd(0)}, so nothing may be spent until that is raised." if own.limit_u == 0 else ""
            )
            return (
                f"{member} may spend {usd(done.refunded_u)} more in this period, for what is asked for in this server."
                f"{nobody} Runflow's bill stays: the levels above the member go on counting it."
            )

        await self._act(interaction, do)

    @admin.command(name="report", description="Spend by member, role, channel and day, as a message and as CSV")
    @app_commands.describe(days="How many days, today included (default 30)")
    async def report(
        self, interaction: discord.Interaction, days: app_commands.Range[int, 1, REPORT_DAYS_MAX] = 30
    ) -> None:
        await self._report(interaction, days, everywhere=False)

    @admin.command(name="log", description="What admins did here, newest first")
    async def log(self, interaction: discord.Interaction) -> None:
        await self._log(interaction, everywhere=False)

    # The whole bot

    @bot_.command(name="limit", description="Limit what the whole bot may spend, below the operator's ceiling")
    @app_commands.describe(
        amount="Dollars, such as 25 or 12.50; 0: nobody may; none: no limit but the operator's ceiling",
        per="The calendar period of the amount (default: as before, or the operator's)",
        runs="Videos in the works at a time, over all servers; more are refused",
    )
    async def total(
        self,
        interaction: discord.Interaction,
        amount: Amount | None = None,
        per: PeriodKind | None = None,
        runs: Runs | None = None,
    ) -> None:
        async def do(admin: Admin) -> str:
            rule = await self._administration.set_limit(
                admin, TOTAL, RuleKind.LIMIT, amount=amount, period=per, in_flight=runs
            )
            return f"From now on {words.rule_line(rule)}."

        await self._act(interaction, do, everywhere=True)

    @bot_.command(name="lift", description="Take the whole bot's limit away; the operator's ceiling stays")
    async def lift_total(self, interaction: discord.Interaction) -> None:
        async def do(admin: Admin) -> str:
            await self._administration.lift_limit(admin, TOTAL, RuleKind.LIMIT)
            return "Lifted. The whole bot has no limit but the operator's ceiling."

        await self._act(interaction, do, everywhere=True)

    @bot_.command(name="pause", description="Admit nothing more in any server, at once")
    @app_commands.describe(reason="Why; it is kept in the log")
    async def pause_all(self, interaction: discord.Interaction, reason: Reason = "") -> None:
        async def do(admin: Admin) -> str:
            await self._administration.pause(admin, reason)
            return "Paused: nothing more is admitted in any server. What runs is still delivered."

        await self._act(interaction, do, everywhere=True)

    @bot_.command(name="resume", description="Admit videos in every server again")
    async def resume_all(self, interaction: discord.Interaction) -> None:
        async def do(admin: Admin) -> str:
            await self._administration.resume(admin)
            return "Resumed in every server that is not paused by its own admins."

        await self._act(interaction, do, everywhere=True)

    @bot_.command(name="server", description="Switch /veo on or off in a server: this one, or one by its id")
    @app_commands.describe(
        on="True: /veo works there; False: it doesn't, also in a server that the settings name",
        server="The server's id (default: this server)",
    )
    async def switch(
        self, interaction: discord.Interaction, on: bool, server: app_commands.Range[str, 15, 20] | None = None
    ) -> None:
        async def do(admin: Admin) -> str:
            number = server or str(interaction.guild_id)
            if not (number.isascii() and number.isdecimal()):
                raise BadRequest(
                    f"{words.quoted(number, 20)} is no server id; it is a number, such as {interaction.guild_id}."
                )
            name = await self._servers.name_of(int(number))
            if on and name is None:
                raise BadRequest(
                    f"The bot is not in the server {number}. Invite it first, then switch it on: "
                    f"<{invite_link(interaction.application_id)}>. Nothing was changed."
                )
            by_setting = await self._servers.is_on_by_setting(int(number))
            server_id = f"discord:{number}"
            await self._administration.switch(admin, server_id, name or "", on=on, by_setting=by_setting)
            where = words.server_name(server_id, name or "")
            if on:
                return f"`/veo` works in {where} now."
            stays = " It stays off until you switch it on again, whatever DISCORD_SERVERS says." if by_setting else ""
            return f"`/veo` is off in {where} now.{stays} Videos in the works still arrive."

        await self._act(interaction, do, everywhere=True)

    @bot_.command(name="report", description="Spend in all servers, as a message and as CSV")
    @app_commands.describe(days="How many days, today included (default 30)")
    async def report_all(
        self, interaction: discord.Interaction, days: app_commands.Range[int, 1, REPORT_DAYS_MAX] = 30
    ) -> None:
        await self._report(interaction, days, everywhere=True)

    @bot_.command(name="log", description="What was done to the whole bot, newest first")
    async def log_all(self, interaction: discord.Interaction) -> None:
        await self._log(interaction, everywhere=True)

    # How all of them answer

    async def _act(self, interaction: discord.Interaction, do: Do, *, everywhere: bool = False) -> None:
        """Answer at once, act once, and say what came of it, to the caller alone."""
        await self._answer(
            interaction, lambda admin: self._administration.once(admin, lambda: do(admin)), everywhere=everywhere
        )

    async def _answer(self, interaction: discord.Interaction, do: Do, *, everywhere: bool = False) -> None:
        """Answer at once, then say what is to be said, to the caller alone."""
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        try:
            sentence = await do(await self._servers.admin(interaction, everywhere=everywhere))
        except Refusal as refusal:
            sentence = str(refusal)
        await answers.say(interaction, sentence)

    async def _log(self, interaction: discord.Interaction, *, everywhere: bool) -> None:
        """The latest acts in words, and all of them in a file where there are more."""
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        with TemporaryFile() as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as table:  # a mark for spreadsheets
            try:
                admin = await self._servers.admin(interaction, everywhere=everywhere)
                acts = await self._administration.acts(admin, ACTS_SHOWN)
                lines = [words.act_line(act, admin.server) for act in acts]
                shown = words.fitting(lines, words.MESSAGE_CHARS_MAX - REST_CHARS_MAX)
                found = kept = len(acts)
                if found == ACTS_SHOWN or shown < found:
                    names = await _names(interaction, everywhere=everywhere)
                    limit = interaction.filesize_limit
                    found, kept = await self._administration.write_acts(admin, table, names, bytes_max=limit)
            except Refusal as refusal:
                await interaction.edit_original_response(content=str(refusal))
                return
            table.flush()

            def message(left_out: Sequence[answers.Attachment]) -> dict[str, Any]:
                rest = words.rest_of_acts(found - shown, found - (0 if left_out else kept))
                return {"content": "\n".join([*lines[:shown], *rest]) or "Nothing was done here yet."}

            files = [answers.attachment("veo-log.csv", raw)] if found > shown else []
            await answers.send(interaction, files, message)

    async def _standings(
        self, interaction: discord.Interaction, admin: Admin, subject: str, kind: RuleKind, member: User | None
    ) -> list[Standing]:
        """Where what an act was about stands now; nothing of each member of a role, nor of who is not in the server."""
        if kind == RuleKind.EACH or (member is not None and not isinstance(member, discord.Member)):
            return []
        return await self._administration.standing(admin, subject, spender_for(interaction, member))

    async def _report(self, interaction: discord.Interaction, days: int, *, everywhere: bool) -> None:
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        with TemporaryFile() as raw, io.TextIOWrapper(raw, "utf-8-sig", newline="") as table:  # a mark for spreadsheets
            try:
                admin = await self._servers.admin(interaction, everywhere=everywhere)
                names = await _names(interaction, everywhere=everywhere)
                report = await self._administration.report(admin, days, table, names)
            except Refusal as refusal:
                await interaction.edit_original_response(content=str(refusal))
                return
            table.flush()
            picture = io.BytesIO(await asyncio.to_thread(chart.spend_chart, report.days))
            files = [answers.attachment(CHART, picture), answers.attachment(TABLE, raw)]
            await answers.send(interaction, files, lambda left_out: {"embed": _report_embed(report, left_out)})


def _report_embed(report: Report, left_out: Sequence[answers.Attachment]) -> discord.Embed:
    fields = [(name, value, True) for name, value in words.report_fields(report)]
    missing = {each.name for each in left_out}
    if missing:
        fields.append(("Not attached", words.left_out(chart=CHART in missing, table=TABLE in missing), False))
    embed = new_embed(
        title="Spend",
        description=f"{words.when(report.since, 'd')} to {words.when(report.until, 'd')}",
        fields=fields,
        colour=discord.Colour.blurple(),
    )
    return embed if CHART in missing else embed.set_image(url=f"attachment://{CHART}")


async def _names(interaction: discord.Interaction, *, everywhere: bool) -> Callable[[str], str]:
    """What people call a role or channel, by its opaque name; that name again where nobody knows."""
    names = await answers.names_in(interaction.client, None if everywhere else interaction.guild_id)
    return lambda name: names.get(name, name)


def subject_of(
    interaction: discord.Interaction,
    member: User | None,
    role: discord.Role | None,
    channel: Place | None,
    *,
    need: bool = False,
) -> str:
    """The one that is named, else the server. Raises BadRequest where several are, or none that is needed."""
    named = [
        *([member_scope(f"discord:{member.id}")] if member else []),
        *([role_scope(f"discord:{role.id}")] if role else []),
        *([channel_scope(f"discord:{channel.id}")] if channel else []),
    ]
    if len(named) > 1:
        raise BadRequest("Name only one of member, role and channel; nothing was changed.")
    if need and not named:
        raise BadRequest("Name a role or a channel; nothing was changed.")
    return named[0] if named else server_scope(f"discord:{interaction.guild_id}")


def kind_of(role: discord.Role | None, *, pool: bool) -> Literal[RuleKind.LIMIT, RuleKind.EACH]:
    """A role's limit is each member's, unless its pool is meant. Raises BadRequest for a pool without a role."""
    if pool and role is None:
        raise BadRequest("Only a role has a pool; name the role, or leave pool out. Nothing was changed.")
    return RuleKind.EACH if role is not None and not pool else RuleKind.LIMIT


def spender_for(interaction: discord.Interaction, member: User | None) -> Spender | None:
    """A member as a spender in this server, with the roles that decide about the limit.

    Raises BadRequest for somebody who is not in it: Discord lets anybody be named, and their figures are not ours.
    """
    if member is None:
        return None
    if not isinstance(member, discord.Member):
        raise BadRequest(f"{member.mention} is not a member of this server; nothing was changed.")
    return Spender(
        member=f"discord:{member.id}",
        server=f"discord:{interaction.guild_id}",
        channel="",
        roles=roles_of(interaction, member),
    )


def _who(subject: str) -> str:
    return "this server" if subject.startswith("server:") else words.mention(subject)


def _check_desk(channel: app_commands.AppCommandChannel) -> None:
    """Raise BadRequest where the bot could not put a request, as far as the gateway has told of the channel."""
    found = channel.resolve()
    if found is None:
        return
    granted = found.permissions_for(found.guild.me)
    if not (granted.view_channel and granted.send_messages):
        raise BadRequest(f"The bot may not write in {channel.mention}; allow that first, or name another channel.")
