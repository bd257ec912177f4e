"""The sandbox's gateway follows the docs: identify, heartbeats, resume, intents, shards and close codes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.sandbox.discord_client import Raw


class GatewayClient:
    """A gateway client that sends exactly what it is told."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.socket = socket
        self.token = token

    async def receive(self) -> dict[str, Any]:
        frame = await self.socket.receive(timeout=5)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        payload: dict[str, Any] = json.loads(frame.data)
        return payload

    async def until(self, event: str) -> dict[str, Any]:
        while (payload := await self.receive())["t"] != event:
            pass
        return payload

    async def send(self, op: int, data: object = None) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(self, **fields: object) -> dict[str, Any]:
        properties = {"os": "linux", "browser": "x", "device": "x"}
        data = {"token": self.token, "properties": properties, "intents": 1, "compress": True}
        await self.send(2, data | fields)
        return await self.until("READY")

    async def resume(self, session_id: str, sequence: int) -> None:
        await self.send(6, {"token": self.token, "session_id": session_id, "seq": sequence})

    async def close_code(self) -> int | None:
        while (await self.socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        return self.socket.close_code


@asynccontextmanager
async def connect(raw: Raw, query: str = "?v=10&encoding=json&compress=zstd-stream") -> AsyncIterator[GatewayClient]:
    async with raw.session.ws_connect(raw.sandbox.gateway_url + query) as socket:
        connected = GatewayClient(socket, raw.sandbox.token)
        if "v=10" in query:
            hello = await connected.receive()
            assert (hello["op"], hello["d"]["heartbeat_interval"]) == (10, 41_250)
        yield connected


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (3, {"status": "online"}, 4003),
        (99, None, 4001),
        (1, "x" * 5000, 4002),
        (2, {"token": "wrong", "intents": 1, "properties": {}}, 4004),
        (2, {"intents": 1 << 40, "properties": {}}, 4013),
        (2, {"intents": 1 << 15, "properties": {}}, 4014),
        (2, {"intents": 1, "properties": {}, "shard": [2, 2]}, 4010),
    ],
)
async def test_the_gateway_closes_with_the_documented_code(raw: Raw, op: int, data: Any, code: int) -> None:
    """Each kind of wrong payload ends the connection with its own close code."""
    async with connect(raw) as gateway:
        if isinstance(data, dict) and "intents" in data:
            data = {"token": raw.sandbox.token} | data
        await gateway.send(op, data)
        assert await gateway.close_code() == code


async def test_the_gateway_closes_on_every_kind_of_misuse(raw: Raw) -> None:
    """4002 for invalid JSON, 4005 for a second identify, 4008 for 121 sends, 4009 for no heartbeat, 4012 for v8."""
    async with connect(raw) as gateway:
        await gateway.socket.send_str("{")
        assert await gateway.close_code() == 4002
    async with connect(raw) as gateway:
        await gateway.identify()
        await gateway.send(2, {"token": raw.sandbox.token})
        assert await gateway.close_code() == 4005
    async with connect(raw) as gateway:
        for _ in range(121):
            await gateway.send(1, None)
        assert await gateway.close_code() == 4008
    async with connect(raw, "?v=8&encoding=json") as gateway:
        assert await gateway.close_code() == 4012
    async with connect(raw) as gateway:
        raw.sandbox.switches.heartbeat_interval_s = 0.02
    async with raw.session.ws_connect(raw.sandbox.gateway_url + "?v=10&encoding=json") as socket:
        assert await GatewayClient(socket, "").close_code() == 4009


async def test_the_gateway_sends_every_server_after_ready(raw: Raw) -> None:
    """READY lists the servers as unavailable, then each comes with a GUILD_CREATE."""
    ids = [server.id for server in raw.sandbox.world.servers]
    async with connect(raw) as gateway:
        await gateway.send(1, None)
        assert (await gateway.receive())["op"] == 11
        ready = (await gateway.identify())["d"]
        assert ready["guilds"] == [{"id": each, "unavailable": True} for each in ids]
        assert ready["user"]["id"] == ready["application"]["id"] == raw.sandbox.world.application_id
        assert ready["resume_gateway_url"] == raw.sandbox.gateway_url
        created = [await gateway.until("GUILD_CREATE") for _ in ids]
        assert [each["d"]["name"] for each in created] == ["Aurora Studio", "Elsewhere"]
        assert [each["s"] for each in created] == [2, 3]


async def test_a_shard_receives_only_events_of_its_servers(raw: Raw) -> None:
    """With three shards, each gets the servers and interactions for which (id >> 22) % 3 is its number."""
    await raw.register()
    aurora, elsewhere = raw.sandbox.world.servers
    here, there = ((int(each.id) >> 22) % 3 for each in (aurora, elsewhere))
    assert here != there
    async with connect(raw) as first, connect(raw) as second:
        assert (await first.identify(shard=[here, 3]))["d"]["shard"] == [here, 3]
        await second.identify(shard=[there, 3])
        used = await raw.invoke()
        dana, lobby = raw.sandbox.world.member("Dana"), raw.sandbox.world.channel("lobby")
        other = await raw.sandbox.invoke(dana, lobby, "veo", {"prompt": "x"})
        events = [[await each.receive() for _ in range(2)] for each in (first, second)]
        assert [each["d"]["id"] for each in events[0]] == [aurora.id, used.id]
        assert [each["d"]["id"] for each in events[1]] == [elsewhere.id, other.id]


async def test_intents_select_events_and_interactions_need_none(raw: Raw) -> None:
    """MESSAGE_CREATE needs the intent GUILD_MESSAGES; interactions come without any intent."""
    await raw.register()
    async with connect(raw) as silent, connect(raw) as curious:
        await silent.identify(intents=0)
        await curious.identify(intents=1 | 1 << 9)
        posted = (await raw.post({"content": "hello", "nonce": "n"})).json
        await raw.invoke()
        assert (await silent.receive())["t"] == "INTERACTION_CREATE"
        event = await curious.until("MESSAGE_CREATE")
        assert event["d"] == posted | {"guild_id": raw.sandbox.world.channel("general").guild_id}


async def test_a_resume_replays_exactly_what_was_missed(raw: Raw) -> None:
    """After a close code other than 1000, the events since ``seq`` are sent again in order, then RESUMED."""
    await raw.register()
    async with connect(raw) as gateway:
        session_id = (await gateway.identify(intents=0))["d"]["session_id"]
        await raw.invoke()
        assert (await gateway.receive())["s"] == 2
        await gateway.socket.close(code=4000)
    missed = [await raw.invoke(), await raw.invoke()]
    async with connect(raw) as gateway:
        await gateway.resume(session_id, 2)
        events = [await gateway.receive() for _ in range(3)]
        assert [each["d"].get("id") for each in events] == [missed[0].id, missed[1].id, None]
        assert [each["s"] for each in events] == [3, 4, 5]
        assert (events[2]["t"], isinstance(events[2]["d"], dict)) == ("RESUMED", True)
        await gateway.socket.close(code=4000)
    async with connect(raw) as gateway:
        await gateway.resume(session_id, 99)
        assert await gateway.close_code() == 4007
    async with connect(raw) as gateway:
        await gateway.resume("unknown", 1)
        assert await gateway.receive() == {"op": 9, "d": False}


@pytest.mark.parametrize(("code", "later_s"), [(1000, 0), (1001, 0), (4000, 181)])
async def test_a_session_ends_after_a_normal_close_or_a_timeout(raw: Raw, code: int, later_s: float) -> None:
    """A client that closed with 1000 or 1001, or resumes too late, must identify again."""
    async with connect(raw) as gateway:
        session_id = (await gateway.identify())["d"]["session_id"]
        await gateway.socket.close(code=code)
    await raw.sandbox.wait_until(lambda: not raw.sandbox.connected)
    raw.sandbox.clock.advance(later_s)
    async with connect(raw) as gateway:
        await gateway.resume(session_id, 1)
        assert await gateway.receive() == {"op": 9, "d": False}


async def test_the_gateway_can_repeat_delay_or_hold_events(raw: Raw) -> None:
    """Switches make an event arrive twice, late by the clock, or only after a resume."""
    await raw.register()
    sandbox = raw.sandbox
    async with connect(raw) as gateway:
        session_id = (await gateway.identify(intents=0))["d"]["session_id"]
        sandbox.switches.gateway_duplicates = True
        twice = await raw.invoke()
        assert [(await gateway.receive())["d"]["id"] for _ in range(2)] == [twice.id] * 2
        sandbox.switches.update({"gateway_duplicates": False, "gateway_delay_s": 60})
        late = await raw.invoke()
        with pytest.raises(TimeoutError):
            await gateway.socket.receive(timeout=0.02)
        sandbox.clock.advance(60)
        assert (await gateway.receive())["d"]["id"] == late.id
        sandbox.switches.update({"gateway_delay_s": 0, "gateway_silent": True})
        held = await raw.invoke()
        await gateway.send(1)
        with pytest.raises(TimeoutError):
            await gateway.socket.receive(timeout=0.02)
        sandbox.switches.gateway_silent = False
        await gateway.socket.close(code=4000)
    async with connect(raw) as gateway:
        await gateway.resume(session_id, 4)
        assert (await gateway.receive())["d"]["id"] == held.id


GUILD_MESSAGES, REACTIONS, CONTENT = 1 << 9, 1 << 10, 1 << 15


@pytest.mark.parametrize(
    ("intents", "approved", "expected"),
    [
        (1, False, []),
        (1 | REACTIONS, False, ["MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE"]),
        (1 | GUILD_MESSAGES, False, ["MESSAGE_CREATE ", "MESSAGE_CREATE <@>", "MESSAGE_CREATE own", "MESSAGE_DELETE"]),
        (
            1 | GUILD_MESSAGES | CONTENT,
            True,
            ["MESSAGE_CREATE secret", "MESSAGE_CREATE <@>", "MESSAGE_CREATE own", "MESSAGE_DELETE"],
        ),
    ],
)
async def test_events_and_contents_come_only_with_their_intents(
    raw: Raw, intents: int, approved: bool, expected: list[str]
) -> None:
    """Reactions, messages and the texts of others each need an intent; own ones and mentions never do."""
    sandbox, world = raw.sandbox, raw.sandbox.world
    sandbox.switches.privileged_intents = approved
    bo, general = world.member("Bo"), world.channel("general")
    mention = f"<@{world.bot.id}>"
    async with connect(raw) as gateway:
        await gateway.identify(intents=intents)
        said = sandbox.say(bo, general, "secret")
        sandbox.say(bo, general, mention)
        own = (await raw.post({"content": "own"})).json
        sandbox.react(bo, own["id"], "👍")
        sandbox.react(bo, own["id"], "👍", add=False)
        sandbox.delete_message(own["id"])
        sandbox.send_event("LAST", {})
        seen = []
        while (event := await gateway.receive())["t"] != "LAST":
            if event["t"] != "GUILD_CREATE":
                text = event["d"].get("content")
                seen.append(event["t"] if text is None else f"{event['t']} {text}".replace(mention, "<@>"))
                assert event["d"]["guild_id"] == general.guild_id
    assert seen == expected
    read = (await raw("GET", f"/channels/{general.id}/messages")).json
    assert [each["content"] for each in read] == [mention, "secret" if approved else ""]
    assert sandbox.messages(general)[0]["content"] == said["content"] == "secret"
