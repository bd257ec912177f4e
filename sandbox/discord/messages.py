"""Creates, edits, deletes and reads messages. Every read returns the message object with newly signed file links."""

import copy
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.clock import Clock
from sandbox.discord import components
from sandbox.discord import content as rules
from sandbox.discord.cdn import Attachment, Cdn, safe_name
from sandbox.discord.content import COMPONENTS_V2, EPHEMERAL, LOADING, SUPPRESS_EMBEDS, Body
from sandbox.discord.entities import GROUP_DM, Channel, User
from sandbox.discord.errors import ApiError, JsonObject
from sandbox.discord.events import Events, Snowflakes
from sandbox.discord.gateway import (
    DIRECT_MESSAGE_REACTIONS,
    DIRECT_MESSAGES,
    GUILD_MESSAGE_REACTIONS,
    GUILD_MESSAGES,
    Gateway,
)
from sandbox.discord.switches import Switches
from sandbox.discord.world import World

ALL_MENTIONS, USER_MENTIONS = ("users", "roles", "everyone"), ("users",)
EMBED_MEDIA = {"image": "url", "thumbnail": "url", "author": "icon_url", "footer": "icon_url"}
DEFAULT, REPLY, COMMAND_RESPONSE, MENU_RESPONSE = 0, 19, 20, 23  # docs: Message, Message Types
SNAPSHOT = 1 << 14  # the flag of a forward
SNAPSHOT_KEYS = (
    "type", "content", "embeds", "attachments", "components", "timestamp", "edited_timestamp", "flags", "mentions",
    "mention_roles",
)  # fmt: skip
UNREAD: JsonObject = {"content": "", "embeds": [], "attachments": [], "components": []}


@dataclass(eq=False, kw_only=True)
class Message:
    """A message. If it is ephemeral, ``viewer`` is the user id of the only member who sees it."""

    id: str
    channel: Channel
    author: User
    created_at: float
    kind: int = DEFAULT
    content: str = ""
    embeds: list[JsonObject] = field(default_factory=list)
    components: list[JsonObject] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: int = 0
    nonce: str | int | None = None
    edited_at: float | None = None
    mentions: rules.Mentions = field(default_factory=lambda: rules.Mentions(users=[], roles=[], everyone=False))
    by_interaction: JsonObject | None = None  # its interaction_metadata, if it responds to an interaction
    command: str | None = None  # the whole name of the command that it responds to
    answers: str | None = None  # the id of the message that this one replies to
    forwards: "Message | None" = None  # the message that this one forwards, as it was then
    reactions: dict[str, list[User]] = field(default_factory=dict)  # by emoji
    viewer: str | None = None
    deleted: bool = False
    old_edits: deque[float] = field(default_factory=deque)
    versions: list[JsonObject] = field(default_factory=list)  # every version that the channel has shown

    @property
    def loading(self) -> bool:
        """Whether the channel shows this message as "... is thinking"."""
        return bool(self.flags & LOADING)


class Messages:
    """Stores messages, and publishes every change as an event and, to clients with the intent, over the gateway."""

    def __init__(
        self,
        *,
        world: World,
        clock: Clock,
        switches: Switches,
        snowflakes: Snowflakes,
        cdn: Cdn,
        events: Events,
        gateway: Gateway,
    ) -> None:
        self._world = world
        self._clock = clock
        self._switches = switches
        self._snowflakes = snowflakes
        self._cdn = cdn
        self._events = events
        self._gateway = gateway
        self._by_id: dict[str, Message] = {}
        self._by_channel: dict[str, list[Message]] = {}

    def create(
        self,
        channel: Channel,
        body: Body,
        *,
        limit: int,
        kind: int = DEFAULT,
        by_interaction: JsonObject | None = None,
        command: str | None = None,
        answers: str | None = None,
        viewer: str | None = None,
        loading: bool = False,
        author: User | None = None,
    ) -> Message:
        """Post a message, as the bot unless ``author`` is given; ApiError if Discord would refuse the body."""
        fields = body.fields()
        message = Message(
            id="0",
            channel=channel,
            author=author or self._world.bot,
            created_at=self._clock.now(),
            kind=kind,
            flags=(EPHEMERAL if viewer else 0) | (LOADING if loading else 0),
            nonce=fields.get("nonce"),
            by_interaction=by_interaction,
            command=command,
            answers=answers,
            viewer=viewer,
        )
        if not loading:
            self._apply(message, body, limit=limit)
        return self._add(message)

    def forward(self, original: Message, channel: Channel) -> Message:
        """Post a forward of a message as the bot. It keeps the original as it is now, with its files."""
        snapshot = copy.copy(original)
        for attachment in original.attachments:
            attachment.messages += 1
        message = Message(
            id="0",
            channel=channel,
            author=self._world.bot,
            created_at=self._clock.now(),
            flags=SNAPSHOT,
            forwards=snapshot,
        )
        return self._add(message)

    def _add(self, message: Message) -> Message:
        message.id = self._snowflakes.next()
        self._by_id[message.id] = message
        self._by_channel.setdefault(message.channel.id, []).append(message)
        if not message.viewer:
            message.channel.last_message_id = message.id
        self._announce("created", message)
        return message

    def react(self, message: Message, user: User, emoji: str, *, add: bool) -> None:
        """Add or remove a user's reaction; nothing happens if it already is so."""
        given = message.reactions.setdefault(emoji, [])
        if (user in given) is not add:
            if add:
                given.append(user)
            else:
                given.remove(user)
            self._announce_reaction(message, user, emoji, add=add)
        if not given:
            del message.reactions[emoji]

    def edit(self, message: Message, body: Body, *, limit: int) -> Message:
        """Change the fields that the body names. A loading message becomes an ordinary one."""
        if message.forwards:
            raise ApiError(400, 160011)
        self._count_old_edit(message)
        first = message.loading
        self._apply(message, body, limit=limit)
        message.flags &= ~LOADING
        message.edited_at = None if first else self._clock.now()
        self._announce("updated", message)
        return message

    def delete(self, message: Message) -> None:
        """Delete a message and its files."""
        message.deleted = True
        for attachment in message.attachments + (message.forwards.attachments if message.forwards else []):
            self._cdn.remove(attachment)
        message.attachments = []
        self._by_channel[message.channel.id].remove(message)
        payload = {"id": message.id, "channel_id": message.channel.id}
        self._events.publish("message_deleted", viewer=self._viewer(message), message_id=message.id, **payload)
        self._dispatch("MESSAGE_DELETE", message, payload)

    def get(self, message_id: str) -> Message:
        """The message with this id; 404/10008 if it doesn't exist or was deleted."""
        message = self.find(message_id)
        if message is None:
            raise ApiError(404, 10008)
        return message

    def find(self, message_id: str) -> Message | None:
        """The message with this id; None if it doesn't exist or was deleted."""
        message = self._by_id.get(message_id)
        return None if message is None or message.deleted else message

    def in_channel(self, channel: Channel, viewer: str | None = None) -> list[Message]:
        """The public messages, oldest first; with ``viewer`` also the ephemeral ones for this user."""
        return [each for each in self._by_channel.get(channel.id, []) if each.viewer in (None, viewer)]

    def is_readable(self, message: Message) -> bool:
        """Whether the bot reads its content without the intent (docs: Gateway, Message Content Intent)."""
        bot = self._world.bot
        return message.author is bot or message.channel.server is None or bot.id in message.mentions.users

    def form_for_bot(self, message: Message) -> JsonObject:
        """The message object as a bot reads it, which is empty if it may not read the content."""
        form = self.form(message)
        return form if self.is_readable(message) or self._switches.privileged_intents else form | UNREAD

    def form(self, message: Message, *, with_nonce: bool = False) -> JsonObject:
        """The message object as the API returns it (docs: Message). Only the sender gets its nonce."""
        shown = self._shown(message)
        users = [user.to_json() for each in message.mentions.users if (user := self._world.user(each))]
        form: JsonObject = {
            "id": message.id,
            "type": message.kind,
            "channel_id": message.channel.id,
            "content": message.content,
            "author": message.author.to_json(),
            "mentions": users,
            "mention_roles": message.mentions.roles,
            "mention_everyone": message.mentions.everyone,
            "attachments": [self._cdn.form(each) for each in message.attachments if each not in shown],
            "embeds": [self._embed_form(each, message) for each in message.embeds],
            "components": components.response_form(message.components, lambda url: self._media(url, message)),
            "timestamp": _iso(message.created_at),
            "edited_timestamp": _iso(message.edited_at) if message.edited_at else None,
            "flags": message.flags,
            "pinned": False,
            "tts": False,
        }
        if with_nonce and message.nonce is not None:
            form["nonce"] = message.nonce
        if message.answers:
            place = {"channel_id": message.channel.id, "message_id": message.answers}
            guild = {"guild_id": message.channel.guild_id} if message.channel.guild_id else {}
            form["message_reference"] = {"type": 0, **place, **guild}
        if original := message.forwards:
            place = {"channel_id": original.channel.id, "message_id": original.id}
            guild = {"guild_id": original.channel.guild_id} if original.channel.guild_id else {}
            form["message_reference"] = {"type": 1, **place, **guild}
            snapshot = self.form(original)
            form["message_snapshots"] = [{"message": {key: snapshot[key] for key in SNAPSHOT_KEYS}}]
        if message.reactions:
            form["reactions"] = [self._reaction(emoji, users) for emoji, users in message.reactions.items()]
        if message.by_interaction:
            application = self._world.application_id
            form |= {"application_id": application, "webhook_id": application}
            form["interaction_metadata"] = copy.deepcopy(message.by_interaction)
            if message.command:  # deprecated, but only here is the command's name
                used = {key: form["interaction_metadata"][key] for key in ("id", "type", "user")}
                form["interaction"] = used | {"name": message.command}
        return form

    def _reaction(self, emoji: str, users: list[User]) -> JsonObject:
        return {
            "emoji": {"id": None, "name": emoji},
            "count": len(users),
            "count_details": {"burst": 0, "normal": len(users)},
            "burst_colors": [],
            "me": self._world.bot in users,
            "me_burst": False,
        }

    def _apply(self, message: Message, body: Body, *, limit: int) -> None:
        """Check the message as it would become, then change it; if a check fails, nothing changes."""
        fields = body.fields()
        flags = fields.get("flags")
        v2 = bool((message.flags | (flags if isinstance(flags, int) else 0)) & COMPONENTS_V2)
        files = rules.match_files(body, message.attachments, limit=limit)
        rules.check_fields(fields, v2=v2)
        content = (fields["content"] or "") if "content" in fields else message.content
        embeds = (fields["embeds"] or []) if "embeds" in fields else message.embeds
        shown = (fields["components"] or []) if "components" in fields else message.components
        if v2:
            rules.check_v2(content, embeds)
        rules.check_media(shown, files.names())
        if not (content.strip() or embeds or shown or len(files)):
            raise ApiError(400, 50006)
        texts = "\n".join([content, *_component_texts(shown)])
        if any(word.lower() in texts.lower() for word in self._switches.blocked_words):
            raise ApiError(400, 200000)
        for attachment in message.attachments:
            if attachment not in files.kept:
                self._cdn.remove(attachment)
        ephemeral = message.viewer is not None
        message.attachments = files.kept + [
            self._cdn.attach(upload, message.channel.id, description=text, ephemeral=ephemeral)
            for upload, text in files.new
        ]
        message.content, message.embeds = content, embeds
        if "components" in fields:
            message.components = components.assign_ids(shown)
        kept_flags = message.flags & ~SUPPRESS_EMBEDS if isinstance(flags, int) else message.flags
        message.flags = kept_flags | ((flags or 0) & (SUPPRESS_EMBEDS | COMPONENTS_V2 | rules.SILENT))
        default = USER_MENTIONS if message.by_interaction else ALL_MENTIONS
        message.mentions = rules.mentions(texts, fields.get("allowed_mentions"), default)

    def _count_old_edit(self, message: Message) -> None:
        """Refuse (429/30046) to edit an old message more than a few times a minute."""
        now = self._clock.now()
        if now - message.created_at <= self._switches.old_message_s:
            return
        while message.old_edits and message.old_edits[0] <= now - 60:
            message.old_edits.popleft()
        if len(message.old_edits) >= self._switches.old_message_edits:
            raise ApiError(429, 30046, retry_after=self._switches.old_edit_retry_after_s)
        message.old_edits.append(now)

    def _announce(self, what: str, message: Message) -> None:
        form = self.form(message, with_nonce=what == "created")
        message.versions.append(form)
        channel_id, viewer = message.channel.id, self._viewer(message)
        self._events.publish(f"message_{what}", viewer=viewer, channel_id=channel_id, message=form)
        self._dispatch(f"MESSAGE_{what.removesuffix('d').upper()}", message, form)

    def _dispatch(
        self,
        event: str,
        message: Message,
        payload: JsonObject,
        intents: tuple[int, int] = (GUILD_MESSAGES, DIRECT_MESSAGES),
    ) -> None:
        """Send an event to clients with the first of the ``intents``, or the second if it isn't in a server."""
        if message.viewer is None and message.channel.kind != GROUP_DM:
            guild_id = message.channel.guild_id
            whole = payload | ({"guild_id": guild_id} if guild_id else {})
            unread = None if self.is_readable(message) or "content" not in payload else whole | UNREAD
            intent = intents[0] if guild_id else intents[1]
            self._gateway.dispatch(event, whole, guild_id=guild_id, intent=intent, unread=unread)

    def _announce_reaction(self, message: Message, user: User, emoji: str, *, add: bool) -> None:
        form, channel = self.form(message), message.channel
        self._events.publish("message_updated", viewer=self._viewer(message), channel_id=channel.id, message=form)
        payload: JsonObject = {
            "user_id": user.id,
            "channel_id": channel.id,
            "message_id": message.id,
            "emoji": {"id": None, "name": emoji},
            "burst": False,
            "type": 0,
        }
        if add:
            payload["message_author_id"] = message.author.id
            if channel.server and (member := self._world.find_member(user, channel.server)):
                payload["member"] = member.to_json()
        event = "MESSAGE_REACTION_ADD" if add else "MESSAGE_REACTION_REMOVE"
        self._dispatch(event, message, payload, (GUILD_MESSAGE_REACTIONS, DIRECT_MESSAGE_REACTIONS))

    def _viewer(self, message: Message) -> str | None:
        recipient = message.channel.recipient
        return message.viewer or (recipient.id if recipient else None)

    def _shown(self, message: Message) -> list[Attachment]:
        """The files that components or embeds show, which ``attachments`` leaves out (docs: Message)."""
        urls = [url for _, url in components.media_urls(message.components)]
        urls += [str(part.get(key)) for embed in message.embeds for part, key in _embed_media(embed)]
        return [file for url in urls if (file := _attached(url, message))]

    def _media(self, url: str, message: Message) -> JsonObject:
        if file := _attached(url, message):
            return self._cdn.media(file)
        unknown = dict.fromkeys(("width", "height", "content_type", "name", "size"))
        return unknown | {"id": message.id, "url": url, "proxy_url": url}

    def _embed_form(self, embed: JsonObject, message: Message) -> JsonObject:
        form: JsonObject = {"type": "rich"} | {key: value for key, value in embed.items() if value is not None}
        if "fields" in form:
            form["fields"] = [{"inline": False} | each for each in form["fields"]]
        for name in EMBED_MEDIA:
            if isinstance(form.get(name), dict):
                form[name] = dict(form[name])
        for part, key in _embed_media(form):
            if file := _attached(str(part[key]), message):
                media = self._cdn.media(file) | {"description": file.description}
                part |= {key: media["url"], f"proxy_{key}": media["proxy_url"]}
                if key == "url":
                    known = ("width", "height", "content_type", "description")
                    part |= {each: media[each] for each in known if media[each] is not None}
        return form


def _embed_media(embed: JsonObject) -> list[tuple[JsonObject, str]]:
    """Each part of an embed that shows a picture, with the key of its URL."""
    parts = [(embed[name], key) for name, key in EMBED_MEDIA.items() if isinstance(embed.get(name), dict)]
    return [(part, key) for part, key in parts if key in part]


def _attached(url: str, message: Message) -> Attachment | None:
    """The file of the message that an ``attachment://`` URL refers to."""
    if not url.startswith("attachment://"):
        return None
    name = safe_name(url.removeprefix("attachment://"))
    return next((each for each in message.attachments if each.name == name), None)


def _component_texts(shown: Any) -> list[str]:
    return [str(each.get("content") or "") for _, each in components.walk(shown)]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
