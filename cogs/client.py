"""The Discord client: where it connects to, what it registers, and what a member sees when code fails."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import discord
import discord.gateway
import discord.http
from discord import app_commands
from discord.ext import commands
from yarl import URL

from bot.errors import Refusal, SettingsError, StartError
from bot.facts import text
from bot.log import get_logger
from bot.services import Services
from bot.texts.commands import unpack_translations
from bot.views import View
from cogs.account import Account
from cogs.acknowledge import Acknowledger
from cogs.admin import Admins
from cogs.answers import show
from cogs.context import Speaker, invite_link
from cogs.describe import agrees, localized
from cogs.finding import Finding
from cogs.front import UNREADABLE, DiscordFront
from cogs.gateway import stay_connected
from cogs.presses import Presses, use_as_prompt
from cogs.servers import Servers
from cogs.veo import Veo
from cogs.wishes import Wishes

log = get_logger("veo.discord")

OUTAGE_PAUSE_MAX_S = 60.0
SILENCE_S = 60.0
UPLOAD_S = 300.0  # an upload may take so long, and as long as it takes at this speed
UPLOAD_BYTES_PER_S = 64 * 1024


class Garbled(app_commands.AppCommandError):
    """A use of a command whose options the library cannot read."""


class VeoTree(app_commands.CommandTree["VeoClient"]):
    """Our commands; a use of one that the library cannot read is answered too."""

    async def _call(self, interaction: discord.Interaction[VeoClient]) -> None:
        """Called by the library with each use; where it stumbles over the options, it would say nothing.

        What a command itself raises comes wrapped as an AppCommandError.
        """
        try:
            await super()._call(interaction)
        except app_commands.AppCommandError:
            raise
        except Exception as error:
            raise Garbled("its options cannot be read") from error


class VeoClient(commands.Bot):
    """discord.py's client with our commands. Make it with `new_client`."""

    def __init__(self, silence_s: float, proxy: str | None, acknowledger: Acknowledger, speaker: Speaker) -> None:
        self.acknowledger = acknowledger
        self._speaker = speaker
        self._session_open = False
        super().__init__(
            command_prefix=commands.when_mentioned,  # no text commands; this one needs no message content
            help_command=None,
            tree_cls=VeoTree,
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            max_ratelimit_timeout=60.0,
            guild_ready_timeout=0.5,
            heartbeat_timeout=silence_s,
            proxy=proxy,
        )
        self.http.request = partial(_in_time, self.http.request)  # type: ignore[method-assign] # it takes no time-out
        self.tree.error(self._say_sorry)
        parsers = self._connection.parsers
        for event in parsers.keys() - {"READY"}:  # without that one nothing works: the connection is made anew
            parsers[event] = surviving(event, parsers[event])

    def dispatch(self, event_name: str, /, *args: Any, **kwargs: Any) -> None:
        """Called by the library for each event; once closed nobody is told, for it would try without a loop (2.7)."""
        if event_name == "interaction":  # as it is read, so before anything that it brings is begun
            (interaction,) = args
            self.acknowledger.arrived(interaction)
            self._speaker.expect(interaction)
            if interaction.type not in (discord.InteractionType.component, discord.InteractionType.modal_submit):
                return  # `Presses` alone listens, and a task for each command would cost the others time
        if not self.is_closed():
            super().dispatch(event_name, *args, **kwargs)

    def hears_discord(self) -> bool:
        """Whether an interaction would reach us now.

        The library's own `is_ready` stays true once it was. It tells of a lost connection by an event, and within
        `silence_s` also of one that has fallen silent, whose socket it closes first (discord.py 2.7, gateway.py).
        """
        return self.is_ready() and self._session_open and self.ws.open

    async def on_connect(self) -> None:
        """Called by the library when a session begins."""
        self._session_open = True

    async def on_resumed(self) -> None:
        """Called by the library when a session goes on over a new connection."""
        self._session_open = True

    async def on_disconnect(self) -> None:
        """Called by the library when it has no connection, also after each try in vain."""
        self._session_open = False

    async def on_ready(self) -> None:
        """Called by the library whenever it is connected anew and knows its servers."""
        log.info("ready", user=str(self.user), servers=len(self.guilds))

    async def _say_sorry(self, interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        """A fault of ours: the trace goes to the log, a sentence to the member."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        key = "fault.admin" if _is_admins(interaction) else "fault"
        if isinstance(cause, _NOT_AS_REGISTERED):
            key = "fault.reload"
        # A refusal that a command has no answer of its own to: the store is down.
        words = self._speaker.reader(interaction)
        said = cause.text if isinstance(cause, Refusal) else text(key)
        trace = None if isinstance(cause, Refusal) else cause
        log.error("command failed", interaction=str(interaction.id), error=type(cause).__name__, exc_info=trace)
        try:
            if interaction.response.is_done():
                await show(interaction, View(lines=(said,)), words)
            else:
                await interaction.response.send_message(words.say(said), ephemeral=True)
        except Exception as second:  # noqa: BLE001 - the last word there is; the fault itself is in the log
            log.warning("error message not sent", interaction=str(interaction.id), error=type(second).__name__)

    async def sync_if_changed(self, translations: bytes = b"") -> bool:
        """Register our commands where what is registered differs; whether it did. `translations`: packed.

        Discord allows 200 new commands a day (docs, Application Commands), so nothing is sent without need.
        """
        assert self.application_id is not None
        unpacked = unpack_translations(translations)
        every = [localized(command.to_dict(self.tree), unpacked) for command in self.tree.get_commands()]
        # The library's own call leaves the translations out (discord.py 2.7, http.py).
        route = discord.http.Route("GET", "/applications/{application_id}/commands", application_id=self.application_id)
        registered = await self.http.request(route, params={"with_localizations": "true"})
        ours, theirs = (
            {(each["type"], each["name"]): each for each in commands}  # a menu may have the name of a command
            for commands in (every, registered)
        )
        if ours.keys() == theirs.keys() and all(agrees(ours[name], theirs[name]) for name in ours):
            return False
        await self.http.bulk_upsert_global_commands(self.application_id, every)
        log.info("commands registered", commands=", ".join(sorted(name for _, name in ours)))
        return True


async def _in_time(
    request: Callable[..., Awaitable[Any]], route: Any, *, files: Sequence[discord.File] | None = None, **more: Any
) -> Any:
    """A request of the library's, which by itself breaks one off after 300 s, however large the files."""
    if files:
        more["timeout"] = aiohttp.ClientTimeout(total=UPLOAD_S + sum(map(_size_of, files)) / UPLOAD_BYTES_PER_S)
    return await request(route, files=files, **more)


def _size_of(file: discord.File) -> int:
    at = file.fp.tell()
    size = file.fp.seek(0, io.SEEK_END)
    file.fp.seek(at)
    return size


# A client that shows an older registration, or a payload that is none: the command itself was not begun.
_NOT_AS_REGISTERED = (
    Garbled,
    app_commands.TransformerError,
    app_commands.CommandNotFound,
    app_commands.CommandSignatureMismatch,
)


def surviving(event: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
    """The library's reader of one event, without its way to end the bot: it lets an event that it cannot read do so."""

    def read(data: Any) -> None:
        try:
            parse(data)
        except Exception:
            log.exception("gateway event cannot be read and is left out", gateway_event=event)

    return read


@asynccontextmanager
async def new_client(
    api_url: str | None,
    gateway_url: str | None,
    silence_s: float = SILENCE_S,
    *,
    proxy: str | None = None,
    acknowledger: Acknowledger,
    speaker: Speaker,
) -> AsyncIterator[VeoClient]:
    """A client that is closed with the block, for Discord itself or for the addresses given.

    Both are reached by way of the proxy, where there is one. A gateway that says nothing for `silence_s` seconds is
    taken for lost; at Discord more than a heartbeat's 41.25 s.
    discord.py keeps its addresses on its classes, so they hold for the whole process.
    """
    if api_url is not None:
        discord.http.Route.BASE = api_url
    if gateway_url is not None:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway_url)
    async with VeoClient(silence_s, proxy, acknowledger, speaker) as client:
        yield client


async def log_in(client: VeoClient, token: str) -> None:
    """Make Discord's REST routes usable, waiting out an outage. Raises SettingsError where the token is refused."""
    try:
        await _outlasting(lambda: client.login(token))
    except discord.LoginFailure:
        raise SettingsError("start.discord_token") from None


async def serve(
    client: VeoClient,
    *,
    services: Services,
    front: DiscordFront,
    speaker: Speaker,
    servers: Sequence[str],
    translations: bytes,
) -> None:
    """Register the commands and answer members until cancelled. Raises StartError where the gateway refuses us.

    `translations`: of the commands, as `bot.texts.commands` packs them.
    """
    admission, administration = services.admission, services.administration
    acknowledger = client.acknowledger
    allowed = Servers(client, servers, administration)
    wishes = Wishes(admission, allowed, speaker)
    await client.add_cog(Veo(admission, wishes, acknowledger, speaker))
    finding = Finding(
        admission=admission,
        finder=services.finder,
        deliverer=services.deliverer,
        servers=allowed,
        front=front,
        speaker=speaker,
    )
    presses = Presses(admission, services.cards, wishes, allowed, front, acknowledger, speaker, finding.acts)
    await client.add_cog(presses)
    client.tree.add_command(use_as_prompt(presses))
    await client.add_cog(Account(admission, services.finder, finding, allowed, acknowledger, speaker))
    await client.add_cog(Admins(administration, allowed, acknowledger, speaker))
    await _outlasting(lambda: client.sync_if_changed(translations))
    assert client.application_id is not None, "it is known since the login"
    log.info("invite the bot with this link", link=invite_link(client.application_id))
    await stay_connected(client)


async def _outlasting(call: Callable[[], Awaitable[object]]) -> None:
    """Repeat a call with growing pauses for as long as Discord cannot be reached."""
    pause_s = 1.0
    while True:
        try:
            await call()
        except (aiohttp.ClientError, OSError, discord.HTTPException, discord.RateLimited, *UNREADABLE) as error:
            if isinstance(error, discord.HTTPException) and error.status == 400:  # a verdict; repeating cannot help
                said = " ".join(error.text.split())[:300]
                raise StartError("start.discord_refuses", why=said) from error
            trace = isinstance(error, UNREADABLE)
            said = type(error).__name__
            log.warning("Discord cannot be reached; trying again", error=said, in_s=pause_s, exc_info=trace)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, OUTAGE_PAUSE_MAX_S)
        else:
            return


def _is_admins(interaction: discord.Interaction) -> bool:
    """Whether it is one of the admins' commands, which act on rules and not on videos."""
    command = interaction.command
    return command is not None and command.qualified_name.startswith("veo-admin")
