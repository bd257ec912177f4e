"""A whole world for a test: both sandboxes in this process, and the real bot as a process that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.discord import Channel, DiscordSandbox, Interaction, Member
from sandbox.discord import Switches as DiscordSwitches
from sandbox.discord.components import walk
from sandbox.runflow import RunflowSandbox
from sandbox.runflow import Switches as RunflowSwitches
from storage import check_books
from tests.forks import Fork, Nursery
from tests.money import empty_books

ROOT = Path(__file__).resolve().parent.parent
SECRET = "whsec_test_0123456789"
API_KEY = "rf_live_test"
WAIT_S = 60.0  # so slow a machine may be; no test waits this long for what does not come
INTERPRETER = {
    "PATH": os.environ.get("PATH", ""),
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "error,ignore:'audioop' is deprecated:DeprecationWarning",
}
ON_ITS_WAY = "On its way into the channel."
# The button by which a message is known as the one about a run, and its kind.
NOTICE = re.compile(r"veo:(?:receipt|details):([a-z2-7]+)(?::(result|unknown|overdue))?")
CARD = re.compile(r"^-# \w+ `([a-z2-7]+)`$", re.MULTILINE)  # in any language

Json = dict[str, Any]


def openapi() -> Path | None:
    """The path of Discord's API description from the environment; if set, every request and reply is checked."""
    path = os.environ.get("DISCORD_OPENAPI")
    return Path(path) if path else None


def free_port() -> int:
    """A port on which nobody listens, and which the system gives to no connection on its way out.

    One that the system chose would be among those: another test might be given it before it is listened on.
    """
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@cache
def nursery() -> Nursery:
    """Starts the bots of this test process; they all have their imports done."""
    return Nursery("bot.app", "bot.settings_reader", environment=INTERPRETER)


async def started(
    folder: Path, environment: Mapping[str, str], log: int, before: str = ""
) -> asyncio.subprocess.Process | Fork:
    """Start `python -m bot run`, forked with its imports done unless the environment changes the interpreter."""
    if not any(name.startswith("PYTHON") and INTERPRETER.get(name) != value for name, value in environment.items()):
        return await nursery().start(
            "bot", "run", folder=folder, environment=environment, output=log, errors=log, before=before
        )
    assert not before, "code can run first only in a forked bot"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", cwd=folder, env=environment, stderr=log, stdout=log
    )


@dataclass(kw_only=True)
class Scene:
    """Both sandboxes, and a bot that talks to them over TCP."""

    folder: Path
    discord: DiscordSandbox
    runflow: RunflowSandbox
    environment: dict[str, str]
    bot: asyncio.subprocess.Process | Fork | None = None
    before: str = ""  # code that the bot's process runs first
    starts: int = field(default=0)

    @property
    def channel(self) -> Channel:
        return self.discord.world.channel("video-lab")

    def member(self, name: str = "Bo") -> Member:
        return self.discord.world.member(name)

    @property
    def database_url(self) -> str:
        return self.environment["DATABASE_URL"]

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['WEB_PORT']}"

    @property
    def operator_url(self) -> str:
        """The URL of the current bot's health and metrics; it uses a free port, which is in its log."""
        listening = self.logged("health and metrics for the operator")[-1]
        return f"http://{listening['host']}:{listening['port']}"

    @property
    def log(self) -> str:
        return (self.folder / "bot.log").read_text()

    def logged(self, event: str, **fields: object) -> list[Json]:
        """The log lines whose event starts with `event` and that have these fields, oldest first."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{") and line.endswith("}")]
        wanted = [line for line in lines if line["event"].startswith(event)]
        return [line for line in wanted if all(line.get(name) == value for name, value in fields.items())]

    async def start(self, **changes: str) -> None:
        """Start the bot with changed settings, and wait until it is connected and its commands are registered."""
        assert self.bot is None
        self.environment |= changes
        identified, _ = self.discord.gateway_counts
        with (self.folder / "bot.log").open("ab") as log:
            self.bot = await started(self.folder, self.environment, log=log.fileno(), before=self.before)
        self.starts += 1
        async with asyncio.timeout(WAIT_S):
            while self.discord.gateway_counts[0] == identified:
                assert self.bot.returncode is None, f"the bot stopped while it started:\n{self.log}"
                await asyncio.sleep(0.01)
            await self.discord.bot_ready(timeout=WAIT_S)

    async def kill(self) -> None:
        """Kill the bot with SIGKILL."""
        assert self.bot is not None
        self.bot.kill()
        await self.bot.wait()
        self.bot = None

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the bot a signal, wait until it stops, and return its exit code."""
        assert self.bot is not None
        if self.bot.returncode is None:
            self.bot.send_signal(number)
        try:
            async with asyncio.timeout(WAIT_S):
                code = await self.bot.wait()
        except TimeoutError:  # don't leave a bot that hangs running
            self.bot.kill()
            await self.bot.wait()
            raise
        finally:
            self.bot = None
        return code

    async def veo(
        self, prompt: str = "a red fox", *, member: str = "Bo", place: str = "video-lab", **options: object
    ) -> Interaction:
        """Use `/veo` as a member in a channel, and wait until the bot has acknowledged it."""
        interaction = await self.use("veo", by=member, place=place, prompt=prompt, **options)
        await interaction.acknowledged()
        return interaction

    async def use(self, command: str, *, by: str, place: str = "video-lab", **options: object) -> Interaction:
        """Use any command as a member in a channel. Options can be objects of the sandbox, such as members."""
        values = {name: getattr(value, "id", value) for name, value in options.items()}
        return await self.discord.invoke(self.member(by), self.discord.world.channel(place), command, values)

    async def act(self, command: str, *, by: str = "Ada", place: str = "video-lab", **options: object) -> str:
        """Use `/veo-admin ...`, by default as Ada, who owns server and bot; return the text of the ephemeral answer."""
        used = await self.use(f"veo-admin {command}", by=by, place=place, **options)
        answer = read(await used.wait(lambda message: bool(read(message)["content"]), timeout=WAIT_S))
        assert answer["flags"] & 64, "the answer to an admin must be ephemeral"
        return str(answer["content"])

    async def answer_to(self, interaction: Interaction) -> Json:
        """Wait for an answer that is not the card of a run, such as a refusal or a question."""
        return read(await interaction.wait(lambda each: bool(read(each)["content"] and not status_of(each))))

    async def press(self, message: Json, label: str, *, member: str = "Bo") -> Interaction:
        """Press the button of a message whose label is `label`, or starts with it."""
        named = {each["label"]: each["custom_id"] for each in buttons_of(message)}
        found = [custom_id for each, custom_id in named.items() if each.startswith(label)]
        assert found, f"no button {label}; the message has {', '.join(named) or 'none'}"
        pressed = await self.discord.press(self.member(member), message["id"], named.get(label, found[0]))
        await pressed.acknowledged()
        return pressed

    async def select(self, message: Json, *picked: str, member: str = "Bo", menu: str = "") -> Interaction:
        """Pick options, by label or value, in the select menu of a message; `menu` starts its placeholder if many."""
        menus = [each for _, each in walk(message["components"]) if "options" in each]
        found = next(each for each in menus if str(each.get("placeholder", "")).startswith(menu))
        values = {option["label"]: option["value"] for option in found["options"]}
        wanted = [values.get(each, each) for each in picked]
        used = await self.discord.press(self.member(member), message["id"], found["custom_id"], wanted)
        await used.acknowledged()
        return used

    async def modal_of(self, interaction: Interaction) -> Json:
        """Wait for the answer to an interaction, which must be a form, and return the form."""
        await interaction.acknowledged()
        assert interaction.modal is not None, "the bot answered without a form"
        return interaction.modal

    async def submit(self, opened: Interaction, **values: object) -> Interaction:
        """Submit the form that the bot opened, with values by `custom_id`; the others stay as they were shown."""
        await self.modal_of(opened)
        sent = await self.discord.submit(opened, values)
        await sent.acknowledged()
        return sent

    async def autocomplete(
        self,
        command: str,
        focused: str,
        typed: object = "",
        *,
        by: str = "Bo",
        place: str = "video-lab",
        **others: object,
    ) -> list[Json]:
        """Type into an option of a command as a member, and return the choices that the bot suggests."""
        channel, options = self.discord.world.channel(place), {**others, focused: typed}
        asked = await self.discord.autocomplete(self.member(by), channel, command, options, focused)
        await asked.acknowledged()
        assert asked.choices is not None
        return asked.choices

    async def context_menu(self, name: str, message: Json, *, member: str = "Bo") -> Interaction:
        """Choose a command from the context menu of a message."""
        channel = self.discord.world.channel(message["channel_id"])
        used = await self.discord.use_menu(self.member(member), channel, name, message["id"])
        await used.acknowledged()
        return used

    async def forge(self, *buttons: tuple[str, str], place: str = "video-lab", **body: object) -> Json:
        """A message of the bot's in a channel, which the bot did not send, with buttons of these labels and names."""
        row = [{"type": 2, "style": 2, "label": label, "custom_id": name} for label, name in buttons]
        url = f"{self.discord.api_url}/channels/{self.discord.world.channel(place).id}/messages"
        headers = {"Authorization": f"Bot {self.discord.token}"}
        body = {"content": "?", "components": [{"type": 1, "components": row}], **body}
        async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=body) as reply:
            message: Json = await reply.json()
            return message

    async def shown(self, by: str = "Bo", place: str = "video-lab", **options: object) -> Json:
        """Use `/veo-show` as a member, and return the public message that it posts."""
        channel = self.discord.world.channel(place)
        before = self.seen(place)
        assert await self.told("veo-show", by=by, place=place, **options) == "Posted."
        return await self.discord.wait_message(channel, lambda each: each["id"] not in before, timeout=WAIT_S)

    def seen(self, place: str = "video-lab") -> list[str]:
        """The ids of the public messages in a channel, oldest first."""
        return [each["id"] for each in self.discord.messages(self.discord.world.channel(place))]

    async def told(self, command: str, *, by: str, place: str = "video-lab", **options: object) -> str:
        """Use a command, and return the final text of its ephemeral answer."""
        used = await self.use(command, by=by, place=place, **options)
        answer = read(await used.wait(lambda each: read(each)["content"] not in ("", ON_ITS_WAY), timeout=WAIT_S))
        assert answer["flags"] & 64
        return str(answer["content"])

    def whispers(self, member: str, place: str = "video-lab") -> list[str]:
        """The texts of the ephemeral messages for this member in the channel, oldest first."""
        shown = self.discord.messages(self.discord.world.channel(place), self.member(member))
        return [read(each)["content"] for each in shown if each["flags"] & 64]

    async def whispered(self, member: str, text: str, place: str = "video-lab") -> None:
        """Wait until an ephemeral message for the member contains `text`."""
        async with asyncio.timeout(WAIT_S):
            while not any(text in each for each in self.whispers(member, place)):  # noqa: ASYNC110 - another process posts it
                await asyncio.sleep(0.01)

    async def end_of(self, interaction: Interaction, *, kind: str | None = None, timeout: float = 0.0) -> Json:
        """Wait for the message in the channel about the interaction's run.

        By default that is the run's result; `kind` selects another message about it, such as "overdue".
        """
        run_id = await self.run_id(interaction)

        def fits(message: Json) -> bool:
            return notice_of(message) == (run_id, kind)

        return await self.discord.wait_message(interaction.channel, fits, timeout=timeout or WAIT_S)

    async def run_id(self, interaction: Interaction) -> str:
        """Wait for the interaction's card, and return the id of its run."""
        card = await interaction.wait(lambda message: bool(status_of(message)), timeout=WAIT_S)
        found = CARD.search(read(card)["content"])
        assert found is not None
        return found[1]

    async def card(self, interaction: Interaction, text: str) -> str:
        """Wait until the card's status contains `text`, and return the status."""
        card = await interaction.wait(lambda message: text in status_of(message), timeout=WAIT_S)
        return status_of(card)

    def posts(self, channel: Channel | None = None) -> list[Json]:
        """The bot's public messages about runs, oldest first."""
        return [each for each in self.discord.messages(channel or self.channel) if notice_of(each)]

    def rows(self, sql: str, **values: object) -> list[Json]:
        """Query the bot's database, read-only and in parallel to the bot."""
        path = self.database_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values)]

    def change(self, sql: str) -> None:
        """Change the database of a stopped bot."""
        assert self.bot is None
        with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute(sql)

    async def until(self, sql: str) -> None:
        """Wait until the query `sql` returns a row of the bot's database."""
        async with asyncio.timeout(WAIT_S):
            while not self.rows(sql):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)

    async def until_resumed(self) -> None:
        """Wait until the bot has resumed its gateway session."""
        async with asyncio.timeout(WAIT_S):
            while self.discord.gateway_counts[1] == 0:  # noqa: ASYNC110 - the sandbox tells it by this count alone
                await asyncio.sleep(0.01)

    def check(self) -> None:
        """The books balance, no request or reply broke Discord's description, and no secret is in the log."""
        assert check_books(self.database_url) == []
        assert self.discord.violations == []
        for secret in (self.discord.token, API_KEY, SECRET, "signature=", "X-Sig"):
            assert secret not in self.log


def status_of(message: Mapping[str, Any]) -> str:
    """A card's status: its title and the lines below the prompt; empty if the message isn't the card of a run."""
    shown = read(message)["content"]
    if not shown.startswith("### ") or shown.startswith("### Receipt") or not CARD.search(shown):
        return ""
    title, prompt, *lines = shown.split("\n")
    assert prompt.startswith("> ")
    return "\n".join([title.removeprefix("### "), *lines[:-1]])


def read(message: Mapping[str, Any]) -> Json:
    """A message with what a person reads as its content, whether it is sent as such or in components."""
    texts = [each["content"] for _, each in walk(message["components"]) if each["type"] == 10]
    return {**message, "content": "\n".join([*([message["content"]] if message["content"] else []), *texts])}


def buttons_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The buttons of a message, in the order in which they are shown."""
    return [each for _, each in walk(message["components"]) if each["type"] == 2]


def labels_of(message: Mapping[str, Any]) -> list[str]:
    """What is on the buttons of a message."""
    return [each["label"] for each in buttons_of(message)]


def notice_of(message: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """The run that a public message of the bot is about, and its kind, None for a result; None of other messages."""
    if message["flags"] & 64 or not message["author"].get("bot"):
        return None
    found = next(filter(None, (NOTICE.fullmatch(each["custom_id"]) for each in buttons_of(message))), None)
    return None if found is None else (found[1], None if found[2] in (None, "result") else found[2])


@asynccontextmanager
async def scene(
    folder: Path,
    *,
    discord: Mapping[str, Any] | None = None,
    runflow: Mapping[str, Any] | None = None,
    queue_s: float = 0.0,
    run_s: float = 0.05,
    start: bool = True,
    before: str = "",
    **environment: str,
) -> AsyncIterator[Scene]:
    """A world with a started bot. At the end of the block it is checked and everything is stopped."""
    async with (
        DiscordSandbox(spec=openapi(), switches=DiscordSwitches(**dict(discord or {}))) as chat,
        RunflowSandbox(
            api_key=API_KEY,
            callback_secret=SECRET,
            queue_s=queue_s,
            run_s=run_s,
            switches=RunflowSwitches(**({"clip": "stored"} | dict(runflow or {}))),
        ) as provider,
    ):
        port = free_port()
        path = folder / "veo.db"
        if not path.exists():
            path.touch(0o600)  # as the bot itself would
            path.write_bytes(empty_books())
        settings = {
            **INTERPRETER,
            "DISCORD_TOKEN": chat.token,
            "DISCORD_API_URL": chat.api_url,
            "DISCORD_GATEWAY_URL": chat.gateway_url,
            "RUNFLOW_API_KEY": API_KEY,
            "RUNFLOW_API_URL": provider.url,
            "RUNFLOW_CALLBACK_SECRETS": SECRET,
            "RUNFLOW_SETTLE_S": "0.8",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "WEB_PORT": str(port),
            "OPERATOR_PORT": "0",
            "DATABASE_URL": f"sqlite:///{path}",
            "MEDIA_DIR": str(folder / "media"),
            "QUOTA_USER_USD": "100.00",
            "QUOTA_RUNS_IN_FLIGHT": "50",
            "RUNS_IN_FLIGHT_TOTAL": "50",
            "POLL_INTERVAL_S": "0.05",
            "POLL_INTERVAL_MAX_S": "0.2",
            **environment,
        }
        world = Scene(folder=folder, discord=chat, runflow=provider, environment=settings, before=before)
        try:
            if start:
                await world.start()
            yield world
            world.check()
        finally:
            if world.bot is not None:
                await world.stop()
