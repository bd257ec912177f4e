"""The demo: the real bot as a process of its own, between a sandbox Discord and a sandbox Runflow.

Everything goes over TCP, as it would with the real ones. With `--headless` one `/veo` is told as JSON lines,
one for each thing that the channel shows.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import aiohttp

from sandbox.discord import CommandRefused, DiscordSandbox, Interaction
from sandbox.discord import Switches as DiscordSwitches
from sandbox.runflow import RunflowSandbox
from sandbox.runflow import Switches as RunflowSwitches

ROOT = Path(__file__).resolve().parent.parent
SECRET = "whsec_sandbox"  # noqa: S105 - of the sandbox only
API_KEY = "rf_live_sandbox"
START_S = 20.0
STORY_S = 90.0  # the longest that a headless run may take
STOP_S = 10.0
MIB = 1024 * 1024
CLIP = re.compile(r"veo-([a-z2-7]+)\.mp4")
RUN = re.compile(r"^-# Video `([a-z2-7]+)`( · not sure yet)?$", re.MULTILINE)
LINK = re.compile(r"^https?://\S+$", re.MULTILINE)
_PASSED_ON = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE"})


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is to happen, and how it has to end."""

    outcome: str
    about: str
    runflow: Mapping[str, Any] = field(default_factory=dict)
    discord: Mapping[str, Any] = field(default_factory=dict)
    bot: Mapping[str, str] = field(default_factory=dict)


SCENARIOS = {
    "callback": Scenario(outcome="delivered", about="the callback says that the run is over"),
    "polling": Scenario(outcome="delivered", about="no callbacks: the bot asks", bot={"PUBLIC_URL": ""}),
    "nsfw": Scenario(outcome="nsfw", about="the video is flagged, so it is not shown", runflow={"nsfw": True}),
    "failed": Scenario(outcome="failed", about="the run fails and costs nothing", runflow={"end": "failed"}),
    "cancelled": Scenario(outcome="cancelled", about="somebody stops it at Runflow", runflow={"end": "cancelled"}),
    "partial": Scenario(
        outcome="delivered", about="only part was done; the clip is posted", runflow={"end": "partial_succeeded"}
    ),
    "quota": Scenario(outcome="refused", about="the price is above what is left", bot={"QUOTA_USER_USD": "1.00"}),
    "confirm": Scenario(
        outcome="delivered",
        about="the price is asked about first, and agreed to",
        bot={"QUOTA_CONFIRM_ABOVE_USD": "1.00"},
    ),
    "too-large": Scenario(
        outcome="delivered", about="the file is over the upload limit: a link", runflow={"file_bytes": 12 * MIB}
    ),
    "slow": Scenario(outcome="delivered", about="the interaction token dies early", discord={"token_life_s": 1.0}),
    "lost-callback": Scenario(outcome="delivered", about="the callback never arrives", runflow={"callback_lost": True}),
    "after-500": Scenario(
        outcome="delivered", about="the order is taken, but its answer is an error", runflow={"after": "500"}
    ),
    "before-500": Scenario(outcome="unknown", about="the order breaks, and nobody can tell", runflow={"before": "500"}),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str]) -> int:
    """`demo` or `sandbox` with its arguments; 0 when what was shown is what should be."""
    options = _parser().parse_args(arguments)
    if options.command == "demo" and options.out is not None and not options.out.absolute().parent.is_dir():
        print(f"There is no folder for --out {options.out}; make it first or name another file.", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_until_stopped(options))
    except asyncio.CancelledError:
        return 0
    except OSError as error:
        print(f"The demo cannot start: {error.strerror or error}. Choose another --port.", file=sys.stderr)
        return 2
    except DemoFailed as error:
        print(error, file=sys.stderr)
        return error.exit_code


async def _until_stopped(options: argparse.Namespace) -> int:
    """Run what was asked for; SIGINT and SIGTERM end it in order, so that the bot ends too."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    if options.command == "sandbox":
        return await _alone(options.which, options.port)
    return await (_headless(options) if options.headless else _interactive(options))


class DemoFailed(Exception):
    """The demo did not come to its end; `exit_code` 2 where its arguments were wrong."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def _parser() -> Parser:
    parser = Parser(prog="python -m bot")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    demo = commands.add_parser("demo", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=_scenarios())
    demo.add_argument("--headless", action="store_true", help="one /veo through the whole stack, told as JSON lines")
    demo.add_argument("--prompt", default="a red fox in falling snow", metavar="TEXT")
    demo.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of /veo")
    demo.add_argument("--scenario", choices=SCENARIOS, default="callback", metavar="NAME", help="see below")
    demo.add_argument("--out", type=Path, metavar="FILE", help="where the posted video is written")
    demo.add_argument("--port", type=_port, default=0, metavar="N", help="of the chat page; 0: any free one")
    sandbox = commands.add_parser("sandbox")
    sandbox.add_argument("which", choices=("discord", "runflow"))
    sandbox.add_argument("--port", type=_port, default=0, metavar="N", help="0: any free one")
    return parser


def _scenarios() -> str:
    lines = [f"  {name:<14} {scenario.about} ({scenario.outcome})" for name, scenario in SCENARIOS.items()]
    return "\n".join(["scenarios:", *lines])


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to 65535")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Both sandboxes and the bot between them."""

    discord: DiscordSandbox
    runflow: RunflowSandbox
    bot: asyncio.subprocess.Process


@asynccontextmanager
async def _stage(scenario: Scenario, *, port: int, queue_s: float, run_s: float) -> AsyncIterator[Stage]:
    """Everything up and connected, until the block is left."""
    async with (
        DiscordSandbox(port=port, switches=DiscordSwitches(**scenario.discord)) as discord,
        RunflowSandbox(
            api_key=API_KEY,
            callback_secret=SECRET,
            queue_s=queue_s,
            run_s=run_s,
            switches=RunflowSwitches(**scenario.runflow),
        ) as runflow,
    ):
        with tempfile.TemporaryDirectory(prefix="veo-demo-") as folder:
            environment = _environment(discord, runflow, Path(folder)) | dict(scenario.bot)
            bot = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "run", cwd=folder, env=environment, start_new_session=True
            )
            try:
                await _until_ready(discord, bot)
                yield Stage(discord=discord, runflow=runflow, bot=bot)
            finally:
                await _stop(bot)


def _environment(discord: DiscordSandbox, runflow: RunflowSandbox, folder: Path) -> dict[str, str]:
    """The bot's settings, and nothing of the operator's own: neither their tokens nor their limits."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        web_port = probe.getsockname()[1]
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON} | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "RUNFLOW_API_KEY": API_KEY,
        "RUNFLOW_API_URL": runflow.url,
        "RUNFLOW_CALLBACK_SECRETS": SECRET,
        "RUNFLOW_SETTLE_S": "4",
        "PUBLIC_URL": f"http://127.0.0.1:{web_port}",
        "WEB_PORT": str(web_port),
        "OPERATOR_PORT": "0",
        "DATABASE_URL": f"sqlite:///{folder / 'veo.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "QUOTA_USER_USD": "20.00",
        "QUOTA_GUILD_USD": "200.00",
        "QUOTA_TOTAL_USD": "500.00",
        "POLL_INTERVAL_S": "0.5",
        "POLL_INTERVAL_MAX_S": "2",
    }


async def _until_ready(discord: DiscordSandbox, bot: asyncio.subprocess.Process) -> None:
    ready = asyncio.create_task(discord.bot_ready(timeout=START_S))
    ended = asyncio.create_task(bot.wait())
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, ended):
        task.cancel()
    if bot.returncode is not None:
        raise DemoFailed(f"The bot stopped while it started (exit code {bot.returncode}); the lines above say why.")
    try:
        await ready
    except TimeoutError:
        raise DemoFailed(f"The bot did not register /veo within {START_S:.0f} s; the lines above say more.") from None


async def _stop(bot: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        bot.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await bot.wait()
        except TimeoutError:
            bot.kill()
            await bot.wait()


# With the chat page


async def _interactive(options: argparse.Namespace) -> int:
    async with _stage(SCENARIOS[options.scenario], port=options.port, queue_s=2.0, run_s=6.0) as stage:
        print(f"\n  The chat page: {stage.discord.url}\n  Type /veo there. Ctrl+C stops it.\n", flush=True)
        if _has_screen():
            # A daemon: some browsers keep their starter waiting until they are closed.
            Thread(target=webbrowser.open, args=(stage.discord.url,), daemon=True).start()
        await stage.bot.wait()
    raise DemoFailed("The bot stopped; the lines above say why.")


def _has_screen() -> bool:
    """Whether a browser would have a window: without one, a text browser would take the terminal over."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)


async def _alone(which: str, port: int) -> int:
    """One emulator until it is stopped."""
    told: dict[str, str]
    async with AsyncExitStack() as stack:
        if which == "discord":
            discord = await stack.enter_async_context(DiscordSandbox(port=port))
            told = {"DISCORD_TOKEN": discord.token, "DISCORD_API_URL": discord.api_url}
            told |= {"DISCORD_GATEWAY_URL": discord.gateway_url, "page": discord.url}
        else:
            runflow = await stack.enter_async_context(
                RunflowSandbox(port=port, api_key=API_KEY, callback_secret=SECRET)
            )
            told = {"RUNFLOW_API_URL": runflow.url, "RUNFLOW_API_KEY": API_KEY, "RUNFLOW_CALLBACK_SECRETS": SECRET}
        print(json.dumps(told), flush=True)
        await asyncio.get_running_loop().create_future()  # never done: a signal ends it
    return 0


# Without a page


async def _headless(options: argparse.Namespace) -> int:
    scenario = SCENARIOS[options.scenario]
    async with _stage(scenario, port=options.port, queue_s=0.4, run_s=1.2) as stage:
        told = asyncio.create_task(_tell(stage.discord))
        try:
            async with asyncio.timeout(STORY_S):
                end = await _story(stage, _wish(stage.discord, options))
        except TimeoutError:
            raise DemoFailed(f"Nothing came of it within {STORY_S:.0f} s.") from None
        except CommandRefused as error:
            raise DemoFailed(f"The command was not sent: {error}", 2) from None
        finally:
            told.cancel()
        if options.out is not None and end.address is not None:
            await _save(end.address, options.out)
    line = {
        "outcome": end.outcome,
        "run_id": end.run_id,
        "cost_usd": end.cost_usd,
        "message_id": end.message_id,
    }
    print(json.dumps(line), flush=True)
    return 0 if end.outcome == scenario.outcome else 1


def _wish(discord: DiscordSandbox, options: argparse.Namespace) -> dict[str, object]:
    """The options of `/veo`, each of the type that the bot registered for it."""
    registered = {option["name"]: option["type"] for option in discord.registered("veo")["options"]}
    wish: dict[str, object] = {"prompt": options.prompt}
    for pair in options.option:
        name, equals, value = pair.partition("=")
        if not equals or name not in registered:
            raise DemoFailed(f"--option {pair!r} is not NAME=VALUE with a name of {', '.join(registered)}.", 2)
        boolean, integer = registered[name] == 5, registered[name] == 4
        if boolean and value.lower() in ("true", "false"):
            wish[name] = value.lower() == "true"
        elif integer and re.fullmatch(r"-?\d+", value):
            wish[name] = int(value)
        else:
            wish[name] = value
    return wish


@dataclass(frozen=True, kw_only=True)
class End:
    """How a headless run ended, as the channel shows it."""

    outcome: str
    run_id: str | None = None
    cost_usd: str | None = None
    message_id: str | None = None
    address: str | None = None


async def _story(stage: Stage, wish: Mapping[str, object]) -> End:
    world = stage.discord.world
    channel = world.channel("video-lab")
    interaction = await stage.discord.invoke(world.member("Bo"), channel, "veo", wish)
    await interaction.acknowledged()
    posted = asyncio.create_task(stage.discord.wait_message(channel, _tells_an_end, timeout=STORY_S))
    refused = asyncio.create_task(interaction.wait(_refuses, timeout=STORY_S))
    agreed = asyncio.create_task(_agree(stage.discord, interaction))
    try:
        await asyncio.wait({posted, refused}, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            return End(outcome="refused")
        return await _end(stage, interaction, posted.result())
    finally:
        for task in (posted, refused, agreed):
            task.cancel()
        await asyncio.gather(posted, refused, agreed, return_exceptions=True)


async def _agree(discord: DiscordSandbox, interaction: Interaction) -> None:
    """Answer the bot's question with yes: its first button."""
    question = await interaction.wait(
        lambda message: bool(message["embeds"] and message["components"]), timeout=STORY_S
    )
    yes = question["components"][0]["components"][0]
    await discord.press(interaction.member, question["id"], yes["custom_id"])


def _tells_an_end(message: Mapping[str, Any]) -> bool:
    return RUN.search(message["content"]) is not None


def _refuses(message: Mapping[str, Any]) -> bool:
    """An answer in words instead of a card."""
    return bool(message["content"]) and not message["embeds"]


async def _end(stage: Stage, interaction: Interaction, message: Mapping[str, Any]) -> End:
    """Read the end off the message; what was billed is what Runflow says."""
    found = RUN.search(message["content"])
    assert found is not None
    run_id, unknown = found.groups()
    clips = [each["url"] for each in message["attachments"] if CLIP.fullmatch(each["filename"])]
    links = LINK.findall(message["content"])
    runs = [run for run in stage.runflow.runs.values() if run.client_ref == f"veo-{run_id}"]
    record = await _record(stage.runflow, runs[0].id) if runs else {}
    if clips or links:
        outcome = "delivered"
    elif unknown:
        outcome = "unknown"
    elif (record.get("output") or {}).get("nsfw_detected"):
        outcome = "nsfw"
    else:
        outcome = "cancelled" if record.get("status_code") in ("canceled", "cancelled") else "failed"
    with suppress(TimeoutError):  # the card follows at once, if its token still lives
        known = len(interaction.history)
        await interaction.wait(lambda _: len(interaction.history) > known, timeout=0.5)
    return End(
        outcome=outcome,
        run_id=run_id,
        cost_usd=record.get("cost"),
        message_id=message["id"],
        address=(clips or links or [None])[0],
    )


async def _record(runflow: RunflowSandbox, run_id: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as session,
        session.get(f"{runflow.url}/v1/runs/{run_id}") as reply,
    ):
        record: dict[str, Any] = await reply.json()
        return record


async def _tell(discord: DiscordSandbox) -> None:
    """One JSON line for each thing that the channel shows, in the order in which it shows it."""
    subscription = discord.subscribe()
    try:
        async for event in subscription:
            if event["type"] in ("message_created", "message_updated"):
                print(json.dumps(_shown(event["type"], event["message"]), ensure_ascii=False), flush=True)
    finally:
        subscription.close()


def _shown(kind: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """What a person would see of a message."""
    ephemeral, loading = bool(message["flags"] & 64), bool(message["flags"] & 128)
    shown: dict[str, Any] = {
        "shown": "new" if kind == "message_created" else "changed",
        "to": "caller" if ephemeral else "channel",
        "message_id": message["id"],
    }
    if loading:
        shown["thinking"] = True
    if message["content"]:
        shown["text"] = message["content"]
    for embed in message["embeds"]:
        shown["card"] = {each["name"]: each["value"] for each in embed.get("fields", [])}
        shown["card"] |= {"title": embed.get("title"), "prompt": embed.get("description")}
    if buttons := [each.get("label") for row in message["components"] for each in row.get("components", [])]:
        shown["buttons"] = buttons
    if message["attachments"]:
        shown["files"] = [{"name": each["filename"], "bytes": each["size"]} for each in message["attachments"]]
    return shown


async def _save(address: str, out: Path) -> None:
    part = out.with_name(out.name + ".part")
    async with aiohttp.ClientSession() as session, session.get(address) as reply:
        if reply.status != 200:
            raise DemoFailed(f"The posted video answered HTTP {reply.status}.")
        with part.open("wb") as file:
            async for chunk in reply.content.iter_chunked(MIB):
                file.write(chunk)
    part.replace(out)
