"""In which servers `/veo` works: the operator pays, so the operator chooses."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot.errors import Refusal


class NotHere(Refusal):
    """The operator has not switched this server on."""


class Servers:
    """The choice of `DISCORD_SERVERS`; empty means the servers owned by the application's owner."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self._chosen = frozenset(chosen)

    async def check(self, interaction: discord.Interaction) -> None:
        """Raise NotHere where `/veo` is not switched on."""
        if "*" in self._chosen or str(interaction.guild_id) in self._chosen:
            return
        if not self._chosen and interaction.guild_id is not None and await _owned(interaction):
            return
        raise NotHere(
            "This bot is not switched on in this server. Whoever runs it can do that by adding "
            f"{interaction.guild_id} to DISCORD_SERVERS. Nothing was charged."
        )


async def _owned(interaction: discord.Interaction) -> bool:
    client = interaction.client
    assert interaction.guild_id is not None
    server = client.get_guild(interaction.guild_id) or await client.fetch_guild(interaction.guild_id)
    application = client.application or await client.application_info()
    owner = application.team.owner_id if application.team else application.owner.id
    return server.owner_id == owner
