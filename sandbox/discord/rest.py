"""The routes that need the bot token: application, commands, servers, channels and messages."""

from typing import Any

from sandbox.clock import Clock
from sandbox.discord.api import Call, Reply, Route
from sandbox.discord.commands import Commands, without_localizations
from sandbox.discord.entities import FORUM, Channel, Server, User
from sandbox.discord.errors import ApiError, JsonObject, invalid
from sandbox.discord.events import Snowflakes
from sandbox.discord.gateway import Gateway
from sandbox.discord.messages import COMMAND_RESPONSE, DEFAULT, MENU_RESPONSE, REPLY, Message, Messages
from sandbox.discord.permissions import (
    ADD_REACTIONS,
    ATTACH_FILES,
    EMBED_LINKS,
    MANAGE_MESSAGES,
    MANAGE_THREADS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS,
    is_inside,
)
from sandbox.discord.switches import Switches
from sandbox.discord.world import World

HISTORY_MAX = 100
FORWARD = 1  # docs: Message, Message Reference Types
FORWARDABLE = (DEFAULT, REPLY, COMMAND_RESPONSE, MENU_RESPONSE)
REACTIONS = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}"


class BotRoutes:
    """Handles these routes; ``routes()`` lists them."""

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
    ) -> None:
        self._world = world
        self._clock = clock
        self._switches = switches
        self._snowflakes = snowflakes
        self._messages = messages
        self._commands = commands
        self._gateway = gateway
        self._nonces: dict[str, tuple[str, float]] = {}  # nonce -> (message id, time)

    def routes(self) -> list[Route]:
        """The routes. A literal path comes before the templates that would match it too."""
        table = [
            ("GET", "/users/@me", self._me),
            ("POST", "/users/@me/channels", self._open_direct),
            ("GET", "/users/{user_id}", self._user),
            ("GET", "/oauth2/applications/@me", self._application),
            ("GET", "/applications/@me", self._application),
            ("GET", "/gateway", self._gateway_address),
            ("GET", "/gateway/bot", self._gateway_bot),
            ("GET", "/applications/{application_id}/commands", self._list_commands),
            ("PUT", "/applications/{application_id}/commands", self._put_commands),
            ("GET", "/applications/{application_id}/guilds/{guild_id}/commands", self._list_commands),
            ("PUT", "/applications/{application_id}/guilds/{guild_id}/commands", self._put_commands),
            ("GET", "/guilds/{guild_id}", self._server),
            ("GET", "/guilds/{guild_id}/members/{user_id}", self._member),
            ("GET", "/channels/{channel_id}", self._channel),
            ("GET", "/channels/{channel_id}/messages", self._history),
            ("POST", "/channels/{channel_id}/messages", self._post),
            ("GET", "/channels/{channel_id}/messages/{message_id}", self._read),
            ("PATCH", "/channels/{channel_id}/messages/{message_id}", self._edit),
            ("DELETE", "/channels/{channel_id}/messages/{message_id}", self._delete),
            ("PUT", f"{REACTIONS}/@me", self._react),
            ("DELETE", f"{REACTIONS}/@me", self._unreact),
            ("GET", REACTIONS, self._list_reactions),
        ]
        return [
            Route(
                method=method,
                template=template,
                handler=handler,
                bucket="channel_post" if handler == self._post else "default",
            )
            for method, template, handler in table
        ]

    def _me(self, _: Call) -> Reply:
        extra = {"mfa_enabled": True, "locale": "en-US", "verified": True, "email": None, "premium_type": 0}
        return Reply(payload=self._world.bot.to_json() | extra)

    def _user(self, call: Call) -> Reply:
        user = self._world.user(call.params["user_id"])
        if user is None:
            raise ApiError(404, 10013)
        return Reply(payload=user.to_json())

    def _application(self, _: Call) -> Reply:
        world = self._world
        owner = world.team.pseudo_owner() if world.team else world.owner
        return Reply(
            payload={
                "id": world.application_id,
                "name": world.bot.name,
                "icon": None,
                "description": "",
                "type": None,
                "bot": world.bot.to_json(),
                "bot_public": False,
                "bot_require_code_grant": False,
                "integration_types_config": {"0": {}},
                "verify_key": "0" * 64,
                "flags": 1 << 23,
                "flags_new": str(1 << 23),
                "redirect_uris": [],
                "interactions_endpoint_url": None,
                "role_connections_verification_url": None,
                "owner": owner.to_json(),
                "approximate_guild_count": len(world.servers),
                "approximate_user_install_count": 0,
                "approximate_user_authorization_count": 0,
                "event_webhooks_url": None,
                "event_webhooks_status": 1,
                "event_webhooks_types": [],
                "explicit_content_filter": 0,
                "team": world.team.to_json() if world.team else None,
                "eligible_oauth2_scopes": [],
            }
        )

    def _gateway_address(self, _: Call) -> Reply:
        return Reply(payload={"url": self._gateway.url})

    def _gateway_bot(self, _: Call) -> Reply:
        left = max(0, 1000 - self._gateway.identified)
        limit = {"total": 1000, "remaining": left, "reset_after": 86_400_000, "max_concurrency": 1}
        return Reply(payload={"url": self._gateway.url, "shards": 1, "session_start_limit": limit})

    def _list_commands(self, call: Call) -> Reply:
        found = self._commands.registered(self._scope(call))
        if call.query.get("with_localizations") in ("true", "True", "1"):
            return Reply(payload=found)
        return Reply(payload=without_localizations(found))

    def _put_commands(self, call: Call) -> Reply:
        return Reply(payload=self._commands.replace(self._scope(call), call.body.json))

    def _scope(self, call: Call) -> str | None:
        if call.params["application_id"] != self._world.application_id:
            raise ApiError(403, 20012)
        guild_id = call.params.get("guild_id")
        if guild_id and not any(server.id == guild_id for server in self._world.servers):
            raise ApiError(403, 50001)
        return guild_id

    def _server_of(self, call: Call) -> Server:
        server = next((each for each in self._world.servers if each.id == call.params["guild_id"]), None)
        if server is None:
            raise ApiError(404, 10004)
        return server

    def _server(self, call: Call) -> Reply:
        return Reply(payload=self._server_of(call).to_json())

    def _member(self, call: Call) -> Reply:
        members = self._server_of(call).members
        member = next((each for each in members if each.id == call.params["user_id"]), None)
        if member is None:
            raise ApiError(404, 10007)
        return Reply(payload=member.to_json())

    def _open_direct(self, call: Call) -> Reply:
        user = self._world.user(str(call.body.fields().get("recipient_id")))
        if user is None or user.bot:
            raise invalid(("recipient_id",), "BASE_TYPE_REQUIRED", "This user can't receive direct messages")
        self._require_mutual_server(user)
        return Reply(payload=self._world.direct_channel(user, self._snowflakes.next()).to_json())

    def _channel(self, call: Call) -> Reply:
        return Reply(payload=self._visible(call)[0].to_json())

    def _history(self, call: Call) -> Reply:
        channel, bits = self._visible(call)
        limit = self._limit(call.query)
        if channel.server and not bits & READ_MESSAGE_HISTORY:
            return Reply(payload=[])
        messages = self._messages.in_channel(channel)[::-1]  # newest first, like the reply
        given = {key: int(value) for key in ("around", "before", "after") if (value := _id(call.query, key))}
        if "around" in given:
            half = limit // 2
            newer = [each for each in messages if int(each.id) > given["around"]][-half:] if half else []
            rest = [each for each in messages if int(each.id) <= given["around"]]
            chosen = newer + rest[: limit - len(newer)]
        elif "after" in given:
            chosen = [each for each in messages if int(each.id) > given["after"]][-limit:]
        else:
            chosen = [each for each in messages if int(each.id) < given.get("before", 2**64)][:limit]
        return Reply(payload=[self._messages.form_for_bot(each) for each in chosen])

    def _limit(self, query: Any, default: str = "50") -> int:
        raw = query.get("limit", default)
        if not raw.isdecimal() or not 1 <= int(raw) <= HISTORY_MAX:
            raise invalid(("limit",), "NUMBER_TYPE_MAX", f"int value should be between 1 and {HISTORY_MAX}.")
        return int(raw)

    def _post(self, call: Call) -> Reply:
        channel, bits = self._visible(call)
        fields = call.body.fields()
        self._require_write_access(channel, bits, fields, files=bool(call.body.files))
        nonce = fields.get("nonce")
        if nonce is not None and fields.get("enforce_nonce"):
            known = self._nonces.get(str(nonce))
            if known and self._clock.now() - known[1] <= self._switches.nonce_window_s:
                return Reply(payload=self._messages.form(self._messages.get(known[0]), with_nonce=True))
        self._unarchive(channel)
        reference = fields.get("message_reference")
        if isinstance(reference, dict) and reference.get("type") == FORWARD:
            message = self._forward(channel, call, reference)
        else:
            answers = self._referred(channel, reference)
            message = self._messages.create(
                channel,
                call.body,
                limit=self._switches.upload_limit,
                kind=REPLY if answers else DEFAULT,
                answers=answers,
            )
        if nonce is not None:
            self._nonces[str(nonce)] = (message.id, self._clock.now())
        return Reply(payload=self._messages.form(message, with_nonce=True))

    def _referred(self, channel: Channel, reference: object) -> str | None:
        """The id of the message that a reply refers to (docs: Message, Message Reference)."""
        if not isinstance(reference, dict):
            return None
        wanted = str(reference.get("message_id"))
        if any(each.id == wanted for each in self._messages.in_channel(channel)):
            return wanted
        if reference.get("fail_if_not_exists") is False:
            return None
        raise invalid(("message_reference",), "REPLIES_UNKNOWN_MESSAGE", "Unknown message")

    def _forward(self, channel: Channel, call: Call, reference: JsonObject) -> Message:
        """Post a forward of what the bot can read, with nothing else (docs: Message, Message Reference Types)."""
        if call.body.files or any(call.body.fields().get(key) for key in ("content", "embeds", "components", "poll")):
            raise ApiError(400, 160011)
        place = next((each for each in self._world.channels() if each.id == str(reference.get("channel_id"))), None)
        original = self._messages.find(str(reference.get("message_id")))
        if original is None or original.channel is not place or original.viewer or original.kind not in FORWARDABLE:
            raise invalid(("message_reference",), "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
        bits = self._world.permissions(self._world.me(place.server), place) if place.server else 0
        if place.server and not is_inside(self._world.bot, place, bits):
            raise ApiError(403, 160014)
        if place.server and not bits & READ_MESSAGE_HISTORY:
            raise ApiError(400, 160009)
        if not (self._messages.is_readable(original) or self._switches.privileged_intents):
            raise ApiError(403, 160014)
        return self._messages.forward(original, channel)

    def _unarchive(self, channel: Channel) -> None:
        """Posting opens an archived thread again (docs: Channel, Threads)."""
        if channel.archived:
            channel.archived = False
            self._gateway.dispatch("THREAD_UPDATE", channel.to_json(), guild_id=channel.guild_id, intent=1)

    def _require_mutual_server(self, user: User) -> None:
        if user.direct == "no mutual server" and not user.installed:
            raise ApiError(self._switches.dm_refusal_status, 50278)

    def _require_open(self, recipient: User) -> None:
        """Refuse a direct message to somebody who doesn't receive any."""
        if self._switches.dm_missing_access:
            self._switches.dm_missing_access -= 1
            raise ApiError(403, 50001)
        self._require_mutual_server(recipient)
        if self._switches.dm_closed or recipient.direct == "closed":
            raise ApiError(self._switches.dm_refusal_status, 50007)

    def _require_write_access(self, channel: Channel, bits: int, fields: JsonObject, *, files: bool) -> None:
        if channel.recipient:
            self._require_open(channel.recipient)
            return
        if channel.kind == FORUM:
            raise ApiError(400, 50008)
        needed = SEND_MESSAGES_IN_THREADS if channel.parent else SEND_MESSAGES
        if files:
            needed |= ATTACH_FILES
        if fields.get("embeds"):
            needed |= EMBED_LINKS
        if bits & needed != needed:
            raise ApiError(403, 50013)
        if channel.archived and channel.locked and not bits & MANAGE_THREADS:
            raise ApiError(400, 50083)

    def _read(self, call: Call) -> Reply:
        channel, bits = self._visible(call)
        if channel.server and not bits & READ_MESSAGE_HISTORY:
            raise ApiError(403, 50013)
        return Reply(payload=self._messages.form_for_bot(self._message(call, channel)))

    def _edit(self, call: Call) -> Reply:
        channel, _ = self._visible(call)
        message = self._message(call, channel)
        if message.author is not self._world.bot:
            raise ApiError(403, 50005)
        if channel.archived:
            raise ApiError(400, 50083)
        return Reply(
            payload=self._messages.form(self._messages.edit(message, call.body, limit=self._switches.upload_limit))
        )

    def _delete(self, call: Call) -> Reply:
        channel, bits = self._visible(call)
        message = self._message(call, channel)
        if message.author is not self._world.bot and not bits & MANAGE_MESSAGES:
            raise ApiError(403, 50013)
        self._messages.delete(message)
        return Reply(status=204)

    def _react(self, call: Call) -> Reply:
        channel, bits = self._visible(call)
        message, emoji = self._message(call, channel), call.params["emoji_name"]
        if channel.archived:
            raise ApiError(400, 50083)
        if not _is_emoji(emoji):
            raise ApiError(400, 10014)
        needed = READ_MESSAGE_HISTORY | (0 if emoji in message.reactions else ADD_REACTIONS)
        if channel.server and bits & needed != needed:
            raise ApiError(403, 50013)
        self._messages.react(message, self._world.bot, emoji, add=True)
        return Reply(status=204)

    def _unreact(self, call: Call) -> Reply:
        message, emoji = self._message(call, self._visible(call)[0]), call.params["emoji_name"]
        if not _is_emoji(emoji):
            raise ApiError(400, 10014)
        self._messages.react(message, self._world.bot, emoji, add=False)
        return Reply(status=204)

    def _list_reactions(self, call: Call) -> Reply:
        message = self._message(call, self._visible(call)[0])
        users = message.reactions.get(call.params["emoji_name"], [])
        return Reply(payload=[user.to_json() for user in users[: self._limit(call.query, "25")]])

    def _message(self, call: Call, channel: Channel) -> Message:
        """The message in this channel; 404/10008 if there is none, or if it is ephemeral."""
        message = self._messages.get(call.params["message_id"])
        if message.channel is not channel or message.viewer:
            raise ApiError(404, 10008)
        return message

    def _visible(self, call: Call) -> tuple[Channel, int]:
        """The channel and the bot's permissions in it; 404/10003 if it doesn't exist, 403/50001 if it is hidden."""
        channel = next((each for each in self._world.channels() if each.id == call.params["channel_id"]), None)
        if channel is None:
            raise ApiError(404, 10003)
        if channel.recipient:
            return channel, 0
        bits = self._world.permissions(self._world.me(channel.server), channel) if channel.server else 0
        if self._switches.user_install_only or not is_inside(self._world.bot, channel, bits):
            raise ApiError(403, 50001)
        return channel, bits


def _id(query: Any, key: str) -> str | None:
    value: str | None = query.get(key)
    if value is not None and not value.isdecimal():
        raise invalid((key,), "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return value


def _is_emoji(name: str) -> bool:
    """Whether this is an emoji of Unicode; no server here has emojis of its own."""
    return len(name) <= 20 and any(ord(sign) > 0x203B for sign in name) and not any(map(str.isalpha, name))
