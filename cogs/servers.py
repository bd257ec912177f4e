"""Who rules what: in which servers `/veo` works, and who owns the bot. The operator pays, so the operator chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import discord

from bot.domain.limits import EVERYWHERE
from bot.domain.records import Admin
from bot.errors import NotAllowed, Refusal
from bot.facts import Code, text
from bot.log import get_logger
from bot.services.administration import Administration
from cogs.context import language_of
from cogs.front import NETWORK_ERRORS
from cogs.ids import name_of

log = get_logger("veo.discord")

ASK_AGAIN_S = 300.0  # so long it counts who owned the application
# How Discord answers about a server in which the bot is not, with a code of its own: no such id, no access, unknown.
_NOT_IN_IT = frozenset({400, 403, 404})
_RULING = frozenset({discord.TeamMemberRole.admin, discord.TeamMemberRole.developer})


class NotHere(Refusal):
    """The operator has not switched this server on. Those who manage it are told how that is done."""

    def __init__(self, code: str, interaction: discord.Interaction | None = None) -> None:
        if interaction is not None and interaction.permissions.manage_guild:
            super().__init__(f"{code}.how", why=text(code), server=Code(str(interaction.guild_id)))
        else:
            super().__init__(code)


class CannotTell(Refusal):
    """Discord does not say now who owns what, so nothing is done on anybody's word."""

    def __init__(self, what: Literal["owner", "server"] = "owner") -> None:
        super().__init__(f"discord.{what}_unknown")


class Servers:
    """The choice of `DISCORD_SERVERS`, empty meaning the servers of the application's owner, and those added later."""

    def __init__(self, client: discord.Client, chosen: Sequence[str], administration: Administration) -> None:
        self._client = client
        self._chosen = frozenset(chosen)
        self._administration = administration
        self._application = client.application  # as the login was answered
        self._asked_at = asyncio.get_running_loop().time()
        self._asking = asyncio.Lock()

    async def check(self, interaction: discord.Interaction, *, now: bool = False) -> str | None:
        """Raise NotHere where `/veo` is not switched on. `now`: by what Discord says at this moment.

        The locale in which everybody there is told: what its admins chose, else what its Discord names.
        """
        if interaction.guild_id is None:  # Discord offers it in servers only; what it sends is checked all the same
            raise NotHere("server.none")
        place = await self._administration.place(name_of(interaction.guild_id))
        if place.switched is False:
            raise NotHere("server.off", interaction)
        if not place.switched and not await self.is_on_by_setting(interaction.guild_id, now=now):
            raise NotHere("server.not_on", interaction)
        return place.language or language_of(interaction.guild_locale)

    async def is_on_by_setting(self, server_id: int, *, now: bool = True) -> bool:
        """Whether `/veo` works there unless it is switched off: DISCORD_SERVERS names it, or its owner owns the bot.

        Raises CannotTell.
        """
        if self._chosen:
            return "*" in self._chosen or str(server_id) in self._chosen
        return await self._is_the_owners(server_id, now=now)

    async def name_of(self, server_id: int) -> str | None:
        """What people call a server in which the bot is; None where it is not. Raises CannotTell."""
        if (known := self._client.get_guild(server_id)) is not None and known.name:
            return known.name
        try:
            return (await self._client.fetch_guild(server_id, with_counts=False)).name
        except discord.HTTPException as error:
            if error.status in _NOT_IN_IT and error.code:
                return None
            raise CannotTell("server") from None
        except NETWORK_ERRORS:
            raise CannotTell("server") from None

    async def check_owner(self, interaction: discord.Interaction) -> None:
        """Raise NotAllowed for anybody but those who own the application at this moment.

        They are its owner, or the owner of its team with those members who have accepted and are admin or developer
        there (Discord docs, Teams); the library's `Bot.is_owner` counts the invited, and keeps what it once read.
        """
        application = await self._application_info(now=True)
        if interaction.user.id not in _rulers(application):
            raise NotAllowed("owner.only")

    async def admin(self, interaction: discord.Interaction, *, everywhere: bool = False) -> Admin:
        """The caller as an admin of the interaction's server, or of the whole bot. Raises as the checks do.

        That the caller may manage the server is Discord's to check for commands, and the caller's for presses.
        """
        if everywhere:
            await self.check_owner(interaction)
        else:
            await self.check(interaction, now=True)
        return Admin(
            server=EVERYWHERE if everywhere else name_of(interaction.guild_id),
            server_name="" if everywhere else await self._name_of(interaction),
            actor=name_of(interaction.user.id),
            name=interaction.user.display_name,
            origin=name_of(interaction.id),
        )

    async def _is_the_owners(self, server_id: int, *, now: bool) -> bool:
        application = await self._application_info(now=now)
        owner_id = application.team.owner_id if application.team else application.owner.id
        server = self._client.get_guild(server_id)
        if server is not None and server.owner_id is not None:
            return server.owner_id == owner_id
        try:  # the gateway has not told of the server yet, or it is away
            return (await self._client.fetch_guild(server_id, with_counts=False)).owner_id == owner_id
        except discord.HTTPException as error:
            if error.status in _NOT_IN_IT and error.code:
                return False
            raise CannotTell from None
        except NETWORK_ERRORS:
            raise CannotTell from None

    async def _application_info(self, *, now: bool) -> discord.AppInfo:
        """The application as Discord shows it, at this moment or some minutes ago. Raises CannotTell."""
        time = asyncio.get_running_loop().time
        enough = time() if now else time() - ASK_AGAIN_S
        async with self._asking:  # who waited here is served by an answer that was asked for meanwhile
            if self._application is None or self._asked_at < enough:
                begun_at = time()
                try:
                    self._application = await self._client.application_info()
                    self._asked_at = begun_at
                except NETWORK_ERRORS as error:
                    log.warning("Discord does not say who owns the application", error=type(error).__name__)
                    if self._application is None or now:
                        raise CannotTell from None
            return self._application

    async def _name_of(self, interaction: discord.Interaction) -> str:
        """What people call the server; empty where Discord does not say."""
        assert interaction.guild_id is not None
        if interaction.guild is not None and interaction.guild.name:
            return interaction.guild.name
        try:
            return (await self._client.fetch_guild(interaction.guild_id, with_counts=False)).name
        except NETWORK_ERRORS:
            return ""


def _rulers(application: discord.AppInfo) -> set[int]:
    team = application.team
    if team is None:
        return {application.owner.id}
    accepted = discord.TeamMembershipState.accepted
    ruling = {each.id for each in team.members if each.membership_state == accepted and each.role in _RULING}
    return ruling if team.owner_id is None else ruling | {team.owner_id}
