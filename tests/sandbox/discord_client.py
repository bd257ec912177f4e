"""A client of the sandbox Discord that sends exactly what a test tells it, and the bodies that several tests share."""

import json
import os
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sandbox.discord import DiscordSandbox, Interaction

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
    """A reply of the API."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def refusal(self) -> tuple[int, int]:
        """The HTTP status and Discord's error code."""
        return self.status, self.json["code"]

    def leaf(self, *path: str) -> list[str]:
        """The error codes at ``path`` in the ``errors`` tree."""
        node = self.json["errors"]
        for step in path:
            node = node[step]
        return [each["code"] for each in node["_errors"]]


class Raw:
    """A REST client that sends exactly what it is told, and does members' actions in the sandbox."""

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
    """A multipart body, as client libraries send it."""
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("payload_json", json.dumps(body or {}), content_type="application/json")
    for index, (name, content) in enumerate(files):
        data.add_field(f"files[{index}]", content, filename=name, content_type="application/octet-stream")
    return data


BUTTON = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
TEXT = {"type": 10, "content": "x"}


def row(*buttons: object) -> dict[str, object]:
    return {"type": 1, "components": list(buttons)}


def v2(*components: object, **more: object) -> dict[str, object]:
    return {"flags": V2, "components": list(components), **more}


def mp4(width: int, height: int) -> bytes:
    """An MP4 file with a sound track and a video track, but without media data (ISO/IEC 14496-12)."""

    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4) + kind + content

    head = bytes(76) + (width << 16).to_bytes(4) + (height << 16).to_bytes(4)
    sound, picture = box(b"trak", box(b"tkhd", bytes(84))), box(b"trak", box(b"tkhd", head))
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", bytes(100)) + sound + picture)
