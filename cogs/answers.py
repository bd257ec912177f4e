"""Answers within what Discord takes: long texts whole as a file, and files as far as they fit."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import discord

from bot.texts import Words
from bot.views import View
from cogs import render
from cogs.front import NOBODY, is_too_large
from cogs.ids import name_of


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file of so many bytes for an answer."""

    name: str
    file: io.BufferedIOBase
    size: int

    def opened(self) -> discord.File:
        """The file from its beginning, for one try to send it."""
        self.file.seek(0)
        return discord.File(self.file, self.name)


def attachment(name: str, file: io.BufferedIOBase) -> Attachment:
    """What was written to the file."""
    return Attachment(name=name, file=file, size=file.seek(0, io.SEEK_END))


async def send(
    interaction: discord.Interaction,
    files: Sequence[Attachment],
    message: Callable[[Sequence[Attachment]], Mapping[str, Any]],
) -> None:
    """Give the answer with as many of its files as Discord takes, the largest left out first.

    `message` makes what the answer says beside the files that are left out.
    """
    limit = interaction.filesize_limit
    taken = [each for each in files if each.size <= limit]
    while True:
        said = message([each for each in files if each not in taken])
        try:
            await interaction.edit_original_response(**said, attachments=[each.opened() for each in taken])
        except discord.HTTPException as error:
            if not taken or not is_too_large(error):
                raise
            taken.remove(max(taken, key=lambda each: each.size))
        else:
            return


async def show(interaction: discord.Interaction, view: View, words: Words) -> None:
    """Show a view as a card for the caller alone, in place of whatever stood there."""
    await interaction.edit_original_response(
        content=None, embeds=[], attachments=[], view=render.card(view, words), allowed_mentions=NOBODY
    )


async def say(interaction: discord.Interaction, text: str, words: Words) -> None:
    """Give the answer in words: where they are too many for a message, whole lines of them, and all in a file."""
    shown, left = render.cut(text, render.MESSAGE_CHARS_MAX, words, "more_in_file")
    if not left:
        await interaction.edit_original_response(content=shown)
        return
    plain = render.unmarked(text, await names_in(interaction.client, interaction.guild_id))
    whole = attachment("veo-admin.txt", io.BytesIO(plain.encode("utf-8-sig")))
    cut, _ = render.cut(text, render.MESSAGE_CHARS_MAX, words, "more_too_large")
    await send(interaction, [whole], lambda left_out: {"content": cut if left_out else shown})


async def names_in(client: discord.Client, server_id: int | None) -> dict[str, str]:
    """What people call the roles and channels of a server, or of all, as far as the gateway has told of them."""
    names: dict[str, str] = {}
    for server in list(client.guilds):
        if server_id in (None, server.id):
            names |= {name_of(each.id): each.name for each in (*server.roles, *server.channels, *server.threads)}
            names[name_of(server.id)] = server.name  # not "@everyone", the role that has the server's id
            await asyncio.sleep(0)  # of thousands of servers nobody is to wait for
    return names
