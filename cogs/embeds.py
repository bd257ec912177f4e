"""Embeds within what Discord takes, for any input."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from cogs import words

# Discord docs, Message, Embed Limits
TITLE_CHARS_MAX = 256
DESCRIPTION_CHARS_MAX = 4096
FIELD_CHARS_MAX = 1024
FIELD_CHARS_MIN = 64  # less room is not worth a field; ours
EMBED_CHARS_MAX = 6000

Field = tuple[str, str, bool]  # name, value, and whether others may stand beside it


def new_embed(
    *,
    title: str,
    description: str = "",
    fields: Sequence[Field] = (),
    colour: discord.Colour,
    footer: str | None = None,
) -> discord.Embed:
    """An embed that Discord takes, whatever is in it: what is too long is cut at whole lines, and says so."""
    embed = discord.Embed(
        title=title[:TITLE_CHARS_MAX],
        description=words.cut(description, DESCRIPTION_CHARS_MAX)[0],
        colour=colour,
    )
    if footer is not None:
        embed.set_footer(text=footer)
    for name, value, inline in fields:
        room = min(FIELD_CHARS_MAX, EMBED_CHARS_MAX - len(embed) - len(name))
        if room >= FIELD_CHARS_MIN:
            embed.add_field(name=name, value=words.cut(value, room)[0], inline=inline)
    return embed
