"""`/veo-admin`: limits, extra budget, access, pauses, refunds, reports; answers are for the caller alone.

Discord shows the command to those who can manage the server, and to those whom the server's own command permissions
add. What is under `bot` concerns every server and is for the application's owner or team.
"""

from __future__ import annotations

from typing import Literal

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.acts import Verb
from bot.domain.languages import LANGUAGES
from bot.domain.limits import TOTAL, RuleKind, Spender, Standing, channel_scope, member_scope, role_scope, server_scope
from bot.domain.money import parse_amount
from bot.domain.periods import PeriodKind
from bot.domain.records import Admin
from bot.errors import BadRequest
from bot.facts import Code, Named, Quote, Url
from bot.services.administration import Administration
from bot.views import View
from bot.views import admins as views
from cogs.acknowledge import Acknowledger
from cogs.admin_replies import AdminReplies
from cogs.context import Speaker, invite_link, roles_of
from cogs.describe import AUTOMATIC, description, language_choices, options
from cogs.ids import name_of
from cogs.servers import Servers

REPORT_DAYS_MAX = 366

User = discord.User | discord.Member
Reason = app_commands.Range[str, 1, 300]
Amount = app_commands.Range[str, 1, 40]
Runs = app_commands.Range[int, 0, 10_000]


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
RequestChannel = app_commands.Transform[app_commands.AppCommandChannel, _Places(_Kind.text, _Kind.news)]


class Admins(commands.Cog):
    """The acts of a server's admins, and those of the bot's owner."""

    admin = app_commands.Group(
        name="veo-admin",
        description=description("veo-admin"),
        guild_only=True,
        default_permissions=discord.Permissions(manage_guild=True),
        allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
    )
    limit = app_commands.Group(name="limit", description=description("veo-admin.limit"), parent=admin)
    access = app_commands.Group(name="access", description=description("veo-admin.access"), parent=admin)
    bot_ = app_commands.Group(name="bot", description=description("veo-admin.bot"), parent=admin)

    def __init__(
        self, administration: Administration, servers: Servers, acknowledger: Acknowledger, speaker: Speaker
    ) -> None:
        self._administration = administration
        self._servers = servers
        self._replies = AdminReplies(administration, servers, acknowledger, speaker)

    # Limits

    @limit.command(name="set", description=description("veo-admin.limit.set"))
    @options("veo-admin.limit.set", "amount", "per", "runs", "member", "role", "channel", "pool")
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
        async def do(admin: Admin) -> View:
            subject, kind = subject_of(interaction, member, role, channel), kind_of(role, pool=pool)
            rule = await self._administration.set_limit(admin, subject, kind, amount=amount, period=per, in_flight=runs)
            return views.limit_set(rule, await self._standings(interaction, admin, subject, kind, member))

        await self._replies.act(interaction, do)

    @limit.command(name="show", description=description("veo-admin.limit.show"))
    @options("veo-admin.limit.show", "member", "role", "channel")
    async def show_limit(
        self,
        interaction: discord.Interaction,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
    ) -> None:
        async def do(admin: Admin) -> View:
            subject = subject_of(interaction, member, role, channel)
            standings = await self._administration.standing(admin, subject, spender_for(interaction, member))
            everything = not (member or role or channel)
            rules = [rule for rule in await self._administration.rules(admin.server) if rule.server == admin.server]
            shown = sorted(
                (rule for rule in rules if everything or rule.subject == subject),
                key=lambda rule: (rule.subject, rule.kind),
            )
            return views.limits(subject, shown, standings, admin.server)

        await self._replies.answer(interaction, do)

    @limit.command(name="lift", description=description("veo-admin.limit.lift"))
    @options("veo-admin.limit.lift", "member", "role", "channel", "pool")
    async def lift_limit(
        self,
        interaction: discord.Interaction,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        pool: bool = False,
    ) -> None:
        async def do(admin: Admin) -> View:
            subject, kind = subject_of(interaction, member, role, channel), kind_of(role, pool=pool)
            verb = Verb.LIFT_LIMIT if kind == RuleKind.LIMIT else Verb.LIFT_MEMBER_LIMIT
            rules = await self._administration.change(admin, verb, subject)
            left = [rule for rule in rules if rule.subject == subject and rule.kind in (RuleKind.LIMIT, RuleKind.EACH)]
            standings = await self._standings(interaction, admin, subject, kind, member)
            return views.limit_removed(subject, kind, left, [] if role else standings, admin.server)

        await self._replies.act(interaction, do)

    @admin.command(name="grant", description=description("veo-admin.grant"))
    @options("veo-admin.grant", "amount", "member", "role", "channel", reason="veo-admin.reason")
    async def grant(
        self,
        interaction: discord.Interaction,
        amount: Amount,
        member: User | None = None,
        role: discord.Role | None = None,
        channel: Place | None = None,
        reason: Reason = "",
    ) -> None:
        async def do(admin: Admin) -> View:
            subject = subject_of(interaction, member, role, channel)
            spender = spender_for(interaction, member)
            standing = await self._administration.grant(admin, subject, spender, amount, reason)
            return views.granted(subject, parse_amount(amount), standing, admin.server)

        await self._replies.act(interaction, do)

    # Access

    @access.command(name="block", description=description("veo-admin.access.block"))
    @options("veo-admin.access.block", "member", reason="veo-admin.reason")
    async def block(self, interaction: discord.Interaction, member: User, reason: Reason = "") -> None:
        await self._replies.change(interaction, Verb.BLOCK, lambda: member_scope(name_of(member.id)), reason)

    @access.command(name="unblock", description=description("veo-admin.access.unblock"))
    @options("veo-admin.access.unblock", "member")
    async def unblock(self, interaction: discord.Interaction, member: User) -> None:
        await self._replies.change(interaction, Verb.UNBLOCK, lambda: member_scope(name_of(member.id)))

    @access.command(name="allow", description=description("veo-admin.access.allow"))
    @options("veo-admin.access.allow", "role", "channel")
    async def allow(
        self, interaction: discord.Interaction, role: discord.Role | None = None, channel: Place | None = None
    ) -> None:
        await self._replies.change(
            interaction, Verb.ALLOW, lambda: subject_of(interaction, None, role, channel, need=True)
        )

    @access.command(name="disallow", description=description("veo-admin.access.disallow"))
    @options("veo-admin.access.disallow", "role", "channel")
    async def disallow(
        self, interaction: discord.Interaction, role: discord.Role | None = None, channel: Place | None = None
    ) -> None:
        await self._replies.change(
            interaction, Verb.DISALLOW, lambda: subject_of(interaction, None, role, channel, need=True)
        )

    @admin.command(name="pause", description=description("veo-admin.pause"))
    @options("veo-admin.pause", reason="veo-admin.reason")
    async def pause(self, interaction: discord.Interaction, reason: Reason = "") -> None:
        await self._replies.change(interaction, Verb.PAUSE, lambda: subject_of(interaction, None, None, None), reason)

    @admin.command(name="resume", description=description("veo-admin.resume"))
    async def resume(self, interaction: discord.Interaction) -> None:
        await self._replies.change(interaction, Verb.RESUME, lambda: subject_of(interaction, None, None, None))

    @admin.command(name="requests", description=description("veo-admin.requests"))
    @options("veo-admin.requests", "channel")
    async def requests(self, interaction: discord.Interaction, channel: RequestChannel | None = None) -> None:
        async def do(admin: Admin) -> View:
            scope = None
            if channel is not None:
                _check_writable(channel)
                scope = channel_scope(name_of(channel.id))
            await self._administration.set_request_channel(admin, scope)
            return views.requests_go_to(scope)

        await self._replies.act(interaction, do)

    @admin.command(name="language", description=description("veo-admin.language"))
    @options("veo-admin.language", "language")
    @app_commands.choices(language=language_choices())
    async def language(self, interaction: discord.Interaction, language: str) -> None:
        async def do(admin: Admin) -> View:
            if language != AUTOMATIC and language not in LANGUAGES:
                raise BadRequest("fault.reload")
            chosen = None if language == AUTOMATIC else language
            await self._administration.set_language(admin, chosen)
            return views.language_chosen(chosen)

        await self._replies.act(interaction, do)

    # Runs

    @admin.command(name="refund", description=description("veo-admin.refund"))
    @options("veo-admin.refund", "run", reason="veo-admin.reason")
    async def refund(
        self, interaction: discord.Interaction, run: app_commands.Range[str, 1, 100], reason: Reason
    ) -> None:
        async def do(admin: Admin) -> View:
            wanted = run.strip(" `").removeprefix("veo-").removesuffix(".mp4")
            done = await self._administration.refund(admin, wanted, reason)
            (own, *_) = await self._administration.standing(admin, member_scope(done.member), Spender.of(done))
            return views.refunded(done, own)

        await self._replies.act(interaction, do)

    @admin.command(name="report", description=description("veo-admin.report"))
    @options("veo-admin.report", "days")
    async def report(
        self, interaction: discord.Interaction, days: app_commands.Range[int, 1, REPORT_DAYS_MAX] = 30
    ) -> None:
        await self._replies.report(interaction, days, everywhere=False)

    @admin.command(name="log", description=description("veo-admin.log"))
    async def log(self, interaction: discord.Interaction) -> None:
        await self._replies.log(interaction, everywhere=False)

    # The whole bot

    @bot_.command(name="limit", description=description("veo-admin.bot.limit"))
    @options("veo-admin.bot.limit", "amount", "runs", per="veo-admin.limit.set.per")
    async def total(
        self,
        interaction: discord.Interaction,
        amount: Amount | None = None,
        per: PeriodKind | None = None,
        runs: Runs | None = None,
    ) -> None:
        async def do(admin: Admin) -> View:
            rule = await self._administration.set_limit(
                admin, TOTAL, RuleKind.LIMIT, amount=amount, period=per, in_flight=runs
            )
            return views.total_set(rule, self._administration.total_ceiling)

        await self._replies.act(interaction, do, everywhere=True)

    @bot_.command(name="lift", description=description("veo-admin.bot.lift"))
    async def lift_total(self, interaction: discord.Interaction) -> None:
        async def do(admin: Admin) -> View:
            await self._administration.change(admin, Verb.LIFT_LIMIT)
            return views.total_removed(self._administration.total_ceiling)

        await self._replies.act(interaction, do, everywhere=True)

    @bot_.command(name="pause", description=description("veo-admin.bot.pause"))
    @options("veo-admin.bot.pause", reason="veo-admin.reason")
    async def pause_all(self, interaction: discord.Interaction, reason: Reason = "") -> None:
        await self._replies.change(interaction, Verb.PAUSE, lambda: TOTAL, reason, everywhere=True)

    @bot_.command(name="resume", description=description("veo-admin.bot.resume"))
    async def resume_all(self, interaction: discord.Interaction) -> None:
        await self._replies.change(interaction, Verb.RESUME, lambda: TOTAL, everywhere=True)

    @bot_.command(name="server", description=description("veo-admin.bot.server"))
    @options("veo-admin.bot.server", "on", "server")
    async def switch(
        self, interaction: discord.Interaction, on: bool, server: app_commands.Range[str, 15, 20] | None = None
    ) -> None:
        async def do(admin: Admin) -> View:
            number = server or str(interaction.guild_id)
            if not (number.isascii() and number.isdecimal()):
                raise BadRequest("switch.no_id", id=Quote(number, 20), example=Code(str(interaction.guild_id)))
            name = await self._servers.name_of(int(number))
            if on and name is None:
                invite = Url(f"<{invite_link(interaction.application_id)}>")
                raise BadRequest("switch.not_in_it", id=Code(number), url=invite)
            by_setting = await self._servers.is_on_by_setting(int(number))
            server_id = name_of(int(number))
            await self._administration.switch(admin, server_id, name or "", on=on, by_setting=by_setting)
            return views.switched(views.server_name(server_id, name or ""), on=on, by_setting=by_setting)

        await self._replies.act(interaction, do, everywhere=True)

    @bot_.command(name="report", description=description("veo-admin.bot.report"))
    @options("veo-admin.bot.report", days="veo-admin.report.days")
    async def report_all(
        self, interaction: discord.Interaction, days: app_commands.Range[int, 1, REPORT_DAYS_MAX] = 30
    ) -> None:
        await self._replies.report(interaction, days, everywhere=True)

    @bot_.command(name="log", description=description("veo-admin.bot.log"))
    async def log_all(self, interaction: discord.Interaction) -> None:
        await self._replies.log(interaction, everywhere=True)

    async def _standings(
        self, interaction: discord.Interaction, admin: Admin, subject: str, kind: RuleKind, member: User | None
    ) -> list[Standing]:
        """Where what an act was about stands now; nothing of each member of a role, nor of who is not in the server."""
        if kind == RuleKind.EACH or (member is not None and not isinstance(member, discord.Member)):
            return []
        return await self._administration.standing(admin, subject, spender_for(interaction, member))


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
        *([member_scope(name_of(member.id))] if member else []),
        *([role_scope(name_of(role.id))] if role else []),
        *([channel_scope(name_of(channel.id))] if channel else []),
    ]
    if len(named) > 1:
        raise BadRequest("limit.one_subject")
    if need and not named:
        raise BadRequest("access.subject_needed")
    return named[0] if named else server_scope(name_of(interaction.guild_id))


def kind_of(role: discord.Role | None, *, pool: bool) -> Literal[RuleKind.LIMIT, RuleKind.EACH]:
    """A role's limit is each member's, unless its pool is meant. Raises BadRequest for a pool without a role."""
    if pool and role is None:
        raise BadRequest("limit.pool_needs_role")
    return RuleKind.EACH if role is not None and not pool else RuleKind.LIMIT


def spender_for(interaction: discord.Interaction, member: User | None) -> Spender | None:
    """A member as a spender in this server, with the roles that decide about the limit.

    Raises BadRequest for somebody who is not in it: Discord lets anybody be named, and their figures are not ours.
    """
    if member is None:
        return None
    if not isinstance(member, discord.Member):
        raise BadRequest("member.not_here", member=Named(member_scope(name_of(member.id))))
    return Spender(
        member=name_of(member.id),
        server=name_of(interaction.guild_id),
        channel="",
        roles=roles_of(interaction, member),
    )


def _check_writable(channel: app_commands.AppCommandChannel) -> None:
    """Raise BadRequest where the bot could not put a request, as far as the gateway has told of the channel."""
    found = channel.resolve()
    if found is None:
        return
    granted = found.permissions_for(found.guild.me)
    if not (granted.view_channel and granted.send_messages):
        raise BadRequest("requests.cannot_write", channel=Named(channel_scope(name_of(channel.id))))
