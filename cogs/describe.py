"""Descriptions of commands and options, from the messages, for the decorators that register them, and translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import discord
from discord import app_commands

from bot.facts import text
from bot.texts import Words
from bot.texts.messages import COMMANDS, MESSAGES
from cogs.context import Speaker

Decorated = TypeVar("Decorated")

DESCRIPTION_CHARS_MAX = 100  # Discord docs, Application Command Structure


def description(key: str) -> str:
    """What a command does, in English."""
    message = MESSAGES[f"command.{key}"]
    assert isinstance(message, str), key
    return message


def options(command: str, *names: str, **shared: str) -> Callable[[Decorated], Decorated]:
    """Describe a command's options by their names; `shared`: an option whose words another command has, by its key."""
    keys = {name: f"{command}.{name}" for name in names} | shared
    return app_commands.describe(**{name: description(key) for name, key in keys.items()})


class Translations(app_commands.Translator):
    """The descriptions in every language that has a catalogue; Discord shows each member their own."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._words: dict[discord.Locale, Words] = {}
        described = {str(message): key for key, message in COMMANDS.items() if key.startswith("command.")}
        self._keys = described if len(speaker.languages()) > 1 else {}  # else there is only English

    async def translate(self, string: app_commands.locale_str, locale: discord.Locale, context: object) -> str | None:
        """Called by the library for each text and language; None: English stands for it."""
        key = self._keys.get(string.message)
        if key is None:
            return None
        if locale not in self._words:
            self._words[locale] = self._speaker.of(locale.value)
        said = self._words[locale].say(text(key))
        return said if said != string.message and len(said) <= DESCRIPTION_CHARS_MAX else None
