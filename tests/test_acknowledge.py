"""Whoever clicks is answered first: what follows from an acknowledgement waits a moment for those of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import discord
import pytest
from discord import app_commands

from cogs.acknowledge import FEW, Acknowledger
from cogs.client import log_in, new_client
from cogs.gateway import stay_connected
from sandbox.discord import DiscordSandbox, Interaction
from tests.harness import WAIT_S
from tests.words import SPEAKER

MANY = FEW + 4
LONG_S = 10 * WAIT_S


@asynccontextmanager
async def discord_with(
    acknowledger: Acknowledger, work: Callable[[int | None], Awaitable[None]]
) -> AsyncIterator[DiscordSandbox]:
    """The sandbox and a client of it: `/work` acknowledges and works with the answer's id, `/idle` does nothing."""

    @app_commands.command(name="work", description="w")
    @app_commands.autocomplete(what=_offer_nothing)
    async def command(interaction: discord.Interaction, what: str = "") -> None:
        await work(await acknowledger.acknowledge(interaction, ephemeral=True))

    @app_commands.command(name="idle", description="i")
    async def idle(interaction: discord.Interaction) -> None:
        """What is never acknowledged."""

    async with (
        asyncio.timeout(WAIT_S),
        DiscordSandbox() as sandbox,
        new_client(sandbox.api_url, sandbox.gateway_url, acknowledger=acknowledger, speaker=SPEAKER) as client,
    ):
        client.tree.add_command(command)
        client.tree.add_command(idle)
        await log_in(client, sandbox.token)
        await client.sync_if_changed()
        connection = asyncio.create_task(stay_connected(client))
        await sandbox.bot_ready("work")
        yield sandbox
        await client.close()
        await connection


async def _offer_nothing(_: discord.Interaction, __: str) -> list[app_commands.Choice[str]]:
    return []


async def use(sandbox: DiscordSandbox, command: str) -> Interaction:
    """Use a command as a member, without waiting for anything."""
    return await sandbox.invoke(sandbox.world.member("Bo"), sandbox.world.channel("video-lab"), command, {})


async def test_many_at_once_are_all_acknowledged_before_any_work() -> None:
    """The work of each begins when the last of them has its answer, however long that one takes."""
    asked: list[Interaction] = []
    answered_first: list[int] = []
    done = asyncio.Event()

    async def work(_: int | None) -> None:
        answered_first.append(sum(each.acknowledged_after_s is not None for each in asked))
        if len(answered_first) == MANY:
            done.set()

    async with discord_with(Acknowledger(LONG_S), work) as sandbox:
        sandbox.fault("POST", "/interactions/.*", only_delay=True, delay_s=0.2)
        asked += [await use(sandbox, "work") for _ in range(MANY)]
        await done.wait()
    assert answered_first == [MANY] * MANY


@pytest.mark.parametrize("idle", [FEW - 1, MANY])
async def test_nobody_waits_for_a_few_nor_for_long(idle: int) -> None:
    """Below a few nobody waits at all, and above only for so long: some may never be acknowledged."""
    done = asyncio.Event()

    async def work(_: int | None) -> None:
        done.set()

    async with discord_with(Acknowledger(LONG_S if idle < FEW else 0.05), work) as sandbox:
        for _ in range(idle):
            await use(sandbox, "idle")
        await use(sandbox, "work")
        await done.wait()


async def test_who_is_answered_too_late_is_waited_for_no_longer() -> None:
    """An acknowledgement that Discord refuses is over as well, and what came of it is told."""
    ids: list[int | None] = []
    done = asyncio.Event()

    async def work(message_id: int | None) -> None:
        ids.append(message_id)
        if len(ids) == MANY:
            done.set()

    async with discord_with(Acknowledger(LONG_S), work) as sandbox:
        sandbox.fault("POST", "/interactions/.*", status=404, code=10062, times=MANY - 1)
        for _ in range(MANY):
            await use(sandbox, "work")
        await done.wait()
    assert sum(each is None for each in ids) == MANY - 1


async def test_suggestions_are_not_waited_for() -> None:
    """They are answered in another way, and nothing follows from them."""
    done = asyncio.Event()

    async def work(_: int | None) -> None:
        done.set()

    async with discord_with(Acknowledger(LONG_S), work) as sandbox:
        bo, channel = sandbox.world.member("Bo"), sandbox.world.channel("video-lab")
        for _ in range(MANY):
            await sandbox.autocomplete(bo, channel, "work", {"what": "x"}, "what")
        await use(sandbox, "work")
        await done.wait()
