"""Descriptions of commands and options, from the messages, for the decorators that register them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from discord import app_commands

from bot.texts.messages import MESSAGES

Decorated = TypeVar("Decorated")


def description(key: str) -> str:
    """What a command does, in English."""
    message = MESSAGES[f"command.{key}"]
    assert isinstance(message, str), key
    return message


def options(command: str, *names: str, **shared: str) -> Callable[[Decorated], Decorated]:
    """Describe a command's options by their names; `shared`: an option whose words another command has, by its key."""
    keys = {name: f"{command}.{name}" for name in names} | shared
    return app_commands.describe(**{name: description(key) for name, key in keys.items()})
