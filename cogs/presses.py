"""What a press of one of our buttons and the sending of a form do, whenever they come.

Buttons are known by their names alone, so they work for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import discord
from discord import app_commands
from discord.ext import commands

from bot.domain.limits import Spender
from bot.domain.models import VeoRequest
from bot.domain.records import Offer, OfferState
from bot.domain.remakes import Remake, remake, seed_of
from bot.domain.runs import Delivery, Run
from bot.domain.untrusted import is_blank, strip_controls
from bot.errors import BadRequest, NotAllowed, OfferGone, PostFailed, Refusal, StoreDown
from bot.facts import Text, text
from bot.log import get_logger
from bot.services.admission import AddsMore, Admission, Answer, CostsMore
from bot.services.cards import Cards
from bot.texts import Words
from bot.views import ActionVerb, View
from bot.views.account import receipt
from bot.views.runs import card, details
from bot.views.wishes import decided, not_made, request, sent
from cogs import forms, render
from cogs.acknowledge import Acknowledger
from cogs.answers import show
from cogs.context import Speaker, check_permissions, reply_of, reply_until, roles_of, spender_of
from cogs.front import NETWORK_ERRORS, NOBODY, DiscordFront
from cogs.ids import Reply, name_of, number_of
from cogs.servers import CannotTell, NotHere, Servers
from cogs.wishes import Wishes, wish_of

log = get_logger("veo.discord")

_UNKNOWN_MESSAGE = 10008
FORM_LIFE_S = 86400.0  # for so long a form that was sent is not taken again
_IN_PLACE = frozenset(
    {"yes", "no", "ask", "approve", "deny", "make", "cancel", "history"}
)  # answered by a change of their own message
_REMAKES: frozenset[str] = frozenset(Remake)
_FORMS = frozenset({"change", "seed", "edit"})

Act = Callable[[discord.Interaction, int, list[str]], Awaitable[None]]


class Presses(commands.Cog):
    """Listens to every press and form; each is answered at once and carried out once."""

    def __init__(
        self,
        admission: Admission,
        cards: Cards,
        wishes: Wishes,
        servers: Servers,
        front: DiscordFront,
        acknowledger: Acknowledger,
        speaker: Speaker,
        more: Mapping[ActionVerb, Act],
    ) -> None:
        """`more`: what is done for the verbs that are not carried out here."""
        self._admission = admission
        self._cards = cards
        self._wishes = wishes
        self._servers = servers
        self._front = front
        self._acknowledger = acknowledger
        self._speaker = speaker
        self._acts: dict[ActionVerb, Act] = {
            "yes": self._yes,
            "no": self._no,
            "ask": self._ask,
            "approve": self._approve,
            "deny": self._deny,
            "receipt": self._receipt,
            "cancel": self._cancel,
            "details": self._details,
            "delete": self._delete,
            "make": self._make,
            "prompt": self._prompt,
            **more,
        }

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Called by the library for every interaction; those that are no press of ours belong to others."""
        if not interaction.data:
            return
        custom_id = str(interaction.data.get("custom_id", ""))
        if interaction.type == discord.InteractionType.modal_submit:
            answer = self._form_sent(interaction, custom_id)
        elif interaction.type == discord.InteractionType.component and render.is_ours(custom_id):
            answer = self._pressed(interaction, custom_id)
        else:
            return
        words = self._speaker.reader(interaction)
        try:
            await answer
        except Refusal as refusal:
            await _reply_privately(interaction, refusal.text, words)
        except Exception:
            log.exception("press failed", interaction=interaction.id)
            await _reply_privately(interaction, text("fault"), words)

    async def _pressed(self, interaction: discord.Interaction, custom_id: str) -> None:
        read = render.parse_custom_id(custom_id)
        verb, about = read if read is not None else ("", [])
        if verb in _FORMS:
            await self._open_form(interaction, verb, about)
            return
        in_place = verb in _IN_PLACE or (verb in _REMAKES and _is_private(interaction))
        card_id = await self._acknowledger.acknowledge(interaction, ephemeral=True, update=in_place)
        if card_id is None:
            return
        if read is None:
            raise OfferGone("press.unknown")
        if verb in _REMAKES:
            await self._remake(interaction, card_id, Remake(verb), about)
        else:
            await self._acts[read[0]](interaction, card_id, about)

    # A price that is agreed to

    async def _yes(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """A member agrees to a price. From here on the engine shows the card in the place of the question."""
        await self._servers.check(interaction)
        check_permissions(interaction)
        who = spender_of(interaction)
        answer = Answer(
            offer_id=about[0],
            choice=_number(about, 1) or 0,
            server=who.server,
            roles=who.roles,
            reply_to=str(reply_of(interaction, card_id)),
            reply_until=reply_until(),
        )
        try:
            run = await self._admission.confirm(answer, who.member)
        except CostsMore as more:  # a question of its own, in the place of this one
            await self._admission.withdraw(about[0], who.member)
            request, take = more.choice.request, more.offer.wish.take
            await self._wishes.make(interaction, card_id, request, shown_u=more.choice.price_u, take=take)
        except OfferGone as gone:
            await self._show_not_made(interaction, about[0], gone.text)
        else:
            await self._show_answered(interaction, card_id, run)

    async def _no(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        if await self._admission.withdraw(about[0], _caller(interaction)):
            await self._show_not_made(interaction, about[0], text("question.declined"))
            return
        run_id = (await self._admission.draft_of(about[0], _caller(interaction))).run_id
        if run_id is not None:
            run = await self._admission.receipt_of(run_id, member=_caller(interaction), server=None)
            await self._show_answered(interaction, card_id, run)

    async def _show_answered(self, interaction: discord.Interaction, card_id: int, run: Run) -> None:
        """Where a yes from elsewhere came first, say so; here the run's own card tells how that goes."""
        if run.reply_to is None or Reply.parse(run.reply_to).message_id != card_id:
            view = View(lines=(text("request.answered"),))
            await show(interaction, view, self._speaker.reader(interaction))

    async def _show_not_made(self, interaction: discord.Interaction, offer_id: str, said: Text) -> None:
        """A question that came to nothing gives the member their words back."""
        offer = await self._admission.draft_of(offer_id, _caller(interaction))
        view = not_made(offer, said, self._admission.prices)
        await show(interaction, view, self._speaker.reader(interaction))

    # A video that is asked for anew

    async def _remake(self, interaction: discord.Interaction, card_id: int, how: Remake, about: list[str]) -> None:
        """Make another video from an existing one, on the limit of the member who pressed."""
        run = await self._run_of(interaction, about)
        wish = remake(run, how)
        if wish is None:
            raise OfferGone("press.unknown")
        take = "final" if how == Remake.FINAL else self._take_of(interaction, run)
        await self._once(interaction, card_id, wish, shown_u=_number(about, 1), take=take)

    async def _make(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """Make what a refused wish, or a question that came to nothing, still offers."""
        draft = await self._admission.draft_of(about[0], _caller(interaction))
        choice = _number(about, 1) or 0
        if choice >= len(draft.choices):
            raise OfferGone("press.unknown")
        request = draft.choices[choice].request
        shown_u, take = _number(about, 2), draft.wish.take
        if await self._once(interaction, card_id, request, shown_u=shown_u, take=take, agreed=True):
            await self._admission.made_otherwise(draft)

    async def _once(
        self,
        interaction: discord.Interaction,
        card_id: int,
        request: VeoRequest,
        *,
        shown_u: int | None,
        take: str | None,
        agreed: bool = False,
    ) -> bool:
        """Ask for a video, but not twice for a double press; False where nothing comes of it."""
        assert interaction.message is not None
        assert interaction.data is not None
        button = f"{interaction.message.id}:{interaction.data.get('custom_id')}:{interaction.user.id}"
        if not await self._admission.is_pressed_first(button, name_of(interaction.id)):
            if not _is_private(interaction):  # there the first press shows in the same place
                await show(interaction, View(lines=(text("press.twice"),)), self._speaker.reader(interaction))
            return False
        return await self._wishes.make(interaction, card_id, request, shown_u=shown_u, take=take, agreed=agreed)

    async def _run_of(self, interaction: discord.Interaction, about: list[str]) -> Run:
        return await self._admission.run_to_remake(about[0], _caller(interaction))

    def _take_of(self, interaction: discord.Interaction, run: Run) -> str | None:
        return None if run.member == _caller(interaction) else "yours"

    # Forms

    async def _open_form(self, interaction: discord.Interaction, verb: str, about: list[str]) -> None:
        """Open the form with what there is; Discord wants it as the first answer, so nothing comes before it."""
        await self._servers.check(interaction)
        take = None
        if verb == "edit":
            draft = await self._admission.draft_of(about[0], _caller(interaction))
            wish, take, source = draft.wish.request, draft.wish.take, "offer"
        else:
            run = await self._run_of(interaction, about)
            wish = replace(run.request, seed=seed_of(run) if verb == "seed" else None)
            take, source = self._take_of(interaction, run), "run"
        title = "form.title.yours" if take == "yours" else "form.title"
        name = render.form_id(source, about[0], interaction.id)
        await self._acknowledger.open(interaction, self._form(interaction, wish, name, title))

    async def open_with(self, interaction: discord.Interaction, message: discord.Message) -> None:
        """Open the form with the words of anybody's message, as far as it takes them. Raises NotHere."""
        await self._servers.check(interaction)
        longest = min(self._admission.prompt_max_chars, forms.INPUT_CHARS_MAX)
        prompt = strip_controls(message.content)[:longest]
        if is_blank(prompt):
            if await self._acknowledger.acknowledge(interaction, ephemeral=True) is not None:
                await show(interaction, View(lines=(text("menu.no_text"),)), self._speaker.reader(interaction))
            return
        name = render.form_id("new", str(message.id), interaction.id)
        await self._acknowledger.open(
            interaction, self._form(interaction, VeoRequest(prompt=prompt), name, "form.title.new")
        )

    def _form(self, interaction: discord.Interaction, wish: VeoRequest, name: str, title: str) -> discord.ui.Modal:
        return forms.form(
            wish,
            self._admission.prices,
            name=name,
            title=title,
            prompt_max_chars=self._admission.prompt_max_chars,
            words=self._speaker.reader(interaction),
        )

    async def _form_sent(self, interaction: discord.Interaction, custom_id: str) -> None:
        source = render.parse_form_id(custom_id)
        if source is None:
            return
        card_id = await self._acknowledger.acknowledge(interaction, ephemeral=True, update=_is_private(interaction))
        if card_id is None:
            return
        assert interaction.data is not None
        filled, problem, take = forms.read(interaction.data), None, None
        with suppress(StoreDown):  # then the wish is refused below, with the words that were typed
            if not await self._admission.is_pressed_first(custom_id, name_of(interaction.id), FORM_LIFE_S):
                problem = BadRequest("form.twice")
        with suppress(StoreDown, OfferGone):  # what was typed counts, also where what it was typed over is gone by now
            take = await self._take_of_source(interaction, *source)
        if problem := problem or filled.problem:
            await self._wishes.refuse(interaction, wish_of(interaction, card_id, filled.request, take), problem)
            return
        await self._wishes.make(interaction, card_id, filled.request, shown_u=filled.shown_u, take=take)

    async def _take_of_source(self, interaction: discord.Interaction, sort: str, about: str) -> str | None:
        """What a wish from a form is to the video that the form was filled from. Raises OfferGone."""
        if sort == "new":
            return None
        if sort == "run":
            return self._take_of(interaction, await self._run_of(interaction, [about]))
        return (await self._admission.draft_of(about, _caller(interaction))).wish.take

    async def _prompt(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """The whole prompt of a wish, to copy."""
        prompt = (await self._admission.draft_of(about[0], _caller(interaction))).wish.request.prompt
        file = discord.File(BytesIO(prompt.encode("utf-8", "replace")), "prompt.txt")
        await interaction.edit_original_response(attachments=[file])

    # Requests to the admins

    async def _ask(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
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
        self._front.keep_card(put.offer, reply_of(interaction, card_id), reply_until())
        await show(interaction, sent(put.offer), self._speaker.reader(interaction))

    async def _approve(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        _require_admin(interaction)
        admin = await self._servers.admin(interaction)
        try:
            asked = await self._admission.request_of(about[0], admin)
            roles = await self._roles_of(interaction, asked)
            card = self._front.card_of(asked)
            offer = await self._admission.approve(about[0], admin, _number(about, 1), roles, card)
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

    async def _deny(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
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

    # What is said about a run, and taken back

    async def _cancel(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """A member takes back a wish that waits in line; its card says so."""
        run = await self._admission.cancel(about[0], _caller(interaction))
        async with self._cards.alone(str(reply_of(interaction, card_id))):  # after an edit that still says "in line"
            view = card(run, await self._admission.standings(Spender.of(run)), self._admission.prices)
            await show(interaction, view, self._speaker.reader(interaction))

    async def _receipt(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """What a run cost, for its member, and for who may manage the server where it was asked for."""
        run = await self._concerning(interaction, about)
        await show(interaction, receipt(run), self._speaker.reader(interaction))

    async def _details(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """Why there is no video, for the same."""
        run = await self._concerning(interaction, about)
        view = details(run, self._admission.prices, own=run.member == _caller(interaction))
        await show(interaction, view, self._speaker.reader(interaction))

    async def _concerning(self, interaction: discord.Interaction, about: list[str]) -> Run:
        """The run, for those whom it concerns. Raises NotAllowed for anybody else."""
        server = None
        if interaction.permissions.manage_guild:
            with suppress(NotHere, CannotTell):  # then only as its member
                await self._servers.check(interaction)
                server = name_of(interaction.guild_id)
        return await self._admission.receipt_of(about[0], member=_caller(interaction), server=server)

    async def _delete(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """Delete the message, for its member and for people who can manage messages there."""
        server = name_of(interaction.guild_id) if interaction.permissions.manage_messages else None
        try:
            run = await self._admission.receipt_of(about[0], member=_caller(interaction), server=server)
        except NotAllowed:
            if server is None:
                raise NotAllowed("delete.not_yours") from None
        else:
            if run.delivery == Delivery.SENDING:  # it would be missed, and posted again
                raise NotAllowed("delete.too_soon")
        assert interaction.message is not None, "a press has its message"
        try:
            await interaction.message.delete()
        except NETWORK_ERRORS as error:
            if not (isinstance(error, discord.NotFound) and error.code == _UNKNOWN_MESSAGE):
                log.warning("message not deleted", interaction=interaction.id, error=type(error).__name__)
                raise NotAllowed("delete.failed") from None
        await show(interaction, View(lines=(text("deleted"),)), self._speaker.reader(interaction))


def use_as_prompt(presses: Presses) -> app_commands.ContextMenu:
    """The entry in the context menu of every message; it needs no intent to read that one message's content."""
    menu = app_commands.ContextMenu(name="Use as /veo prompt", callback=presses.open_with)
    return app_commands.guild_only(app_commands.allowed_installs(guilds=True, users=False)(menu))


def _caller(interaction: discord.Interaction) -> str:
    return name_of(interaction.user.id)


def _is_private(interaction: discord.Interaction) -> bool:
    """Whether what was pressed, or led to a form, is shown to the caller alone."""
    return interaction.message is not None and interaction.message.flags.ephemeral


def _number(about: list[str], place: int) -> int | None:
    """A number in a button's name; None where there is none."""
    return int(about[place]) if about[place:] and about[place].isdecimal() else None


def _require_admin(interaction: discord.Interaction) -> None:
    if not interaction.permissions.manage_guild:
        raise NotAllowed("request.admins_only")


async def _reply_privately(interaction: discord.Interaction, sentence: Text, words: Words) -> None:
    """Tell the caller alone; what the button stands under stays as it is."""
    try:
        if interaction.response.is_done():
            await interaction.followup.send(words.say(sentence), ephemeral=True)
        else:
            await interaction.response.send_message(words.say(sentence), ephemeral=True)
    except NETWORK_ERRORS as error:
        log.warning("reply not sent to the member", interaction=interaction.id, error=type(error).__name__)
