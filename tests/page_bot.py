"""A tiny bot over plain aiohttp, for the tests of the chat page.

It registers its commands, queues every interaction from the gateway, and responds only when a test does so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.discord import DiscordSandbox
from tests.harness import WAIT_S

GUILDS = 1
EPHEMERAL, COMPONENTS_V2 = 64, 32768
STRING, INTEGER, BOOLEAN = 3, 4, 5
VEO: dict[str, Any] = {
    "name": "veo",
    "description": "Make a video from your prompt and post it here",
    "options": [
        {
            "name": "prompt",
            "type": STRING,
            "description": "What the video shows: subject, action, place, style, sound",
            "required": True,
            "max_length": 2000,
        },
        {
            "name": "duration",
            "type": STRING,
            "description": "Length of the video (default 8s)",
            "choices": [{"name": each, "value": each} for each in ("4s", "6s", "8s")],
        },
        {"name": "generate_audio", "type": BOOLEAN, "description": "With sound (default yes)"},
        {
            "name": "seed",
            "type": INTEGER,
            "description": "Same number, similar result",
            "min_value": 0,
            "max_value": 4294967295,
        },
    ],
}
QUOTA: dict[str, Any] = {"name": "veo-quota", "description": "What is left of your limit"}
SHOW: dict[str, Any] = {
    "name": "veo-show",
    "description": "Post a finished video again",
    "options": [
        {"name": "run", "type": STRING, "description": "Which run", "required": True, "autocomplete": True},
    ],
}
HELP: dict[str, Any] = {"name": "help", "description": "How this bot works"}


class PageBot:
    """A gateway connection and a REST client with the bot's token."""

    def __init__(self, discord: DiscordSandbox, session: aiohttp.ClientSession) -> None:
        self.interactions: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._discord = discord
        self._session = session
        self._application = discord.world.application_id

    async def call(self, method: str, path: str, body: Any = None, file: Path | None = None) -> Any:
        """Send a REST request that must succeed, and return its reply; with ``file`` the body is multipart."""
        form: dict[str, Any] = {"json": body} if body is not None else {}
        if file:
            parts = aiohttp.FormData()
            parts.add_field("payload_json", json.dumps(body), content_type="application/json")
            parts.add_field("files[0]", file.read_bytes(), filename=file.name, content_type="application/octet-stream")
            form = {"data": parts}
        headers = {"Authorization": f"Bot {self._discord.token}"}
        async with self._session.request(method, self._discord.api_url + path, headers=headers, **form) as reply:
            text = await reply.text()
            assert reply.ok, f"{method} {path}: {reply.status} {text}"
            return json.loads(text) if text else None

    async def register(self, *commands: dict[str, Any]) -> None:
        """Register these as the global commands."""
        await self.call("PUT", f"/applications/{self._application}/commands", list(commands))

    async def post(self, channel: str, body: dict[str, Any], file: Path | None = None) -> Any:
        """Post a message in the channel with this name."""
        return await self.call("POST", f"/channels/{self._discord.world.channel(channel).id}/messages", body, file)

    async def next_interaction(self) -> dict[str, Any]:
        """Wait for the next interaction."""
        async with asyncio.timeout(WAIT_S):
            return await self.interactions.get()

    async def answer(self, interaction: dict[str, Any], kind: int, data: dict[str, Any] | None = None) -> None:
        """Respond to an interaction (docs: Receiving and Responding, callback types)."""
        path = f"/interactions/{interaction['id']}/{interaction['token']}/callback"
        await self.call("POST", path, {"type": kind} | ({"data": data} if data is not None else {}))

    async def edit(self, interaction: dict[str, Any], body: dict[str, Any], file: Path | None = None) -> Any:
        """Edit the original response."""
        path = f"/webhooks/{self._application}/{interaction['token']}/messages/@original"
        return await self.call("PATCH", path, body, file)

    async def listen(self) -> None:
        """Identify, and queue every interaction until canceled."""
        async with self._session.ws_connect(f"{self._discord.gateway_url}?v=10&encoding=json") as socket:
            login = {"token": self._discord.token, "intents": GUILDS, "properties": {"os": "test"}}
            await socket.send_json({"op": 2, "d": login})
            async for frame in socket:
                event = frame.json()
                if event.get("t") == "INTERACTION_CREATE":
                    self.interactions.put_nowait(event["d"])


@asynccontextmanager
async def page_bot(discord: DiscordSandbox) -> AsyncIterator[PageBot]:
    """A connected bot with its commands registered."""
    async with aiohttp.ClientSession() as session:
        bot = PageBot(discord, session)
        await bot.register(VEO, QUOTA, SHOW, HELP)
        listening = asyncio.create_task(bot.listen())
        try:
            await discord.bot_ready()
            yield bot
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
