"""Discord's ids as the opaque names that the rest of the program knows, and back: `discord:123`."""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = "discord:"


def name_of(number: int | None) -> str:
    """The name of a member, server, channel, role or interaction."""
    return f"{_PREFIX}{number}"


def number_of(name: str) -> int:
    """The Discord id in one of our names; a scope such as `channel:discord:123` counts as one."""
    return int(name.rpartition(":")[2])


def message_name(channel_id: int, message_id: int | str) -> str:
    """The name of a message: `discord:<channel>/<message>`."""
    return f"{_PREFIX}{channel_id}/{message_id}"


def message_ids(name: str) -> tuple[int, int]:
    """Channel and message in the name of one."""
    channel_id, message_id = name.removeprefix(_PREFIX).split("/")
    return int(channel_id), int(message_id)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Where a card is edited: the application, the card's message and the interaction's token, which has no colon."""

    application_id: int
    message_id: int
    token: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.application_id}:{self.message_id}:{self.token}"

    @classmethod
    def parse(cls, text: str) -> Reply:
        """The reply in its name."""
        _, application_id, message_id, token = text.split(":", 3)
        return cls(application_id=int(application_id), message_id=int(message_id), token=token)
