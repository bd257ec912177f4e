"""Interactions and events with any content: the bot goes on, and buys nothing that nobody can ask for."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cogs.render import parse_custom_id
from tests.harness import WAIT_S, Scene
from tests.hostile import CHANGES, COMMANDS, JSON, Changes, Wire, changed, check_alive, check_log, check_runs, staged

_PRESSES = st.sampled_from(
    ["", "veo", "veo:", "veo:yes", "veo:yes:", "veo:yes:a:b:c", "veo:yes:x:99999999999999999999", "veo:yes:x:²",
     "veo:no:x", "veo:ask:x", "veo:approve:x", "veo:deny:x", "veo:receipt:x", "veo:receipt:\ud800", "veo:bogus:x",
     "other:yes:x", "veo:yes:" + "x" * 5000, "veo:ask:\x00", "VEO:yes:x"]
) | st.text(max_size=100)  # fmt: skip


def test_no_altered_interaction_stops_the_bot_or_buys_an_invalid_run(tmp_path: Path) -> None:
    """With any field of a command or press removed or replaced, the bot goes on, and each run is valid."""
    with staged(tmp_path) as (runner, world):
        wire = Wire(world)

        async def delivered() -> str:
            return str((await world.end_of(await world.veo()))["id"])

        async def say(batch: list[tuple[int, Changes]], presses: list[Any]) -> None:
            for number, changes in batch:
                command, options = COMMANDS[number]
                await wire.use(partial(changed, changes=changes), command, **options)
            for custom_id, changes in presses:
                pressed = await wire.press(partial(changed, changes=changes), message_id, custom_id)
                if not changes and parse_custom_id(custom_id):
                    await pressed.acknowledged(WAIT_S)
            await check_alive(world)
            check_runs(world)

        message_id = runner.run(delivered())

        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(
            batch=st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6]), CHANGES), min_size=4, max_size=8),
            presses=st.lists(st.tuples(_PRESSES, st.just([]) | CHANGES), min_size=2, max_size=4),
        )
        def goes_on(batch: list[tuple[int, Changes]], presses: list[Any]) -> None:
            runner.run(say(batch, presses))

        goes_on()
        check_log(world, traces=True)


# Any event but those about the connection itself, which the last test sends.
_EVENTS = st.sampled_from(
    ["GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE", "GUILD_ROLE_CREATE", "GUILD_MEMBER_ADD", "GUILD_MEMBERS_CHUNK",
     "CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_DELETE", "THREAD_CREATE", "THREAD_UPDATE", "THREAD_LIST_SYNC",
     "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_REACTION_ADD", "TYPING_START", "USER_UPDATE", "PRESENCE_UPDATE",
     "VOICE_STATE_UPDATE", "INTERACTION_CREATE", "INVITE_CREATE", "ENTITLEMENT_CREATE", "APPLICATION_COMMAND_UPDATE",
     "NO_SUCH_EVENT", "__CLASS__"]
)  # fmt: skip


def test_no_event_stops_the_bot(tmp_path: Path) -> None:
    """Events of any kind with any content, or real ones altered: the connection stays, and members get answers."""
    with staged(tmp_path) as (runner, world):
        wire = Wire(world)

        server = world.discord.world.servers[0].to_gateway_json(world.discord.world.bot)
        true = {
            "GUILD_CREATE": server,
            "GUILD_UPDATE": server,
            "CHANNEL_UPDATE": world.channel.to_json(),
            "THREAD_CREATE": server["threads"][0],
        }

        async def say(events: list[tuple[str, object]], near: list[tuple[str, Changes]]) -> None:
            for event, data in events:
                wire.send(event, data)
            for event, changes in near:
                wire.send(event, changed(true[event], changes))
            await check_alive(world)

        @settings(max_examples=25, deadline=None)
        @given(
            events=st.lists(st.tuples(_EVENTS, JSON), min_size=5, max_size=12),
            near=st.lists(st.tuples(st.sampled_from(sorted(true)), CHANGES), min_size=2, max_size=4),
        )
        @example([("INTERACTION_CREATE", {}), ("GUILD_DELETE", {"id": "x"})], [])
        def goes_on(events: list[tuple[str, object]], near: list[tuple[str, Changes]]) -> None:
            runner.run(say(events, near))

        goes_on()
        assert world.discord.gateway_counts == (1, 0)
        check_log(world, traces=True)


async def test_a_nonsense_frame_makes_the_bot_reconnect(world: Scene) -> None:
    """A READY without a session ends the connection, not the bot: it makes a new one and answers there."""
    world.discord.send_frame({"op": 0, "t": "READY", "s": 1, "d": {}})
    async with asyncio.timeout(WAIT_S):
        while world.discord.gateway_counts[0] == 1:  # noqa: ASYNC110 - the sandbox tells it by this count alone
            await asyncio.sleep(0.05)
    await world.discord.bot_ready()
    await check_alive(world)
    check_log(world, traces=True)
