"""Takes a wish from whatever a member used - the command, a button, a form - and answers with what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import discord

from bot.domain.models import SEED_MAX, AspectRatio, Duration, Resolution, SafetyTolerance, VeoRequest
from bot.domain.records import Offer, Wish
from bot.errors import BadRequest, Refusal, StoreDown
from bot.services.admission import Admission
from bot.views.wishes import question, refused
from cogs.answers import show
from cogs.context import Speaker, check_permissions, language_of, reply_of, reply_until, spender_of
from cogs.ids import name_of
from cogs.servers import Servers


class Wishes:
    """Every way to ask for a video leads through here, so all have the same checks and answers."""

    def __init__(self, admission: Admission, servers: Servers, speaker: Speaker) -> None:
        self._admission = admission
        self._servers = servers
        self._speaker = speaker

    async def make(
        self,
        interaction: discord.Interaction,
        card_id: int,
        request: VeoRequest,
        *,
        shown_u: int | None = None,
        agreed: bool = False,
        take: str | None = None,
    ) -> bool:
        """Ask for a video, once the interaction is acknowledged by the message `card_id`; False where it was refused.

        `shown_u` and `agreed`: see `Admission.ask`. `take`: see `bot.domain.runs.Run.take`.
        """
        wish = wish_of(interaction, card_id, request, take)
        try:
            check_options(request)
            wish = replace(wish, place_locale=await self._servers.check(interaction))
            check_permissions(interaction)
            made = await self._admission.ask(wish, shown_u=shown_u, agreed=agreed)
        except Refusal as refusal:
            await self.refuse(interaction, wish, refusal)
            return False
        if isinstance(made, Offer):
            standings = await self._admission.standings(made.wish.spender)
            await show(interaction, question(made, standings[-1]), self._speaker.reader(interaction))
        return True  # from here on the engine shows the card, in the order in which things happen

    async def refuse(self, interaction: discord.Interaction, wish: Wish, refusal: Refusal) -> None:
        """Say why not and what gets the member on. What they wrote is kept, or shown where it cannot be kept."""
        draft = None
        if refusal.text.key != "option.not_offered":
            try:
                draft = await self._admission.draft(wish, refusal)
            except StoreDown as down:
                refusal = down
        view = refused(refusal, wish, self._admission.prices, draft)
        await show(interaction, view, self._speaker.reader(interaction))


def wish_of(interaction: discord.Interaction, card_id: int, request: VeoRequest, take: str | None = None) -> Wish:
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
        place_locale=language_of(interaction.guild_locale),
        take=take,
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
