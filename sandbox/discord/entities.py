"""Users, roles, members, channels, servers and teams, and the JSON objects that Discord's API returns for them."""

from dataclasses import dataclass, field
from typing import Literal

from sandbox.discord.errors import JsonObject

TEXT, DM, VOICE, GROUP_DM, ANNOUNCEMENT, ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = (
    0, 1, 2, 3, 5, 10, 11, 12, 15,
)  # fmt: skip
SERVER_KINDS = {"text": TEXT, "voice": VOICE, "announcement": ANNOUNCEMENT, "forum": FORUM}
SERVER_NULL_KEYS = (
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
)  # keys of a server object that are always present; here they are always null
LOCALES = frozenset(
    [
        "id",
        "da",
        "de",
        "en-GB",
        "en-US",
        "es-ES",
        "es-419",
        "fr",
        "hr",
        "it",
        "lt",
        "hu",
        "nl",
        "no",
        "pl",
        "pt-BR",
        "ro",
        "fi",
        "sv-SE",
        "vi",
        "tr",
        "cs",
        "el",
        "bg",
        "ru",
        "uk",
        "hi",
        "th",
        "zh-CN",
        "ja",
        "zh-TW",
        "ko",
    ]
)  # docs: Reference, Locales
JOINED_AT = "2026-01-05T09:00:00.000000+00:00"


@dataclass(eq=False, kw_only=True)
class User:
    """A person or the bot. ``colour`` (0xRRGGBB) is the color of the avatar, ``locale`` the language of the client.

    ``installed``: the person has installed the application for themselves. ``direct``: whether the bot may write to
    them; it may not if they have closed their direct messages, or have left every server that the bot is in.
    """

    id: str
    name: str
    bot: bool = False
    colour: int = 0xC2547A
    locale: str = "en-US"
    installed: bool = False
    direct: Literal["open", "closed", "no mutual server"] = "open"

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
    """A role of a server. The role with the server's id is @everyone."""

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
    """The permissions that a channel allows or denies to one role (kind 0) or one member (kind 1)."""

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
    """A channel of a server, a thread (has a parent), a direct-message channel (has a recipient) or a group.

    ``people`` are the people in a private thread, a group or a direct-message channel; elsewhere it isn't used.
    """

    id: str
    name: str
    kind: int = TEXT
    server: "Server | None" = field(default=None, repr=False)
    parent: "Channel | None" = None
    recipient: User | None = None
    position: int = 0
    nsfw: bool = False
    archived: bool = False
    locked: bool = False
    people: list[User] = field(default_factory=list)
    overwrites: dict[str, Overwrite] = field(default_factory=dict)
    last_message_id: str | None = None

    @property
    def guild_id(self) -> str | None:
        """The server's id; None in a direct-message channel."""
        return self.server.id if self.server else None

    def to_json(self) -> JsonObject:
        """The channel object (docs: Channel)."""
        form: JsonObject = {
            "id": self.id,
            "type": self.kind,
            "last_message_id": self.last_message_id,
            "flags": 0,
        }
        if self.server is None:
            form["recipients"] = [each.to_json() for each in self.people]
            group = {"name": self.name, "icon": None, "owner_id": self.people[0].id, "managed": False}
            return form | (group if self.kind == GROUP_DM else {})
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
                    "locked": self.locked,
                    "create_timestamp": JOINED_AT,
                },
            }
        if self.kind == VOICE:
            form |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
        if self.kind == FORUM:
            form |= {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
            form |= {"default_forum_layout": 0}
        return form | {
            "parent_id": None,
            "topic": None,
            "position": self.position,
            "nsfw": self.nsfw,
            "permission_overwrites": [each.to_json() for each in self.overwrites.values()],
        }


@dataclass(eq=False, kw_only=True)
class Server:
    """A server ("guild" in the API) with its roles, channels and members. The owner is one of the members."""

    id: str
    name: str
    owner: User
    locale: str = "en-US"
    roles: list[Role] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    # Command permissions under Integrations: command name -> allowed ids of members and roles (docs: Permissions).
    command_permissions: dict[str, set[str]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The part of the guild object that REST and gateway share (docs: Guild)."""
        return dict.fromkeys(SERVER_NULL_KEYS) | {
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
            "preferred_locale": self.locale,
            "nsfw": False,
            "nsfw_level": 0,
            "premium_progress_bar_enabled": False,
            "widget_enabled": False,
        }

    def to_gateway_json(self, me: User) -> JsonObject:
        """The payload of GUILD_CREATE (docs: Gateway Events); its only member is ``me``."""
        channels = [channel for channel in self.channels if not channel.parent]
        threads = [
            channel
            for channel in self.channels
            if channel.parent and not channel.archived and (channel.kind != PRIVATE_THREAD or me in channel.people)
        ]
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
    """A member of the application's team; ``role`` is ``admin``, ``developer`` or ``read_only`` (docs: Teams)."""

    user: User
    role: str
    accepted: bool = True


@dataclass(eq=False, kw_only=True)
class Team:
    """The team that owns the application. Its owner is one of its members."""

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
        """The placeholder that Discord reports as the owner of a team's application."""
        return User(id=self.id, name=f"team{self.id}")
