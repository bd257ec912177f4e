"""`/veo`: acknowledge first, then read the wish, ask the engine, and say what came of it."""

from __future__ import annotations

import logging
from datetime import timedelta

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot.engine import Engine
from bot.errors import Refusal
from bot.ports import Wish
from bot.runs import SEED_MAX, AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from cogs import words
from cogs.delivery import Reply
from cogs.servers import Servers

log = logging.getLogger("veo.discord")

TOKEN_LIFE = timedelta(minutes=15)  # Discord docs, Receiving and Responding
ALREADY_ACKNOWLEDGED = 40060
NEEDED = ("view_channel", "send_messages", "attach_files", "embed_links", "read_message_history")


class Veo(commands.Cog):
    """The command that makes videos."""

    def __init__(self, engine: Engine, servers: Servers) -> None:
        self._engine = engine
        self._servers = servers

    @app_commands.command(name="veo", description="Film a prompt with Google Veo 3.1 and post the video here")
    @app_commands.describe(
        prompt="What the video shows: subject, action, place, style, sound",
        duration="Length of the video (default 8s); the price is per second",
        resolution="Size of the picture (default 720p); 4k costs more",
        aspect_ratio="16:9 is wide, 9:16 is upright (default 16:9)",
        generate_audio="With sound (default yes); without is cheaper",
        negative_prompt="What the video should not show",
        seed="A number that makes similar results likelier",
        auto_fix="Let Veo mend a prompt that it would refuse (default yes)",
        safety_tolerance="1 is the strictest filter, 6 the loosest (default 4)",
    )
    @app_commands.guild_only()
    @app_commands.allowed_installs(guilds=True, users=False)
    async def veo(
        self,
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, 6000],
        duration: Duration = "8s",
        resolution: Resolution = "720p",
        aspect_ratio: AspectRatio = "16:9",
        generate_audio: bool = True,
        negative_prompt: app_commands.Range[str, 1, 6000] | None = None,
        seed: app_commands.Range[int, -SEED_MAX, SEED_MAX] | None = None,
        auto_fix: bool = True,
        safety_tolerance: SafetyTolerance = "4",
    ) -> None:
        """Options as in the input schema of the model, each with the default that is sent."""
        card_id = await acknowledge(interaction, ephemeral=True)
        if card_id is None:
            return
        request = VeoRequest(
            prompt=prompt,
            duration=duration,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            generate_audio=generate_audio,
            negative_prompt=negative_prompt,
            seed=seed,
            auto_fix=auto_fix,
            safety_tolerance=safety_tolerance,
        )
        try:
            await self._servers.check(interaction)
            check_permissions(interaction)
            await self._engine.admit(wish_of(interaction, card_id, request))
        except Refusal as refusal:
            sentence = words.refused(refusal, request, self._engine.prices)
            await interaction.edit_original_response(content=sentence)
        # From here on the engine shows the card, in the order in which things happen.


async def acknowledge(interaction: discord.Interaction, *, ephemeral: bool) -> int | None:
    """Answer within Discord's three seconds, before any work; the id of the answer's message.

    None when it was too late: nothing is shown then, so nothing may be started.
    """
    try:
        reply = await _defer(interaction, ephemeral=ephemeral)
    except discord.NotFound:
        lag = (discord.utils.utcnow() - interaction.created_at).total_seconds()
        log.warning("interaction came too late to be answered lag_s=%.1f", lag)
        return None
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:  # our own repeat of an answer that had arrived
            raise
        reply = None
    if reply is not None and reply.message_id is not None:
        return reply.message_id
    return (await interaction.original_response()).id


async def _defer(
    interaction: discord.Interaction, *, ephemeral: bool
) -> discord.InteractionCallbackResponse[discord.Client] | None:
    try:
        return await interaction.response.defer(ephemeral=ephemeral, thinking=True)
    except (aiohttp.ClientError, OSError):  # it may have arrived all the same: the repeat is told so (40060)
        return await interaction.response.defer(ephemeral=ephemeral, thinking=True)


def wish_of(interaction: discord.Interaction, card_id: int, request: VeoRequest) -> Wish:
    """The interaction as the engine sees it: opaque names, and where progress can be shown until when."""
    reply = Reply(application_id=interaction.application_id, message_id=card_id, token=interaction.token)
    return Wish(
        origin=f"discord:{interaction.id}",
        member=f"discord:{interaction.user.id}",
        server=f"discord:{interaction.guild_id}",
        channel=f"discord:{interaction.channel_id}",
        request=request,
        reply_to=str(reply),
        reply_until=(interaction.created_at + TOKEN_LIFE).timestamp(),
        upload_limit_bytes=interaction.filesize_limit,
    )


class CannotPost(Refusal):
    """The bot may not do here what posting the video takes."""


def check_permissions(interaction: discord.Interaction) -> None:
    """Refuse before anything is paid where the finished video could not be posted. Raises CannotPost."""
    granted = interaction.app_permissions
    needed = list(NEEDED)
    if isinstance(interaction.channel, discord.Thread):
        needed[needed.index("send_messages")] = "send_messages_in_threads"
    missing = [name for name in needed if not getattr(granted, name)]
    if missing:
        names = ", ".join(name.replace("_", " ").replace("guild", "server").title() for name in missing)
        raise CannotPost(
            f"The bot could not post the video in this channel: it lacks {names}. Ask an admin to allow that here, "
            "or use another channel. Nothing was charged."
        )
