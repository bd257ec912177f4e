"""Puts progress and the finished video before members: `bot.ports.Front` on Discord.

The interaction token is used for the card alone; everything that must arrive is an ordinary message of the
bot, with a nonce fixed by the run and a button by which it is found again before it is repeated.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import discord

from bot.domain.limits import Over, Standing
from bot.domain.prices import PriceTable
from bot.domain.queue import Turn
from bot.domain.records import Link, Offer
from bot.domain.runs import Notice, Run
from bot.domain.video_files import MP4, VideoFormat
from bot.errors import HistoryClosed, PlaceClosed, PlaceGone, PostFailed, PostRefused, TooLarge
from bot.facts import Named, text
from bot.log import get_logger
from bot.media import format_of
from bot.texts import Words
from bot.views import View
from bot.views.runs import card, marks, notice
from bot.views.wishes import decided, denied, request
from cogs import render
from cogs.context import Speaker
from cogs.ids import Reply, message_ids, message_name, number_of

log = get_logger("veo.discord")

# Discord docs, Opcodes and Status Codes: unknown channel, server, user
_GONE = frozenset({10003, 10004, 10013})
# No access, closed messages, no permission, archived, no server in common, locked.
_CLOSED = frozenset({50001, 50007, 50013, 50083, 50278, 160005})
# Too fast, in several ways, and overloaded; 0: no word of Discord's own, as from a page in between.
_OF_THE_MOMENT = frozenset({0, 20016, 20022, 20028, 20029, 40003, 40062, 130000})
_TOO_FAST = 40003  # opening direct messages too fast: a verdict on the moment, not on the member
_TOO_LARGE = frozenset({40005, 50045})
_UNKNOWN_MESSAGE = 10008
NOBODY = discord.AllowedMentions.none()
# What the library raises of an answer that is not Discord's; and what a fault of ours raises, see `is_ours`.
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
NETWORK_ERRORS = (
    *(aiohttp.ClientError, TimeoutError, OSError, discord.RateLimited, discord.DiscordException),
    *UNREADABLE,
)
_OURS, _THEIRS = ("bot", "cogs", "storage"), ("discord", "aiohttp")
# Where the library looks at what it is to send (discord.py 2.7): in the call itself, and in what makes the request.
_TAKES = (["send"], ["edit"], ["edit_message"])
_MAKES = frozenset({"handle_message_parameters", "_to_json"})


def nonce_of(run: Run) -> str:
    """The same 25 characters for every try to post this notice there (Discord docs, Create Message)."""
    home = "|direct" if run.direct else ""
    digest = hashlib.sha256(f"{run.run_id}|{run.notice}{home}".encode()).digest()
    return base64.b32encode(digest).decode().lower()[:25]


class DiscordFront:
    """Edits cards and posts messages by REST; needs a logged-in client, not a gateway connection."""

    repeat_s = 120.0  # "the past few minutes" in which Discord sees the nonce of a repeat (docs, Create Message)

    def __init__(self, client: discord.Client, speaker: Speaker, prices: PriceTable) -> None:
        self._client = client
        self._speaker = speaker
        self._prices = prices
        self._request_cards: dict[str, tuple[Reply, float]] = {}  # of requests, by their ids, while they can be edited

    async def show_progress(
        self, run: Run, standings: Sequence[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None:
        """Edit the card. A dead token or a dismissed card is no fault: the end is posted in the channel."""
        if run.reply_to is None:
            return
        try:
            view = card(run, standings, self._prices, turn, last=last)
            await self._edit(Reply.parse(run.reply_to), view, run.locale)
        except NETWORK_ERRORS as error:
            log_trouble(logging.INFO, f"card not updated run={run.run_id}", error)

    async def _edit(self, reply: Reply, view: View, locale: str | None) -> None:
        """Show a view as a card in the place of what stood there, also of an embed of the version before."""
        webhook = discord.Webhook.partial(reply.application_id, reply.token, client=self._client)
        await self._speaker.prepare(locale)
        made = render.card(view, self._speaker.of(locale))
        await webhook.edit_message(  # type: ignore[call-overload] # its types know no change from an embed to a card
            reply.message_id, content=None, embeds=[], view=made, allowed_mentions=NOBODY
        )

    async def find(self, run: Run) -> str | None:
        """See `bot.ports.Front.find`: our own message with the notice's buttons.

        That it is not there is said only where others would be: Discord answers an empty history for want of a
        permission, too (docs, Get Channel Messages).
        """
        asked = discord.Object(number_of(run.origin))  # by Discord's own ids, for its clock is not ours
        empty = True
        try:
            channel = await self._place_of(run)
            async for message in channel.history(after=asked, limit=None, oldest_first=False):
                empty = False
                if self._is_notice(message, run):
                    return _named(message)
        except NETWORK_ERRORS as error:
            trouble = _trouble(error)
            raise PostFailed(str(trouble)) if isinstance(trouble, PostRefused) else trouble from error
        if empty and not self._shows_history(run):
            raise HistoryClosed("nothing is shown, and Read Message History is missing or not known yet")
        return None

    def _is_notice(self, message: discord.Message, run: Run) -> bool:
        """Whether it is the run's: anybody may write what looks like one, so it is to be our own."""
        assert self._client.user is not None
        if message.author.id != self._client.user.id:
            return False
        rows = [row for row in message.components if isinstance(row, discord.ActionRow)]
        names = {getattr(each, "custom_id", None) for row in rows for each in row.children}
        return names.issuperset(map(render.custom_id_of, marks(run))) or message.content.rstrip().endswith(
            _old_markers(run)
        )

    async def prepare(self, run: Run, clip: Path | Link | None) -> str:
        """See `bot.ports.Front.prepare`: the handle is the nonce; in the channel the notice is known by its buttons."""
        await self._speaker.prepare(run.locale, run.place_locale)
        return nonce_of(run)

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        """See `bot.ports.Front.post`: an ordinary message with a nonce fixed by the run and its notice."""
        try:
            nonce = handle.partition("\n")[0]  # the version before this one kept the last line below it
            return _named(await self._send(await self._place_of(run), run, clip, nonce))
        except discord.NotFound as error:
            if error.code == _UNKNOWN_MESSAGE:  # the nonce's message exists no more: posted, and then deleted
                return message_name(number_of(run.channel), "deleted")
            raise _trouble(error) from error
        except NETWORK_ERRORS as error:
            raise _trouble(error) from error

    async def _place_of(self, run: Run) -> discord.abc.Messageable:
        """Where the notice goes: the channel of the wish, or its member's direct messages."""
        if run.direct:
            try:
                return await self._client.create_dm(discord.Object(number_of(run.member)))
            except discord.HTTPException as error:
                if error.status in (400, 403, 404) and error.code not in (0, _TOO_FAST):  # no such user any more
                    raise PlaceGone(_said(error)) from error
                raise
        return self._client.get_partial_messageable(number_of(run.channel))

    def _shows_history(self, run: Run) -> bool:
        """Whether we may read there, as far as the gateway told of the channel, or of a thread's parent.

        Before it did, right after a start, nobody knows; of an archived thread it tells nothing at all.
        """
        if run.direct:
            return True
        channel = self._client.get_channel(number_of(run.budget_channel))
        if not isinstance(channel, discord.abc.GuildChannel) or channel.guild.me is None:
            return False
        return channel.permissions_for(channel.guild.me).read_message_history

    async def _send(
        self, channel: discord.abc.Messageable, run: Run, clip: Path | Link | None, nonce: str
    ) -> discord.Message:
        caller_only = discord.AllowedMentions(
            everyone=False, roles=False, replied_user=False, users=[discord.Object(number_of(run.member))]
        )
        if not isinstance(clip, Path):
            content, view = self._message(run, clip, MP4)
            return await channel.send(content, nonce=nonce, allowed_mentions=caller_only, view=view)
        file, video_format = await asyncio.to_thread(_opened, clip, run)
        try:
            content, view = self._message(run, clip, video_format)
            return await channel.send(content, file=file, nonce=nonce, allowed_mentions=caller_only, view=view)
        finally:
            file.close()

    def _message(self, run: Run, clip: Path | Link | None, video_format: VideoFormat) -> tuple[str, discord.ui.View]:
        """The message in the channel; whatever goes wrong with its words, the member gets the video."""
        words = self._words(run)
        link = clip if isinstance(clip, Link) else None
        try:
            view = notice(run, self._prices, link=link, lost=clip is None, video_format=video_format)
            content = render.content(view, words)
            if len(content) > render.MESSAGE_CHARS_MAX:
                view = notice(run, self._prices, link=link, lost=False, video_format=video_format, link_fits=False)
                content = render.content(view, words)
            buttons = render.buttons(view, words)
        except Exception:
            log.exception("fault of ours: no words for the message", run=run.run_id)
            fault = text("notice.fault", member=Named(f"member:{run.member}"))
            content = words.say(fault) + (f" {link.url}" if link is not None else "")
            buttons = render.buttons(View(actions=marks(run)), words)
        assert buttons is not None, "a notice is known by its buttons"
        return content, buttons

    async def put_request(self, channel: str, offer: Offer, over: Sequence[Over]) -> str:
        """Put a member's request before the admins, once within some minutes; the message's name. Raises PostFailed."""
        admins = self._client.get_partial_messageable(number_of(channel))
        await self._speaker.prepare(offer.wish.place_locale)
        content, buttons = self._shown(request(offer, over), offer)
        assert buttons is not None, "a request can be answered"
        try:
            return _named(await admins.send(content, nonce=offer.offer_id, view=buttons, allowed_mentions=NOBODY))
        except NETWORK_ERRORS as error:
            if is_ours(error):
                raise
            raise PostFailed(_said(error)) from error

    async def show_replaced(self, offer: Offer) -> None:
        """Take the buttons from a request in whose place another has come, as far as its message can be had."""
        if offer.message is None:
            return
        channel_id, message_id = message_ids(offer.message)
        message = self._client.get_partial_messageable(channel_id).get_partial_message(message_id)
        try:
            await message.edit(content=self._shown(decided(offer), offer)[0], view=None, allowed_mentions=NOBODY)
        except NETWORK_ERRORS as error:  # a press of them is told so
            log_trouble(logging.INFO, f"replaced request not changed offer={offer.offer_id}", error)

    def keep_card(self, offer: Offer, reply: Reply, until: float) -> None:
        """Remember where a member sees that the admins have the request, for as long as that can be edited."""
        now = time.time()
        self._request_cards = {name: kept for name, kept in self._request_cards.items() if kept[1] > now}
        self._request_cards[offer.offer_id] = (reply, until)

    def card_of(self, offer: Offer) -> tuple[str, float] | None:
        """Where the member of a request sees what becomes of it, and until when; None where that is not known now."""
        reply, until = self._request_cards.get(offer.offer_id, (None, 0.0))
        return None if reply is None or until <= time.time() else (str(reply), until)

    async def tell_denied(self, offer: Offer) -> None:
        """See `bot.ports.Front.tell_denied`: on the card, else in direct messages."""
        view, locale = denied(offer), offer.wish.locale
        card, _ = self._request_cards.get(offer.offer_id, (None, 0.0))  # kept: Discord may tell of a press twice
        try:
            if card is not None:
                await self._edit(card, view, locale)
                return
        except NETWORK_ERRORS as error:
            log_trouble(logging.INFO, f"card not updated offer={offer.offer_id}", error)
        try:
            direct = await self._client.create_dm(discord.Object(number_of(offer.wish.member)))
            nonce = f"no-{offer.offer_id}"
            words = self._speaker.of(locale)
            view = replace(view, actions=tuple(each for each in view.actions if each.verb == "prompt"))
            buttons = render.buttons(view, words) or discord.utils.MISSING
            await direct.send(render.content(view, words), nonce=nonce, view=buttons, allowed_mentions=NOBODY)
        except NETWORK_ERRORS as error:
            log_trouble(logging.WARNING, f"a denial could not be told offer={offer.offer_id}", error)

    def _words(self, run: Run) -> Words:
        """For those who read the run's notice: everybody in its place, or its member alone."""
        return self._speaker.of(run.locale if run.direct else run.place_locale)

    def _shown(self, view: View, offer: Offer) -> tuple[str, discord.ui.View | None]:
        """A view for a channel of the server, as the text of a message with its buttons."""
        words = self._speaker.of(offer.wish.place_locale)
        content = render.cut(render.content(view, words), render.MESSAGE_CHARS_MAX, words)[0]
        return content, render.buttons(view, words)

    async def posted_clip(self, run: Run) -> tuple[str, str] | None:
        """Jump link and freshly signed address of the clip in its message; None where it is no longer there."""
        if run.message is None or run.message.endswith("/deleted"):
            return None
        channel_id, message_id = message_ids(run.message)
        try:
            message = await self._client.get_partial_messageable(channel_id).fetch_message(message_id)
        except NETWORK_ERRORS as error:
            log_trouble(logging.INFO, f"message not found again run={run.run_id}", error)
            return None
        for attachment in message.attachments:
            if attachment.filename.rpartition(".")[0].endswith(run.run_id):
                home = "@me" if run.direct else number_of(run.server)
                jump = f"https://discord.com/channels/{home}/{channel_id}/{message_id}"
                return jump, attachment.url
        return None


def _opened(clip: Path, run: Run) -> tuple[discord.File, VideoFormat]:
    """The clip as it is to be sent, and what kind of file it is."""
    video_format = format_of(clip)
    return discord.File(clip, filename=video_format.file_name(run.posted_name)), video_format


def _old_markers(run: Run) -> tuple[str, ...]:
    """The last line of a notice of the versions before this one, by which it was known then."""
    kind = run.notice or Notice.RESULT
    first = {Notice.UNKNOWN: " · unknown", Notice.OVERDUE: " · overdue"}.get(kind, "")
    later = {Notice.UNKNOWN: " · not sure yet", Notice.OVERDUE: " · overdue"}.get(kind, "")
    kept = (run.post_handle or "").partition("\n")[2]  # as it was posted, in whichever language
    lines = (f"Run `{run.run_id}`{first}", f"Video `{run.run_id}`{later}", *([kept] if kept else []))
    return tuple(f"-# {line}" for line in lines)


def _named(message: discord.Message) -> str:
    return message_name(message.channel.id, message.id)


def is_too_large(error: discord.HTTPException) -> bool:
    """Whether Discord refused a file for its size; the edge may say so without a code."""
    return error.status == 413 or error.code in _TOO_LARGE


def _trouble(error: BaseException) -> TooLarge | PlaceGone | PlaceClosed | PostRefused | PostFailed:
    """What a failed call means for the delivery."""
    if is_ours(error):  # nothing was sent, and the next try would end no other way
        log.error("fault of ours: a message cannot be made", exc_info=error)
        return PostRefused(f"a fault of ours ({_said(error)})")
    if isinstance(error, discord.HTTPException):
        if is_too_large(error):
            return TooLarge(_said(error))
        if error.code in _GONE:
            return PlaceGone(_said(error))
        if error.code in _CLOSED:
            return PlaceClosed(_said(error))
        if 400 <= error.status < 500 and error.status not in (401, 429) and error.code not in _OF_THE_MOMENT:
            return PostRefused(_said(error))
    return PostFailed(_said(error))


def is_ours(error: BaseException) -> bool:
    """Whether we stumbled, or the library over what we gave it to send, and not the library over an answer."""
    if not isinstance(error, UNREADABLE) or isinstance(error, (aiohttp.ClientError, discord.DiscordException)):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    places = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames]
    last = next((place for place in reversed(places) if place in _OURS + _THEIRS), None)
    names = [frame.f_code.co_name for frame in frames]
    return last in _OURS or names[-1:] in _TAKES or not _MAKES.isdisjoint(names)


def log_trouble(level: int, what: str, error: BaseException) -> None:
    """Log what has failed and needs no other answer; a fault of ours with its trace."""
    if is_ours(error):
        log.error("fault of ours", what=what, exc_info=error)
    else:
        log.log(level, what, reason=_said(error))


def _said(error: BaseException) -> str:
    """What went wrong without the address it happened at, which may hold a token."""
    if isinstance(error, discord.HTTPException):
        return f"HTTP {error.status} code {error.code} {error.text[:300]}".rstrip()
    return type(error).__name__
