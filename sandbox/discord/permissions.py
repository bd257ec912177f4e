"""Permission bits, and which of them a member has in a channel (docs: Permissions)."""

from sandbox.discord.entities import PRIVATE_THREAD, Channel, Member, User

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
MANAGE_THREADS = 1 << 34
SEND_MESSAGES_IN_THREADS = 1 << 38
USE_EXTERNAL_APPS = 1 << 50
ALL_PERMISSIONS = (1 << 53) - 1

DEFAULT_PERMISSIONS = (
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
DM_PERMISSIONS = ATTACH_FILES | EMBED_LINKS | MENTION_EVERYONE | USE_EXTERNAL_EMOJIS


def permissions_in(member: Member, channel: Channel) -> int:
    """The permission bits of ``member`` in ``channel`` (docs: Permissions, Permission Overwrites)."""
    if channel.server is None:
        return DM_PERMISSIONS
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
    return _without_implied_denials(bits, in_thread=channel.parent is not None)


def is_inside(user: User, channel: Channel, bits: int) -> bool:
    """Whether a user with these permission bits can open the channel: private ones are for the people in them."""
    if channel.kind == PRIVATE_THREAD:
        return user in channel.people or bool(bits & MANAGE_THREADS)
    if channel.server is None:
        return user in channel.people
    return bool(bits & VIEW_CHANNEL)


def _without_implied_denials(bits: int, *, in_thread: bool) -> int:
    """Remove what is denied implicitly: everything without VIEW_CHANNEL, files and more without SEND_MESSAGES.

    Docs: Permissions, Implicit Permissions.
    """
    if not bits & VIEW_CHANNEL:
        return 0
    if not bits & (SEND_MESSAGES_IN_THREADS if in_thread else SEND_MESSAGES):
        bits &= ~(MENTION_EVERYONE | SEND_TTS_MESSAGES | ATTACH_FILES | EMBED_LINKS)
    return bits
