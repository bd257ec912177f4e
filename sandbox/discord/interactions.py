"""Interactions: a member uses a command or component, the bot gets an event, and its response has deadlines.

Docs: Receiving and Responding. The bot must respond within 3 seconds; the token is valid for 15 minutes.
"""

import asyncio
import base64
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock
from sandbox.discord import components, modals
from sandbox.discord.commands import (
    MESSAGE_MENU,
    SUB_COMMAND,
    SUB_GROUP,
    USER,
    USER_MENU,
    CommandRefused,
    Commands,
    context_of,
    read_options,
    resolve,
)
from sandbox.discord.entities import FORUM, GROUP_DM, Channel, Member
from sandbox.discord.errors import ApiError, JsonObject
from sandbox.discord.events import Events, Snowflakes
from sandbox.discord.gateway import Gateway
from sandbox.discord.messages import Message, Messages
from sandbox.discord.permissions import USE_APPLICATION_COMMANDS, is_inside
from sandbox.discord.switches import Switches
from sandbox.discord.world import World

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
BUTTON, LINK = 2, 5
BY_SERVER, BY_USER = 0, 1  # docs: Application, Application Integration Types


class InteractionExpired(Exception):
    """The bot did not acknowledge the interaction in time."""


@dataclass(eq=False, kw_only=True)
class Interaction:
    """One use of a command or component, as its member sees it."""

    id: str
    token: str
    kind: int
    member: Member
    channel: Channel
    created_at: float
    payload: JsonObject = field(repr=False)
    events: Events = field(repr=False)
    acknowledged_after_s: float | None = None
    callback_type: int | None = None
    expired: bool = False
    original: Message | None = None
    source: Message | None = None  # the message with the component that was pressed
    ephemeral: bool = False
    followups: int = 0
    asked: int = 0  # the kind of the option that an autocomplete is for
    choices: list[JsonObject] | None = None  # the response to an autocomplete
    modal: JsonObject | None = None  # the form that the bot opened; None once a submit of it was acknowledged
    opened_by: "Interaction | None" = None  # the interaction whose form this one submits
    seen_before: int = 0  # versions of the original response that are older than this interaction

    @property
    def command_name(self) -> str | None:
        """The name of the command with its subcommand, such as ``veo-admin limit set``; None if it isn't a command."""
        if self.kind != COMMAND:
            return None
        part: JsonObject = self.payload["data"]
        names = [part["name"]]
        while (inner := part.get("options")) and inner[0]["type"] in (SUB_COMMAND, SUB_GROUP):
            part = inner[0]
            names.append(part["name"])
        return " ".join(names)

    @property
    def by_user_install(self) -> bool:
        """Whether the member installed the application, and not the server."""
        return "0" not in self.payload["authorizing_integration_owners"]

    @property
    def history(self) -> list[JsonObject]:
        """Every version of the original response since this interaction, oldest first."""
        return self.original.versions[self.seen_before :] if self.original else []

    async def acknowledged(self, timeout: float = 5) -> None:
        """Wait until the bot has responded; InteractionExpired if it misses the deadline."""
        await self.settled(timeout)
        if self.expired:
            raise InteractionExpired(self.id)

    async def settled(self, timeout: float = 5) -> None:
        """Wait until the bot has responded or missed the deadline."""

        def done() -> bool | None:
            return True if self.expired or self.acknowledged_after_s is not None else None

        await self.events.wait(done, timeout)

    @property
    def message(self) -> JsonObject | None:
        """The current original response as a message object; None if there is none yet or it was deleted."""
        return None if self.original is None or self.original.deleted else self.original.versions[-1]

    async def wait(self, predicate: Callable[[JsonObject], bool], timeout: float = 10) -> JsonObject:
        """Wait until the original response satisfies ``predicate``; TimeoutError after ``timeout`` real seconds."""

        def found() -> JsonObject | None:
            now = self.message
            return now if now is not None and predicate(now) else None

        return await self.events.wait(found, timeout)

    def to_json(self) -> JsonObject:
        """The form for events and the control plane. It leaves out the token."""
        return {
            "id": self.id,
            "kind": self.kind,
            "member": self.member.id,
            "channel_id": self.channel.id,
            "acknowledged_after_s": self.acknowledged_after_s,
            "expired": self.expired,
            "ephemeral": self.ephemeral,
            "message_id": self.original.id if self.original else None,
            "name": self.payload["data"].get("name"),
            "choices": self.choices,
            "modal": self.modal,
        }


class Interactions:
    """Creates interactions, and finds them by token for the bot's responses."""

    def __init__(
        self,
        *,
        world: World,
        clock: Clock,
        switches: Switches,
        snowflakes: Snowflakes,
        messages: Messages,
        commands: Commands,
        gateway: Gateway,
        events: Events,
        random_: random.Random,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._world = world
        self._clock = clock
        self._switches = switches
        self._snowflakes = snowflakes
        self._messages = messages
        self._commands = commands
        self._gateway = gateway
        self._events = events
        self._random = random_
        self._spawn = spawn
        self._by_token: dict[str, Interaction] = {}

    def use_command(
        self,
        member: Member,
        channel: Channel,
        command: str,
        options: Mapping[str, object],
        focused: str | None = None,
    ) -> Interaction:
        """Send a command, ``"name"`` or ``"name group sub"``; with ``focused`` only ask for that option's choices.

        CommandRefused if Discord would not let the member send it.
        """
        member = self._membership(member, channel)
        name, *path = command.removeprefix("/").split()
        found = self._commands.offered(name, channel)
        bits = self._require(member, channel)
        self._commands.check_visible(found, member, channel, bits)
        read, resolved = read_options(found, path, options, self._world, channel.server, focused)
        data: JsonObject = {"id": found["id"], "name": found["name"], "type": found["type"]}
        if "guild_id" in found:
            data["guild_id"] = found["guild_id"]
        if read:
            data["options"] = read
        if resolved:
            data["resolved"] = resolved
        if focused is None:
            return self._create(COMMAND, member, channel, data, owners=self._owners(member, channel, found))
        asked = next((each for each in _leaf(read) if each.get("focused")), None)
        if asked is None:
            raise CommandRefused(f"{focused} has no suggestions.", focused)
        owners = self._owners(member, channel, found)
        return self._create(AUTOCOMPLETE, member, channel, data, owners=owners, asked=asked["type"])

    def use_menu(self, member: Member, channel: Channel, name: str, target: str) -> Interaction:
        """Choose a command from the context menu of a message or user in ``channel``; ``target`` is its id.

        CommandRefused if Discord would not let the member do it.
        """
        member = self._membership(member, channel)
        bits = self._require(member, channel)
        resolved: JsonObject = {}
        message = self._messages.find(target)
        if message is not None:
            if message.channel is not channel or message.viewer:
                raise CommandRefused("Apps can't be used on this message.")
            found = self._commands.offered(name, channel, MESSAGE_MENU)
            # The whole message: here an application may read it without the intent (docs: Gateway, Message Content).
            resolved["messages"] = {target: self._messages.form(message)}
        else:
            found = self._commands.offered(name, channel, USER_MENU)
            resolve(USER, name, target, self._world, channel.server, resolved)
        self._commands.check_visible(found, member, channel, bits)
        data: JsonObject = {key: found[key] for key in ("id", "name", "type", "guild_id") if key in found}
        data |= {"target_id": target, "resolved": resolved}
        return self._create(COMMAND, member, channel, data, owners=self._owners(member, channel, found))

    def press(self, member: Member, message_id: str, custom_id: str, values: Sequence[str] = ()) -> Interaction:
        """Press a button or choose from a select menu; CommandRefused if the member can't."""
        try:
            message = self._messages.get(message_id)
        except ApiError as error:
            raise CommandRefused("This message no longer exists.") from error
        member = self._membership(member, message.channel)
        self._require(member, message.channel, to_act=False)
        if message.viewer not in (None, member.id):
            raise CommandRefused(f"{member.name} can't see this message.")
        component = components.find(message.components, custom_id)
        if component is None or component.get("disabled") or component.get("style") == LINK:
            raise CommandRefused("This message has no active button or menu with this custom_id.", custom_id)
        data: JsonObject = {"custom_id": custom_id, "component_type": component["type"], "id": component["id"]}
        if component["type"] != BUTTON:
            data["values"] = modals.chosen(component, list(values), in_modal=False)
            data |= self._resolved([component | {"values": data["values"]}], message.channel)
        return self._create(COMPONENT, member, message.channel, data, source=message)

    def forge_press(self, member: Member, message_id: str, data: JsonObject) -> Interaction:
        """Send a press with any data, even if the message has no such component."""
        message = self._messages.get(message_id)
        return self._create(COMPONENT, member, message.channel, data, source=message)

    def submit(self, interaction: Interaction, values: Mapping[str, object]) -> Interaction:
        """Submit the modal that the bot opened, with values by ``custom_id``; it stays open until that is acknowledged.

        What has no value keeps what was set beforehand. CommandRefused if a client would not let the member submit it.
        """
        if interaction.modal is None:
            raise CommandRefused("There's no open form to submit.")
        parts = modals.submitted(interaction.modal, values)
        data = {"custom_id": interaction.modal["custom_id"], "components": parts}
        data |= self._resolved(parts, interaction.channel)
        member, channel, source = interaction.member, interaction.channel, interaction.source
        return self._create(MODAL_SUBMIT, member, channel, data, source=source, opened_by=interaction)

    def _resolved(self, answers: list[JsonObject], channel: Channel) -> JsonObject:
        """The users, roles and channels that were picked in select menus, under ``resolved``; empty if none were."""
        resolved: JsonObject = {}
        for kind, name, value in modals.ids(answers):
            resolve(kind, name, value, self._world, channel.server, resolved)
        return {"resolved": resolved} if resolved else {}

    def by_id(self, interaction_id: str) -> Interaction:
        """The interaction with this id; KeyError if there is none."""
        return {each.id: each for each in self._by_token.values()}[interaction_id]

    def by_token(self, token: str, interaction_id: str | None = None) -> Interaction | None:
        """The interaction with this token (and this id, if given), or None."""
        found = self._by_token.get(token)
        return found if found and interaction_id in (None, found.id) else None

    @property
    def tokens(self) -> list[str]:
        """The token of every interaction so far."""
        return list(self._by_token)

    def acknowledge(self, interaction: Interaction, callback_type: int) -> None:
        """Record the bot's response."""
        interaction.callback_type = callback_type
        interaction.acknowledged_after_s = self._clock.now() - interaction.created_at
        if interaction.opened_by:
            interaction.opened_by.modal = None
        self._publish("interaction_acknowledged", interaction)

    def metadata(self, interaction: Interaction) -> JsonObject:
        """The ``interaction_metadata`` of a message that responds to it (docs: Message)."""
        metadata: JsonObject = {
            "id": interaction.id,
            "type": interaction.kind,
            "user": interaction.member.user.to_json(),
            "authorizing_integration_owners": interaction.payload["authorizing_integration_owners"],
        }
        if interaction.kind == COMPONENT and interaction.source:
            metadata["interacted_message_id"] = interaction.source.id
        if interaction.opened_by:
            metadata["triggering_interaction_metadata"] = self.metadata(interaction.opened_by)
        return metadata

    def _create(
        self,
        kind: int,
        member: Member,
        channel: Channel,
        data: JsonObject,
        *,
        source: Message | None = None,
        opened_by: Interaction | None = None,
        asked: int = 0,
        owners: JsonObject | None = None,
    ) -> Interaction:
        number = self._snowflakes.next()
        secret = "".join(self._random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=128))
        token = base64.urlsafe_b64encode(f"interaction:{number}:{secret}".encode()).decode().rstrip("=")
        owners = owners or self._inherited(channel, source, opened_by)
        payload = self._payload(kind, member, channel, number, token, owners) | {"data": data}
        if source:
            payload["message"] = self._messages.form(source)
        interaction = Interaction(
            id=number,
            token=token,
            kind=kind,
            member=member,
            channel=channel,
            created_at=self._clock.now(),
            payload=payload,
            events=self._events,
            source=source,
            opened_by=opened_by,
            asked=asked,
        )
        self._by_token[token] = interaction
        self._publish("interaction_created", interaction)
        self._gateway.dispatch("INTERACTION_CREATE", payload, guild_id=channel.guild_id)
        self._spawn(self._expire(interaction))
        return interaction

    async def _expire(self, interaction: Interaction) -> None:
        await self._clock.sleep_until(interaction.created_at + self._switches.acknowledge_within_s)
        if interaction.acknowledged_after_s is None:
            interaction.expired = True
            self._publish("interaction_expired", interaction)

    def _publish(self, kind: str, interaction: Interaction) -> None:
        self._events.publish(kind, viewer=interaction.member.id, interaction=interaction.to_json())

    def _owners(self, member: Member, channel: Channel, command: JsonObject) -> JsonObject:
        """Who installed the application, as far as the command is for such an installation (docs: Interactions).

        CommandRefused if nobody did: then the command isn't offered.
        """
        kinds, by_users = command.get("integration_types") or [BY_SERVER], self._switches.user_install_only
        owners: JsonObject = {}
        if BY_SERVER in kinds and not by_users and channel.kind != GROUP_DM:
            owners["0"] = channel.guild_id or "0"
        if BY_USER in kinds and (by_users or member.user.installed):
            owners["1"] = member.id
        if not owners:
            raise CommandRefused(f"The application isn't installed here, and {member.name} hasn't installed it.")
        return owners

    def _inherited(self, channel: Channel, source: Message | None, opened_by: Interaction | None) -> JsonObject:
        """The owners for a press or a form: those of what it belongs to."""
        if opened_by:
            return dict(opened_by.payload["authorizing_integration_owners"])
        if source and source.by_interaction:
            return dict(source.by_interaction["authorizing_integration_owners"])
        return {"0": channel.guild_id or "0"}

    def _payload(
        self, kind: int, member: Member, channel: Channel, number: str, token: str, owners: JsonObject
    ) -> JsonObject:
        """The payload of INTERACTION_CREATE without ``data``; it has the keys of real ones."""
        switches, bits = self._switches, self._world.permissions(member, channel)
        real = switches.upload_limit if switches.interaction_upload_limit is None else switches.interaction_upload_limit
        announced = real if switches.announced_upload_limit is None else switches.announced_upload_limit
        payload: JsonObject = {
            "id": number,
            "application_id": self._world.application_id,
            "type": kind,
            "token": token,
            "version": 1,
            "channel_id": channel.id,
            "channel": channel.to_json() | {"permissions": str(bits)},
            "locale": member.user.locale,
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": owners,
            "context": context_of(channel),
            "attachment_size_limit": announced,
        }
        if channel.server is None:
            return payload | {"user": member.user.to_json(), "app_permissions": str(bits)}
        me = self._world.me(channel.server)
        return payload | {
            "guild_id": channel.server.id,
            "guild": {"id": channel.server.id, "locale": channel.server.locale, "features": []},
            "guild_locale": channel.server.locale,
            "member": member.to_json() | {"permissions": str(bits)},
            "app_permissions": str(self._world.permissions(me, channel)),
        }

    def _membership(self, member: Member, channel: Channel) -> Member:
        """The person's membership in the channel's server; CommandRefused if there is none."""
        if channel.server is None or member.server is channel.server:
            return member
        try:
            return self._world.member(member.id, channel.server)
        except KeyError:
            raise CommandRefused(f"{member.name} isn't in {channel.server.name}.") from None

    def _require(self, member: Member, channel: Channel, *, to_act: bool = True) -> int:
        bits = self._world.permissions(member, channel)
        if not is_inside(member.user, channel, bits):
            raise CommandRefused(f"{member.name} can't see this channel.")
        if to_act and channel.kind == FORUM:
            raise CommandRefused("A forum has no place for commands; only its posts do.")
        if to_act and channel.server and not bits & USE_APPLICATION_COMMANDS:
            raise CommandRefused(f"{member.name} isn't allowed to use commands here.")
        return bits


def _leaf(options: list[JsonObject]) -> list[JsonObject]:
    """The options inside the subcommand, if there is one."""
    while options and "options" in options[0]:
        options = options[0]["options"]
    return options
