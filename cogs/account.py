"""`/veo-quota`, `/veo-history`, `/veo-show`: what a member has left, what was made, and posting it again."""

from __future__ import annotations

import asyncio

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.models import VeoRequest
from bot.domain.records import Wanted
from bot.domain.remakes import Remake, remake
from bot.errors import Refusal
from bot.log import get_logger
from bot.services.admission import Admission
from bot.services.finder import Finder
from bot.views import View
from bot.views.account import quota
from cogs.acknowledge import Acknowledger
from cogs.answers import show
from cogs.context import Speaker, spender_of
from cogs.describe import description, options
from cogs.finding import Finding
from cogs.ids import name_of
from cogs.render import OPTION_CHARS_MAX, one_line
from cogs.servers import Servers

log = get_logger("veo.discord")

SUGGEST_WITHIN_S = 2.0  # Discord waits 3 s, and asks again with the next key


class Account(commands.Cog):
    """What concerns one member: each sees their own only."""

    def __init__(
        self,
        admission: Admission,
        finder: Finder,
        finding: Finding,
        servers: Servers,
        acknowledger: Acknowledger,
        speaker: Speaker,
    ) -> None:
        self._admission = admission
        self._finder = finder
        self._finding = finding
        self._servers = servers
        self._acknowledger = acknowledger
        self._speaker = speaker

    @app_commands.command(name="veo-quota", description=description("veo-quota"))
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def quota(self, interaction: discord.Interaction) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        try:
            await self._servers.check(interaction)
            view = await self._quota(interaction)
        except Refusal as refusal:
            view = View(lines=(refusal.text,))
        await show(interaction, view, self._speaker.reader(interaction))

    async def _quota(self, interaction: discord.Interaction) -> View:
        who = spender_of(interaction)
        standings = await self._admission.standings(who)
        opened = await self._finder.open_of(who.member, who.server)
        latest = await self._finder.latest(who.member)
        usual = (None if latest is None else remake(latest, Remake.RETRY)) or VeoRequest(prompt="")
        return quota(standings, who.server, opened, self._admission.prices.quote(usual), self._admission.is_open)

    @app_commands.command(name="veo-history", description=description("veo-history"))
    @options("veo-history", "videos", "member")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def history(
        self,
        interaction: discord.Interaction,
        videos: bool = False,
        member: discord.User | discord.Member | None = None,
    ) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        wanted = Wanted(member=name_of((member or interaction.user).id), videos=videos)
        try:
            await self._finding.show_history(interaction, wanted)
        except Refusal as refusal:
            await show(interaction, View(lines=(refusal.text,)), self._speaker.reader(interaction))

    @app_commands.command(name="veo-show", description=description("veo-show"))
    @options("veo-show", "run")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def show(self, interaction: discord.Interaction, run: app_commands.Range[str, 1, 100] | None = None) -> None:
        """Answered to the caller alone; only what succeeds is posted."""
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is not None:
            await self._finding.post(interaction, run or "")

    @show.autocomplete("run")
    async def suggest(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """The caller's own videos by words of their prompts; none where they cannot be had in time."""
        try:
            async with asyncio.timeout(SUGGEST_WITHIN_S):
                found = await self._finder.suggestions(name_of(interaction.user.id), typed)
        except Exception as error:  # noqa: BLE001 - what is typed can be sent all the same
            log.warning("no suggestions", error=type(error).__name__)
            return []
        return [app_commands.Choice(name=one_line(prompt, OPTION_CHARS_MAX), value=run_id) for run_id, prompt in found]
