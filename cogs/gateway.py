"""The connection to Discord's gateway: kept for as long as Discord takes us, with growing pauses between the tries.

The library's own `connect` tries again without a pause where Discord asks for a new connection, and prints a trace
where it cannot have one (discord.py 2.7, client.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import aiohttp
import discord
from discord.gateway import DiscordWebSocket, ReconnectWebSocket

from bot.errors import SettingsError, StartError
from bot.log import get_logger

log = get_logger("veo.discord")

HELLO_WITHIN_S = 60.0
# A token that identifies more than 1000 times a day is reset (Discord docs, Gateway, Rate Limiting).
PAUSE_MAX_S = 120.0
NEW_SESSION_PAUSE_S = 5.0  # Discord docs, Gateway, Opcode 9: at most so long before the next IDENTIFY
RESUMES_IN_VAIN_MAX = 3  # then a new session is begun

# What only an operator can mend (Discord docs, Gateway Close Event Codes, those that allow no reconnect).
_FOR_GOOD = {
    4004: "gateway.token",
    4010: "gateway.shard",
    4011: "gateway.sharding",
    4012: "gateway.version",
    4013: "gateway.unknown_intent",
    4014: "gateway.intent",
}


class Socket(DiscordWebSocket):
    """The library's connection, which knows when it sent its last heartbeat."""

    async def send_heartbeat(self, data: Any) -> None:
        """Called by the library's thread, which notes the time when it wakes up: often behind the answer.

        What it then takes for the answer's delay is the whole interval, 41.3 s.
        """
        if self._keep_alive:
            self._keep_alive.beat()
        await super().send_heartbeat(data)


async def stay_connected(client: discord.Client) -> None:
    """Hear the gateway until the client is closed. Raises StartError where Discord refuses us for good."""
    tries = 0  # since a connection held
    session: str | None = None
    while not client.is_closed():
        begun = time.monotonic()
        fault: Exception | None = None
        try:
            await _hear(client, session)
        except discord.ConnectionClosed as error:
            if error.code in _FOR_GOOD:
                verdict = SettingsError if error.code == 4004 else StartError
                raise verdict(_FOR_GOOD[error.code]) from None
            said = f"closed with {error.code}"
        except ReconnectWebSocket:
            said = "Discord or the network ended it"
        except (OSError, aiohttp.ClientError, TimeoutError, discord.HTTPException, discord.GatewayNotFound) as error:
            said = type(error).__name__
        except Exception as error:  # noqa: BLE001 - such as a frame that the library cannot read
            said, fault = f"it cannot be understood: {type(error).__name__}", error
        if client.is_closed():
            return
        client.dispatch("disconnect")
        if time.monotonic() - begun > PAUSE_MAX_S:
            tries = 0
        # What cannot be understood would only be sent again.
        resumable = fault is None and tries < RESUMES_IN_VAIN_MAX
        session = getattr(client.ws, "session_id", None) if resumable else None  # no connection before the first
        pause_s = pause_before(tries, new_session=session is None) * random.uniform(0.75, 1)  # noqa: S311 - no secret
        tries += 1
        log.warning(
            "no connection to Discord's gateway; connecting again", reason=said, in_s=round(pause_s, 1), exc_info=fault
        )
        await _close(client)
        await asyncio.sleep(pause_s)


def pause_before(tries: int, *, new_session: bool) -> float:
    """Seconds before the next try to connect, at most, after so many in vain: none, then 1, 2, 4 and so on."""
    longest = 0.0 if tries == 0 else min(2.0 ** min(tries - 1, 10), PAUSE_MAX_S)
    return max(longest, NEW_SESSION_PAUSE_S) if new_session else longest


async def _hear(client: discord.Client, session: str | None) -> None:
    """Connect, to the session that there was or to a new one, and take events until that fails."""
    before: dict[str, Any] = {"initial": client.ws is None}
    if session is not None:
        before |= {"session": session, "sequence": client.ws.sequence, "gateway": client.ws.gateway, "resume": True}
    async with asyncio.timeout(HELLO_WITHIN_S):  # `wait_for` may swallow a stop that comes with the hello (Python 3.11)
        client.ws = await Socket.from_client(client, shard_id=client.shard_id, **before)
    while True:
        await client.ws.poll_event()


async def _close(client: discord.Client) -> None:
    """Leave nothing open of a connection that failed; a session may be resumed all the same."""
    if client.ws is not None:
        with suppress(aiohttp.ClientError, OSError):
            await client.ws.close()
