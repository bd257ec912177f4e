"""`/veo-quota`, `/veo-history`, `/veo-show`: what a member has left, what was made, and posting it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.runs import Ending, Run
from bot.errors import ClipUnavailable, Refusal, Unreadable
from bot.facts import Moment, Quote, Text, text
from bot.media import format_of
from bot.services.admission import Admission
from bot.services.delivery import Deliverer
from bot.texts import Words
from bot.views import View
from bot.views.runs import PROMPT_CHARS, dotted, format_lines, history, link_lines, quota
from bot.views.runs import options as options_text
from cogs import render
from cogs.acknowledge import Acknowledger
from cogs.context import Speaker, check_permissions, spender_of
from cogs.describe import description, options
from cogs.front import DiscordFront, is_too_large
from cogs.ids import name_of
from cogs.servers import Servers

QUOTA_RUNS = 5
HISTORY_RUNS = 15
SEARCHED_RUNS = 100
SHOWS, SHOWS_PER_S = 2, 30.0  # so many videos may one member post again in that time


class Account(commands.Cog):
    """What concerns one member: each sees their own only."""

    def __init__(
        self,
        admission: Admission,
        deliverer: Deliverer,
        servers: Servers,
        front: DiscordFront,
        acknowledger: Acknowledger,
        speaker: Speaker,
    ) -> None:
        self._admission = admission
        self._deliverer = deliverer
        self._servers = servers
        self._front = front
        self._acknowledger = acknowledger
        self._speaker = speaker
        self._cooldown = commands.CooldownMapping[discord.Interaction].from_cooldown(
            SHOWS, SHOWS_PER_S, lambda interaction: interaction.user.id
        )

    @app_commands.command(name="veo-quota", description=description("veo-quota"))
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def quota(self, interaction: discord.Interaction) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        words, who = self._speaker.reader(interaction), spender_of(interaction)
        try:
            await self._servers.check(interaction)
            standings = await self._admission.standings(who)
            view = quota(standings, await self._admission.latest(who.member, QUOTA_RUNS), who.server)
        except Refusal as refusal:
            view = View(lines=(refusal.text,))
        shown = render.cut(render.content(view, words), render.MESSAGE_CHARS_MAX, words)[0]
        await interaction.edit_original_response(content=shown)

    @app_commands.command(name="veo-history", description=description("veo-history"))
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def history(self, interaction: discord.Interaction) -> None:
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        words = self._speaker.reader(interaction)
        try:
            await self._servers.check(interaction)
        except Refusal as refusal:
            await interaction.edit_original_response(content=words.say(refusal.text))
            return
        runs = await self._admission.latest(name_of(interaction.user.id), HISTORY_RUNS)
        await interaction.edit_original_response(embed=render.embed(history(runs), words))

    @app_commands.command(name="veo-show", description=description("veo-show"))
    @options("veo-show", "run")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def show(self, interaction: discord.Interaction, run: app_commands.Range[str, 1, 100] | None = None) -> None:
        """Answered to the caller alone; only what succeeds is posted."""
        if await self._acknowledger.acknowledge(interaction, ephemeral=True) is None:
            return
        words = self._speaker.reader(interaction)
        try:
            locale = await self._check_place(interaction)
            found = await self._wanted(name_of(interaction.user.id), run)
            self._cool_down(interaction)
            answer = text("show.posted")
            if not await self._admission.is_first(name_of(interaction.id), answer.key):
                return  # Discord told of it twice, and the first is on its way
            # What is sent first after the answer would be shown in its place, to the caller alone: so this is.
            await interaction.edit_original_response(content=words.say(text("show.soon")))
            await self._show(interaction, found, locale)
        except Refusal as refusal:
            answer = refusal.text
        except FileNotFoundError:
            answer = text("show.cleared")
        except Unreadable:
            answer = text("show.unreadable")
        except ClipUnavailable:
            answer = text("show.gone")
        await interaction.edit_original_response(content=words.say(answer))

    async def _check_place(self, interaction: discord.Interaction) -> str | None:
        """The locale of the place. Raises a Refusal where the caller could not ask for a video, or the bot not post."""
        locale = await self._servers.check(interaction)
        await self._admission.check_access(spender_of(interaction))
        check_permissions(interaction)
        return locale

    def _cool_down(self, interaction: discord.Interaction) -> None:
        """Count a use. Raises TooOften."""
        now = interaction.created_at.timestamp()
        if (wait_s := self._cooldown.update_rate_limit(interaction, now)) is not None:
            raise TooOften("show.too_often", count=SHOWS, until=Moment(now + wait_s))

    async def _wanted(self, member: str, run_id: str | None) -> Run:
        wanted = (run_id or "").strip(" `").removeprefix("veo-").removesuffix(".mp4")
        if wanted:
            run = await self._admission.run_of(member, wanted)
            if run is None or not (run.shows_video or run.ending == Ending.EMPTY):  # its clip may have come since
                raise NoSuchVideo("show.no_such")
            return run
        for run in await self._admission.latest(member, SEARCHED_RUNS):
            if run.shows_video:
                return run
        raise NoSuchVideo("show.none")

    async def _show(self, interaction: discord.Interaction, run: Run, locale: str | None) -> None:
        """Post the message that is still there, freshly signed; else the clip anew, as a file or as a link."""
        words = self._speaker.of(locale)  # everybody reads it
        head = words.say(dotted(Quote(run.request.prompt, PROMPT_CHARS), options_text(run.request)))
        if posted := await self._front.posted_clip(run):
            jump, address = posted
            await _post(interaction, f"{head} · [{words.say(text('show.first_posted'))}](<{jump}>)\n{address}")
            return
        async with self._deliverer.shown(run, interaction.filesize_limit) as path:
            if path is not None and await _attach(interaction, run, head, path, words):
                return
            lines = link_lines(await self._deliverer.link(run))
            shown = _joined(head, lines, words)
            if len(shown) > render.MESSAGE_CHARS_MAX:
                shown = _joined(head, [lines[0], text("link.too_long")], words)
            await _post(interaction, shown)


def _joined(head: str, lines: list[Text], words: Words) -> str:
    return "\n".join([head, *map(words.say, lines)])


async def _attach(interaction: discord.Interaction, run: Run, head: str, path: Path, words: Words) -> bool:
    """Whether Discord takes the clip as a file here."""
    video_format = await asyncio.to_thread(format_of, path)
    named = _joined(head, format_lines(video_format), words)
    with path.open("rb") as opened:
        try:
            await _post(interaction, named, discord.File(opened, filename=video_format.file_name(run.file_name)))
        except discord.HTTPException as error:
            if not is_too_large(error):
                raise
            return False
    return True


async def _post(interaction: discord.Interaction, content: str, file: discord.File = discord.utils.MISSING) -> None:
    """A message for everybody, in answer to the command."""
    await interaction.followup.send(content, file=file, allowed_mentions=discord.AllowedMentions.none())


class NoSuchVideo(Refusal):
    """The member has no such finished video."""


class TooOften(Refusal):
    """The member has posted as many as may be posted in a while."""
