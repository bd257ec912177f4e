"""Fixtures for the tests of both sandboxes."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sandbox.clock import Clock
from sandbox.discord import DiscordSandbox
from tests.sandbox.discord_client import DESCRIPTION, Raw
from tests.sandbox.runflow_client import Lab, Mailbox, laboratory


@pytest.fixture
async def sandbox() -> AsyncIterator[DiscordSandbox]:
    """A sandbox with a clock that only moves when a test advances it; it checks the API description if there is one."""
    started = time.time()
    spec = Path(DESCRIPTION) if DESCRIPTION else None
    async with DiscordSandbox(clock=Clock(lambda: started), spec=spec) as running:
        yield running


@pytest.fixture
async def raw(sandbox: DiscordSandbox) -> AsyncIterator[Raw]:
    """A client of ``sandbox`` that sends exactly what it is told."""
    async with aiohttp.ClientSession() as session:
        yield Raw(sandbox, session)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A sandbox Runflow whose runs end at once, with a client."""
    async with laboratory() as ready:
        yield ready


@pytest.fixture
async def slow_lab() -> AsyncIterator[Lab]:
    """A sandbox Runflow whose runs are queued for 10 s and run for 60 s, with a client."""
    async with laboratory(queue_s=10.0, run_s=60.0) as ready:
        yield ready


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A web server that receives callbacks."""
    box = Mailbox()
    app = web.Application()
    app.router.add_post("/callbacks", box.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks"
    yield box
    await runner.cleanup()
