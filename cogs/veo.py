"""`/veo`: acknowledge first, then read the wish, ask for a run, and show what came of it."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import get_args

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.limits import OverLimit
from bot.domain.models import SEED_MAX, AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from bot.domain.prices import PriceTable
from bot.domain.records import Offer, Wish
from bot.errors import BadRequest, Refusal
from bot.services.admission import Admission, AskFirst
from bot.texts import Words
from bot.views import choices
from bot.views.wishes import question, refused
from cogs import render
from cogs.acknowledge import Acknowledger
from cogs.context import Speaker, check_permissions, language_of, reply_of, reply_until, spender_of
from cogs.describe import description, options
from cogs.ids import name_of
from cogs.servers import Servers


class Veo(commands.Cog):
    """The command that makes videos."""

    def __init__(self, admission: Admission, servers: Servers, acknowledger: Acknowledger, speaker: Speaker) -> None:
        self._admission = admission
        self._servers = servers
        self._acknowledger = acknowledger
        self._speaker = speaker
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
        wish = wish_of(interaction, card_id, request)
        try:
            check_options(request)
            place_locale = await self._servers.check(interaction)
            check_permissions(interaction)
            made = await self._admission.ask(replace(wish, place_locale=place_locale))
        except Refusal as refusal:
            await self._refuse(interaction, refusal, wish)
        else:
            if isinstance(made, Offer):
                await self._question(interaction, made)
        # From here on the engine shows the card, in the order in which things happen.

    async def _question(self, interaction: discord.Interaction, offer: Offer) -> None:
        """Show a price that is to be agreed to first, with what would be cheaper."""
        standings = await self._admission.standings(offer.wish.spender)
        view, words = question(offer, standings[-1]), self._speaker.reader(interaction)
        await interaction.edit_original_response(embed=render.embed(view, words), view=render.buttons(view, words))

    async def _refuse(self, interaction: discord.Interaction, refusal: Refusal, wish: Wish) -> None:
        """Show why not, what would fit into every level, and whom to ask."""
        left_u = None
        if isinstance(refusal, OverLimit):
            standings = await self._admission.standings(wish.spender)
            left_u = min((each.left_u for each in standings if each.left_u is not None), default=None)
        offer = refusal.offer if isinstance(refusal, AskFirst) else None
        view = refused(refusal, wish, self._admission.prices, left_u, offer)
        words = self._speaker.reader(interaction)
        await interaction.edit_original_response(content=render.content(view, words), view=render.buttons(view, words))


def duration_choices(prices: PriceTable, words: Words) -> list[app_commands.Choice[str | int | float]]:
    """The lengths of a video, each with the least that it costs."""
    return [
        app_commands.Choice(name=words.say(name), value=duration)
        for duration, name in choices.durations(prices).items()
    ]


def wish_of(interaction: discord.Interaction, card_id: int, request: VeoRequest) -> Wish:
    """The interaction as the engine sees it: opaque names, and where progress can be shown until when."""
    who = spender_of(interaction)
    limit: object = interaction.filesize_limit
    return Wish(
        origin=name_of(interaction.id),
        member=who.member,
        member_name=interaction.user.display_name,
        server=who.server,
        channel=name_of(interaction.channel_id),
        budget_channel=who.channel,
        roles=who.roles,
        request=request,
        reply_to=str(reply_of(interaction, card_id)),
        reply_until=reply_until(),
        # A limit that is none is not passed on: what fits is then found out by trying.
        upload_limit_bytes=limit if type(limit) is int and 0 <= limit < 2**63 else None,
        post_limit_bytes=post_limit_of(interaction),
        locale=language_of(interaction.locale),
    )


def post_limit_of(interaction: discord.Interaction) -> int | None:
    """How large a file the bot may post there, by the server's boosts; None where the gateway has not told of it.

    The interaction's own limit is the highest of the member's and the server's (Discord docs, Uploading Files).
    """
    guild = interaction.guild_id and interaction.client.get_guild(interaction.guild_id)
    if not guild or guild.unavailable:
        return None
    try:
        return guild.filesize_limit
    except (KeyError, TypeError):  # a level that the library does not know yet
        return None


def check_options(request: VeoRequest) -> None:
    """Refuse what the command does not offer. Raises BadRequest.

    Discord checks the options and the library does not do it again; what is ordered must be what was priced.
    """
    seed: object = request.seed
    fits: dict[str, bool] = {
        "prompt": isinstance(request.prompt, str),
        "duration": request.duration in get_args(Duration),
        "resolution": request.resolution in get_args(Resolution),
        "aspect_ratio": request.aspect_ratio in get_args(AspectRatio),
        "generate_audio": isinstance(request.generate_audio, bool),
        "negative_prompt": isinstance(request.negative_prompt, str | None),
        "seed": seed is None or (type(seed) is int and abs(seed) <= SEED_MAX),
        "auto_fix": isinstance(request.auto_fix, bool),
        "safety_tolerance": request.safety_tolerance in get_args(SafetyTolerance),
    }
    if wrong := [name for name, right in fits.items() if not right]:
        raise BadRequest("option.not_offered", options=", ".join(wrong))
