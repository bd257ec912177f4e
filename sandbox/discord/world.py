"""People, servers, channels and roles, and the permissions that follow from them.

Everything here has fixed ids, so that a restarted sandbox is the same place. It never changes by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from sandbox.discord.errors import JsonObject

ADMINISTRATOR = 1 << 3
MANAGE_SERVER = 1 << 5
ADD_REACTIONS = 1 << 6
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
SEND_TTS_MESSAGES = 1 << 12
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
USE_EXTERNAL_EMOJIS = 1 << 18
USE_APPLICATION_COMMANDS = 1 << 31
SEND_MESSAGES_IN_THREADS = 1 << 38
USE_EXTERNAL_APPS = 1 << 50
ALL_PERMISSIONS = (1 << 53) - 1

ORDINARY = (
    ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | USE_EXTERNAL_EMOJIS
    | USE_APPLICATION_COMMANDS
    | SEND_MESSAGES_IN_THREADS
    | USE_EXTERNAL_APPS
)
IN_DM = ATTACH_FILES | EMBED_LINKS | MENTION_EVERYONE | USE_EXTERNAL_EMOJIS

TEXT, DM, PUBLIC_THREAD = 0, 1, 11
SERVER_NOTHINGS = (
    "icon",
    "splash",
    "discovery_splash",
    "afk_channel_id",
    "application_id",
    "system_channel_id",
    "rules_channel_id",
    "vanity_url_code",
    "description",
    "banner",
    "public_updates_channel_id",
    "safety_alerts_channel_id",
    "home_header",
    "widget_channel_id",
    "max_presences",
    "incidents_data",
)  # keys of a server that are always there, here always null
JOINED_AT = "2026-01-05T09:00:00.000000+00:00"


@dataclass(eq=False, kw_only=True)
class User:
    """A person or the bot. ``colour`` (0xRRGGBB) stands for the avatar."""

    id: str
    name: str
    bot: bool = False
    colour: int = 0xC2547A

    def to_json(self) -> JsonObject:
        """The user object (docs: User)."""
        form: JsonObject = {
            "id": self.id,
            "username": self.name.lower().replace(" ", "-"),
            "global_name": None if self.bot else self.name,
            "discriminator": "0420" if self.bot else "0",
            "avatar": None,
            "avatar_decoration_data": None,
            "banner": None,
            "clan": None,
            "collectibles": None,
            "display_name_styles": None,
            "primary_guild": None,
            "public_flags": 0,
            "flags": 0,
        }
        return form | ({"bot": True} if self.bot else {})


@dataclass(eq=False, kw_only=True)
class Role:
    """A role of a server; the one with the server's id is @everyone."""

    id: str
    name: str
    permissions: int
    position: int
    colour: int = 0
    bot_id: str | None = None
    mentionable: bool = False

    def to_json(self) -> JsonObject:
        """The role object (docs: Permissions, Role Object)."""
        form: JsonObject = {
            "id": self.id,
            "name": self.name,
            "permissions": str(self.permissions),
            "position": self.position,
            "color": self.colour,
            "colors": {"primary_color": self.colour, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": self.bot_id is not None,
            "mentionable": self.mentionable,
            "icon": None,
            "unicode_emoji": None,
            "flags": 0,
        }
        return form | ({"tags": {"bot_id": self.bot_id}} if self.bot_id else {})


@dataclass(eq=False, kw_only=True)
class Overwrite:
    """What a channel allows or denies to one role (kind 0) or member (kind 1)."""

    id: str
    kind: int
    allow: int = 0
    deny: int = 0

    def to_json(self) -> JsonObject:
        """The overwrite object (docs: Channel, Overwrite Object)."""
        return {"id": self.id, "type": self.kind, "allow": str(self.allow), "deny": str(self.deny)}


@dataclass(eq=False, kw_only=True)
class Member:
    """A user in one server."""

    user: User
    server: "Server" = field(repr=False)
    roles: list[Role] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The user's id."""
        return self.user.id

    @property
    def name(self) -> str:
        """The name that the channel shows."""
        return self.user.name

    def to_json(self) -> JsonObject:
        """The member object (docs: Guild, Guild Member Object)."""
        return self.partial_json() | {"user": self.user.to_json()}

    def partial_json(self) -> JsonObject:
        """The member object without its user, as in the resolved data of a command."""
        return {
            "avatar": None,
            "banner": None,
            "collectibles": None,
            "communication_disabled_until": None,
            "deaf": False,
            "display_name_styles": None,
            "flags": 0,
            "joined_at": JOINED_AT,
            "mute": False,
            "nick": None,
            "pending": False,
            "premium_since": None,
            "roles": [role.id for role in self.roles],
            "unusual_dm_activity_until": None,
        }


@dataclass(eq=False, kw_only=True)
class Channel:
    """A text channel, a thread (with a parent) or a direct conversation (with a recipient)."""

    id: str
    name: str
    kind: int = TEXT
    server: "Server | None" = field(default=None, repr=False)
    parent: "Channel | None" = None
    recipient: User | None = None
    position: int = 0
    nsfw: bool = False
    archived: bool = False
    overwrites: dict[str, Overwrite] = field(default_factory=dict)
    last_message_id: str | None = None

    @property
    def guild_id(self) -> str | None:
        """The server's id; None in a direct conversation."""
        return self.server.id if self.server else None

    def to_json(self) -> JsonObject:
        """The channel object (docs: Channel)."""
        form: JsonObject = {
            "id": self.id,
            "type": self.kind,
            "last_message_id": self.last_message_id,
            "flags": 0,
        }
        if self.recipient:
            return form | {"recipients": [self.recipient.to_json()]}
        assert self.server
        form |= {"guild_id": self.server.id, "name": self.name, "rate_limit_per_user": 0}
        if self.parent:
            return form | {
                "parent_id": self.parent.id,
                "owner_id": self.server.owner.id,
                "message_count": 0,
                "member_count": 1,
                "total_message_sent": 0,
                "thread_metadata": {
                    "archived": self.archived,
                    "archive_timestamp": JOINED_AT,
                    "auto_archive_duration": 1440,
                    "locked": False,
                    "create_timestamp": JOINED_AT,
                },
            }
        return form | {
            "parent_id": None,
            "topic": None,
            "position": self.position,
            "nsfw": self.nsfw,
            "permission_overwrites": [each.to_json() for each in self.overwrites.values()],
        }


@dataclass(eq=False, kw_only=True)
class Server:
    """A server ("guild") with its roles, channels and members. The owner is a member."""

    id: str
    name: str
    owner: User
    roles: list[Role] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    # What its admins allowed under Integrations: command name -> ids of members and roles (docs: Permissions).
    command_permissions: dict[str, set[str]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """What REST and gateway say alike of a server (docs: Guild)."""
        return dict.fromkeys(SERVER_NOTHINGS) | {
            "id": self.id,
            "name": self.name,
            "owner_id": self.owner.id,
            "region": "deprecated",
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "roles": [role.to_json() for role in self.roles],
            "emojis": [],
            "stickers": [],
            "features": [],
            "mfa_level": 0,
            "system_channel_flags": 0,
            "max_members": 25_000_000,
            "max_video_channel_users": 25,
            "max_stage_video_channel_users": 50,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "preferred_locale": "en-US",
            "nsfw": False,
            "nsfw_level": 0,
            "premium_progress_bar_enabled": False,
            "widget_enabled": False,
        }

    def to_gateway_json(self, me: User) -> JsonObject:
        """The payload of GUILD_CREATE (docs: Gateway Events); of the members it shows only ``me``."""
        channels = [channel for channel in self.channels if not channel.parent]
        threads = [channel for channel in self.channels if channel.parent and not channel.archived]
        return self.to_json() | {
            "joined_at": JOINED_AT,
            "large": False,
            "unavailable": False,
            "member_count": len(self.members),
            "members": [member.to_json() for member in self.members if member.user is me],
            "channels": [channel.to_json() for channel in channels],
            "threads": [thread.to_json() for thread in threads],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }


@dataclass(eq=False, kw_only=True)
class TeamMember:
    """Somebody in the application's team; ``role`` is ``admin``, ``developer`` or ``read_only`` (docs: Teams)."""

    user: User
    role: str
    accepted: bool = True


@dataclass(eq=False, kw_only=True)
class Team:
    """Who owns the application together. The owner is a member too."""

    id: str
    owner: User
    members: list[TeamMember] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """The team object (docs: Teams)."""
        return {
            "id": self.id,
            "icon": None,
            "name": f"The team of {self.owner.name}",
            "owner_user_id": self.owner.id,
            "members": [
                {
                    "user": each.user.to_json(),
                    "team_id": self.id,
                    "membership_state": 2 if each.accepted else 1,
                    "role": each.role,
                    "permissions": ["*"],
                }
                for each in self.members
            ],
        }

    def pseudo_owner(self) -> User:
        """Whom Discord names as the owner of an application that belongs to a team."""
        return User(id=self.id, name=f"team{self.id}")


class World:
    """Everything that exists before the first message.

    One server "Aurora Studio" owned by Ada, who owns the application too, and a second one, "Elsewhere",
    owned by Dana, with Eli. The bot is in both.
    """

    def __init__(self) -> None:
        self._serial = 0
        self.team: Team | None = None  # that owns the application, in the place of its owner
        self.bot = User(id=self._id(), name="Veo Bot", bot=True)
        self.owner = self._person("Ada", 0xE67E22)
        bo, cem = self._person("Bo", 0x3498DB), self._person("Cem", 0x2ECC71)
        dana = self._person("Dana", 0x9B59B6)
        self.direct: dict[str, Channel] = {}  # by the id of the recipient

        aurora = self._server("Aurora Studio", self.owner)
        editors = Role(id=self._id(), name="Editors", permissions=0, position=2, colour=0x2ECC71)
        aurora.roles.append(editors)
        aurora.members += [Member(user=each, server=aurora) for each in (self.owner, bo)]
        aurora.members += [Member(user=cem, server=aurora, roles=[editors]), Member(user=dana, server=aurora)]
        self._channel(aurora, "general")
        lab = self._channel(aurora, "video-lab")
        self._channel(aurora, "read-only", deny=SEND_MESSAGES)
        self._channel(aurora, "no-files", deny=ATTACH_FILES)
        self._channel(aurora, "takes", parent=lab)

        elsewhere = self._server("Elsewhere", dana)
        elsewhere.members += [Member(user=each, server=elsewhere) for each in (dana, self._person("Eli", 0xF1C40F))]
        self._channel(elsewhere, "lobby")
        self.servers = [aurora, elsewhere]

    @property
    def application_id(self) -> str:
        """The application's id, which is the bot's too."""
        return self.bot.id

    def make_team(self, **roles: str) -> Team:
        """Give the application to a team of its owner's, with these members, each by name with their role."""
        members = [TeamMember(user=self.member(name).user, role=role) for name, role in roles.items()]
        owner = TeamMember(user=self.owner, role="admin")
        self.team = Team(id=self._id(), owner=self.owner, members=[owner, *members])
        return self.team

    def join(self, name: str, server: Server, *, permissions: int = 0) -> Member:
        """Somebody new in ``server``, with a role of their own where they have permissions beside everybody's."""
        member = Member(user=self._person(name, 0x95A5A6), server=server)
        if permissions:
            own = Role(id=self._id(), name=f"{name}'s", permissions=permissions, position=3)
            server.roles.append(own)
            member.roles.append(own)
        server.members.append(member)
        return member

    def channels(self) -> Iterator[Channel]:
        """Every channel, thread and open direct conversation."""
        for server in self.servers:
            yield from server.channels
        yield from self.direct.values()

    def server(self, key: str) -> Server:
        """The server with this id or name; KeyError otherwise."""
        return next((each for each in self.servers if key in (each.id, each.name)), None) or _missing(key)

    def channel(self, key: str) -> Channel:
        """The channel with this id or name (with or without ``#``); KeyError otherwise."""
        named = key.removeprefix("#")
        return next((each for each in self.channels() if named in (each.id, each.name)), None) or _missing(key)

    def member(self, key: str, server: Server | None = None) -> Member:
        """The member with this id or name, in ``server`` or the first server that has it; KeyError otherwise."""
        places = [server] if server else self.servers
        everyone = (member for place in places for member in place.members)
        return next((each for each in everyone if key in (each.id, each.name)), None) or _missing(key)

    def user(self, user_id: str) -> User | None:
        """The user with this id."""
        everyone = (member.user for server in self.servers for member in server.members)
        return next((each for each in everyone if each.id == user_id), None)

    def me(self, server: Server) -> Member:
        """The bot's membership in ``server``."""
        return self.member(self.bot.id, server)

    def direct_channel(self, user: User, new_id: str) -> Channel:
        """The conversation of the bot with ``user``, opened under ``new_id`` at the first time."""
        if user.id not in self.direct:
            self.direct[user.id] = Channel(id=new_id, name=f"@{user.name}", kind=DM, recipient=user)
        return self.direct[user.id]

    def permissions(self, member: Member, channel: Channel) -> int:
        """The bits that ``member`` has in ``channel`` (docs: Permissions, Permission Overwrites)."""
        if channel.server is None:
            return IN_DM
        everyone = member.server.roles[0]
        bits = everyone.permissions
        for role in member.roles:
            bits |= role.permissions
        if member.user is member.server.owner or bits & ADMINISTRATOR:
            return ALL_PERMISSIONS
        overwrites = (channel.parent or channel).overwrites
        if everyone.id in overwrites:
            bits = bits & ~overwrites[everyone.id].deny | overwrites[everyone.id].allow
        allow = deny = 0
        for role in member.roles:
            if role.id in overwrites:
                allow |= overwrites[role.id].allow
                deny |= overwrites[role.id].deny
        bits = bits & ~deny | allow
        if member.id in overwrites:
            bits = bits & ~overwrites[member.id].deny | overwrites[member.id].allow
        return _implied(bits, in_thread=channel.parent is not None)

    def _id(self) -> str:
        """A snowflake of 1 January 2024 (docs: Reference, Snowflakes), a millisecond after the last."""
        self._serial += 1
        return str((1_704_067_200_000 - 1_420_070_400_000 + self._serial) << 22)

    def _person(self, name: str, colour: int) -> User:
        return User(id=self._id(), name=name, colour=colour)

    def _server(self, name: str, owner: User) -> Server:
        server = Server(id=self._id(), name=name, owner=owner)
        everyone = Role(id=server.id, name="@everyone", permissions=ORDINARY, position=0)
        mine = Role(id=self._id(), name=self.bot.name, permissions=ORDINARY, position=1, bot_id=self.bot.id)
        server.roles += [everyone, mine]
        server.members.append(Member(user=self.bot, server=server, roles=[mine]))
        return server

    def _channel(self, server: Server, name: str, *, deny: int = 0, parent: Channel | None = None) -> Channel:
        channel = Channel(
            id=self._id(),
            name=name,
            server=server,
            parent=parent,
            kind=PUBLIC_THREAD if parent else TEXT,
            position=len(server.channels),
        )
        if deny:
            mine = self.me(server).roles[0]
            channel.overwrites[mine.id] = Overwrite(id=mine.id, kind=0, deny=deny)
        server.channels.append(channel)
        return channel


def _implied(bits: int, *, in_thread: bool) -> int:
    """Without sight there is nothing; without speech no files (docs: Permissions, Implicit Permissions)."""
    if not bits & VIEW_CHANNEL:
        return 0
    if not bits & (SEND_MESSAGES_IN_THREADS if in_thread else SEND_MESSAGES):
        bits &= ~(MENTION_EVERYONE | SEND_TTS_MESSAGES | ATTACH_FILES | EMBED_LINKS)
    return bits


def _missing(key: str) -> NoReturn:
    raise KeyError(key)
