"""What a press of one of our buttons does, whenever it comes: the answers to questions, requests and receipts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import discord
from discord.ext import commands

from bot.domain.limits import Spender
from bot.domain.records import Offer, OfferState
from bot.errors import NotAllowed, OfferGone, PostFailed, Refusal
from bot.facts import Text, text
from bot.log import get_logger
from bot.services.admission import AddsMore, Admission, Answer
from bot.texts import Words
from bot.views import ActionVerb, View
from bot.views.runs import card, receipt
from bot.views.wishes import decided, declined, request, sent
from cogs import render
from cogs.acknowledge import Acknowledger
from cogs.answers import show
from cogs.context import Speaker, check_permissions, reply_of, reply_until, roles_of, spender_of
from cogs.front import NETWORK_ERRORS, NOBODY, DiscordFront
from cogs.ids import name_of, number_of
from cogs.servers import CannotTell, NotHere, Servers

log = get_logger("veo.discord")


class Presses(commands.Cog):
    """Listens to every press; each is answered at once and carried out once."""

    def __init__(
        self, admission: Admission, servers: Servers, front: DiscordFront, acknowledger: Acknowledger, speaker: Speaker
    ) -> None:
        self._admission = admission
        self._servers = servers
        self._front = front
        self._acknowledger = acknowledger
        self._speaker = speaker

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Called by the library for every interaction; those that are no press of ours belong to others."""
        if interaction.type != discord.InteractionType.component or not interaction.data:
            return
        read = render.parse_custom_id(str(interaction.data.get("custom_id", "")))
        if read is None:
            return
        verb, about = read
        words = self._speaker.reader(interaction)
        acts: dict[ActionVerb, Callable[[discord.Interaction, list[str]], Awaitable[None]]] = {
            "yes": self._yes,
            "no": self._no,
            "ask": self._ask,
            "approve": self._approve,
            "deny": self._deny,
            "receipt": self._receipt,
            "cancel": self._cancel,
        }
        try:
            if await self._acknowledger.acknowledge(interaction, ephemeral=True, update=verb != "receipt") is not None:
                await acts[verb](interaction, about)
        except Refusal as refusal:
            await _reply_privately(interaction, refusal.text, words)
        except Exception:
            log.exception("press failed", interaction=interaction.id)
            await _reply_privately(interaction, text("fault"), words)

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
            await show(interaction, View(lines=(gone.text,)), self._speaker.reader(interaction))

    async def _no(self, interaction: discord.Interaction, about: list[str]) -> None:
        if not await self._admission.withdraw(about[0], _caller(interaction)):
            return  # the yes came first, and the card tells how that goes
        await show(interaction, declined(), self._speaker.reader(interaction))

    async def _ask(self, interaction: discord.Interaction, about: list[str]) -> None:
        """A member over a limit asks the admins."""
        await self._servers.check(interaction)
        put = await self._admission.put(about[0], spender_of(interaction))
        if put.offer.message is None:
            try:
                message = await self._front.put_request(put.channel, put.offer, put.over)
            except PostFailed as error:
                log.warning("request not posted", offer=put.offer.offer_id, error=str(error))
                raise OfferGone("request.not_posted") from None
            for each in (*put.replaced, await self._admission.asked(put.offer, message)):
                if each.state == OfferState.REPLACED:
                    await self._front.show_replaced(each)
        await show(interaction, sent(), self._speaker.reader(interaction))

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
            await self._show_request(interaction, request(offer, more.over), offer)
            raise
        await self._show_request(interaction, decided(offer), offer)

    async def _roles_of(self, interaction: discord.Interaction, offer: Offer) -> tuple[str, ...]:
        """The roles of the member who asked, as Discord says now. Raises NotAllowed."""
        assert interaction.guild is not None
        try:
            member = await interaction.guild.fetch_member(number_of(offer.wish.member))
        except discord.NotFound:
            raise NotAllowed("request.member_left") from None
        except NETWORK_ERRORS as error:
            log.warning("roles not read", offer=offer.offer_id, error=type(error).__name__)
            raise NotAllowed("request.roles_unknown") from None
        return roles_of(interaction, member)

    async def _deny(self, interaction: discord.Interaction, about: list[str]) -> None:
        _require_admin(interaction)
        offer = await self._admission.deny(about[0], await self._servers.admin(interaction))
        await self._show_request(interaction, decided(offer), offer)
        await self._front.tell_denied(offer)

    async def _show_request(self, interaction: discord.Interaction, view: View, offer: Offer) -> None:
        """Show a request as it stands now, in the place of the one that was pressed; all admins read it."""
        words = self._speaker.of(offer.wish.place_locale)
        await interaction.edit_original_response(
            content=render.content(view, words), view=render.buttons(view, words), allowed_mentions=NOBODY
        )

    async def _cancel(self, interaction: discord.Interaction, about: list[str]) -> None:
        """A member takes back a wish that waits in line; its card says so."""
        run = await self._admission.cancel(about[0], _caller(interaction))
        words, view = self._speaker.reader(interaction), card(run, await self._admission.standings(Spender.of(run)))
        await interaction.edit_original_response(
            content=None, embed=render.embed(view, words), view=render.buttons(view, words)
        )

    async def _receipt(self, interaction: discord.Interaction, about: list[str]) -> None:
        """What a run cost, for its member, and for who may manage the server where it was asked for."""
        server = None
        if interaction.permissions.manage_guild:
            with suppress(NotHere, CannotTell):  # then only as its member
                await self._servers.check(interaction)
                server = name_of(interaction.guild_id)
        run = await self._admission.receipt_of(about[0], member=_caller(interaction), server=server)
        await show(interaction, receipt(run), self._speaker.reader(interaction))


def _caller(interaction: discord.Interaction) -> str:
    return name_of(interaction.user.id)


def _message_of(interaction: discord.Interaction) -> int:
    assert interaction.message is not None, "a press has its message"
    return interaction.message.id


def _require_admin(interaction: discord.Interaction) -> None:
    if not interaction.permissions.manage_guild:
        raise NotAllowed("request.admins_only")


async def _reply_privately(interaction: discord.Interaction, sentence: Text, words: Words) -> None:
    """Tell the caller alone; what the button stands under stays as it is."""
    try:
        await interaction.followup.send(words.say(sentence), ephemeral=True)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        log.warning("reply not sent to the member", interaction=interaction.id, error=type(error).__name__)
