"""`/veo`: acknowledge first, then read the wish, and hand it on."""

from __future__ import annotations

from copy import copy

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.models import SEED_MAX, AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from bot.domain.prices import PriceTable
from bot.services.admission import Admission
from bot.texts import Words
from bot.views import choices
from cogs.acknowledge import Acknowledger
from cogs.context import Speaker
from cogs.describe import description, options
from cogs.wishes import Wishes


class Veo(commands.Cog):
    """The command that makes videos."""

    def __init__(self, admission: Admission, wishes: Wishes, acknowledger: Acknowledger, speaker: Speaker) -> None:
        self._wishes = wishes
        self._acknowledger = acknowledger
        parameters = self.veo._params  # what the decorators below cannot know: the settings
        for name in ("prompt", "negative_prompt", "duration"):
            parameters[name] = copy(parameters[name])
        for name in ("prompt", "negative_prompt"):
            parameters[name].max_value = admission.prompt_max_chars
        parameters["duration"].choices = duration_choices(admission.prices, speaker.of(None))

    @app_commands.command(name="veo", description=description("veo"))
    @options("veo", "prompt", "duration", "resolution", "aspect_ratio", "generate_audio", "negative_prompt")
    @options("veo", "seed", "auto_fix", "safety_tolerance")
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
        card_id = await self._acknowledger.acknowledge(interaction, ephemeral=True)
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
        await self._wishes.make(interaction, card_id, request)


def duration_choices(prices: PriceTable, words: Words) -> list[app_commands.Choice[str | int | float]]:
    """The lengths of a video, each with the least that it costs."""
    return [
        app_commands.Choice(name=words.say(name), value=duration)
        for duration, name in choices.durations(prices).items()
    ]
