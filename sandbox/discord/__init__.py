"""A local Discord that needs no token: REST API v10, gateway, file host and a chat page on one port.

It follows the official docs strictly, including deadlines, limits and permissions. It can't imitate what the docs
leave open: the real rate limits, the scanning of media, and how each client draws a message.
"""

from sandbox.discord.commands import CommandRefused
from sandbox.discord.entities import Channel, Member, Overwrite, Role, Server, Team, TeamMember, User
from sandbox.discord.errors import ApiError
from sandbox.discord.interactions import Interaction, InteractionExpired
from sandbox.discord.server import DiscordSandbox
from sandbox.discord.switches import RecordedRequest, Switches
from sandbox.discord.world import World

__all__ = [
    "ApiError",
    "Channel",
    "CommandRefused",
    "DiscordSandbox",
    "Interaction",
    "InteractionExpired",
    "Member",
    "Overwrite",
    "RecordedRequest",
    "Role",
    "Server",
    "Switches",
    "Team",
    "TeamMember",
    "User",
    "World",
]
