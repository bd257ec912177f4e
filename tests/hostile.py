"""Shared by the tests with hostile input: any JSON, a started bot, what its log must not hold, an altered gateway."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from hypothesis import strategies as st

from bot.domain.models import SEED_MAX
from bot.telemetry.logs import formatter
from sandbox.discord import Interaction
from tests.harness import API_KEY, SECRET, WAIT_S, Scene, read, scene

Json = dict[str, Any]
QUERY = "X-Sig=presigned0123456789"
# Any JSON, and often what a reader is likeliest to trip over.
_SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 5, 2**31, 2**63, -(2**63), 10**40, 0.5, 1e308, float("nan"), float("inf"), "", "0",
     "-1", "veo", "\x00", "\ud800", "a\nb", "\u202e@everyone <@&1> `**x**`", "x" * 3000, "9" * 30, "1e9", [], {}]
) | st.text(max_size=12)  # fmt: skip
JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "type", "name", "value"]) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
GONE = object()  # as a new value: the field is removed
Changes = list[tuple[int, object]]
CHANGE = st.tuples(st.integers(0, 10**6), st.just(GONE) | JSON)
CHANGES = st.lists(CHANGE, min_size=1, max_size=3)


def paths_in(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every field and entry, however deep."""
    entries: Any = ()
    if isinstance(value, dict):
        entries = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    for key, inner in entries:
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


def changed(value: Json, changes: Changes) -> Json:
    """The same with these fields replaced or removed; each is chosen by a number."""
    made = copy.deepcopy(value)
    for number, new in changes:
        ways = list(paths_in(made))
        if not ways:
            continue
        *way, last = ways[number % len(ways)]
        inner: Any = made
        for step in way:
            inner = inner[step]
        if new is GONE:
            del inner[last]
        else:
            inner[last] = new
    return made


@contextmanager
def bot_log() -> Iterator[io.StringIO]:
    """What the log holds meanwhile, formatted like the bot's own."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(formatter([API_KEY, SECRET], terminal=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield text
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


@contextmanager
def staged(folder: Path, *, discord: Json | None = None, **more: Any) -> Iterator[tuple[asyncio.Runner, Scene]]:
    """One started bot for all examples of a test."""
    with asyncio.Runner() as runner:
        # What is waited for is an answer at all; a busy machine may take its time.
        made = scene(folder, discord={"acknowledge_within_s": 30.0} | (discord or {}), **more)
        world = runner.run(made.__aenter__())
        try:
            yield runner, world
        except BaseException as error:
            runner.run(made.__aexit__(type(error), error, error.__traceback__))
            raise
        runner.run(made.__aexit__(None, None, None))


async def check_alive(world: Scene) -> None:
    """The process runs, and answers members and its own web server."""
    assert world.bot is not None
    assert world.bot.returncode is None, world.log[-3000:]
    asked = await world.discord.invoke(world.member("Cem"), world.channel, "veo-quota", {})
    answer = await asked.wait(lambda message: "left" in read(message)["content"], timeout=WAIT_S)
    assert answer["flags"] & 64
    async with aiohttp.ClientSession() as session, session.get(f"{world.operator_url}/healthz") as healthy:
        assert healthy.status == 200


def check_log(world: Scene, *, traces: bool = False) -> None:
    """No token of a callback or an interaction, no secret, no signed query; tracebacks only with `traces`."""
    log = world.log
    tokens = [row["callback_token"] for row in world.rows("SELECT callback_token FROM run")]
    tokens += world.discord.interaction_tokens
    assert [token for token in tokens if token in log] == []
    assert [secret for secret in (API_KEY, SECRET, world.discord.token, QUERY) if secret in log] == []
    assert traces or "Traceback" not in log, log[-3000:]


COMMANDS: list[tuple[str, Json]] = [
    ("veo", {"prompt": "a red fox", "duration": "4s", "seed": 7, "generate_audio": False, "negative_prompt": "rain"}),
    ("veo-quota", {}),
    ("veo-history", {}),
    ("veo-show", {"run": "abc"}),
    ("veo-admin limit show", {"member": "MEMBER"}),
    ("veo-admin grant", {"amount": "5", "member": "MEMBER", "reason": "why not"}),
    ("veo-admin report", {"days": 2}),
]  # those that change no rule, so that what follows is judged by the same ones
MEMBERS = COMMANDS[:4]
DURATIONS, RESOLUTIONS, RATIOS = ("4s", "6s", "8s"), ("720p", "1080p", "4k"), ("16:9", "9:16")


class Wire:
    """The sandbox's gateway, with altered events."""

    def __init__(self, world: Scene) -> None:
        self.world = world

    def send(self, event: str, data: Any) -> None:
        """Any event with any content."""
        self.world.discord.send_event(event, data, guild_id=self.world.channel.guild_id)

    async def use(self, change: Callable[[Json], Json], command: str, **options: object) -> Interaction:
        """A command by Bo, as the bot receives it after `change`."""
        values = {name: self.world.member().id if value == "MEMBER" else value for name, value in options.items()}
        member = "Ada" if command.startswith("veo-admin") else "Bo"
        with self.world.discord.altered_events(change):
            return await self.world.discord.invoke(self.world.member(member), self.world.channel, command, values)

    async def press(self, change: Callable[[Json], Json], message_id: str, custom_id: object) -> Interaction:
        """A press by Bo, of a button that need not exist, as the bot receives it after `change`."""
        data: Json = {"custom_id": custom_id, "component_type": 2, "id": 1}
        with self.world.discord.altered_events(change):
            return self.world.discord.forge_press(self.world.member(), message_id, data)


def count_of_runs(world: Scene) -> int:
    """How many runs the bot has made."""
    return int(world.rows("SELECT count(*) AS n FROM run")[0]["n"])


def check_runs(world: Scene) -> None:
    """Each run is what the command allows and was ordered at most once; nothing else was ordered."""
    for row in world.rows("SELECT request, price_u, member, channel, server, upload_limit_bytes FROM run"):
        request = json.loads(row["request"])
        assert isinstance(request["prompt"], str)
        assert 1 <= len(request["prompt"]) <= 2000
        assert request["duration"] in DURATIONS
        assert request["resolution"] in RESOLUTIONS
        assert request["aspect_ratio"] in RATIOS
        assert request["safety_tolerance"] in "123456"
        assert isinstance(request["generate_audio"], bool)
        assert isinstance(request["auto_fix"], bool)
        assert isinstance(request["negative_prompt"], str | None)
        assert request["seed"] is None or (type(request["seed"]) is int and abs(request["seed"]) <= SEED_MAX)
        assert row["upload_limit_bytes"] is None or type(row["upload_limit_bytes"]) is int
        for name in ("member", "channel", "server"):
            assert row[name].removeprefix("discord:").isdecimal(), row
    ordered = len(world.runflow.runs)
    assert ordered == sum(each.method == "POST" for each in world.runflow.received), "an order was refused"
    assert count_of_runs(world) >= ordered


async def all_delivered(world: Scene) -> None:
    async with asyncio.timeout(WAIT_S):
        while world.rows("SELECT 1 FROM run WHERE delivery <> 'delivered'"):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    assert len(world.posts()) == count_of_runs(world)
