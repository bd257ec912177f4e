"""The Discord sandbox keeps what the docs promise, towards unmodified discord.py and towards raw requests.

Expected values are those of the docs and of callers of the real API, never the sandbox's own. The file is
long because the platform's whole table of refusals stands here, row by row.
"""

import asyncio
import io
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord import app_commands, ui

from sandbox.clock import Clock
from sandbox.discord import (
    CommandRefused,
    DiscordSandbox,
    Interaction,
    InteractionExpired,
    Overwrite,
    Role,
    Switches,
    World,
)
from sandbox.discord.control import PAGE
from sandbox.discord.spec import Spec

DESCRIPTION = os.environ.get("DISCORD_OPENAPI")
needs_description = pytest.mark.skipif(DESCRIPTION is None, reason="DISCORD_OPENAPI names no API description")
V2 = 1 << 15
VEO = {
    "name": "veo",
    "type": 1,
    "description": "Make a video",
    "options": [
        {"type": 3, "name": "prompt", "description": "What to show", "required": True, "max_length": 20},
        {"type": 3, "name": "duration", "description": "d", "choices": [{"name": "4 s", "value": "4s"}]},
        {"type": 4, "name": "seed", "description": "s", "min_value": 0, "max_value": 9},
        {"type": 5, "name": "generate_audio", "description": "a"},
        {"type": 6, "name": "friend", "description": "f"},
        {"type": 3, "name": "style", "description": "y", "autocomplete": True},
    ],
}


@dataclass
class Answer:
    """One reply of the API."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def refusal(self) -> tuple[int, int]:
        return self.status, self.json["code"]

    def leaf(self, *path: str) -> list[str]:
        """The codes in the ``errors`` tree at ``path``."""
        node = self.json["errors"]
        for step in path:
            node = node[step]
        return [each["code"] for each in node["_errors"]]


class Raw:
    """A client that sends exactly what it is told."""

    def __init__(self, sandbox: DiscordSandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def __call__(
        self, method: str, path: str, body: object = None, *, token: bool = True, **kwargs: Any
    ) -> Answer:
        headers = kwargs.pop("headers", {})
        if token:
            headers["Authorization"] = f"Bot {self.sandbox.token}"
        if body is not None:
            kwargs["json"] = body
        url = self.sandbox.api_url + path
        async with self.session.request(method, url, headers=headers, **kwargs) as reply:
            text = await reply.text()
            is_json = reply.headers.get("Content-Type") == "application/json"
            return Answer(reply.status, json.loads(text) if is_json else text, dict(reply.headers))

    async def control(self, method: str, path: str, body: object = None) -> Answer:
        url = f"{self.sandbox.url}/sandbox/api/{path}"
        async with self.session.request(method, url, json=body) as reply:
            return Answer(reply.status, await reply.json(), dict(reply.headers))

    async def register(self, *commands: object) -> Answer:
        path = f"/applications/{self.sandbox.world.application_id}/commands"
        return await self("PUT", path, list(commands) or [VEO])

    async def post(self, body: object = None, *, channel: str = "general", **kwargs: Any) -> Answer:
        path = f"/channels/{self.sandbox.world.channel(channel).id}/messages"
        return await self("POST", path, body, **kwargs)

    async def upload(self, *files: tuple[str, bytes], body: object = None, channel: str = "general") -> Answer:
        return await self.post(data=form(*files, body=body), channel=channel)

    async def invoke(self, place: str = "general", /, **options: Any) -> Interaction:
        world = self.sandbox.world
        asked = {"prompt": "a cat", **options}
        return await self.sandbox.invoke(world.member("Bo"), world.channel(place), "veo", asked)

    async def callback(self, interaction: Interaction, kind: int, data: object = None, query: str = "") -> Answer:
        path = f"/interactions/{interaction.id}/{interaction.token}/callback{query}"
        return await self("POST", path, {"type": kind, "data": data} if data else {"type": kind}, token=False)

    async def hook(self, method: str, interaction: Interaction, rest: str = "", body: object = None) -> Answer:
        path = f"/webhooks/{self.sandbox.world.application_id}/{interaction.token}{rest}"
        return await self(method, path, body, token=False)


def form(*files: tuple[str, bytes], body: object = None) -> aiohttp.FormData:
    """A multipart body as libraries send it."""
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("payload_json", json.dumps(body or {}), content_type="application/json")
    for index, (name, content) in enumerate(files):
        data.add_field(f"files[{index}]", content, filename=name, content_type="application/octet-stream")
    return data


@pytest.fixture
async def sandbox() -> AsyncIterator[DiscordSandbox]:
    """A sandbox whose time stands still unless it is advanced, with the API description as judge if there is one."""
    started = time.time()
    spec = Path(DESCRIPTION) if DESCRIPTION else None
    async with DiscordSandbox(clock=Clock(lambda: started), spec=spec) as running:
        yield running


@pytest.fixture
async def raw(sandbox: DiscordSandbox) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(sandbox, session)


# Unmodified discord.py


@asynccontextmanager
async def library(
    sandbox: DiscordSandbox,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[discord.Interaction, str], Awaitable[None]],
) -> AsyncIterator[discord.Client]:
    """A client of discord.py with one command, /veo, that runs ``command``."""
    monkeypatch.setattr(discord.http.Route, "BASE", sandbox.api_url)
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(sandbox.gateway_url))
    client = discord.Client(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
    tree = app_commands.CommandTree(client)

    @tree.command(name="veo", description="Make a video")
    async def veo(interaction: discord.Interaction, prompt: str) -> None:
        await command(interaction, prompt)

    async def setup() -> None:
        await tree.sync()

    monkeypatch.setattr(client, "setup_hook", setup)
    async with client:
        running = asyncio.create_task(client.start(sandbox.token))
        await sandbox.bot_ready()
        yield client
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_discord_py_logs_in_defers_edits_and_posts_a_file_once(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path of the bot works, a repeated nonce posts nothing new, and no reply breaks the description."""
    seen: list[discord.Message] = []

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.edit_original_response(content=f"Working on {prompt}")
        assert isinstance(interaction.channel, discord.TextChannel)
        for _ in range(2):
            file = discord.File(io.BytesIO(b"x" * 300_000), "veo-1.mp4")
            seen.append(await interaction.channel.send("Done", file=file, nonce="run-1"))
        await interaction.followup.send("And more", ephemeral=True)

    world = sandbox.world
    lab, bo = world.channel("video-lab"), world.member("Bo")
    async with library(sandbox, monkeypatch, command):
        interaction = await sandbox.invoke(bo, lab, "veo", {"prompt": "a cat"})
        await interaction.acknowledged()
        message = await interaction.wait(lambda each: each["content"] == "Working on a cat")
        posted = await sandbox.wait_message(lab, lambda each: bool(each["attachments"]))
        await sandbox.wait_until(lambda: len(sandbox.messages(lab, bo)) == 3)

    assert message["flags"] == 64
    assert [each["flags"] for each in interaction.history] == [64 | 128, 64]
    assert [each.id for each in seen] == [int(posted["id"])] * 2
    assert posted["attachments"][0]["size"] == 300_000
    assert posted["attachments"][0]["content_type"] == "video/mp4"
    assert sandbox.messages(lab) == [posted]
    assert interaction.acknowledged_after_s is not None
    assert interaction.acknowledged_after_s < 3
    assert sandbox.violations == []


@pytest.mark.parametrize("how", ["cut", "4000", "op 7", "op 9"])
async def test_discord_py_resumes_and_misses_nothing(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """After a lost connection the client resumes, and an interaction sent meanwhile still reaches it."""

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        await interaction.response.send_message(prompt)

    world = sandbox.world
    async with library(sandbox, monkeypatch, command):
        match how:
            case "op 7":
                sandbox.reconnect_gateway()
            case "op 9":
                sandbox.invalidate_session(resumable=True)
            case _:
                await sandbox.drop_gateway(None if how == "cut" else int(how))
        interaction = await sandbox.invoke(world.member("Bo"), world.channel("general"), "veo", {"prompt": "hi"})
        await interaction.acknowledged()
        assert sandbox.gateway_counts == (1, 1)


async def test_discord_py_shows_a_layout_with_a_video_and_gets_its_presses(
    sandbox: DiscordSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A components-V2 card comes back in response form, and a press on it runs the library's callback."""

    class Card(ui.LayoutView):
        def __init__(self) -> None:
            super().__init__()
            gallery: ui.MediaGallery[Card] = ui.MediaGallery(discord.MediaGalleryItem("attachment://veo 1.mp4"))
            button: ui.Button[Card] = ui.Button(label="Again", custom_id="again")
            button.callback = self.again  # type: ignore[method-assign] # as the library's docs do
            row: ui.ActionRow[Card] = ui.ActionRow(button)
            self.add_item(ui.Container(ui.TextDisplay("Your video"), gallery, row))

        async def again(self, interaction: discord.Interaction) -> None:
            self.clear_items()
            self.add_item(ui.TextDisplay("Pressed"))
            await interaction.response.edit_message(view=self, attachments=[])

    async def command(interaction: discord.Interaction, prompt: str) -> None:
        file = discord.File(io.BytesIO(mp4(720, 1280)), "veo 1.mp4")
        await interaction.response.send_message(view=Card(), file=file)

    world = sandbox.world
    bo, channel = world.member("Bo"), world.channel("general")
    async with library(sandbox, monkeypatch, command):
        used = await sandbox.invoke(bo, channel, "veo", {"prompt": "hi"})
        await used.acknowledged()
        shown = used.message
        assert shown is not None
        pressed = await sandbox.press(bo, shown["id"], "again")
        await pressed.acknowledged()

    text, gallery, row = shown["components"][0]["components"]
    assert text["content"] == "Your video"
    media = gallery["items"][0]["media"]
    assert media["url"].startswith(f"{sandbox.url}/attachments/{channel.id}/")
    assert (media["width"], media["height"], media["content_type"]) == (720, 1280, "video/mp4")
    assert row["components"][0]["custom_id"] == "again"
    ids = [text["id"], gallery["id"], row["id"], row["components"][0]["id"]]
    assert len(set(ids)) == 4
    assert pressed.message is not None
    assert pressed.message["components"][0]["content"] == "Pressed"
    assert pressed.message["attachments"] == []
    assert sandbox.violations == []


# Refusals of messages

BUTTON = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
TEXT = {"type": 10, "content": "x"}


def row(*buttons: object) -> dict[str, object]:
    return {"type": 1, "components": list(buttons)}


def v2(*components: object, **more: object) -> dict[str, object]:
    return {"flags": V2, "components": list(components), **more}


GALLERY = {"type": 12, "items": [{"media": {"url": "https://example.com/a.mp4"}}] * 11}


@pytest.mark.parametrize(
    ("body", "code", "leaf"),
    [
        ({"content": "x" * 2001}, 50035, ("content", "BASE_TYPE_MAX_LENGTH")),
        ({}, 50006, None),
        ({"content": "  "}, 50006, None),
        ({"content": "x", "nonce": "n" * 26}, 50035, ("nonce", None)),
        ({"embeds": [{"title": "x"}] * 11}, 50035, ("embeds", "BASE_TYPE_MAX_LENGTH")),
        ({"embeds": [{"title": "x" * 257}]}, 50035, ("embeds/0/title", "BASE_TYPE_MAX_LENGTH")),
        ({"embeds": [{"description": "x" * 4000}] * 2}, 50035, ("embeds", None)),
        ({"content": "x", "attachments": [{"id": 0, "filename": "a.mp4"}]}, 50146, None),
        (v2(TEXT, content="x"), 50035, ("content", None)),
        (v2(TEXT, embeds=[{"title": "x"}]), 50035, ("embeds", None)),
        (v2({"type": 10, "content": "x" * 4001}), 50035, ("components/0/content", None)),
        (v2(*[{"type": 10, "content": "x" * 2001}] * 2), 50035, ("components", None)),
        (v2(*[TEXT] * 41), 50035, ("components", None)),
        (v2({"type": 17, "components": [TEXT] * 40}), 50035, ("components", None)),
        (v2(GALLERY), 50035, ("components/0/items", None)),
        (v2({"type": 13, "file": {"url": "attachment://no.mp4"}}), 50035, ("components/0/file/url", None)),
        ({"components": [TEXT]}, 50035, ("components/0/type", None)),
        ({"components": [row(BUTTON | {"label": "x" * 81})]}, 50035, ("components/0/components/0/label", None)),
        ({"components": [row(BUTTON, BUTTON)]}, 50035, ("components/0/components/1/custom_id", None)),
        ({"components": [row(BUTTON | {"custom_id": ""})]}, 50035, ("components/0/components/0/custom_id", None)),
        ({"components": [row(*[BUTTON] * 6)]}, 50035, ("components/0/components", None)),
        ({"components": [row({"type": 2, "style": 5, "label": "x"})]}, 50035, ("components/0/components/0/url", None)),
        ({"components": [row(BUTTON | {"custom_id": str(n)}) for n in range(6)]}, 50035, ("components", None)),
    ],
)
async def test_a_message_over_a_limit_is_refused_at_its_field(
    raw: Raw, body: object, code: int, leaf: tuple[str, str | None] | None
) -> None:
    """Each documented limit answers 400 with its code, and 50035 with the path of the field."""
    answer = await raw.post(body)
    assert answer.refusal == (400, code)
    if leaf:
        codes = answer.leaf(*leaf[0].split("/"))
        assert leaf[1] is None or codes == [leaf[1]]
    assert raw.sandbox.messages(raw.sandbox.world.channel("general")) == []


async def test_bodies_of_any_shape_are_answered_never_with_a_server_error() -> None:
    """Good bodies with one part replaced by nonsense get 200 or a refusal in Discord's form."""
    chance = random.Random(7)
    nonsense: tuple[Any, ...] = (
        None,
        -1,
        2**70,
        1.5,
        True,
        "",
        "x",
        [],
        [None],
        [[]],
        {},
        {"type": 1},
        {"x": None},
        [{"type": 99}],
    )
    picture = {"media": {"url": "https://example.com/a.png"}, "description": "x"}
    section = {"type": 9, "components": [TEXT], "accessory": {"type": 11, **picture}}
    select = {"type": 3, "custom_id": "s", "options": [{"label": "x", "value": "y"}], "placeholder": "p"}
    embed = {"title": "x", "footer": {"text": "f"}, "fields": [{"name": "n", "value": "v"}], "image": {"url": "x"}}
    messages = [
        v2({"type": 17, "components": [TEXT, section, {"type": 12, "items": [picture]}, {"type": 14}]}),
        {"components": [row(BUTTON), row(select)], "nonce": "n", "attachments": []},
        {"content": "x", "embeds": [embed], "allowed_mentions": {"parse": ["users"], "users": [], "roles": ["1"]}},
    ]

    def broken(part: Any) -> Any:
        if not part or not isinstance(part, dict | list) or chance.random() < 0.2:
            return chance.choice(nonsense)
        key = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if isinstance(part, dict):
            return part | {key: broken(part[key])}
        return [broken(each) if n == key else each for n, each in enumerate(part)]

    switches = Switches()
    switches.update({"buckets": dict.fromkeys(("channel_post", "global", "default"), (10_000, 1))})
    async with DiscordSandbox(switches=switches) as sandbox, aiohttp.ClientSession() as session:
        raw = Raw(sandbox, session)
        statuses = set()
        for n in range(600):
            body = broken(messages[n % 3])
            answer = await raw.post(body)
            assert answer.status in (200, 400), body
            statuses.add(answer.status)
            command = broken(VEO)
            assert (await raw.register(command)).status in (200, 400), command
        assert statuses == {200, 400}
        await raw.register(VEO)


@pytest.mark.parametrize(
    ("channel", "deny", "refusal"),
    [
        ("read-only", 0, (403, 50013)),
        ("no-files", 0, (403, 50013)),
        ("general", 1 << 10, (403, 50001)),
        ("takes", 1 << 38, (403, 50013)),
    ],
)
async def test_a_file_needs_sight_speech_and_attach(
    raw: Raw, channel: str, deny: int, refusal: tuple[int, int]
) -> None:
    """A post with a file is refused by what the bot lacks: 50001 without sight, 50013 otherwise."""
    if deny:
        raw.sandbox.set_permissions(raw.sandbox.world.channel(channel), deny=deny)
    answer = await raw.upload(("a.mp4", b"x"), channel=channel)
    assert answer.refusal == refusal
    assert raw.sandbox.violations == []


async def test_permissions_follow_the_docs() -> None:
    """@everyone before roles before members, what one role allows beats another's denial, no speech no files."""
    world = World()
    send, attach, view = 1 << 11, 1 << 15, 1 << 10
    general, bo, cem = world.channel("general"), world.member("Bo"), world.member("Cem")
    bot = world.me(world.server("Aurora Studio"))
    everyone, editors = bo.server.roles[0], cem.roles[0]
    muted = Role(id="1", name="Muted", permissions=0, position=3)
    cem.roles.append(muted)
    general.overwrites = {
        everyone.id: Overwrite(id=everyone.id, kind=0, deny=send),
        muted.id: Overwrite(id=muted.id, kind=0, deny=send),
        editors.id: Overwrite(id=editors.id, kind=0, allow=send),
        bot.id: Overwrite(id=bot.id, kind=1, deny=view),
    }
    assert world.permissions(world.member("Ada"), general) & send
    assert world.permissions(bo, general) & (send | attach | view) == view
    assert world.permissions(cem, general) & (send | attach | view) == send | attach | view
    assert world.permissions(bot, general) == 0


async def test_a_nonce_posts_once_within_its_window(raw: Raw) -> None:
    """The same nonce returns the earlier message, 10008 after its deletion, and posts anew after the window."""
    body = {"content": "hi", "nonce": "run-1", "enforce_nonce": True}
    first = await raw.post(body)
    again = await raw.post(body | {"content": "other"}, channel="video-lab")
    assert (again.status, again.json["id"], again.json["content"]) == (200, first.json["id"], "hi")
    assert first.json["nonce"] == "run-1"
    assert (await raw("DELETE", f"/channels/{first.json['channel_id']}/messages/{first.json['id']}")).status == 204
    assert (await raw.post(body)).refusal == (404, 10008)
    raw.sandbox.clock.advance(301)
    assert (await raw.post(body)).status == 200
    assert raw.sandbox.violations == []


async def test_history_pages_by_id(raw: Raw) -> None:
    """GET messages answers newest first, and before, after, around and limit cut where the docs say."""
    path = f"/channels/{raw.sandbox.world.channel('general').id}/messages"
    ids = [(await raw.post({"content": str(n)})).json["id"] for n in range(5)]

    async def page(query: str) -> list[int]:
        return [ids.index(each["id"]) for each in (await raw("GET", f"{path}?{query}")).json]

    assert await page("") == [4, 3, 2, 1, 0]
    assert await page("limit=2") == [4, 3]
    assert await page(f"before={ids[3]}&limit=2") == [2, 1]
    assert await page(f"after={ids[1]}&limit=2") == [3, 2]
    assert await page(f"around={ids[2]}&limit=3") == [3, 2, 1]
    assert (await raw("GET", f"{path}?limit=101")).refusal == (400, 50035)
    raw.sandbox.set_permissions(raw.sandbox.world.channel("general"), deny=1 << 16)
    assert (await raw("GET", path)).json == []


async def test_a_reply_names_its_message(raw: Raw) -> None:
    """A reply is of type 19 with its reference; one to nothing is refused unless that may fail."""
    first = (await raw.post({"content": "?"})).json
    answer = (await raw.post({"content": "!", "message_reference": {"message_id": first["id"]}})).json
    assert (answer["type"], answer["message_reference"]["message_id"]) == (19, first["id"])
    lost = {"message_id": "1"}
    assert (await raw.post({"content": "!", "message_reference": lost})).refusal == (400, 50035)
    plain = (await raw.post({"content": "!", "message_reference": lost | {"fail_if_not_exists": False}})).json
    assert plain["type"] == 0
    assert raw.sandbox.violations == []


async def test_only_allowed_mentions_notify(raw: Raw) -> None:
    """A text mentions whom allowed_mentions permits; an interaction's answer by default users only."""
    world = raw.sandbox.world
    bo, cem = world.member("Bo"), world.member("Cem")
    text = f"<@{bo.id}> <@{cem.id}> <@&{cem.roles[0].id}> @everyone"
    loud = (await raw.post({"content": text})).json
    quiet = (await raw.post({"content": text, "allowed_mentions": {"parse": [], "users": [bo.id]}})).json
    assert ([each["id"] for each in loud["mentions"]], loud["mention_everyone"]) == ([bo.id, cem.id], True)
    assert loud["mention_roles"] == [cem.roles[0].id]
    assert ([each["id"] for each in quiet["mentions"]], quiet["mention_roles"]) == ([bo.id], [])
    assert quiet["mention_everyone"] is False
    await raw.register()
    interaction = await raw.invoke()
    await raw.callback(interaction, 4, {"content": text})
    answered = interaction.message
    assert answered is not None
    assert (len(answered["mentions"]), answered["mention_everyone"]) == (2, False)


async def test_places_and_people_that_are_not_there(raw: Raw) -> None:
    """Unknown channel, message, server, user and route answer 404 with their codes; a wrong token 401."""
    general = raw.sandbox.world.channel("general").id
    assert (await raw("GET", "/channels/1")).refusal == (404, 10003)
    assert (await raw("GET", f"/channels/{general}/messages/1")).refusal == (404, 10008)
    assert (await raw("GET", "/guilds/1")).refusal == (404, 10004)
    assert (await raw("GET", "/users/1")).refusal == (404, 10013)
    assert (await raw("GET", "/nothing/here")).refusal == (404, 0)
    assert raw.sandbox.requests[-1].path == "/nothing/here"
    wrong = await raw("GET", "/users/@me", token=False)
    assert (wrong.refusal, wrong.json["message"]) == ((401, 0), "401: Unauthorized")
    assert (await raw("GET", "/users/@me", skip_auto_headers=["User-Agent"])).refusal == (403, 40333)


async def test_every_reply_is_exact_json_with_limits_and_via(raw: Raw) -> None:
    """Clients see ``application/json`` alone, the bucket's headers and Via, on successes and refusals."""
    for path in ("/users/@me", "/channels/1"):
        headers = (await raw("GET", path)).headers
        assert headers["Content-Type"] == "application/json"
        assert headers["Via"]
        assert int(headers["X-RateLimit-Remaining"]) < int(headers["X-RateLimit-Limit"])
        assert float(headers["X-RateLimit-Reset-After"]) > 0
        assert headers["X-RateLimit-Bucket"]
    raw.sandbox.switches.with_via = False
    assert "Via" not in (await raw("GET", "/users/@me")).headers


async def test_an_empty_bucket_answers_429_until_its_window_ends(raw: Raw) -> None:
    """The sixth post within five seconds waits; other channels do not, and time refills the bucket."""
    statuses = [(await raw.post({"content": str(n)})).status for n in range(6)]
    assert statuses == [200] * 5 + [429]
    refused = await raw.post({"content": "x"})
    assert 0 < refused.json["retry_after"] <= 5
    assert refused.json["global"] is False
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert (await raw.post({"content": "x"}, channel="video-lab")).status == 200
    raw.sandbox.clock.advance(5)
    assert (await raw.post({"content": "x"})).status == 200
    assert raw.sandbox.violations == []


async def test_fifty_requests_a_second_are_the_bots_global_limit(raw: Raw) -> None:
    """The 51st request with the token is refused for the whole bot, while interaction routes stay open."""
    raw.sandbox.switches.buckets["default"] = (1000, 1)
    raw.sandbox.switches.buckets["global"] = (50, 60)
    await raw.register()
    interaction = await raw.invoke()
    answers = [await raw("GET", "/users/@me") for _ in range(50)]
    assert [each.status for each in answers[-2:]] == [200, 429]
    assert answers[-1].json["global"] is True
    assert answers[-1].headers["X-RateLimit-Global"] == "true"
    assert (await raw.callback(interaction, 5)).status == 204


async def test_other_bodies_are_named_for_what_they_are(raw: Raw) -> None:
    """Broken JSON answers 50109 and a foreign Content-Type 50035."""
    broken = await raw.post(data=b"{", headers={"Content-Type": "application/json"})
    foreign = await raw.post(data=b"x", headers={"Content-Type": "text/plain"})
    assert (broken.refusal, foreign.refusal) == ((400, 50109), (400, 50035))


async def test_edits_of_an_old_message_run_out(raw: Raw) -> None:
    """A message older than an hour takes only a few edits, then 429 with 30046; a young one takes them all."""
    made = (await raw.post({"content": "x"})).json
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    assert {(await raw("PATCH", path, {"content": str(n)})).status for n in range(9)} == {200}
    raw.sandbox.clock.advance(3601)
    answers = [await raw("PATCH", path, {"content": str(n)}) for n in range(9)]
    assert answers[0].status == 200
    assert answers[-1].refusal == (429, 30046)


async def test_archived_threads_automod_and_closed_direct_messages_refuse(raw: Raw) -> None:
    """50083, 200000 and 50007 come where the place or the text asks for them."""
    sandbox = raw.sandbox
    sandbox.archive_thread(sandbox.world.channel("takes"))
    assert (await raw.post({"content": "x"}, channel="takes")).refusal == (400, 50083)
    sandbox.switches.blocked_words = ["forbidden"]
    assert (await raw.post({"content": "a Forbidden word"})).refusal == (400, 200000)
    bo = sandbox.world.member("Bo")
    direct = (await raw("POST", "/users/@me/channels", {"recipient_id": bo.id})).json
    path = f"/channels/{direct['id']}/messages"
    assert (await raw("POST", path, {"content": "hello"})).status == 200
    sandbox.switches.dm_closed = True
    assert (await raw("POST", path, {"content": "hello"})).refusal == (403, 50007)
    assert sandbox.violations == []


async def test_an_edit_keeps_what_it_does_not_name(raw: Raw) -> None:
    """Files stay without the field, go when unlisted; V2 needs the old fields reset, and its flag stays."""
    made = (await raw.upload(("a.mp4", b"one"), ("b.mp4", b"two"), body={"content": "hi"})).json
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    kept = (await raw("PATCH", path, {"content": "new"})).json
    assert [each["filename"] for each in kept["attachments"]] == ["a.mp4", "b.mp4"]
    assert kept["edited_timestamp"] is not None
    fewer = (await raw("PATCH", path, {"attachments": [{"id": made["attachments"][1]["id"]}]})).json
    assert [each["filename"] for each in fewer["attachments"]] == ["b.mp4"]
    async with raw.session.get(kept["attachments"][0]["url"]) as gone:
        assert gone.status == 404
    assert (await raw("PATCH", path, v2(TEXT))).refusal == (400, 50035)
    card = (await raw("PATCH", path, v2(TEXT, content=None, embeds=[]))).json
    assert card["flags"] & V2
    assert (await raw("PATCH", path, {"content": "back"})).refusal == (400, 50035)
    assert raw.sandbox.violations == []


# Files


def mp4(width: int, height: int) -> bytes:
    """The boxes of an MP4 file with one video track, without its pictures (ISO/IEC 14496-12)."""

    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4) + kind + content

    head = bytes(76) + (width << 16).to_bytes(4) + (height << 16).to_bytes(4)
    sound, picture = box(b"trak", box(b"tkhd", bytes(84))), box(b"trak", box(b"tkhd", head))
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", bytes(100)) + sound + picture)


async def test_files_are_served_by_signed_links_that_expire(raw: Raw) -> None:
    """A link serves ranges until its day is over; a changed or bare one never works; a re-read signs anew."""
    content = bytes(range(256)) * 4000
    made = (await raw.upload(("my clip.mp4", mp4(1280, 720) + content))).json
    attachment = made["attachments"][0]
    assert (attachment["filename"], attachment["content_type"]) == ("my_clip.mp4", "video/mp4")
    assert (attachment["width"], attachment["height"]) == (1280, 720)
    url = attachment["url"]
    async with raw.session.get(url) as whole:
        assert await whole.read() == mp4(1280, 720) + content
        assert whole.headers["Content-Type"] == "video/mp4"
    async with raw.session.get(url, headers={"Range": "bytes=-100"}) as part:
        assert (part.status, await part.read()) == (206, content[-100:])
    bare, changed = url.split("?")[0], url.replace("ex=", "ex=f")
    raw.sandbox.clock.advance(86_400)
    for bad in (bare, changed, url):
        async with raw.session.get(bad) as refused:
            assert refused.status == 404
    fresh = (await raw("GET", f"/channels/{made['channel_id']}/messages/{made['id']}")).json
    async with raw.session.get(fresh["attachments"][0]["url"]) as again:
        assert again.status == 200


async def test_uploads_end_where_discord_ends_them(raw: Raw) -> None:
    """A file over the limit is 413/40005, eleven files 50035, an unlisted reference 50146."""
    raw.sandbox.switches.upload_limit = 1000
    assert (await raw.upload(("a.mp4", b"x" * 1000))).status == 200
    assert (await raw.upload(("a.mp4", b"x" * 300_000))).refusal == (413, 40005)
    assert (await raw.upload(*[("a.mp4", b"x")] * 11)).refusal == (400, 50035)
    missing = {"attachments": [{"id": "0"}, {"id": "1"}]}
    assert (await raw.upload(("a.mp4", b"x"), body=missing)).refusal == (400, 50146)
    assert raw.sandbox.requests[1].files == [("a.mp4", 300_000)]


async def test_a_channel_may_refuse_what_the_interaction_takes(raw: Raw) -> None:
    """Without an invoker only the server's limit counts; the interaction announces its own."""
    raw.sandbox.switches.update({"upload_limit": 1000, "interaction_upload_limit": 5000})
    await raw.register()
    interaction = await raw.invoke()
    assert interaction.payload["attachment_size_limit"] == 5000
    await raw.callback(interaction, 5)
    path = f"/webhooks/{raw.sandbox.world.application_id}/{interaction.token}/messages/@original"
    assert (await raw("PATCH", path, data=form(("a.mp4", b"x" * 5000)))).status == 200
    assert (await raw.upload(("a.mp4", b"x" * 5000))).refusal == (413, 40005)
    raw.sandbox.switches.too_large_as_html = True
    page = await raw.upload(("a.mp4", b"x" * 5000))
    assert (page.status, page.headers["Content-Type"]) == (413, "text/html")


async def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After the exit no task runs and no file remains, whatever was going on."""
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


# Interactions


async def test_the_first_answer_is_due_in_three_seconds(raw: Raw) -> None:
    """A later callback is 404/10062, as is a wrong token; the member sees that nobody answered."""
    await raw.register()
    late, early = await raw.invoke(), await raw.invoke()
    raw.sandbox.clock.advance(2.5)
    assert (await raw.callback(early, 5)).status == 204
    raw.sandbox.clock.advance(0.6)
    assert (await raw.callback(late, 5)).refusal == (404, 10062)
    with pytest.raises(InteractionExpired):
        await late.acknowledged()
    await early.acknowledged()
    assert early.acknowledged_after_s == pytest.approx(2.5)
    assert (await raw("POST", f"/interactions/{early.id}/wrong/callback", {"type": 5})).refusal == (404, 10062)


async def test_a_token_lives_fifteen_minutes_and_only_after_an_answer(raw: Raw) -> None:
    """Before the first answer and for unknown tokens 404/10015; after its life 401/50027."""
    await raw.register()
    interaction = await raw.invoke()
    assert (await raw.hook("GET", interaction, "/messages/@original")).refusal == (404, 10015)
    assert (await raw.callback(interaction, 5)).status == 204
    assert (await raw.callback(interaction, 5)).refusal == (400, 40060)
    foreign = await raw("GET", f"/webhooks/1/{interaction.token}/messages/@original", token=False)
    assert foreign.refusal == (404, 10015)
    raw.sandbox.clock.advance(899)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).status == 200
    raw.sandbox.switches.early_dead_tokens = True
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (404, 10015)
    raw.sandbox.clock.advance(2)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (401, 50027)
    assert (await raw.hook("POST", interaction, "", {"content": "x"})).refusal == (401, 50027)


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        (6, None, "type"),
        (7, {"content": "x"}, "type"),
        (8, {"choices": []}, "type"),
        (5, {"flags": V2}, "data"),
        (4, {"content": "x" * 2001}, "data"),
    ],
)
async def test_a_command_takes_only_its_kinds_of_answer(raw: Raw, kind: int, data: object, field: str) -> None:
    """Updates and suggestions are no answers to a command, and a deferral takes the ephemeral flag alone."""
    await raw.register()
    interaction = await raw.invoke()
    answer = await raw.callback(interaction, kind, data)
    assert answer.refusal == (400, 50035)
    assert field in answer.json["errors"]
    assert interaction.acknowledged_after_s is None


async def test_the_callback_tells_its_message_where_it_was_asked_to(raw: Raw) -> None:
    """204 without with_response; with it the interaction, and the message itself only for an answer."""
    await raw.register()
    deferred, answered = await raw.invoke(), await raw.invoke()
    body = (await raw.callback(deferred, 5, {"flags": 64}, "?with_response=1")).json
    assert set(body) == {"interaction"}
    assert body["interaction"]["response_message_ephemeral"] is True
    assert body["interaction"]["response_message_loading"] is True
    body = (await raw.callback(answered, 4, {"content": "x"}, "?with_response=true")).json
    message = body["resource"]["message"]
    assert (body["resource"]["type"], message["type"], message["content"]) == (4, 20, "x")
    assert message["webhook_id"] == message["application_id"] == raw.sandbox.world.application_id
    assert message["interaction_metadata"]["id"] == answered.id
    assert raw.sandbox.violations == []


async def test_a_follow_up_after_a_deferral_fills_the_loading_message(raw: Raw) -> None:
    """It keeps the deferral's visibility; the next one is a message of its own; a deleted one is 10008."""
    await raw.register()
    world = raw.sandbox.world
    interaction = await raw.invoke()
    await raw.callback(interaction, 5, {"flags": 64})
    filled = (await raw.hook("POST", interaction, "", {"content": "one"})).json
    assert filled["flags"] == 64
    second = (await raw.hook("POST", interaction, "", {"content": "two", "flags": 64})).json
    assert second["id"] != filled["id"]
    assert len(raw.sandbox.messages(world.channel("general"), world.member("Bo"))) == 2
    assert raw.sandbox.messages(world.channel("general"), world.member("Cem")) == []
    assert (await raw("GET", f"/channels/{second['channel_id']}/messages/{second['id']}")).refusal == (404, 10008)
    raw.sandbox.delete_message(filled["id"])
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (404, 10008)
    assert interaction.message is None


async def test_user_installed_commands_take_five_follow_ups(raw: Raw) -> None:
    """The sixth is 400/40094; edits do not count; the channel is closed; answers can be hidden."""
    await raw.register()
    world = raw.sandbox.world
    raw.sandbox.switches.user_install_only = True
    raw.sandbox.switches.buckets["webhook"] = (100, 1)
    interaction = await raw.invoke()
    await raw.callback(interaction, 4, {"content": "x"})
    for _ in range(5):
        assert (await raw.hook("POST", interaction, "", {"content": "x"})).status == 200
    assert (await raw.hook("POST", interaction, "", {"content": "x"})).refusal == (400, 40094)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "y"})).status == 200
    assert (await raw.post({"content": "x"})).refusal == (403, 50001)
    everyone = world.server("Aurora Studio").id
    world.channel("general").overwrites[everyone] = Overwrite(id=everyone, kind=0, deny=1 << 50)
    hidden = await raw.invoke()
    await raw.callback(hidden, 4, {"content": "x"})
    assert (interaction.ephemeral, hidden.ephemeral) == (False, True)


async def test_an_interaction_tells_what_real_ones_tell(raw: Raw) -> None:
    """The keys are those of captured INTERACTION_CREATE events, and the bits those of member and bot."""
    await raw.register()
    payload = (await raw.invoke("read-only", friend=raw.sandbox.world.member("Cem").id)).payload
    assert {
        "app_permissions", "application_id", "attachment_size_limit", "authorizing_integration_owners", "channel",
        "channel_id", "context", "data", "entitlement_sku_ids", "entitlements", "guild", "guild_id", "guild_locale",
        "id", "locale", "member", "token", "type", "version",
    } == payload.keys()  # fmt: skip
    assert {
        "avatar", "banner", "collectibles", "communication_disabled_until", "deaf", "display_name_styles", "flags",
        "joined_at", "mute", "nick", "pending", "permissions", "premium_since", "roles", "unusual_dm_activity_until",
        "user",
    } == payload["member"].keys()  # fmt: skip
    send = 1 << 11
    assert int(payload["member"]["permissions"]) & send
    assert not int(payload["app_permissions"]) & send
    assert payload["data"]["options"][0] == {"name": "prompt", "type": 3, "value": "a cat"}
    assert [each["username"] for each in payload["data"]["resolved"]["users"].values()] == ["cem"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 21}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"duration": "5s"}, "duration"),
        ({"seed": 10}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
        ({"generate_audio": "yes"}, "generate_audio"),
        ({"friend": "1"}, "friend"),
        ({"other": "x"}, "other"),
    ],
)
async def test_a_member_cannot_send_what_discord_would_not(raw: Raw, options: dict[str, object], option: str) -> None:
    """Required options, types, choices, ranges and lengths are checked before the bot hears of it."""
    await raw.register()
    with pytest.raises(CommandRefused) as refused:
        await raw.invoke(**options)
    assert refused.value.option == option


async def test_default_member_permissions_and_contexts_hide_a_command(raw: Raw) -> None:
    """``"0"`` is for administrators; a server-only command is not offered in direct messages."""
    await raw.register({"name": "admin", "description": "x", "default_member_permissions": 0, "contexts": [0]}, VEO)
    sandbox, world = raw.sandbox, raw.sandbox.world
    general = world.channel("general")
    await sandbox.invoke(world.member("Ada"), general, "admin", {})
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Bo"), general, "admin", {})
    direct = sandbox.direct_channel(world.member("Ada"))
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Ada"), direct, "admin", {})
    used = await sandbox.invoke(world.member("Ada"), direct, "veo", {"prompt": "x"})
    assert ("user" in used.payload, "member" in used.payload, used.payload["context"]) == (True, False, 1)
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Bo"), world.channel("lobby"), "veo", {"prompt": "x"})


async def test_a_servers_admins_give_a_command_to_members_and_roles(raw: Raw) -> None:
    """What Integrations allow goes before the default permissions, in that server alone."""
    await raw.register({"name": "admin", "description": "x", "default_member_permissions": 32})
    sandbox, world = raw.sandbox, raw.sandbox.world
    general, editors = world.channel("general"), world.member("Cem").roles[0]
    for name in ("Bo", "Cem"):
        with pytest.raises(CommandRefused):
            await sandbox.invoke(world.member(name), general, "admin", {})
    world.servers[0].command_permissions["admin"] = {world.member("Bo").id, editors.id}
    for name in ("Bo", "Cem"):
        used = await sandbox.invoke(world.member(name), general, "admin", {})
        assert not int(used.payload["member"]["permissions"]) & 32
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Eli"), world.channel("lobby"), "admin", {})


async def test_options_name_roles_and_channels_of_the_server_alone(raw: Raw) -> None:
    """Anybody may be named as a user, and is resolved as a member only of the server; the rest is the server's own."""
    kinds = {"who": 6, "where": 7, "what": 8}
    options = [{"type": kind, "name": name, "description": "x"} for name, kind in kinds.items()]
    await raw.register({"name": "name", "description": "x", "options": options})
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, lobby = world.member("Bo"), world.channel("lobby")
    assert lobby.server is not None
    for foreign in ({"where": lobby.id}, {"what": lobby.server.roles[1].id}):
        with pytest.raises(CommandRefused):
            await sandbox.invoke(bo, world.channel("general"), "name", foreign)
    used = await sandbox.invoke(bo, world.channel("general"), "name", {"who": world.member("Eli").id})
    assert set(used.payload["data"]["resolved"]) == {"users"}


async def test_an_application_may_belong_to_a_team(raw: Raw) -> None:
    """Its owner is a stand-in then; each member comes with role and state."""
    world = raw.sandbox.world
    team = world.make_team(Bo="admin", Cem="read_only")
    team.members[-1].accepted = False
    told = (await raw("GET", "/oauth2/applications/@me")).json
    members = [(each["user"]["username"], each["role"], each["membership_state"]) for each in told["team"]["members"]]
    assert members == [("ada", "admin", 2), ("bo", "admin", 2), ("cem", "read_only", 1)]
    assert (told["owner"]["id"], told["team"]["owner_user_id"]) == (team.id, world.owner.id)
    assert raw.sandbox.violations == []


async def test_sub_commands_arrive_nested(raw: Raw) -> None:
    """``name sub`` reaches the bot as an option of type 1 with its own options."""
    number = {"type": 10, "name": "usd", "description": "x", "required": True}
    await raw.register(
        {"name": "admin", "description": "x", "options": [
            {"type": 1, "name": "limit", "description": "x", "options": [number]}
        ]}
    )  # fmt: skip
    world = raw.sandbox.world
    used = await raw.sandbox.invoke(world.member("Ada"), world.channel("general"), "admin limit", {"usd": 2.5})
    inner = [{"name": "usd", "type": 10, "value": 2.5}]
    assert used.payload["data"]["options"] == [{"name": "limit", "type": 1, "options": inner}]


async def test_presses_reach_only_what_a_member_can_press(raw: Raw) -> None:
    """Unknown, disabled and foreign ephemeral components are refused; updates change the message pressed."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, cem = world.member("Bo"), world.member("Cem")
    interaction = await raw.invoke()
    buttons = row(BUTTON, BUTTON | {"custom_id": "off", "disabled": True})
    await raw.callback(interaction, 4, {"content": "?", "flags": 64, "components": [buttons]})
    assert interaction.message is not None
    message_id = interaction.message["id"]
    for who, custom_id in ((bo, "nothing"), (bo, "off"), (cem, "go")):
        with pytest.raises(CommandRefused):
            await sandbox.press(who, message_id, custom_id)
    deferred, updated = await sandbox.press(bo, message_id, "go"), await sandbox.press(bo, message_id, "go")
    assert deferred.payload["message"]["components"][0]["components"][0]["custom_id"] == "go"
    assert (await raw.callback(deferred, 6)).status == 204
    assert (await raw.hook("PATCH", deferred, "/messages/@original", {"content": "yes"})).json["id"] == message_id
    assert (await raw.callback(updated, 7, {"content": "done", "components": []})).status == 204
    assert updated.message is not None
    assert (updated.message["content"], updated.message["components"]) == ("done", [])
    assert [each["content"] for each in updated.history] == ["done"]
    assert sandbox.violations == []


async def test_suggestions_and_modals_go_round(raw: Raw) -> None:
    """Autocomplete takes up to 25 choices; a modal comes back with what was typed and takes no modal."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    asked = await sandbox.autocomplete(bo, general, "veo", {"style": "w"}, "style")
    assert asked.payload["data"]["options"] == [{"name": "style", "type": 3, "value": "w", "focused": True}]
    choice = {"name": "watercolour", "value": "watercolour"}
    assert (await raw.callback(asked, 8, {"choices": [choice] * 26})).refusal == (400, 50035)
    assert (await raw.callback(asked, 8, {"choices": [choice] * 25})).status == 204
    assert asked.choices == [choice] * 25
    used = await raw.invoke()
    box = {"type": 18, "label": "Why?", "component": {"type": 4, "custom_id": "why", "style": 1}}
    modal = {"title": "Sure?", "custom_id": "sure", "components": [box]}
    assert (await raw.callback(used, 9, modal)).status == 204
    sent = await sandbox.submit(used, {"why": "because"})
    assert sent.payload["data"]["components"][0]["component"]["value"] == "because"
    assert (await raw.callback(sent, 9, modal)).refusal == (400, 50035)
    assert (await raw.callback(sent, 4, {"content": "x"}, "?with_response=1")).status == 200
    breaches = [each for each in sandbox.violations if "choices" in each]
    assert (sandbox.violations, len(breaches)) == (breaches, 1 if DESCRIPTION else 0)


# Commands


def option(**more: object) -> dict[str, object]:
    return VEO | {"options": [{"type": 3, "name": "a", "description": "x", **more}]}


@pytest.mark.parametrize(
    ("commands", "path"),
    [
        ([VEO | {"description": "x" * 101}], "0/description"),
        ([VEO | {"description": ""}], "0/description"),
        ([VEO | {"name": "Veo"}], "0/name"),
        ([VEO | {"name": "x" * 33}], "0/name"),
        ([option(choices=[{"name": str(n), "value": str(n)} for n in range(26)])], "0/options/0/choices"),
        ([option(type=4, max_value=2**53)], "0/options/0/max_value"),
        ([option(max_length=6001)], "0/options/0/max_length"),
        ([option(autocomplete=True, choices=[{"name": "x", "value": "x"}])], "0/options/0/autocomplete"),
        ([VEO | {"options": [{"type": 3, "name": f"o{n}", "description": "x"} for n in range(26)]}], "0/options"),
        ([VEO | {"options": VEO["options"][1:] + VEO["options"][:1]}], "0/options/5/required"),  # type: ignore[index] # the options are a list
        ([VEO, VEO], "1/name"),
    ],
)
async def test_a_command_over_a_limit_is_not_registered(raw: Raw, commands: list[object], path: str) -> None:
    """Each documented limit of a command answers 400/50035 at its field, and nothing is changed."""
    answer = await raw.register(*commands)
    assert answer.refusal == (400, 50035)
    assert answer.leaf(*path.split("/"))
    assert (await raw("GET", f"/applications/{raw.sandbox.world.application_id}/commands")).json == []


async def test_a_scope_holds_a_hundred_commands_and_two_hundred_creations_a_day(raw: Raw) -> None:
    """101 answer 30032, the 201st new name of a day 30034; 8,000 characters are APPLICATION_COMMAND_TOO_LARGE."""

    def many(prefix: str, number: int) -> list[object]:
        return [{"name": f"{prefix}{n}", "description": "x"} for n in range(number)]

    choices = [{"name": f"{n:0100}", "value": f"{n:0100}"} for n in range(25)]
    texts = [{"type": 3, "name": f"o{n}", "description": "x", "choices": choices} for n in range(2)]
    large = await raw.register(VEO | {"options": texts})
    assert (large.refusal, large.leaf("0")) == ((400, 50035), ["APPLICATION_COMMAND_TOO_LARGE"])
    assert (await raw.register(*many("a", 101))).refusal == (400, 30032)
    assert (await raw.register(*many("a", 100))).status == 200
    assert (await raw.register(*many("b", 100))).status == 200
    assert (await raw.register(*many("b", 99), VEO)).refusal == (400, 30034)
    raw.sandbox.clock.advance(86_401)
    assert (await raw.register(*many("b", 99), VEO)).status == 200


async def test_an_unchanged_name_keeps_its_id_and_the_server_comes_first(raw: Raw) -> None:
    """PUT replaces the list; a server's own command hides the global one of the same name."""
    first = (await raw.register(VEO, {"name": "other", "description": "x"})).json
    second = (await raw.register(VEO)).json
    assert [each["id"] for each in second] == [first[0]["id"]]
    server = raw.sandbox.world.server("Aurora Studio")
    path = f"/applications/{raw.sandbox.world.application_id}/guilds/{server.id}/commands"
    own = (await raw("PUT", path, [VEO])).json
    assert own[0]["guild_id"] == server.id
    data = (await raw.invoke()).payload["data"]
    assert (data["id"], data["guild_id"]) == (own[0]["id"], server.id)
    assert raw.sandbox.violations == []


# Gateway


class Line:
    """A gateway connection that sends exactly what it is told."""

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
async def line(raw: Raw, query: str = "?v=10&encoding=json&compress=zstd-stream") -> AsyncIterator[Line]:
    async with raw.session.ws_connect(raw.sandbox.gateway_url + query) as socket:
        connected = Line(socket, raw.sandbox.token)
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
    """Each wrong first payload ends the connection with its own close code."""
    async with line(raw) as gateway:
        if isinstance(data, dict) and "intents" in data:
            data = {"token": raw.sandbox.token} | data
        await gateway.send(op, data)
        assert await gateway.close_code() == code


async def test_the_gateway_closes_on_noise_haste_silence_and_repetition(raw: Raw) -> None:
    """4002 for no JSON, 4005 for a second identify, 4008 for 121 sends, 4009 for no heartbeat, 4012 for v8."""
    async with line(raw) as gateway:
        await gateway.socket.send_str("{")
        assert await gateway.close_code() == 4002
    async with line(raw) as gateway:
        await gateway.identify()
        await gateway.send(2, {"token": raw.sandbox.token})
        assert await gateway.close_code() == 4005
    async with line(raw) as gateway:
        for _ in range(121):
            await gateway.send(1, None)
        assert await gateway.close_code() == 4008
    async with line(raw, "?v=8&encoding=json") as gateway:
        assert await gateway.close_code() == 4012
    async with line(raw) as gateway:
        raw.sandbox.switches.heartbeat_interval_s = 0.02
    async with raw.session.ws_connect(raw.sandbox.gateway_url + "?v=10&encoding=json") as socket:
        assert await Line(socket, "").close_code() == 4009


async def test_the_gateway_greets_with_every_server(raw: Raw) -> None:
    """READY names the servers as unavailable, then GUILD_CREATE brings each."""
    ids = [server.id for server in raw.sandbox.world.servers]
    async with line(raw) as gateway:
        await gateway.send(1, None)
        assert (await gateway.receive())["op"] == 11
        ready = (await gateway.identify())["d"]
        assert ready["guilds"] == [{"id": each, "unavailable": True} for each in ids]
        assert ready["user"]["id"] == ready["application"]["id"] == raw.sandbox.world.application_id
        assert ready["resume_gateway_url"] == raw.sandbox.gateway_url
        created = [await gateway.until("GUILD_CREATE") for _ in ids]
        assert [each["d"]["name"] for each in created] == ["Aurora Studio", "Elsewhere"]
        assert [each["s"] for each in created] == [2, 3]


async def test_a_shard_hears_only_of_its_own_servers(raw: Raw) -> None:
    """Of three shards each gets the servers and interactions whose (id >> 22) % 3 is its number."""
    await raw.register()
    aurora, elsewhere = raw.sandbox.world.servers
    here, there = ((int(each.id) >> 22) % 3 for each in (aurora, elsewhere))
    assert here != there
    async with line(raw) as first, line(raw) as second:
        assert (await first.identify(shard=[here, 3]))["d"]["shard"] == [here, 3]
        await second.identify(shard=[there, 3])
        used = await raw.invoke()
        dana, lobby = raw.sandbox.world.member("Dana"), raw.sandbox.world.channel("lobby")
        other = await raw.sandbox.invoke(dana, lobby, "veo", {"prompt": "x"})
        events = [[await each.receive() for _ in range(2)] for each in (first, second)]
        assert [each["d"]["id"] for each in events[0]] == [aurora.id, used.id]
        assert [each["d"]["id"] for each in events[1]] == [elsewhere.id, other.id]


async def test_intents_choose_the_events_and_interactions_always_come(raw: Raw) -> None:
    """Without GUILD_MESSAGES there is no MESSAGE_CREATE; without any intent there are still interactions."""
    await raw.register()
    async with line(raw) as silent, line(raw) as curious:
        await silent.identify(intents=0)
        await curious.identify(intents=1 | 1 << 9)
        posted = (await raw.post({"content": "hello", "nonce": "n"})).json
        await raw.invoke()
        assert (await silent.receive())["t"] == "INTERACTION_CREATE"
        event = await curious.until("MESSAGE_CREATE")
        assert event["d"] == posted | {"guild_id": raw.sandbox.world.channel("general").guild_id}


async def test_a_resume_replays_exactly_what_was_missed(raw: Raw) -> None:
    """After another close code than 1000 the events since ``seq`` come again in order, then RESUMED."""
    await raw.register()
    async with line(raw) as gateway:
        session_id = (await gateway.identify(intents=0))["d"]["session_id"]
        await raw.invoke()
        assert (await gateway.receive())["s"] == 2
        await gateway.socket.close(code=4000)
    missed = [await raw.invoke(), await raw.invoke()]
    async with line(raw) as gateway:
        await gateway.resume(session_id, 2)
        events = [await gateway.receive() for _ in range(3)]
        assert [each["d"].get("id") for each in events] == [missed[0].id, missed[1].id, None]
        assert [each["s"] for each in events] == [3, 4, 5]
        assert (events[2]["t"], isinstance(events[2]["d"], dict)) == ("RESUMED", True)
        await gateway.socket.close(code=4000)
    async with line(raw) as gateway:
        await gateway.resume(session_id, 99)
        assert await gateway.close_code() == 4007
    async with line(raw) as gateway:
        await gateway.resume("unknown", 1)
        assert await gateway.receive() == {"op": 9, "d": False}


@pytest.mark.parametrize(("code", "later_s"), [(1000, 0), (1001, 0), (4000, 181)])
async def test_a_session_is_over_after_a_goodbye_or_a_long_absence(raw: Raw, code: int, later_s: float) -> None:
    """A client that closes with 1000 or 1001, or comes back too late, has to identify anew."""
    async with line(raw) as gateway:
        session_id = (await gateway.identify())["d"]["session_id"]
        await gateway.socket.close(code=code)
    await raw.sandbox.wait_until(lambda: not raw.sandbox.connected)
    raw.sandbox.clock.advance(later_s)
    async with line(raw) as gateway:
        await gateway.resume(session_id, 1)
        assert await gateway.receive() == {"op": 9, "d": False}


async def test_a_gateway_may_repeat_delay_or_hold_its_events(raw: Raw) -> None:
    """Switches make an event come twice, late by the clock, or not at all until a resume."""
    await raw.register()
    sandbox = raw.sandbox
    async with line(raw) as gateway:
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
    async with line(raw) as gateway:
        await gateway.resume(session_id, 4)
        assert (await gateway.receive())["d"]["id"] == held.id


# Faults


async def test_faults_come_once_and_before_any_effect(raw: Raw) -> None:
    """A planned status replaces the effect; with ``effect`` it only hides it; the next request is normal."""
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
    """The client sees only that the connection ended, whether the message was posted or not."""
    raw.sandbox.fault("POST", r"/channels/\d+/messages", cut=cut)
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await raw.upload(("a.mp4", b"x" * 10_000))
    assert len(raw.sandbox.messages(raw.sandbox.world.channel("general"))) == posted
    assert raw.sandbox.requests[-1].status == 0
    assert (await raw.post({"content": "x"})).status == 200


async def test_a_delay_lets_deadlines_pass(raw: Raw) -> None:
    """A callback that is under way when its three seconds end comes too late."""
    await raw.register()
    raw.sandbox.fault("POST", "/interactions/.*", delay_s=4, only_delay=True)
    interaction = await raw.invoke()
    answering = asyncio.create_task(raw.callback(interaction, 5))
    await asyncio.sleep(0.05)  # until the request is there and waits
    raw.sandbox.clock.advance(5)
    assert (await answering).refusal == (404, 10062)


# Control plane and judge


async def test_the_page_can_do_what_a_member_can(raw: Raw) -> None:
    """State, invocation, refusal, messages, switches, time and requests go over plain JSON."""
    await raw.register()
    world = raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    state = (await raw.control("GET", "state")).json
    assert [each["name"] for each in state["servers"]] == ["Aurora Studio", "Elsewhere"]
    assert [each["name"] for each in state["commands"]] == ["veo"]
    assert {each["name"] for each in state["servers"][0]["members"]} == {"Veo Bot", "Ada", "Bo", "Cem", "Dana"}
    wish = {"member": bo.id, "channel": general.id, "command": "veo", "options": {"prompt": "x"}}
    assert (await raw.control("POST", "interactions", wish)).json["member"] == bo.id
    refused = await raw.control("POST", "interactions", wish | {"options": {}})
    assert (refused.status, refused.json["option"]) == (400, "prompt")
    assert (await raw.control("POST", "interactions", wish | {"member": "nobody"})).status == 404
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


async def test_events_reach_only_those_who_may_see_them(raw: Raw) -> None:
    """The stream of another member leaves out an ephemeral answer and shows what is public."""
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
async def test_the_judge_finds_breaches_on_both_sides(raw: Raw) -> None:
    """A request that breaks the description is refused where it does, and a broken reply is reported."""
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
    """Each route that a bot reads, in a server, a thread and a direct message, breaks nothing."""
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


async def test_the_page_folder_is_served_and_nothing_beside_it(raw: Raw) -> None:
    """The page's files come with their types, and no path leads out of its folder."""
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


async def test_a_clock_of_ones_own_moves_the_whole_sandbox() -> None:
    """Ids and timestamps follow the clock that was passed in."""
    async with DiscordSandbox(clock=Clock(lambda: 1_800_000_000.0)) as sandbox, aiohttp.ClientSession() as session:
        message = (await Raw(sandbox, session).post({"content": "x"})).json
    assert message["timestamp"] == "2027-01-15T08:00:00.000000+00:00"
    assert (int(message["id"]) >> 22) + 1_420_070_400_000 == 1_800_000_000_000
