"""Shows members what they made, and posts it again: for the commands, and for what is pressed below their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import discord
from discord.ext import commands

from bot.domain.prices import PriceTable
from bot.domain.records import Wanted
from bot.domain.runs import Run
from bot.errors import ClipUnavailable, NotAllowed, OfferGone, Refusal, Unreadable
from bot.facts import Moment, text
from bot.media import format_of
from bot.services.admission import Admission
from bot.services.delivery import Deliverer
from bot.services.finder import Finder
from bot.texts import Words
from bot.views import ActionVerb, View
from bot.views.account import history, turned
from bot.views.runs import shown_again
from bot.views.wishes import not_made, still_open
from cogs import render
from cogs.answers import show
from cogs.context import Speaker, check_permissions, spender_of
from cogs.front import NOBODY, DiscordFront, is_too_large
from cogs.ids import name_of
from cogs.presses import Act
from cogs.servers import Servers

SHOWS, SHOWS_PER_S = 2, 30.0  # so many videos may one member post again in that time


class TooOften(Refusal):
    """The member has posted as many as may be posted in a while."""


class Finding:
    """Every way to find something again leads through here, so all have the same checks and answers."""

    def __init__(
        self,
        *,
        admission: Admission,
        finder: Finder,
        deliverer: Deliverer,
        servers: Servers,
        front: DiscordFront,
        speaker: Speaker,
    ) -> None:
        self._admission = admission
        self._finder = finder
        self._deliverer = deliverer
        self._servers = servers
        self._front = front
        self._speaker = speaker
        self._prices: PriceTable = admission.prices
        self._cooldown = commands.CooldownMapping[discord.Interaction].from_cooldown(
            SHOWS, SHOWS_PER_S, lambda interaction: interaction.user.id
        )

    @property
    def acts(self) -> Mapping[ActionVerb, Act]:
        """What is done where a press asks for it."""
        return {"history": self._turn, "show": self._pick, "open": self._open}

    # What was made

    async def show_history(self, interaction: discord.Interaction, wanted: Wanted) -> None:
        """Answer with a page of a member's runs. Raises a Refusal where the caller may not see them here."""
        await self._servers.check(interaction)
        own = wanted.member == name_of(interaction.user.id)
        if not own:
            if not interaction.permissions.manage_guild:
                raise NotAllowed("history.admins_only")
            wanted = replace(wanted, server=name_of(interaction.guild_id))
        view = history(await self._finder.page(wanted), wanted, own=own)
        await show(interaction, view, self._speaker.reader(interaction))

    async def _turn(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """To another page."""
        wanted = turned(about)
        if wanted is None:
            raise OfferGone("press.unknown")
        await self.show_history(interaction, wanted)

    # What waits for an answer

    async def _open(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """Put a question once more, with all that can be pressed below it."""
        await self._servers.check(interaction)
        offer = await self._admission.draft_of(about[0], name_of(interaction.user.id))
        if self._admission.is_open(offer):
            standings = await self._admission.standings(offer.wish.spender)
            view = still_open(offer, standings[-1])
        else:
            view = not_made(offer, text("question.expired"), self._prices)
        await show(interaction, view, self._speaker.reader(interaction))

    # Posting again

    async def _pick(self, interaction: discord.Interaction, card_id: int, about: list[str]) -> None:
        """Post what was picked from a menu."""
        assert interaction.data is not None
        picked = interaction.data.get("values")
        await self.post(interaction, str(picked[0]) if isinstance(picked, list) and picked else "")

    async def post(self, interaction: discord.Interaction, named: str) -> None:
        """Post one of the caller's videos again; the caller alone hears of anything else."""
        words = self._speaker.reader(interaction)
        try:
            locale = await self._check_place(interaction)
            found = await self._finder.video(name_of(interaction.user.id), named)
            self._cool_down(interaction)
            answer = text("show.posted")
            if not await self._admission.is_first(name_of(interaction.id), answer.key):
                return  # Discord told of it twice, and the first is on its way
            # What is sent first after the answer would be shown in its place, to the caller alone: so this is.
            await show(interaction, View(lines=(text("show.soon"),)), words)
            await self._post(interaction, found, locale)
        except Refusal as refusal:
            answer = refusal.text
        except FileNotFoundError:
            answer = text("show.cleared")
        except Unreadable:
            answer = text("show.unreadable")
        except ClipUnavailable:
            answer = text("show.gone")
        await show(interaction, View(lines=(answer,)), words)

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

    async def _post(self, interaction: discord.Interaction, run: Run, locale: str | None) -> None:
        """Post the message that is still there, freshly signed; else the clip anew, as a file or as a link."""
        words = self._speaker.of(locale)  # everybody reads it
        if posted := await self._front.posted_clip(run):
            await _send(interaction, shown_again(run, self._prices, posted=posted), words)
            return
        async with self._deliverer.shown(run, interaction.filesize_limit) as path:
            if path is not None and await self._attach(interaction, run, path, words):
                return
            link = await self._deliverer.link(run)
            view = shown_again(run, self._prices, link=link)
            if len(render.content(view, words)) > render.MESSAGE_CHARS_MAX:
                view = shown_again(run, self._prices, link=link, link_fits=False)
            await _send(interaction, view, words)

    async def _attach(self, interaction: discord.Interaction, run: Run, path: Path, words: Words) -> bool:
        """Whether Discord takes the clip as a file here."""
        video_format = await asyncio.to_thread(format_of, path)
        view = shown_again(run, self._prices, video_format=video_format)
        with path.open("rb") as opened:
            try:
                file = discord.File(opened, filename=video_format.file_name(run.posted_name))
                await _send(interaction, view, words, file)
            except discord.HTTPException as error:
                if not is_too_large(error):
                    raise
                return False
        return True


async def _send(
    interaction: discord.Interaction, view: View, words: Words, file: discord.File = discord.utils.MISSING
) -> None:
    """A message for everybody, in answer to what the caller did."""
    buttons = render.buttons(view, words)
    assert buttons is not None, "a video can be made anew"
    content = render.content(view, words)
    await interaction.followup.send(content, file=file, view=buttons, allowed_mentions=NOBODY)
