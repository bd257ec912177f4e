"""The gateway: a WebSocket endpoint with JSON, heartbeats and resuming, without compression (docs: Gateway).

A requested ``compress`` is ignored, because clients accept uncompressed text frames. Heartbeats and the send limit
are measured in real time, as in the client. So advancing the sandbox's clock by 15 minutes expires tokens, but
doesn't close connections.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import WSMessage, WSMsgType, web

from sandbox.clock import Clock
from sandbox.discord.errors import JsonObject
from sandbox.discord.events import Events
from sandbox.discord.switches import Switches
from sandbox.discord.world import World

GUILDS, GUILD_MESSAGES, GUILD_MESSAGE_REACTIONS = 1 << 0, 1 << 9, 1 << 10
DIRECT_MESSAGES, DIRECT_MESSAGE_REACTIONS, MESSAGE_CONTENT = 1 << 12, 1 << 13, 1 << 15
PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15  # members, presences, message content
KNOWN_INTENTS = (1 << 17) - 1 | 1 << 20 | 1 << 21 | 1 << 24 | 1 << 25
PAYLOAD_MAX_BYTES = 4096
SENDS_MAX, SENDS_WINDOW_S = 120, 60.0
DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 3, 4, 6, 7, 9, 10, 11
BUFFER_EVENTS = 1000
ResumeRefusal = Literal["op 9", "close", "cut"]


class _Close(Exception):
    """Raised to end a connection with a close code (docs: Opcodes and Status Codes)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(eq=False)
class Session:
    """A client's session, which outlives a lost connection: sequence, buffered events, intents and shard."""

    id: str
    intents: int
    shard: tuple[int, int]
    sequence: int = 0
    events: deque[tuple[int, JsonObject]] = field(default_factory=lambda: deque(maxlen=BUFFER_EVENTS))
    connection: "_Connection | None" = None
    lost_at: float | None = None


class Gateway:
    """Accepts connections and sends each event to the sessions that should receive it."""

    def __init__(
        self, *, world: World, clock: Clock, switches: Switches, events: Events, token: str, random_: random.Random
    ) -> None:
        self.url = ""  # set once the server listens
        self._world = world
        self._clock = clock
        self._switches = switches
        self._events = events
        self._token = token
        self._random = random_
        self._sessions: dict[str, Session] = {}
        self._connections: set[_Connection] = set()
        self.alter: Callable[[JsonObject], JsonObject] | None = (
            None  # if set, it is applied to the data of each event before sending
        )
        self.refused_resumes: list[float] | None = None  # if set, every RESUME is refused, and its time is added
        self.resume_refusal: ResumeRefusal = "op 9"
        self.identified = 0  # how many times clients identified
        self.resumed = 0  # how many times clients resumed

    @property
    def ready(self) -> bool:
        """Whether a client is connected and identified."""
        return any(session.connection for session in self._sessions.values())

    def dispatch(
        self,
        event: str,
        data: JsonObject,
        *,
        guild_id: str | None = None,
        intent: int = 0,
        unread: JsonObject | None = None,
    ) -> None:
        """Send an event to the shard of ``guild_id`` (without one: shard 0), if it has the ``intent``.

        ``unread`` goes instead to sessions without the intent MESSAGE_CONTENT.
        """
        if self.alter is not None:
            data = self.alter(data)
        for session in self._sessions.values():
            number, count = session.shard
            home = (int(guild_id) >> 22) % count if guild_id else 0
            if number == home and (not intent or session.intents & intent):
                for _ in range(2 if self._switches.gateway_duplicates else 1):
                    seen = data if unread is None or session.intents & MESSAGE_CONTENT else unread
                    self._send(session, event, seen)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection, from HELLO to its end."""
        if self._switches.gateway_away:
            return web.Response(status=503)
        socket = web.WebSocketResponse(compress=False, max_msg_size=1024 * 1024, timeout=2.0)
        await socket.prepare(request)
        connection = _Connection(socket, request)
        self._connections.add(connection)
        writer = asyncio.create_task(self._write(connection))
        watch = asyncio.create_task(self._watch(connection))
        try:
            await self._converse(connection, request)
        except _Close as close:
            connection.closed_by_us = True
            await socket.close(code=close.code, message=str(close).encode())
        finally:
            self._connections.discard(connection)
            self._detach(connection)
            for task in (writer, watch):
                task.cancel()
            await asyncio.gather(writer, watch, return_exceptions=True)
        return socket

    async def drop(self, code: int | None) -> None:
        """End every connection: with this close code, or with None as if the network had failed."""
        for connection in list(self._connections):
            connection.closed_by_us = True
            if code is None:
                connection.abort()
            else:
                await connection.socket.close(code=code)

    def reconnect(self) -> None:
        """Ask every client to reconnect and resume (op 7)."""
        for connection in self._connections:
            connection.send({"op": RECONNECT, "d": None})

    def send_frame(self, payload: JsonObject) -> None:
        """Send any payload, valid or not, on every connection."""
        for connection in self._connections:
            connection.send(payload)

    def invalidate(self, *, resumable: bool) -> None:
        """Tell every client that its session is invalid (op 9), and whether it can resume it."""
        for connection in self._connections:
            if not resumable and connection.session:
                self._sessions.pop(connection.session.id, None)
                connection.session = None
            connection.send({"op": INVALID, "d": resumable})

    async def _converse(self, connection: "_Connection", request: web.Request) -> None:
        if request.query.get("v") not in ("9", "10"):
            raise _Close(4012, "Invalid API version")
        if request.query.get("encoding", "json") != "json":
            raise _Close(4012, "Only the encoding json is supported")
        interval_ms = int(self._switches.heartbeat_interval_s * 1000)
        connection.send({"op": HELLO, "d": {"heartbeat_interval": interval_ms, "_trace": ['["sandbox"]']}})
        async for frame in connection.socket:
            if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                connection.count_send()
                payload = _decode(frame)
                self._receive(connection, payload.get("op"), payload.get("d"))

    def _receive(self, connection: "_Connection", op: object, data: object) -> None:
        if op == HEARTBEAT:
            connection.last_heartbeat_at = time.monotonic()
            if not self._switches.gateway_silent:
                connection.send({"op": ACK, "d": None})
            return
        fields = data if isinstance(data, dict) else {}
        if op not in (IDENTIFY, PRESENCE, VOICE, RESUME):
            raise _Close(4001, "Unknown opcode")
        if op in (PRESENCE, VOICE):
            if connection.session is None:
                raise _Close(4003, "Not authenticated")
            return
        if connection.session is not None:
            raise _Close(4005, "Already authenticated")
        if str(fields.get("token", "")).removeprefix("Bot ") != self._token:
            raise _Close(4004, "Authentication failed")
        if op == IDENTIFY:
            self._identify(connection, fields)
        else:
            self._resume(connection, fields)

    def _identify(self, connection: "_Connection", fields: JsonObject) -> None:
        intents, shard = fields.get("intents"), fields.get("shard", [0, 1])
        if not isinstance(intents, int) or intents & ~KNOWN_INTENTS or intents < 0:
            raise _Close(4013, "Invalid intents")
        if intents & PRIVILEGED and not self._switches.privileged_intents:
            raise _Close(4014, "Disallowed intents")
        if not (isinstance(shard, list) and len(shard) == 2 and 0 <= shard[0] < shard[1]):
            raise _Close(4010, "Invalid shard")
        if not isinstance(fields.get("properties"), dict):
            raise _Close(4002, "Error while decoding payload")
        self._prune()
        session = Session(f"{self._random.getrandbits(128):032x}", intents, (shard[0], shard[1]))
        session.connection, connection.session = connection, session
        self._sessions[session.id] = session
        self.identified += 1
        servers = [each for each in self._world.servers if (int(each.id) >> 22) % shard[1] == shard[0]]
        ready: JsonObject = {
            "v": 10,
            "user": self._world.bot.to_json() | {"mfa_enabled": True, "verified": True, "email": None, "bio": ""},
            "guilds": [{"id": server.id, "unavailable": True} for server in servers],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self.url,
            "application": {"id": self._world.application_id, "flags": 1 << 23},
            "user_settings": {},
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "geo_ordered_rtc_regions": [],
            "_trace": ['["sandbox"]'],
        }
        self._send(session, "READY", ready | ({"shard": shard} if "shard" in fields else {}))
        for server in servers if intents & GUILDS and not self._switches.servers_away else []:
            self._send(session, "GUILD_CREATE", server.to_gateway_json(self._world.bot))
        self._events.publish("gateway_ready")

    def _resume(self, connection: "_Connection", fields: JsonObject) -> None:
        if self.refused_resumes is not None:
            self.refused_resumes.append(time.monotonic())
            self._refuse_resume(connection)
            return
        self._prune()
        session = self._sessions.get(str(fields.get("session_id")))
        sequence = fields.get("seq")
        oldest = session.events[0][0] if session and session.events else 1
        if session is None or not isinstance(sequence, int):
            connection.send({"op": INVALID, "d": False})
            return
        if sequence > session.sequence or sequence < oldest - 1:
            raise _Close(4007, "Invalid seq")
        if session.connection is not None:
            session.connection.session = None
            session.connection.abort()
        session.connection, connection.session, session.lost_at = connection, session, None
        self.resumed += 1
        for number, payload in session.events:
            if number > sequence:
                connection.send(payload)
        self._send(session, "RESUMED", {"_trace": ['["sandbox"]']})
        self._events.publish("gateway_resumed")

    def _refuse_resume(self, connection: "_Connection") -> None:
        match self.resume_refusal:
            case "op 9":
                connection.send({"op": INVALID, "d": True})
            case "close":
                raise _Close(4000, "Unknown error")
            case "cut":
                connection.abort()

    def _prune(self) -> None:
        """Delete the sessions that weren't resumed in time."""
        oldest = self._clock.now() - self._switches.resume_window_s
        for session in list(self._sessions.values()):
            if session.lost_at is not None and session.lost_at < oldest:
                del self._sessions[session.id]

    def _send(self, session: Session, event: str, data: JsonObject) -> None:
        session.sequence += 1
        payload = {"op": DISPATCH, "t": event, "s": session.sequence, "d": data}
        session.events.append((session.sequence, payload))
        if session.connection is not None and not self._switches.gateway_silent:
            session.connection.send(payload)

    def _detach(self, connection: "_Connection") -> None:
        """Detach the session from its connection. A client that closed with 1000 or 1001 can't resume its session."""
        session, connection.session = connection.session, None
        if session is None or session.connection is not connection:
            return
        session.connection, session.lost_at = None, self._clock.now()
        if not connection.closed_by_us and connection.socket.close_code in (1000, 1001):
            self._sessions.pop(session.id, None)
        self._events.publish("gateway_lost")

    async def _write(self, connection: "_Connection") -> None:
        while True:
            payload = await connection.outgoing.get()
            if self._switches.gateway_delay_s and payload["op"] == DISPATCH:
                await self._clock.sleep_until(self._clock.now() + self._switches.gateway_delay_s)
            with contextlib.suppress(ConnectionError):
                await connection.socket.send_str(json.dumps(payload))

    async def _watch(self, connection: "_Connection") -> None:
        """Close the connection with 4009 once the client stops sending heartbeats."""
        while True:
            timeout_s = self._switches.heartbeat_interval_s * self._switches.heartbeat_grace
            left = connection.last_heartbeat_at + timeout_s - time.monotonic()
            if left <= 0:
                connection.closed_by_us = True
                await connection.socket.close(code=4009, message=b"Session timed out")
                return
            await asyncio.sleep(left)


class _Connection:
    """One WebSocket, with a queue, so that dispatching an event never waits for the network."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self._request = request
        self.outgoing: asyncio.Queue[JsonObject] = asyncio.Queue()
        self.session: Session | None = None
        self.last_heartbeat_at = time.monotonic()
        self.closed_by_us = False
        self._sends: deque[float] = deque()

    def send(self, payload: JsonObject) -> None:
        self.outgoing.put_nowait(payload)

    def abort(self) -> None:
        """End the TCP connection without a closing frame."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def count_send(self) -> None:
        now = time.monotonic()
        self._sends.append(now)
        while self._sends[0] <= now - SENDS_WINDOW_S:
            self._sends.popleft()
        if len(self._sends) > SENDS_MAX:
            raise _Close(4008, "Rate limited")


def _decode(frame: WSMessage) -> JsonObject:
    raw = frame.data.encode() if isinstance(frame.data, str) else frame.data
    if len(raw) > PAYLOAD_MAX_BYTES:
        raise _Close(4002, "Payload too large")
    try:
        payload = json.loads(raw)
    except ValueError as problem:
        raise _Close(4002, "Error while decoding payload") from problem
    if not isinstance(payload, dict):
        raise _Close(4002, "Error while decoding payload")
    return payload
