"""Starts the real bot or the bare one as a process, and reads what it costs."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench.outside import API_KEY, SECRET, TOKEN, WAIT_S, Outside

ROOT = Path(__file__).resolve().parent.parent
CPU_CLOCK = 2  # with a process id: its CPU clock, as clock_getcpuclockid(3) names it on Linux
STOP_S = 20.0
SETTLE_S = 0.8  # after it has connected: discord.py waits half a second for servers
NO_BOUND = "100000000"
# More settings: so seldom that no poll falls into a load that is not about polls.
NO_POLLS = {"POLL_INTERVAL_S": "600", "POLL_INTERVAL_MAX_S": "600"}


@dataclass(frozen=True, kw_only=True)
class Bot:
    """A bot that runs."""

    pid: int
    started_at: float
    stops: Path

    def cpu_s(self) -> float:
        """Seconds of CPU that the process has used, user and system, all its threads."""
        return time.clock_gettime(~self.pid << 3 | CPU_CLOCK)

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Resident memory now; `VmHWM`: at most since `forget_peak`."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def longest_stop_ms(self) -> tuple[float, float]:
        """The longest stop of its event loop since `forget_stops`, and the CPU time in it; see `bench.watch`."""
        stop_s, cpu_s = struct.unpack("dd", self.stops.read_bytes())
        return stop_s * 1e3, cpu_s * 1e3

    def forget_stops(self) -> None:
        with self.stops.open("r+b") as file:
            file.write(bytes(16))


def free_port() -> int:
    """A port on which nobody listens, and which the system gives to no connection on its way out."""
    while True:
        port = random.randrange(10_000, 32_768)  # noqa: S311 - any of them will do
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def settings(out: Outside, folder: Path) -> dict[str, str]:
    """The bot's settings: both services are the stand-in, and no default bound is in the way of a load."""
    port = free_port()
    return {
        "DISCORD_TOKEN": TOKEN,
        "DISCORD_API_URL": f"{out.url}/api",
        "DISCORD_GATEWAY_URL": f"{out.url.replace('http', 'ws')}/gateway",
        "RUNFLOW_API_KEY": API_KEY,
        "RUNFLOW_API_URL": out.url,
        "RUNFLOW_CALLBACK_SECRETS": SECRET,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WEB_PORT": str(port),
        "OPERATOR_PORT": "0",
        "DATABASE_URL": f"sqlite:///{folder / 'veo.db'}",
        "MEDIA_DIR": str(folder / "media"),
        "QUOTA_USER_USD": NO_BOUND,
        "QUOTA_GUILD_USD": NO_BOUND,
        "QUOTA_TOTAL_USD": NO_BOUND,
        "QUOTA_RUNS_IN_FLIGHT": "10000",
        "RUNS_IN_FLIGHT_TOTAL": "100000",
    }


OURS, BARE, IDLE = ("bot", "run"), ("bench.bare",), ("bench.bare", "--idle")


@asynccontextmanager
async def bot(
    what: tuple[str, ...],
    out: Outside,
    folder: Path,
    *,
    watched: bool = False,
    connected: bool = True,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Bot]:
    """The bot as a process until the end of the block, with `more` settings, connected if that is waited for."""
    stops = folder / "stops"
    stops.write_bytes(bytes(16))
    path = [str(ROOT), str(ROOT / "bench" / "watch")] if watched else [str(ROOT)]
    given = settings(out, folder) | dict(more or {})
    given |= {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(path), "BENCH_STOPS": str(stops)}
    out.forget_bot()
    with (folder / "bot.log").open("ab") as log:
        started_at = perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *what, cwd=folder, env=given, stdout=log, stderr=log
        )
    try:
        if connected:
            await _connected(process, out, folder)
        yield Bot(pid=process.pid, started_at=started_at, stops=stops)
        assert process.returncode is None, f"the bot has stopped:\n{_tail(folder)}"
    finally:
        await _stop(process)


async def _connected(process: asyncio.subprocess.Process, out: Outside, folder: Path) -> None:
    connecting = asyncio.create_task(out.connected())
    ended = asyncio.create_task(process.wait())
    await asyncio.wait([connecting, ended], return_when=asyncio.FIRST_COMPLETED)
    for task in (connecting, ended):
        task.cancel()
    assert process.returncode is None, f"the bot stopped while it started:\n{_tail(folder)}"
    await asyncio.sleep(SETTLE_S)
    await out.quiet()


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def command(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 10 * WAIT_S
) -> tuple[float, str]:
    """Run `python -m ...` to its end; its seconds and what it printed."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(environment or {})}
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, cwd=ROOT, env=given, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(timeout):
        output, _ = await process.communicate()
    took_s = perf_counter() - began
    assert process.returncode == 0, output.decode()
    return took_s, output.decode()


def _tail(folder: Path) -> str:
    return (folder / "bot.log").read_text()[-2000:]
