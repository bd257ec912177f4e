"""What the stand-in Discord says: its one server, the uses of commands, and the replies of its REST API."""

from __future__ import annotations

import json
from typing import Any, Literal

from sandbox.discord.entities import Channel, Member, Role, Server, User
from sandbox.discord.permissions import ALL_PERMISSIONS, DEFAULT_PERMISSIONS

Json = dict[str, Any]

BOT = User(id="1400000000000000001", name="Veo Bot", bot=True)
ADA = User(id="1400000000000000002", name="Ada")
SERVER_ID, ROLE_ID, CHANNEL_ID = "1400000000000000003", "1400000000000000004", "1400000000000000005"
FIRST_MEMBER, FIRST_CHANNEL = 1_410_000_000_000_000_000, 1_420_000_000_000_000_000
EPOCH_MS = 1_420_070_400_000  # Discord's ids count milliseconds from here, in steps of 2**22 (docs, Snowflakes)

# In the frame of a use of a command; put in its place for each one.
ID, TOKEN, CHANNEL, MEMBER, PROMPT, SEQUENCE = "<id>", "<token>", "<channel>", "<member>", "<prompt>", "<s>"


def server() -> Server:
    """The server that the bot is in; its owner owns the application, too."""
    place = Server(id=SERVER_ID, name="Aurora Studio", owner=ADA)
    everyone = Role(id=SERVER_ID, name="@everyone", permissions=DEFAULT_PERMISSIONS, position=0)
    place.roles += [everyone, Role(id=ROLE_ID, name="Editors", permissions=0, position=1)]
    place.members += [Member(user=BOT, server=place), Member(user=ADA, server=place)]
    place.channels.append(Channel(id=CHANNEL_ID, name="video-lab", server=place))
    return place


PLACE = server()


def ready(url: str) -> Json:
    """The payload of READY."""
    return {
        "v": 10,
        "user": BOT.to_json() | {"mfa_enabled": True, "verified": True, "email": None, "bio": ""},
        "guilds": [{"id": SERVER_ID, "unavailable": True}],
        "session_id": "0" * 32,
        "session_type": "normal",
        "resume_gateway_url": url,
        "application": {"id": BOT.id, "flags": 1 << 23},
    }


def guild_create() -> Json:
    """The payload of GUILD_CREATE: a server whose boosts allow large files."""
    return PLACE.to_gateway_json(BOT) | {"premium_tier": 3}


def application() -> Json:
    """The reply to `GET /oauth2/applications/@me`."""
    return {
        "id": BOT.id,
        "name": BOT.name,
        "icon": None,
        "description": "",
        "bot_public": False,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": 1 << 23,
        "owner": ADA.to_json(),
        "team": None,
    }


def command_frame(data: Json, *, who: Literal["owner", "member"]) -> str:
    """An INTERACTION_CREATE with placeholders, as the gateway sends it."""
    user = ADA if who == "owner" else User(id=MEMBER, name="Bo")
    roles = [role for role in PLACE.roles if role.id == ROLE_ID]
    bits = ALL_PERMISSIONS if who == "owner" else DEFAULT_PERMISSIONS
    channel = Channel(id=CHANNEL, name="video-lab", server=PLACE)
    payload = {
        "id": ID,
        "application_id": BOT.id,
        "type": 2,
        "token": TOKEN,
        "version": 1,
        "channel_id": CHANNEL,
        "channel": channel.to_json() | {"permissions": str(bits)},
        "locale": "en-US",
        "entitlements": [],
        "entitlement_sku_ids": [],
        "authorizing_integration_owners": {"0": SERVER_ID},
        "context": 0,
        "attachment_size_limit": 100 * 2**20,
        "guild_id": SERVER_ID,
        "guild": {"id": SERVER_ID, "locale": "en-US", "features": []},
        "guild_locale": "en-US",
        "member": Member(user=user, server=PLACE, roles=roles).to_json() | {"permissions": str(bits)},
        "app_permissions": str(ALL_PERMISSIONS),
        "data": data | {"id": "1400000000000000009", "type": 1},
    }
    frame = json.dumps({"op": 0, "t": "INTERACTION_CREATE", "s": SEQUENCE, "d": payload})
    return frame.replace(f'"{SEQUENCE}"', SEQUENCE)


def veo() -> Json:
    """`/veo` with a prompt and some of its options."""
    options = [
        {"name": "prompt", "type": 3, "value": PROMPT},
        {"name": "resolution", "type": 3, "value": "720p"},
        {"name": "negative_prompt", "type": 3, "value": "text, watermark"},
        {"name": "seed", "type": 4, "value": 42},
    ]
    return {"name": "veo", "options": options}


def limit_set(amount: str, *, role: bool) -> Json:
    """`/veo-admin limit set` for all with the role together, or else for the channel."""
    options: list[Json] = [{"name": "role", "type": 8, "value": ROLE_ID}, {"name": "pool", "type": 5, "value": True}]
    resolved: Json = {"roles": {role.id: role.to_json() for role in PLACE.roles if role.id == ROLE_ID}}
    if not role:
        options = [{"name": "channel", "type": 7, "value": CHANNEL_ID}]
        resolved = {"channels": {CHANNEL_ID: PLACE.channels[0].to_json() | {"permissions": str(ALL_PERMISSIONS)}}}
    leaf = {"name": "set", "type": 1, "options": [{"name": "amount", "type": 3, "value": amount}, *options]}
    return {
        "name": "veo-admin",
        "options": [{"name": "limit", "type": 2, "options": [leaf]}],
        "resolved": resolved,
    }


def report(days: int) -> Json:
    """`/veo-admin report`."""
    leaf = {"name": "report", "type": 1, "options": [{"name": "days", "type": 4, "value": days}]}
    return {"name": "veo-admin", "options": [leaf]}


def message(message_id: str, channel_id: str) -> Json:
    """A message of the bot, as the replies to a post and to an edit show it."""
    embed = {
        "type": "rich",
        "title": "Making your video",
        "description": "> a red fox walks through fresh snow at dawn\nIn line since 10:24 PM.",
        "color": 0x3498DB,
        "footer": {"text": "Video abcdefghijkl"},
        "fields": [{"name": "Price", "value": "$3.20", "inline": True}],
    }
    return {
        "id": message_id,
        "channel_id": channel_id,
        "type": 0,
        "content": "",
        "author": BOT.to_json(),
        "attachments": [],
        "embeds": [embed],
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "pinned": False,
        "tts": False,
        "timestamp": "2026-11-25T10:24:00.000000+00:00",
        "edited_timestamp": None,
        "flags": 0,
        "components": [],
        "webhook_id": BOT.id,
        "application_id": BOT.id,
    }
