"""In which servers `/veo` works, and who rules what: the operator pays, so the operator chooses."""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot.administration import Administration
from bot.errors import Refusal


class NotHere(Refusal):
    """The operator has not switched this server on."""


class Servers:
    """The choice of `DISCORD_SERVERS`, empty meaning the servers of the application's owner, and those added later."""

    def __init__(self, chosen: Sequence[str], administration: Administration) -> None:
        self._chosen = frozenset(chosen)
        self._administration = administration

    async def check(self, interaction: discord.Interaction) -> None:
        """Raise NotHere where `/veo` is not switched on."""
        if interaction.guild_id is None:  # Discord offers it in servers only; what it sends is checked all the same
            raise NotHere("`/veo` works in servers only. Nothing was charged.")
        if "*" in self._chosen or str(interaction.guild_id) in self._chosen:
            return
        if not self._chosen and await _owned(interaction):
            return
        if await self._administration.is_on(f"discord:{interaction.guild_id}"):
            return
        raise NotHere(
            "This bot is not switched on in this server. Whoever runs it can do that here with "
            f"`/veo-admin bot server`, or by adding {interaction.guild_id} to DISCORD_SERVERS. Nothing was charged."
        )


async def runs_the_bot(interaction: discord.Interaction) -> bool:
    """Whether the caller is the application's owner or in its team."""
    client = interaction.client
    application = client.application or await client.application_info()
    if application.team:
        return interaction.user.id in {member.id for member in application.team.members}
    return interaction.user.id == application.owner.id


async def _owned(interaction: discord.Interaction) -> bool:
    client = interaction.client
    assert interaction.guild_id is not None
    server = client.get_guild(interaction.guild_id) or await client.fetch_guild(interaction.guild_id)
    application = client.application or await client.application_info()
    owner = application.team.owner_id if application.team else application.owner.id
    return server.owner_id == owner
