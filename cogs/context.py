"""What the commands share about an interaction: who asks and where, what the bot may do there, in which language."""

from __future__ import annotations

import asyncio
import time

import discord

from bot.domain.limits import Spender
from bot.errors import Refusal
from bot.texts import Languages, Words
from cogs.ids import Reply, name_of
from cogs.render import MARKUP

TOKEN_LIFE_S = 900.0  # Discord docs, Receiving and Responding
LOCALE_CHARS_MAX = 35  # the longest that has to be kept whole (RFC 5646, 4.4.1)
NEEDED = ("view_channel", "send_messages", "attach_files", "embed_links", "read_message_history")


class Speaker:
    """The words for a reader: in the language of their Discord, or of their server for all to see."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages

    def reader(self, interaction: discord.Interaction) -> Words:
        """For the caller alone."""
        return self.of(language_of(interaction.locale))

    def of(self, locale: str | None) -> Words:
        """For a locale as Discord writes it; English where it is not known."""
        return self._languages.words(locale, MARKUP)

    def expect(self, interaction: discord.Interaction) -> None:
        """Begin to load what its answers need, in another thread: until it is acknowledged, that may be done."""
        for locale in {language_of(interaction.locale), language_of(interaction.guild_locale)}:
            if not self._languages.is_loaded(locale):
                asyncio.get_running_loop().run_in_executor(None, self._languages.load, locale)

    async def prepare(self, *locales: str | None) -> None:
        """Load what these need, while the loop does other work."""
        for locale in locales:
            if not self._languages.is_loaded(locale):
                await asyncio.to_thread(self._languages.load, locale)


def spender_of(interaction: discord.Interaction) -> Spender:
    """Who asks and where; a thread spends what its channel may."""
    channel = interaction.channel
    place = channel.parent_id if isinstance(channel, discord.Thread) else interaction.channel_id
    return Spender(
        member=name_of(interaction.user.id),
        server=name_of(interaction.guild_id),
        channel=name_of(place),
        roles=roles_of(interaction, interaction.user),
    )


def roles_of(interaction: discord.Interaction, user: discord.User | discord.Member) -> tuple[str, ...]:
    """The roles of somebody in the interaction's server as it says them, with everybody's, named as the server is.

    Not `Member.roles`: that leaves out what the gateway has not told of, which is all of a server until its
    GUILD_CREATE, and limits by role would not bind.
    """
    if not isinstance(user, discord.Member) or interaction.guild_id is None:
        return ()
    return tuple(name_of(number) for number in sorted({interaction.guild_id, *user._roles}))


def language_of(locale: discord.Locale | None) -> str | None:
    """A language as Discord names it, such as `pt-BR`, also one that the library does not know yet."""
    name: object = None if locale is None else locale.value
    return name if isinstance(name, str) and name.isascii() and len(name) <= LOCALE_CHARS_MAX else None


def reply_until() -> float:
    """Until when a card can be edited whose interaction has just come: by our clock, which may not be Discord's."""
    return time.time() + TOKEN_LIFE_S


def reply_of(interaction: discord.Interaction, message_id: int) -> Reply:
    """Where the card of this interaction is edited."""
    return Reply(application_id=interaction.application_id, message_id=message_id, token=interaction.token)


class CannotPost(Refusal):
    """The bot may not do here what posting the video takes."""


def check_permissions(interaction: discord.Interaction) -> None:
    """Refuse before anything is paid where the finished video could not be posted. Raises CannotPost."""
    if interaction.channel is None:  # of a kind that the library does not know yet
        raise CannotPost("place.kind")
    granted = interaction.app_permissions
    needed = list(NEEDED)
    if isinstance(interaction.channel, discord.Thread):
        needed[needed.index("send_messages")] = "send_messages_in_threads"
    missing = [name for name in needed if not getattr(granted, name)]
    if missing:
        names = ", ".join(name.replace("_", " ").replace("guild", "server").title() for name in missing)
        raise CannotPost("place.permissions", permissions=names)


def invite_link(application_id: int) -> str:
    """The address with which an admin adds the bot to a server, asking for no more than it needs."""
    needed: dict[str, bool] = dict.fromkeys((*NEEDED, "send_messages_in_threads"), True)
    return discord.utils.oauth_url(
        application_id, permissions=discord.Permissions(**needed), scopes=("bot", "applications.commands")
    )
