"""The baseline: a bot that makes the same calls to the outside as ours, and keeps nothing.

    python -m bench.bare          settings by environment, named as ours
    python -m bench.bare --idle   the library's client alone, connected and doing nothing

Acknowledge, order on a fresh connection, edit the card; at the callback read the run, fetch the clip to disk, post it,
edit the card. No database, no checks, no retries, no limits; a run is forgotten when the process ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import discord
import discord.gateway
import discord.http
from discord import app_commands
from yarl import URL

if TYPE_CHECKING:
    from aiohttp import web

SEED_MAX = 2**53 - 1
Prompt = app_commands.Range[str, 1, 2000]


def new_client(kind: type[discord.Client]) -> discord.Client:
    """A client with the same part of the gateway's events as ours."""
    discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(os.environ["DISCORD_GATEWAY_URL"])
    return kind(
        intents=discord.Intents(guilds=True),
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        max_messages=None,
        guild_ready_timeout=0.5,
    )


class Bare(discord.Client):
    """The client, with its one command."""

    ordering: aiohttp.ClientSession  # a fresh connection for each order
    reading: aiohttp.ClientSession

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(veo)
        self.under_way: dict[str, discord.Interaction[Bare]] = {}  # by the token in the callback's address
        self.tasks: set[asyncio.Task[None]] = set()

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def order(self, interaction: discord.Interaction[Bare], options: dict[str, Any]) -> None:
        token = os.urandom(16).hex()
        self.under_way[token] = interaction
        body = {
            "input": {name: value for name, value in options.items() if value is not None},
            "client_ref": str(interaction.id),
            "metadata": {"client_ref": str(interaction.id)},
            "callback_url": f"{os.environ['PUBLIC_URL']}/callbacks/runflow/{token}",
        }
        url = f"{os.environ['RUNFLOW_API_URL']}/v1/models/google/veo3.1/runs"
        async with self.ordering.post(url, json=body, headers=AUTHORIZATION) as reply:
            run = await reply.json()
        await interaction.edit_original_response(embed=card("Making your video", options["prompt"], run["id"]))

    async def callback(self, request: web.Request) -> web.Response:
        """What Runflow calls when a run has ended."""
        from aiohttp import web  # noqa: PLC0415 - the idle client does not need it

        run_id = (await request.json())["run_id"]
        task = asyncio.create_task(self.deliver(self.under_way.pop(request.match_info["token"]), run_id))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return web.Response(status=202)

    async def deliver(self, interaction: discord.Interaction[Bare], run_id: str) -> None:
        url = f"{os.environ['RUNFLOW_API_URL']}/v1/runs/{run_id}"
        async with self.reading.get(url, headers=AUTHORIZATION) as reply:
            run = await reply.json()
        path = Path(os.environ["MEDIA_DIR"]) / f"{run_id}.mp4"
        async with self.reading.get(run["output"]["outputs"][0]["url"]) as reply:
            with path.open("wb") as file:
                async for chunk in reply.content.iter_chunked(256 * 1024):
                    file.write(chunk)
        assert interaction.channel_id is not None
        channel = self.get_partial_messageable(interaction.channel_id)
        said = f"{interaction.user.mention}, here's your video!\n-# Video `{run_id}`"
        clip = discord.File(path)
        await channel.send(said, file=clip, nonce=str(interaction.id))
        clip.close()
        path.unlink()
        await interaction.edit_original_response(embed=card("Done", run["input"]["prompt"], run_id))


def card(title: str, prompt: str, run_id: str) -> discord.Embed:
    embed = discord.Embed(title=title, description=f"> {prompt}\nSince 10:24 PM.", color=0x3498DB)
    return embed.set_footer(text=f"Video {run_id}")


@app_commands.command(name="veo", description="Make a video from your prompt with Google Veo 3.1")
@app_commands.guild_only()
async def veo(
    interaction: discord.Interaction[Bare],
    prompt: Prompt,
    duration: Literal["4s", "6s", "8s"] = "8s",
    resolution: Literal["720p", "1080p", "4k"] = "720p",
    aspect_ratio: Literal["16:9", "9:16"] = "16:9",
    generate_audio: bool = True,
    negative_prompt: Prompt | None = None,
    seed: app_commands.Range[int, -SEED_MAX, SEED_MAX] | None = None,
    auto_fix: bool = True,
    safety_tolerance: Literal["1", "2", "3", "4", "5", "6"] = "4",
) -> None:
    options = locals()
    del options["interaction"]
    await interaction.response.defer(ephemeral=True, thinking=True)
    await interaction.client.order(interaction, options)


AUTHORIZATION = {"Authorization": f"Bearer {os.environ.get('RUNFLOW_API_KEY', '')}"}


async def run() -> None:
    from aiohttp import web  # noqa: PLC0415 - see `callback`

    client = new_client(Bare)
    assert isinstance(client, Bare)
    Path(os.environ["MEDIA_DIR"]).mkdir(exist_ok=True)
    app = web.Application()
    app.add_routes([web.post("/callbacks/runflow/{token}", client.callback)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["WEB_PORT"])).start()
    ordering = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
    async with client, ordering as client.ordering, aiohttp.ClientSession() as client.reading:
        await client.start(os.environ["DISCORD_TOKEN"])


async def idle() -> None:
    async with new_client(discord.Client) as client:
        await client.start(os.environ["DISCORD_TOKEN"])


if __name__ == "__main__":
    asyncio.run(idle() if "--idle" in sys.argv else run())
