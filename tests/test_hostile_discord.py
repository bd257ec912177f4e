"""A Discord that replies anything: the bot goes on, and each video is posted once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.harness import WAIT_S, scene
from tests.hostile import (
    CHANGES,
    JSON,
    MEMBERS,
    Changes,
    all_delivered,
    changed,
    check_alive,
    check_log,
    count_of_runs,
    staged,
)


@dataclass
class Lie:
    """What comes back instead of the real reply, after the request took effect."""

    where: str  # part of the path
    status: int
    body: bytes | None  # None: the true one, with changes
    changes: Changes

    def instead_of(self, body: bytes) -> bytes:
        """The lie in the place of this reply."""
        if self.body is not None:
            return self.body
        try:
            true = json.loads(body)
        except ValueError:
            return body
        return json.dumps(changed({"": true}, self.changes).get("")).encode()


_LIES = st.builds(
    Lie,
    where=st.sampled_from(["/callback", "/webhooks/", "/channels/", "/channels/"]),
    status=st.sampled_from([200, 200, 200, 200, 201, 204, 400, 403, 404, 429, 500, 502]),
    body=st.none()
    | st.none()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b"", b"<html>", b"{"]),
    changes=CHANGES,
)


class Between:
    """Passes every request of the bot on to Discord, and lies where it is told to."""

    def __init__(self, api_url: str) -> None:
        self._origin = api_url.partition("/api/")[0]
        self.lies: list[Lie] = []
        self.posts = 0  # tries to put a message into a channel

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """The address of Discord's API for the bot."""
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/api/v10"
            finally:
                await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        url = URL(self._origin + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, data=await request.read(), headers=headers) as reply:
            status, body = reply.status, await reply.read()
            kept = {
                name: value for name, value in reply.headers.items() if not name.startswith(("Content-L", "Transfer"))
            }
        self.posts += request.method == "POST" and "/channels/" in request.path
        if lie := next((each for each in self.lies if each.where in request.path), None):
            self.lies.remove(lie)
            status, body = lie.status, lie.instead_of(body)
        return web.Response(status=status, body=body if status != 204 else None, headers=kept)


def test_no_reply_of_discord_stops_the_bot_or_posts_twice(tmp_path: Path) -> None:
    """Replies with any content to requests that took effect: the bot goes on, and posts each video once."""
    with staged(tmp_path, start=False) as (runner, world):
        between = Between(world.discord.api_url)
        made = between.listening()
        runner.run(world.start(DISCORD_API_URL=runner.run(made.__aenter__())))

        async def use(lies: list[Lie]) -> None:
            between.lies, between.posts, before = list(lies), 0, count_of_runs(world)
            for command, options in MEMBERS:
                used = await world.discord.invoke(world.member(), world.channel, command, options)
                await used.settled(WAIT_S)
            await check_alive_while_posting()
            async with asyncio.timeout(WAIT_S):
                while between.posts < count_of_runs(world) - before:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            between.lies = []

        async def check_alive_while_posting() -> None:
            """While the video is on its way, the rest of the lies is for its post only."""
            between.lies = [each for each in between.lies if each.where == "/channels/"]
            await check_alive(world)

        @settings(max_examples=12, deadline=None)
        @given(st.lists(_LIES, min_size=2, max_size=6))
        def goes_on(lies: list[Lie]) -> None:
            runner.run(use(lies))

        async def then() -> None:
            """What a lie has put off is due at the next start."""
            await world.stop()
            await world.start()
            await all_delivered(world)
            assert len(world.runflow.runs) == len(world.posts()) > 0

        try:
            goes_on()
            runner.run(then())
        finally:
            runner.run(made.__aexit__(None, None, None))
        check_log(world, traces=True)


async def test_a_start_survives_invalid_replies(tmp_path: Path) -> None:
    """A web page instead of our identity and our commands: the bot asks again and starts."""
    async with scene(tmp_path, start=False) as world:
        between = Between(world.discord.api_url)
        between.lies = [
            Lie(where="/users/@me", status=200, body=b"<html>", changes=[]),
            Lie(where="/commands", status=200, body=b'{"a": 1}', changes=[]),
        ]
        async with between.listening() as address:
            await world.start(DISCORD_API_URL=address)
            assert between.lies == []
            await check_alive(world)
            check_log(world, traces=True)  # the library leaves its first session unclosed
            await world.stop()
