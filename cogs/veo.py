"""`/veo`: acknowledge first, then read the wish, ask the engine, and say what came of it."""

from __future__ import annotations

import logging
import time
from copy import copy
from typing import get_args

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.limits import OverLimit, Spender
from bot.domain.records import Offer, Wish
from bot.domain.runs import SEED_MAX, AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from bot.errors import BadRequest, Refusal
from bot.services.admission import Admission, AskFirst
from cogs import buttons, embeds, words
from cogs.front import Reply
from cogs.servers import Servers

log = logging.getLogger("veo.discord")

TOKEN_LIFE_S = 900.0  # Discord docs, Receiving and Responding
ALREADY_ACKNOWLEDGED = 40060
LOCALE_CHARS_MAX = 35  # the longest that has to be kept whole (RFC 5646, 4.4.1)
NEEDED = ("view_channel", "send_messages", "attach_files", "embed_links", "read_message_history")


class Veo(commands.Cog):
    """The command that makes videos."""

    def __init__(self, admission: Admission, servers: Servers) -> None:
        self._admission = admission
        self._servers = servers
        for name in ("prompt", "negative_prompt"):  # the decorator below cannot know the setting
            option = copy(self.veo._params[name])
            option.max_value = admission.prompt_max_chars
            self.veo._params[name] = option

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
        wish = wish_of(interaction, card_id, request)
        try:
            check_options(request)
            await self._servers.check(interaction)
            check_permissions(interaction)
            made = await self._admission.ask(wish)
        except Refusal as refusal:
            await self._refuse(interaction, refusal, wish)
        else:
            if isinstance(made, Offer):
                await self._question(interaction, made)
        # From here on the engine shows the card, in the order in which things happen.

    async def _question(self, interaction: discord.Interaction, offer: Offer) -> None:
        """A price that is to be agreed to first, with what would be cheaper."""
        standings = await self._admission.standings(offer.wish.spender)
        embed = embeds.new_embed(
            title=words.question_title(offer),
            description=words.quoted(offer.wish.request.prompt, 1000),
            fields=[
                ("Options", words.all_options(offer.wish.request), False),
                ("Your limit", words.left_line(standings[-1]), True),
                ("Good until", words.when(offer.expires_at), True),
            ],
            colour=discord.Colour.gold(),
        )
        await interaction.edit_original_response(embed=embed, view=buttons.question(offer))

    async def _refuse(self, interaction: discord.Interaction, refusal: Refusal, wish: Wish) -> None:
        """Why not, what would fit into every level, and whom to ask."""
        left_u = None
        if isinstance(refusal, OverLimit):
            standings = await self._admission.standings(wish.spender)
            left_u = min((each.left_u for each in standings if each.left_u is not None), default=None)
        sentence = words.refused(refusal, wish.request, self._admission.prices, left_u)
        view = buttons.request(refusal.offer) if isinstance(refusal, AskFirst) else None
        await interaction.edit_original_response(content=sentence, view=view)


async def acknowledge(interaction: discord.Interaction, *, ephemeral: bool, update: bool = False) -> int | None:
    """Answer within Discord's three seconds, before any work; the id of the answer's message.

    `update`: of a press, whose own message is the answer. None when it was too late: nothing is shown then, so
    nothing may be started.
    """
    try:
        reply = await _defer(interaction, ephemeral=ephemeral, update=update)
    except discord.NotFound:
        lag = (discord.utils.utcnow() - interaction.created_at).total_seconds()
        log.warning("interaction came too late to be answered lag_s=%.1f by this machine's clock", lag)
        return None
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:  # our own repeat of an answer that had arrived
            raise
        reply = None
    if update and interaction.message is not None:
        return interaction.message.id
    if reply is not None and reply.message_id is not None:
        return reply.message_id
    return (await interaction.original_response()).id


async def _defer(
    interaction: discord.Interaction, *, ephemeral: bool, update: bool
) -> discord.InteractionCallbackResponse[discord.Client] | None:
    try:
        return await interaction.response.defer(ephemeral=ephemeral, thinking=not update)
    except (aiohttp.ClientError, OSError):  # it may have arrived all the same: the repeat is told so (40060)
        return await interaction.response.defer(ephemeral=ephemeral, thinking=not update)


def wish_of(interaction: discord.Interaction, card_id: int, request: VeoRequest) -> Wish:
    """The interaction as the engine sees it: opaque names, and where progress can be shown until when."""
    who = spender_of(interaction)
    limit: object = interaction.filesize_limit
    return Wish(
        origin=f"discord:{interaction.id}",
        member=who.member,
        member_name=interaction.user.display_name,
        server=who.server,
        channel=f"discord:{interaction.channel_id}",
        budget_channel=who.channel,
        roles=who.roles,
        request=request,
        reply_to=str(reply_of(interaction, card_id)),
        reply_until=reply_until(),
        # A limit that is none is not passed on: what fits is then found out by trying.
        upload_limit_bytes=limit if type(limit) is int and 0 <= limit < 2**63 else None,
        post_limit_bytes=post_limit_of(interaction),
        locale=language_of(interaction.locale),
        place_locale=language_of(interaction.guild_locale),
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


def language_of(locale: discord.Locale | None) -> str | None:
    """A language as Discord names it, such as `pt-BR`, also one that the library does not know yet."""
    name: object = None if locale is None else locale.value
    return name if isinstance(name, str) and name.isascii() and len(name) <= LOCALE_CHARS_MAX else None


def spender_of(interaction: discord.Interaction) -> Spender:
    """Who asks and where; a thread spends what its channel may."""
    channel = interaction.channel
    place = channel.parent_id if isinstance(channel, discord.Thread) else interaction.channel_id
    return Spender(
        member=f"discord:{interaction.user.id}",
        server=f"discord:{interaction.guild_id}",
        channel=f"discord:{place}",
        roles=roles_of(interaction, interaction.user),
    )


def roles_of(interaction: discord.Interaction, user: discord.User | discord.Member) -> tuple[str, ...]:
    """The roles of somebody in the interaction's server as it says them, with everybody's, named as the server is.

    Not `Member.roles`: that leaves out what the gateway has not told of, which is all of a server until its
    GUILD_CREATE, and limits by role would not bind.
    """
    if not isinstance(user, discord.Member) or interaction.guild_id is None:
        return ()
    return tuple(f"discord:{number}" for number in sorted({interaction.guild_id, *user._roles}))


def reply_until() -> float:
    """Until when a card can be edited whose interaction has just come: by our clock, which may not be Discord's."""
    return time.time() + TOKEN_LIFE_S


def reply_of(interaction: discord.Interaction, message_id: int) -> Reply:
    """Where the card of this interaction is edited."""
    return Reply(application_id=interaction.application_id, message_id=message_id, token=interaction.token)


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
        raise BadRequest(f"The command does not offer that value of {', '.join(wrong)}. Nothing was charged.")


def invite_link(application_id: int) -> str:
    """The address with which an admin adds the bot to a server, asking for no more than it needs."""
    needed: dict[str, bool] = dict.fromkeys((*NEEDED, "send_messages_in_threads"), True)
    return discord.utils.oauth_url(
        application_id, permissions=discord.Permissions(**needed), scopes=("bot", "applications.commands")
    )


class CannotPost(Refusal):
    """The bot may not do here what posting the video takes."""


def check_permissions(interaction: discord.Interaction) -> None:
    """Refuse before anything is paid where the finished video could not be posted. Raises CannotPost."""
    if interaction.channel is None:  # of a kind that the library does not know yet
        raise CannotPost("The bot cannot post in this kind of channel; use another one. Nothing was charged.")
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
