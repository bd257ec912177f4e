"""The sandbox Discord can be controlled and observed: faults, control plane, events, page and API description."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yarl

from sandbox.clock import Clock
from sandbox.discord import DiscordSandbox
from sandbox.discord.control import PAGE
from sandbox.discord.spec import Spec
from tests.sandbox.discord_client import BUTTON, DESCRIPTION, TEXT, Raw, needs_description, row, v2


async def test_faults_come_once_and_before_any_effect(raw: Raw) -> None:
    """A planned status prevents the effect, or with ``effect`` only replaces the reply; the next request is normal."""
    sandbox = raw.sandbox
    sandbox.fault("POST", r"/channels/\d+/messages", status=503, code=130000)
    assert (await raw.post({"content": "x"})).refusal == (503, 130000)
    assert sandbox.messages(sandbox.world.channel("general")) == []
    sandbox.fault("POST", r"/channels/\d+/messages", status=500, effect=True)
    assert (await raw.post({"content": "y"})).status == 500
    assert (await raw.post({"content": "z"})).status == 200
    assert [each["content"] for each in sandbox.messages(sandbox.world.channel("general"))] == ["y", "z"]
    sandbox.fault("*", "/users/@me", status=429, via=False, html=True)
    edge = await raw("GET", "/users/@me")
    assert (edge.status, edge.headers["Content-Type"], "Via" in edge.headers) == (429, "text/html", False)
    sandbox.fault("GET", "/users/@me", status=429, retry_after=1.5)
    assert (await raw("GET", "/users/@me")).json["retry_after"] == 1.5


@pytest.mark.parametrize(("cut", "posted"), [("before", 0), ("after", 1)])
async def test_a_cut_connection_hides_whether_it_worked(raw: Raw, cut: Any, posted: int) -> None:
    """The client only sees that the connection ended, whether or not the message was posted."""
    raw.sandbox.fault("POST", r"/channels/\d+/messages", cut=cut)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await raw.upload(("a.mp4", b"x" * 10_000))
    assert len(raw.sandbox.messages(raw.sandbox.world.channel("general"))) == posted
    assert raw.sandbox.requests[-1].status == 0
    assert (await raw.post({"content": "x"})).status == 200


async def test_a_delay_lets_deadlines_pass(raw: Raw) -> None:
    """A response that is delayed beyond the three seconds is too late."""
    await raw.register()
    raw.sandbox.fault("POST", "/interactions/.*", delay_s=4, only_delay=True)
    interaction = await raw.invoke()
    answering = asyncio.create_task(raw.callback(interaction, 5))
    await asyncio.sleep(0.05)  # the request arrives and is delayed
    raw.sandbox.clock.advance(5)
    assert (await answering).refusal == (404, 10062)


async def test_the_page_can_do_what_a_member_can(raw: Raw) -> None:
    """State, commands, refusals, messages, switches, faults, the clock and requests are available as plain JSON."""
    await raw.register()
    world = raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    state = (await raw.control("GET", "state")).json
    assert [each["name"] for each in state["servers"]] == ["Aurora Studio", "Elsewhere"]
    assert [each["name"] for each in state["commands"]] == ["veo"]
    assert {each["name"] for each in state["servers"][0]["members"]} == {"Veo Bot", "Ada", "Bo", "Cem", "Dana"}
    command = {"member": bo.id, "channel": general.id, "command": "veo", "options": {"prompt": "x"}}
    assert (await raw.control("POST", "interactions", command)).json["member"] == bo.id
    refused = await raw.control("POST", "interactions", command | {"options": {}})
    assert (refused.status, refused.json["option"]) == (400, "prompt")
    assert (await raw.control("POST", "interactions", command | {"member": "nobody"})).status == 404
    message = (await raw.post({"content": "?", "components": [row(BUTTON)]})).json
    assert [each["id"] for each in (await raw.control("GET", f"channels/{general.id}/messages")).json] == [
        message["id"]
    ]
    press = {"member": bo.id, "message": message["id"], "custom_id": "go"}
    assert (await raw.control("POST", "components", press)).json["kind"] == 3
    assert (await raw.control("POST", "switches", {"upload_limit": 5})).json["upload_limit"] == 5
    assert (await raw.control("POST", "switches", {"no_such": 5})).status == 400
    assert (await raw.control("POST", "switches", {"upload_limit": "5"})).status == 400
    assert (await raw.control("POST", "faults", {"method": "GET", "path_pattern": "/users/@me"})).status == 200
    assert (await raw("GET", "/users/@me")).status == 500
    before = raw.sandbox.clock.now()
    assert (await raw.control("POST", "clock/advance", {"seconds": 60})).json["now"] >= before + 60
    assert (await raw.control("GET", "requests")).json[-1]["path"] == "/users/@me"
    assert (await raw.control("GET", "nothing")).status == 404


async def test_events_reach_only_members_who_can_see_them(raw: Raw) -> None:
    """Another member's stream leaves out an ephemeral response and includes public messages."""
    await raw.register()
    world = raw.sandbox.world

    async def first_contents(stream: aiohttp.ClientResponse, number: int) -> list[str]:
        found: list[str] = []
        while len(found) < number:
            text = (await stream.content.readline()).decode()
            event = json.loads(text.removeprefix("data: ")) if text.startswith("data: ") else {}
            if event.get("type") == "message_created":
                found.append(event["message"]["content"])
        return found

    def events(name: str) -> Any:
        return raw.session.get(f"{raw.sandbox.url}/sandbox/api/events?viewer={world.member(name).id}")

    everything = raw.sandbox.subscribe()
    async with events("Bo") as bo, events("Cem") as cem:
        await raw.callback(await raw.invoke(), 4, {"content": "secret", "flags": 64})
        await raw.post({"content": "public"})
        assert await first_contents(bo, 2) == ["secret", "public"]
        assert await first_contents(cem, 1) == ["public"]
    kinds = [(await anext(everything))["type"] for _ in range(4)]
    assert kinds == ["interaction_created", "message_created", "interaction_acknowledged", "message_created"]


@needs_description
async def test_the_api_description_is_checked_on_both_sides(raw: Raw) -> None:
    """A request that breaks the description is refused at the field at fault, and a broken reply is reported."""
    component = {"type": 17, "components": [{"type": 10, "content": 5}]}
    answer = await raw.post(v2(component))
    assert answer.leaf("components", "0", "components", "0", "content")
    assert len(raw.sandbox.violations) == 1
    user = (await raw("GET", "/users/@me")).json
    spec = Spec(Path(DESCRIPTION or ""))
    assert spec.check_reply("GET", "/users/@me", 200, user) == []
    del user["discriminator"]
    [breach] = spec.check_reply("GET", "/users/@me", 200, user)
    assert "discriminator" in breach
    assert spec.check_reply("GET", "/users/@me", 204, None) != []


@needs_description
async def test_every_route_answers_by_the_description(raw: Raw) -> None:
    """Every route that a bot reads keeps to the description, in a server, a thread and a direct message."""
    await raw.register()
    world = raw.sandbox.world
    application, aurora, bo = world.application_id, world.server("Aurora Studio"), world.member("Bo")
    direct = (await raw("POST", "/users/@me/channels", {"recipient_id": bo.id})).json
    embed = {"title": "x", "fields": [{"name": "a", "value": "b"}], "image": {"url": "attachment://a.png"}}
    await raw.upload(("a.png", b"x"), body={"embeds": [embed], "attachments": [{"id": 0, "description": "d"}]})
    select = {"type": 3, "custom_id": "s", "options": [{"label": "x", "value": "y"}]}
    media = {"media": {"url": "attachment://a.mp4"}}
    section = {"type": 9, "components": [TEXT], "accessory": {"type": 11, **media}}
    file, gap, box = {"type": 13, "file": media["media"]}, {"type": 14}, {"type": 17, "components": [TEXT]}
    card = v2(section, {"type": 12, "items": [media]}, file, gap, box, row(select), row({"type": 5, "custom_id": "u"}))
    assert (await raw.upload(("a.mp4", b"x"), body=card, channel="takes")).status == 200
    paths = ["/users/@me", f"/users/{bo.id}", "/oauth2/applications/@me", "/applications/@me", "/gateway"]
    paths += ["/gateway/bot", f"/applications/{application}/commands", f"/guilds/{aurora.id}"]
    paths += [f"/applications/{application}/guilds/{aurora.id}/commands", f"/guilds/{aurora.id}/members/{bo.id}"]
    for channel in (world.channel("general").id, world.channel("takes").id, direct["id"]):
        paths += [f"/channels/{channel}", f"/channels/{channel}/messages"]
    assert {path: (await raw("GET", path)).status for path in paths} == dict.fromkeys(paths, 200)
    assert raw.sandbox.violations == []


async def test_only_the_page_folder_is_served(raw: Raw) -> None:
    """The page's files have the right media types, and no path leads out of the page's folder."""
    types = {".html": "text/html; charset=utf-8", ".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    async with raw.session.get(f"{raw.sandbox.url}/") as reply:
        assert (reply.status, reply.headers["Content-Type"]) == (200, types[".html"])
    for file in (each for each in PAGE.rglob("*") if each.suffix in types):
        async with raw.session.get(f"{raw.sandbox.url}/{file.relative_to(PAGE).as_posix()}") as reply:
            assert (reply.status, await reply.read()) == (200, file.read_bytes())
            assert types[file.suffix] in reply.headers["Content-Type"]
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py"):
        async with raw.session.get(yarl.URL(raw.sandbox.url + path, encoded=True)) as reply:
            assert (reply.status, reply.headers["Content-Type"]) == (404, "application/json")


async def test_the_whole_sandbox_uses_the_given_clock() -> None:
    """Ids and timestamps follow the clock that is passed in."""
    async with DiscordSandbox(clock=Clock(lambda: 1_800_000_000.0)) as sandbox, aiohttp.ClientSession() as session:
        message = (await Raw(sandbox, session).post({"content": "x"})).json
    assert message["timestamp"] == "2027-01-15T08:00:00.000000+00:00"
    assert (int(message["id"]) >> 22) + 1_420_070_400_000 == 1_800_000_000_000


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After the exit no task runs and no file remains, even if connections and interactions were open."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with DiscordSandbox() as sandbox, aiohttp.ClientSession() as session:
        raw = Raw(sandbox, session)
        await raw.register()
        await raw.invoke()
        await raw.upload(("a.mp4", b"x" * 100_000))
        await raw.upload(("a.mp4", b"x"), channel="no-files")
        [folder] = tmp_path.iterdir()
        assert [each.stat().st_size for each in folder.iterdir()] == [100_000]
        events = session.get(f"{sandbox.url}/sandbox/api/events")
        socket = session.ws_connect(sandbox.gateway_url + "?v=10&encoding=json")
        async with events as stream, socket:
            assert await stream.content.readline() == b": hello\n"
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert list(tmp_path.iterdir()) == []
