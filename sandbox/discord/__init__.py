"""A Discord that needs no token: REST v10, gateway, files and a chat page on one local port.

It behaves as the official docs say, strictly: deadlines pass, limits hold, permissions count. What it
cannot show is what the docs leave open: real bucket sizes, media scanning, how each client draws a message.
"""

from sandbox.discord.commands import CommandRefused
from sandbox.discord.errors import ApiError
from sandbox.discord.interactions import Interaction, InteractionExpired
from sandbox.discord.server import DiscordSandbox
from sandbox.discord.switches import RecordedRequest, Switches
from sandbox.discord.world import Channel, Member, Overwrite, Role, Server, Team, TeamMember, User, World

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
