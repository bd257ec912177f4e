"""What Discord shows of commands in other languages: every description and choice, by its English words.

Made in a process that ends, for it takes every catalogue, and kept in little room by the bot, which needs it once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import cast

from bot.facts import Text, text
from bot.texts import PLAIN, Languages
from bot.texts.messages import COMMANDS, slot_of

Translations = Mapping[str, Mapping[str, str]]  # of English words, by Discord's name of the language

_DISCORD_NAMES = {"es": "es-ES"}  # which es-419 falls back to (Discord docs, Localization)


def pack_translations(languages: Languages, choices: Iterable[Text] = ()) -> bytes:
    """The translations of all that is shown of commands; `choices`: those whose names have figures.

    What reads as it does in English is left out, and what is too long: there the English stands.
    """
    if not languages.names:
        return b""
    english = languages.words(None, PLAIN)
    found: dict[str, dict[str, str]] = {}
    shown = [text(key) for key, message in COMMANDS.items() if "{" not in str(message)]
    for name in languages.names:
        words = languages.words(name, PLAIN)
        for each in (*shown, *choices):
            ours, said = english.say(each), words.say(each)
            if said != ours and len(said) <= slot_of(each.key).characters:
                found.setdefault(ours, {})[_DISCORD_NAMES.get(name, name)] = said
    return zlib.compress(json.dumps(found).encode())


def unpack_translations(packed: bytes) -> Translations:
    """What `pack_translations` made."""
    return cast("Translations", json.loads(zlib.decompress(packed))) if packed else {}
