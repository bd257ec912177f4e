"""Descriptions of commands, options and choices, from the messages: in English for the decorators, then translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from discord import app_commands

from bot.domain.languages import LANGUAGES
from bot.texts.commands import Translations
from bot.texts.messages import MESSAGES

Decorated = TypeVar("Decorated")
Payload = dict[str, Any]

AUTOMATIC = "automatic"  # the choice beside the languages


def description(key: str) -> str:
    """What a command does, in English."""
    return _english(f"command.{key}")


def _english(key: str) -> str:
    message = MESSAGES[key]
    assert isinstance(message, str), key
    return message


def options(command: str, *names: str, **shared: str) -> Callable[[Decorated], Decorated]:
    """Describe a command's options by their names; `shared`: an option whose words another command has, by its key."""
    keys = {name: f"{command}.{name}" for name in names} | shared
    return app_commands.describe(**{name: description(key) for name, key in keys.items()})


def language_choices() -> list[app_commands.Choice[str]]:
    """Every language by its own name, and the choice of none."""
    automatic = app_commands.Choice(name=_english("choice.automatic"), value=AUTOMATIC)
    return [automatic, *(app_commands.Choice(name=name, value=locale) for locale, name in LANGUAGES.items())]


def localized(command: Payload, translations: Translations) -> Payload:
    """What we register of a command, with its descriptions and choices in every language; names stay as they are."""
    made = dict(command)
    if said := translations.get(command.get("description", "")):
        made["description_localizations"] = said
    if choices := command.get("choices"):
        made["choices"] = [
            {**each, "name_localizations": said} if (said := translations.get(each["name"])) else each
            for each in choices
        ]
    if parts := command.get("options"):
        made["options"] = [localized(part, translations) for part in parts]
    return made


def agrees(ours: object, theirs: object) -> bool:
    """Whether a registered command says what ours does; absent, null, false and empty say the same."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return all(agrees(_of(ours, key), _of(theirs, key)) for key in _COMPARED)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(agrees, ours, theirs))
    if isinstance(ours, int) and isinstance(theirs, str):  # permissions are sent as a number and stored as its digits
        return str(ours) == theirs
    return ours == theirs or (_says_nothing(ours) and _says_nothing(theirs))


def _of(said: Mapping[str, Any], key: str) -> object:
    """One of the compared parts; of translations those that differ from what they translate, for Discord drops others.

    They are compared as a list: they are of any language.
    """
    default = said.get(key.removesuffix("_localizations"))
    found = said.get(key)
    if not key.endswith("_localizations") or not isinstance(found, Mapping):
        return found
    return sorted([locale, words] for locale, words in found.items() if words != default)


def _says_nothing(value: object) -> bool:
    return value is None or value is False or value in ([], {}, "")


# What we send of a command, an option and a choice; Discord adds ids, versions and empty localizations of its own.
_COMPARED = (
    "name",
    "name_localizations",
    "value",
    "description",
    "description_localizations",
    "type",
    "options",
    "choices",
    "channel_types",
    "required",
    "min_value",
    "max_value",
    "min_length",
    "max_length",
    "autocomplete",
    "contexts",
    "integration_types",
    "default_member_permissions",
    "nsfw",
)
