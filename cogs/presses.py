"""What a press of one of our buttons does, whenever it comes: the answers to questions, requests and receipts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import discord
from discord.ext import commands

from bot.domain.records import Offer, OfferState
from bot.errors import NotAllowed, OfferGone, PostFailed, Refusal
from bot.log import get_logger
from bot.services.admission import AddsMore, Admission, Answer
from cogs import buttons, words
from cogs.front import NETWORK_ERRORS, NOBODY, DiscordFront, person
from cogs.servers import CannotTell, NotHere, Servers
from cogs.veo import acknowledge, check_permissions, reply_of, reply_until, roles_of, spender_of

log = get_logger("veo.discord")


class Presses(commands.Cog):
    """Listens to every press; each is answered at once and carried out once."""

    def __init__(self, admission: Admission, servers: Servers, front: DiscordFront) -> None:
        self._admission = admission
        self._servers = servers
        self._front = front

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Called by the library for every interaction; those that are no press of ours belong to others."""
        if interaction.type != discord.InteractionType.component or not interaction.data:
            return
        read = buttons.read(str(interaction.data.get("custom_id", "")))
        if read is None:
            return
        verb, about = read
        acts: dict[buttons.Verb, Callable[[discord.Interaction, list[str]], Awaitable[None]]] = {
            "yes": self._yes,
            "no": self._no,
            "ask": self._ask,
            "approve": self._approve,
            "deny": self._deny,
            "receipt": self._receipt,
        }
        try:
            if await acknowledge(interaction, ephemeral=True, update=verb != "receipt") is not None:
                await acts[verb](interaction, about)
        except Refusal as refusal:
            await _whisper(interaction, words.plain(refusal))
        except Exception:
            log.exception("press failed", interaction=str(interaction.id))
            await _whisper(
                interaction, "Something went wrong on the bot's side. `/veo-history` shows what was started."
            )

    async def _yes(self, interaction: discord.Interaction, about: list[str]) -> None:
        """A member agrees to a price. From here on the engine shows the card in the place of the question."""
        await self._servers.check(interaction)
        check_permissions(interaction)
        offer_id, choice = about[0], int(about[1]) if about[1:] and about[1].isdecimal() else 0
        answer = Answer(
            offer_id=offer_id,
            choice=choice,
            roles=spender_of(interaction).roles,
            reply_to=str(reply_of(interaction, _message_of(interaction))),
            reply_until=reply_until(),
        )
        try:
            await self._admission.confirm(answer, _caller(interaction))
        except OfferGone as gone:
            await interaction.edit_original_response(content=str(gone), embed=None, view=None)

    async def _no(self, interaction: discord.Interaction, about: list[str]) -> None:
        if not await self._admission.withdraw(about[0], _caller(interaction)):
            return  # the yes came first, and the card tells how that goes
        await interaction.edit_original_response(content="Not filmed. Nothing was charged.", embed=None, view=None)

    async def _ask(self, interaction: discord.Interaction, about: list[str]) -> None:
        """A member over a limit asks the admins."""
        await self._servers.check(interaction)
        put = await self._admission.put(about[0], spender_of(interaction))
        if put.offer.message is None:
            try:
                message = await self._front.put_request(put.desk, put.offer, put.over)
            except PostFailed as error:
                log.warning("request not posted to the admins", offer=put.offer.offer_id, reason=str(error))
                raise OfferGone(
                    "The request could not be posted where the admins take them; press again later, or tell an admin."
                ) from None
            for each in (*put.replaced, await self._admission.asked(put.offer, message)):
                if each.state == OfferState.REPLACED:
                    await self._front.show_replaced(each)
        sent = "The admins have your request. If they approve, the video is posted here; nothing is charged before."
        await interaction.edit_original_response(content=sent, view=None)

    async def _approve(self, interaction: discord.Interaction, about: list[str]) -> None:
        _require_admin(interaction)
        told_u = int(about[1]) if about[1:] and about[1].isdecimal() else None
        admin = await self._servers.admin(interaction)
        try:
            asked = await self._admission.request_of(about[0], admin)
            roles = await self._roles_of(interaction, asked)
            offer = await self._admission.approve(about[0], admin, told_u, roles)
        except AddsMore as more:
            offer = await self._admission.request_of(about[0], admin)
            content, view = words.request_of(offer, more.over), buttons.decision(offer, more.over)
            await interaction.edit_original_response(content=content, view=view, allowed_mentions=NOBODY)
            raise
        await self._decided(interaction, offer)

    async def _roles_of(self, interaction: discord.Interaction, offer: Offer) -> tuple[str, ...]:
        """The roles of the member who asked, as Discord says now. Raises NotAllowed."""
        assert interaction.guild is not None
        try:
            member = await interaction.guild.fetch_member(person(offer.wish.member))
        except discord.NotFound:
            raise NotAllowed("The member is not in this server any more; nothing was changed.") from None
        except NETWORK_ERRORS as error:
            log.warning("roles not readable", offer=offer.offer_id, error=type(error).__name__)
            raise NotAllowed("Discord does not say now which roles the member has; try again in a moment.") from None
        return roles_of(interaction, member)

    async def _deny(self, interaction: discord.Interaction, about: list[str]) -> None:
        _require_admin(interaction)
        offer = await self._admission.deny(about[0], await self._servers.admin(interaction))
        await self._decided(interaction, offer)
        await self._front.tell_denied(offer)

    async def _decided(self, interaction: discord.Interaction, offer: Offer) -> None:
        """Show the outcome in the place of the request, which takes no more answers."""
        content = words.decided_request(offer)
        await interaction.edit_original_response(content=content, view=None, allowed_mentions=NOBODY)

    async def _receipt(self, interaction: discord.Interaction, about: list[str]) -> None:
        """What a run cost, for its member, and for who may manage the server where it was asked for."""
        server = None
        if interaction.permissions.manage_guild:
            with suppress(NotHere, CannotTell):  # then only as its member
                await self._servers.check(interaction)
                server = f"discord:{interaction.guild_id}"
        run = await self._admission.receipt_of(about[0], member=_caller(interaction), server=server)
        await interaction.edit_original_response(content=words.receipt(run))


def _caller(interaction: discord.Interaction) -> str:
    return f"discord:{interaction.user.id}"


def _message_of(interaction: discord.Interaction) -> int:
    assert interaction.message is not None, "a press has its message"
    return interaction.message.id


def _require_admin(interaction: discord.Interaction) -> None:
    if not interaction.permissions.manage_guild:
        raise NotAllowed("Only who may manage this server can answer requests.")


async def _whisper(interaction: discord.Interaction, sentence: str) -> None:
    """Tell the caller alone; what the button stands under stays as it is."""
    try:
        await interaction.followup.send(sentence, ephemeral=True)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        log.warning("error message not sent to the member", error=type(error).__name__)
