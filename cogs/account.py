"""`/veo-quota`, `/veo-history`, `/veo-show`: where a member stands, what was made, and posting it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.runs import Ending, Run
from bot.errors import ClipUnavailable, Refusal, Unreadable
from bot.media import format_of
from bot.services.admission import Admission
from bot.services.delivery import Deliverer
from cogs import words
from cogs.front import DiscordFront, is_too_large
from cogs.servers import Servers
from cogs.veo import acknowledge, check_permissions, spender_of

QUOTA_RUNS = 5
HISTORY_RUNS = 15
SEARCHED_RUNS = 100
SHOWS, SHOWS_PER_S = 2, 30.0  # so many videos may one member post again in that time
EMBED_CHARS_MAX = 4096  # Discord docs, Message, Embed Limits


class Account(commands.Cog):
    """What concerns one member: each sees their own only."""

    def __init__(self, admission: Admission, deliverer: Deliverer, servers: Servers, front: DiscordFront) -> None:
        self._admission = admission
        self._deliverer = deliverer
        self._servers = servers
        self._front = front
        self._cooldown = commands.CooldownMapping[discord.Interaction].from_cooldown(
            SHOWS, SHOWS_PER_S, lambda interaction: interaction.user.id
        )

    @app_commands.command(name="veo-quota", description="What you have used, what is held, what is left, and the reset")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def quota(self, interaction: discord.Interaction) -> None:
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        who = spender_of(interaction)
        try:
            await self._servers.check(interaction)
            standings = await self._admission.standings(who)
            shown = words.quota(standings, await self._admission.latest(who.member, QUOTA_RUNS))
        except Refusal as refusal:
            shown = str(refusal)
        await interaction.edit_original_response(content=words.cut(shown, words.MESSAGE_CHARS_MAX)[0])

    @app_commands.command(name="veo-history", description="Your latest videos and what each cost")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def history(self, interaction: discord.Interaction) -> None:
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        try:
            await self._servers.check(interaction)
        except Refusal as refusal:
            await interaction.edit_original_response(content=str(refusal))
            return
        runs = await self._admission.latest(f"discord:{interaction.user.id}", HISTORY_RUNS)
        embed = discord.Embed(title="Your latest videos", description=words.history(runs, EMBED_CHARS_MAX))
        await interaction.edit_original_response(embed=embed)

    @app_commands.command(name="veo-show", description="Post one of your finished videos again, with a fresh link")
    @app_commands.describe(run="The run's id, as in /veo-history; without it your latest video")
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def show(self, interaction: discord.Interaction, run: app_commands.Range[str, 1, 100] | None = None) -> None:
        """Answered to the caller alone; only what succeeds is posted."""
        if await acknowledge(interaction, ephemeral=True) is None:
            return
        try:
            await self._check_place(interaction)
            found = await self._wanted(f"discord:{interaction.user.id}", run)
            self._cool_down(interaction)
            said = "Posted."
            if not await self._admission.is_first(f"discord:{interaction.id}", said):
                return  # Discord told of it twice, and the first is on its way
            # What is sent first after the answer would be shown in its place, to the caller alone: so this is.
            await interaction.edit_original_response(content="On its way into the channel.")
            await self._show(interaction, found)
        except Refusal as refusal:
            said = words.plain(refusal)
        except FileNotFoundError:
            said = "That video's file was just cleared away here. Try again."
        except Unreadable:
            said = "Runflow cannot be read right now. Try again later."
        except ClipUnavailable:
            said = "That video cannot be fetched: it is in no message here, and Runflow does not give it out."
        await interaction.edit_original_response(content=said)

    async def _check_place(self, interaction: discord.Interaction) -> None:
        """Raise a Refusal where the caller could not ask for a video here now, or the bot not post one."""
        await self._servers.check(interaction)
        await self._admission.check_access(spender_of(interaction))
        check_permissions(interaction)

    def _cool_down(self, interaction: discord.Interaction) -> None:
        """Count a use. Raises TooOften."""
        now = interaction.created_at.timestamp()
        if (wait_s := self._cooldown.update_rate_limit(interaction, now)) is not None:
            raise TooOften(f"You have just posted {SHOWS}. You can post the next {words.when(now + wait_s)}.")

    async def _wanted(self, member: str, run_id: str | None) -> Run:
        wanted = (run_id or "").strip(" `").removeprefix("veo-").removesuffix(".mp4")
        if wanted:
            run = await self._admission.run_of(member, wanted)
            if run is None or not (run.shows_video or run.ending == Ending.EMPTY):  # its clip may have come since
                raise NoSuchVideo("None of your finished videos has that id. `/veo-history` lists the latest.")
            return run
        for run in await self._admission.latest(member, SEARCHED_RUNS):
            if run.shows_video:
                return run
        raise NoSuchVideo("You have no finished video yet. `/veo` makes one.")

    async def _show(self, interaction: discord.Interaction, run: Run) -> None:
        """The message that is still there, freshly signed; else the clip anew, as a file or as a link."""
        head = f"{words.quoted(run.request.prompt, words.PROMPT_SHOWN_CHARS)} · {words.options_line(run.request)}"
        if posted := await self._front.posted_clip(run):
            jump, address = posted
            await _post(interaction, f"{head} · [first posted here](<{jump}>)\n{address}")
            return
        async with self._deliverer.shown(run, interaction.filesize_limit) as path:
            if path is not None and await _attach(interaction, run, head, path):
                return
            link = await self._deliverer.link(run)
            rest = words.MESSAGE_CHARS_MAX - len(head) - 1
            await _post(interaction, f"{head}\n{words.too_large(link, rest)}")


async def _attach(interaction: discord.Interaction, run: Run, head: str, path: Path) -> bool:
    """Whether Discord takes the clip as a file here."""
    video_format = await asyncio.to_thread(format_of, path)
    named = "\n".join(filter(None, [head, words.format_note(video_format)]))
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
