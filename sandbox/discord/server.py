"""The whole sandbox Discord: builds its parts, listens on a port, and is the interface for tests and the demo."""

import asyncio
import base64
import random
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from aiohttp import web

from sandbox.clock import Clock
from sandbox.discord.api import PREFIX, Api
from sandbox.discord.cdn import Cdn
from sandbox.discord.commands import Commands
from sandbox.discord.content import Body
from sandbox.discord.control import Control
from sandbox.discord.entities import LOCALES, Channel, Member, Overwrite, Server, User
from sandbox.discord.errors import JsonObject
from sandbox.discord.events import Events, Snowflakes, Subscription
from sandbox.discord.gateway import Gateway, ResumeRefusal
from sandbox.discord.interactions import Interaction, Interactions
from sandbox.discord.messages import Messages
from sandbox.discord.rest import BotRoutes
from sandbox.discord.spec import load_spec
from sandbox.discord.switches import Fault, RecordedRequest, Switches
from sandbox.discord.webhooks import InteractionRoutes
from sandbox.discord.world import World

BODY_MAX_BYTES = 8 * 1024 * 1024  # for JSON; files are streamed


class DiscordSandbox:
    """A Discord on one local port: ``async with DiscordSandbox() as discord``.

    ``port`` 0 picks a free one. With ``spec``, the path of Discord's OpenAPI description, every request and reply is
    checked against it. ``seed`` determines tokens and session ids. All times are in seconds of ``clock``, except
    heartbeats and ``timeout`` arguments, which are real seconds.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        switches: Switches | None = None,
        world: World | None = None,
        spec: Path | None = None,
        seed: int = 0,
    ) -> None:
        self._host, self._port = host, port
        self.clock = clock or Clock()
        self.switches = switches or Switches()
        self.world = world or World()
        self.url = self.api_url = self.gateway_url = ""  # set once it listens
        chance = random.Random(seed)
        name = base64.b64encode(self.world.bot.id.encode()).decode().rstrip("=")
        self.token = f"{name}.{chance.randbytes(5).hex()[:6]}.{chance.randbytes(19).hex()}"
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-discord-")
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._build(spec, chance)

    def _build(self, spec: Path | None, chance: random.Random) -> None:
        world, clock, switches = self.world, self.clock, self.switches
        self._snowflakes = snowflakes = Snowflakes(clock)
        self._events = events = Events()
        self._cdn = Cdn(
            clock=clock,
            switches=switches,
            snowflakes=snowflakes,
            secret=chance.randbytes(32),
            folder=Path(self._folder.name),
        )
        self._gateway = gateway = Gateway(
            world=world, clock=clock, switches=switches, events=events, token=self.token, random_=chance
        )
        self._messages = messages = Messages(
            world=world,
            clock=clock,
            switches=switches,
            snowflakes=snowflakes,
            cdn=self._cdn,
            events=events,
            gateway=gateway,
        )
        self._commands = commands = Commands(
            world=world, clock=clock, switches=switches, snowflakes=snowflakes, events=events
        )
        self._interactions = Interactions(
            world=world,
            clock=clock,
            switches=switches,
            snowflakes=snowflakes,
            messages=messages,
            commands=commands,
            gateway=gateway,
            events=events,
            random_=chance,
            spawn=self._spawn,
        )
        self._api = Api(
            token=self.token, clock=clock, switches=switches, cdn=self._cdn, spec=load_spec(spec) if spec else None
        )
        self._routes = [
            *BotRoutes(
                world=world,
                clock=clock,
                switches=switches,
                snowflakes=snowflakes,
                messages=messages,
                commands=commands,
                gateway=gateway,
            ).routes(),
            *InteractionRoutes(
                clock=clock,
                switches=switches,
                messages=messages,
                interactions=self._interactions,
                application_id=world.application_id,
            ).routes(),
        ]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        self._api.mount(app, self._routes)
        app.router.add_get("/gateway", self._gateway.serve)
        app.router.add_get("/gateway/", self._gateway.serve)
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", self._cdn.serve)
        Control(self, messages=self._messages, commands=self._commands, events=self._events).mount(app)
        self._stack.callback(self._folder.cleanup)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._stack.push_async_callback(runner.cleanup)
        self._stack.push_async_callback(self._stop)
        try:
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await self._stack.aclose()
            raise
        port = runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}"
        self.api_url = self.url + PREFIX
        self.gateway_url = f"ws://{self._host}:{port}/gateway"
        self._cdn.url, self._gateway.url = self.url, self.gateway_url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _stop(self) -> None:
        self._events.close()
        await self._gateway.drop(1001)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request below ``/api``, in order of arrival."""
        return self._api.requests

    @property
    def violations(self) -> list[str]:
        """Every request or reply that broke the API description; always empty without ``spec``."""
        return self._api.violations

    @property
    def connected(self) -> bool:
        """Whether a client is connected and identified."""
        return self._gateway.ready

    async def bot_ready(self, command: str = "veo", timeout: float = 20) -> None:
        """Wait until a client has identified and ``command`` is registered in any scope."""

        def ready() -> bool | None:
            known = any(each["name"] == command for each in self._commands.all())
            return True if known and self._gateway.ready else None

        await self._events.wait(ready, timeout)

    @property
    def commands(self) -> list[JsonObject]:
        """Every command as the bot registered it, in any scope."""
        return list(self._commands.all())

    def registered(self, command: str) -> JsonObject:
        """The command as the bot registered it, in any scope; KeyError if there is none."""
        return {each["name"]: each for each in self._commands.all()}[command]

    async def invoke(
        self, member: Member, channel: Channel, command: str, options: Mapping[str, object]
    ) -> Interaction:
        """Use ``command`` ("name" or "name group sub"); CommandRefused if Discord would not send it."""
        return self._interactions.use_command(member, channel, command, options)

    def replay(self, interaction: Interaction) -> None:
        """Send an interaction to the bot again, as can happen after a resume."""
        self._gateway.dispatch("INTERACTION_CREATE", interaction.payload, guild_id=interaction.channel.guild_id)

    async def autocomplete(
        self, member: Member, channel: Channel, command: str, options: Mapping[str, object], focused: str
    ) -> Interaction:
        """Ask for the choices of the option ``focused``; the response is in ``Interaction.choices``."""
        return self._interactions.use_command(member, channel, command, options, focused)

    async def press(self, member: Member, message_id: str, custom_id: str, values: Sequence[str] = ()) -> Interaction:
        """Press a button, or choose ``values`` in a select menu; CommandRefused if the member can't."""
        return self._interactions.press(member, message_id, custom_id, values)

    def forge_press(self, member: Member, message_id: str, data: JsonObject) -> Interaction:
        """Send a press with any data, even if the message has no such component."""
        return self._interactions.forge_press(member, message_id, data)

    @property
    def interaction_tokens(self) -> list[str]:
        """The token of every interaction so far."""
        return self._interactions.tokens

    async def use_menu(self, member: Member, channel: Channel, command: str, target: str) -> Interaction:
        """Choose ``command`` from the context menu of the message or user with the id ``target``.

        CommandRefused if Discord would not send it.
        """
        return self._interactions.use_menu(member, channel, command, target)

    def interaction(self, interaction_id: str) -> Interaction:
        """The interaction with this id; KeyError if there is none."""
        return self._interactions.by_id(interaction_id)

    async def submit(self, interaction: Interaction, values: Mapping[str, object]) -> Interaction:
        """Submit the modal that the bot opened in response to ``interaction``, with values by ``custom_id``.

        A field without a value keeps what the bot set beforehand. CommandRefused, with the field's ``custom_id``, if a
        client would not let the member submit it.
        """
        return self._interactions.submit(interaction, values)

    def messages(self, channel: Channel, viewer: Member | None = None) -> list[dict[str, Any]]:
        """The messages of the channel, oldest first; with ``viewer`` also that member's ephemeral ones."""
        found = self._messages.in_channel(channel, viewer.id if viewer else None)
        return [self._messages.form(each) for each in found]

    async def wait_message(
        self, channel: Channel, predicate: Callable[[JsonObject], bool], timeout: float = 10
    ) -> dict[str, Any]:
        """Wait for a public message that satisfies ``predicate``; it may exist already."""

        def found() -> JsonObject | None:
            return next((each for each in self.messages(channel) if predicate(each)), None)

        return await self._events.wait(found, timeout)

    def say(self, member: Member, channel: Channel, text: str) -> dict[str, Any]:
        """Post a message as a member."""
        message = self._messages.create(
            channel, Body(json={"content": text}), limit=self.switches.upload_limit, author=member.user
        )
        return self._messages.form(message)

    def delete_message(self, message_id: str) -> None:
        """Delete a message as a member would, even an ephemeral one; ApiError if it doesn't exist."""
        self._messages.delete(self._messages.get(message_id))

    def direct_channel(self, member: Member) -> Channel:
        """The bot's direct-message channel with ``member``; the first call creates it."""
        return self.world.direct_channel(member.user, self._snowflakes.next())

    def set_locale(self, whose: Member | Server, locale: str) -> None:
        """Change the language of a member's client or of a server; a server's change sends GUILD_UPDATE."""
        if locale not in LOCALES:
            raise ValueError(f"Discord has no locale {locale!r}.")
        if isinstance(whose, Member):
            whose.user.locale = locale
        else:
            whose.locale = locale
            self._gateway.dispatch("GUILD_UPDATE", whose.to_json(), guild_id=whose.id, intent=1)
        self._events.publish("world_changed")

    def set_permissions(self, channel: Channel, *, allow: int = 0, deny: int = 0) -> None:
        """Set the channel's permission overwrite for the bot to exactly these bits, and send CHANNEL_UPDATE."""
        place = channel.parent or channel
        assert place.server
        bot = self.world.bot.id
        place.overwrites[bot] = Overwrite(id=bot, kind=1, allow=allow, deny=deny)
        self._gateway.dispatch("CHANNEL_UPDATE", place.to_json(), guild_id=place.guild_id, intent=1)
        self._events.publish("channel_updated", channel_id=place.id)

    def add_channel(self, server: Server, name: str, kind: str = "text") -> Channel:
        """Add a channel ("text", "voice", "announcement" or "forum"), and send CHANNEL_CREATE."""
        channel = self.world.add_channel(server, name, kind)
        self._gateway.dispatch("CHANNEL_CREATE", channel.to_json(), guild_id=server.id, intent=1)
        self._events.publish("channel_updated", channel_id=channel.id)
        return channel

    def add_thread(self, parent: Channel, name: str, *people: User, private: bool = False) -> Channel:
        """Add a thread or a forum's post. A private one is only for ``people``; the bot hears of it if it is one."""
        thread = self.world.add_thread(parent, name, *people, private=private)
        if not private or self.world.bot in people:
            created = thread.to_json() | {"newly_created": True}
            self._gateway.dispatch("THREAD_CREATE", created, guild_id=thread.guild_id, intent=1)
        self._events.publish("channel_updated", channel_id=thread.id)
        return thread

    def add_group(self, name: str, *people: User) -> Channel:
        """Add a group of people; the bot hears nothing of it until somebody uses a command there."""
        group = self.world.add_group(name, *people)
        self._events.publish("channel_updated", channel_id=group.id)
        return group

    def react(self, member: Member, message_id: str, emoji: str, *, add: bool = True) -> None:
        """Add or remove a member's reaction; ApiError if the message doesn't exist."""
        self._messages.react(self._messages.get(message_id), member.user, emoji, add=add)

    def archive_thread(self, thread: Channel, *, archived: bool = True, locked: bool = True) -> None:
        """Archive or unarchive a thread, and send THREAD_UPDATE. A post reopens it only if it isn't ``locked``."""
        assert thread.parent
        thread.archived, thread.locked = archived, archived and locked
        self._gateway.dispatch("THREAD_UPDATE", thread.to_json(), guild_id=thread.guild_id, intent=1)
        self._events.publish("channel_updated", channel_id=thread.id)

    def fault(
        self,
        method: str,
        path_pattern: str,
        *,
        status: int = 500,
        times: int = 1,
        code: int = 0,
        cut: Literal["before", "after"] | None = None,
        effect: bool = False,
        via: bool = True,
        retry_after: float | None = None,
        delay_s: float = 0,
        html: bool = False,
        only_delay: bool = False,
    ) -> None:
        """Plan a fault for the next ``times`` requests whose whole path below ``/api/v10`` matches.

        The arguments are the fields of ``Fault``. ``method`` can be ``"*"``; ``delay_s`` is in seconds of the clock.
        """
        self._api.faults.append(
            Fault(
                method=method,
                path_pattern=path_pattern,
                status=status,
                times=times,
                code=code,
                cut=cut,
                effect=effect,
                via=via,
                retry_after=retry_after,
                delay_s=delay_s,
                html=html,
                only_delay=only_delay,
            )
        )

    def send_event(self, event: str, data: JsonObject, *, guild_id: str | None = None) -> None:
        """Send any gateway event with any data."""
        self._gateway.dispatch(event, data, guild_id=guild_id)

    def send_frame(self, payload: JsonObject) -> None:
        """Send any gateway payload on every connection, outside its session."""
        self._gateway.send_frame(payload)

    @contextmanager
    def altered_events(self, alter: Callable[[JsonObject], JsonObject]) -> Iterator[None]:
        """Apply ``alter`` to the data of every gateway event that is sent during the block."""
        self._gateway.alter = alter
        try:
            yield
        finally:
            self._gateway.alter = None

    @contextmanager
    def refused_resumes(self, how: ResumeRefusal) -> Iterator[list[float]]:
        """Refuse every RESUME during the block; the list has the times of the refusals (``time.monotonic``).

        ``op 9``: the session is invalid but resumable. ``close``: close code 4000. ``cut``: the connection is cut.
        """
        self._gateway.resume_refusal = how
        refusals: list[float] = []
        self._gateway.refused_resumes = refusals
        try:
            yield refusals
        finally:
            self._gateway.refused_resumes = None

    async def drop_gateway(self, code: int | None = None) -> None:
        """End every gateway connection: with this close code, or with None as if the network had failed."""
        await self._gateway.drop(code)

    def reconnect_gateway(self) -> None:
        """Ask every client to reconnect and resume (op 7)."""
        self._gateway.reconnect()

    def invalidate_session(self, *, resumable: bool = False) -> None:
        """Tell every client that its session is invalid (op 9)."""
        self._gateway.invalidate(resumable=resumable)

    @property
    def gateway_counts(self) -> tuple[int, int]:
        """How many times clients have identified and resumed."""
        return self._gateway.identified, self._gateway.resumed

    def subscribe(self) -> Subscription:
        """All events from now on, including private ones; an asynchronous iterator with ``close()``."""
        return self._events.subscribe()

    async def wait_until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        """Wait until ``condition`` holds, checking it now and after each event; TimeoutError after ``timeout``."""
        await self._events.wait(lambda: True if condition() else None, timeout)
