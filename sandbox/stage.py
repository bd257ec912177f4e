"""Starts the demo's three parts: a sandbox Discord, a sandbox Runflow, and the bot as a process of its own."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.discord import DiscordSandbox
from sandbox.discord import Switches as DiscordSwitches
from sandbox.runflow import RunflowSandbox
from sandbox.runflow import Switches as RunflowSwitches
from sandbox.scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
SECRET = "whsec_sandbox"  # noqa: S105 - valid in the sandbox only
API_KEY = "rf_live_sandbox"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
INHERITED_VARIABLES = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "SSL_CERT_FILE"})


class DemoFailed(Exception):
    """The demo could not finish; the message says why. `exit_code` is 2 for wrong arguments."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Both sandboxes and the bot that is connected to them."""

    discord: DiscordSandbox
    runflow: RunflowSandbox
    bot: asyncio.subprocess.Process


@asynccontextmanager
async def stage(scenario: Scenario, *, ports: Sequence[int], queue_s: float, run_s: float) -> AsyncIterator[Stage]:
    """Start everything, wait until the bot has registered its commands, and stop it all at the end of the block.

    The chat page gets the first of ``ports`` that is free.
    """
    async with (
        AsyncExitStack() as stack,
        RunflowSandbox(
            api_key=API_KEY,
            callback_secret=SECRET,
            queue_s=queue_s,
            run_s=run_s,
            switches=RunflowSwitches(**scenario.runflow),
        ) as runflow,
    ):
        discord = await _listen(stack, ports, DiscordSwitches(**scenario.discord))
        with tempfile.TemporaryDirectory(prefix="veo-demo-") as folder:
            environment = _environment(discord, runflow, Path(folder)) | dict(scenario.bot)
            bot = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "run", cwd=folder, env=environment, start_new_session=True
            )
            try:
                await _wait_until_ready(discord, bot)
                yield Stage(discord=discord, runflow=runflow, bot=bot)
            finally:
                await _stop(bot)


async def _listen(stack: AsyncExitStack, ports: Sequence[int], switches: DiscordSwitches) -> DiscordSandbox:
    *first, last = ports
    for port in first:
        with suppress(OSError):
            return await stack.enter_async_context(DiscordSandbox(port=port, switches=switches))
    return await stack.enter_async_context(DiscordSandbox(port=last, switches=switches))


def _environment(discord: DiscordSandbox, runflow: RunflowSandbox, folder: Path) -> dict[str, str]:
    """The bot's environment; it leaves out the operator's own settings, such as tokens and limits."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        web_port = probe.getsockname()[1]
    return {name: value for name, value in os.environ.items() if name in INHERITED_VARIABLES} | {
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


async def _wait_until_ready(discord: DiscordSandbox, bot: asyncio.subprocess.Process) -> None:
    ready = asyncio.create_task(discord.bot_ready(timeout=START_TIMEOUT_S))
    ended = asyncio.create_task(bot.wait())
    await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, ended):
        task.cancel()
    if bot.returncode is not None:
        raise DemoFailed(f"The bot stopped while starting (exit code {bot.returncode}). Its log above says why.")
    try:
        await ready
    except TimeoutError:
        raise DemoFailed(
            f"The bot didn't register /veo within {START_TIMEOUT_S:.0f} seconds. Look for an error in its log above."
        ) from None


async def _stop(bot: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        bot.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await bot.wait()
        except TimeoutError:
            bot.kill()
            await bot.wait()
