"""How much memory delivering clips takes, beside a bot that holds each clip whole.

    .venv/bin/python -m bench.delivery_memory [clips] [megabytes]

Both processes get the same clips from the sandbox Runflow and post them to the sandbox Discord at once: ours by way
of the disk, the baseline from bytes in memory with the same library. Printed is the growth of the peak of resident
memory over the idle process, and ours as a share of the baseline's.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tempfile
from pathlib import Path

import aiohttp
import discord
import discord.http

from tests.harness import ROOT, scene

MIB = 2**20
QUICK = dict.fromkeys(("channel_post", "webhook", "default", "global"), (1000, 1.0))  # no waiting for rate limits


def memory_mib(pid: int, field: str) -> float:
    """A line of `/proc/PID/status` (Linux): `VmRSS` now, `VmHWM` at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith(field))
    return int(line.split()[1]) / 1024


async def ours(clips: int, size_mib: int) -> float:
    """Growth of the real bot's peak while it delivers so many clips at once, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        limits = {"upload_limit": 2 * size_mib * MIB, "buckets": QUICK}
        switches = {"end": "never", "file_bytes": size_mib * MIB}
        async with scene(Path(folder), discord=limits, runflow=switches, QUOTA_USER_USD="10000") as world:
            assert world.bot is not None
            asked = [await world.veo(f"fox {number}") for number in range(clips)]
            await asyncio.gather(*(world.card(each, "Filming") for each in asked))
            idle = memory_mib(world.bot.pid, "VmRSS")
            await asyncio.gather(*(world.runflow.finish(run, end="succeeded") for run in list(world.runflow.runs)))
            await asyncio.gather(*(world.end_of(each, timeout=50) for each in asked))
            return memory_mib(world.bot.pid, "VmHWM") - idle


async def baseline(clips: int, size_mib: int) -> float:
    """The same for a process that reads each clip whole and posts it from memory."""
    with tempfile.TemporaryDirectory() as folder:
        limits = {"upload_limit": 2 * size_mib * MIB, "buckets": QUICK}
        switches = {"file_bytes": size_mib * MIB, "callback_lost": True}
        async with scene(Path(folder), discord=limits, runflow=switches, start=False) as world:
            addresses = []
            async with aiohttp.ClientSession(headers={"Authorization": "Bearer rf_live_test"}) as session:
                for number in range(clips):
                    url = f"{world.runflow.url}/v1/models/google/veo3.1/runs"
                    async with session.post(url, json={"input": {"prompt": f"fox {number}"}}) as reply:
                        run = (await reply.json())["id"]
                    await world.runflow.finish(run)
                    async with session.get(f"{world.runflow.url}/v1/runs/{run}") as reply:
                        addresses.append((await reply.json())["output"]["outputs"][0]["url"])
            task = {"api": world.discord.api_url, "token": world.discord.token, "channel": world.channel.id}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bench.delivery_memory",
                "--from-memory",
                json.dumps(task | {"addresses": addresses}),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
            output, _ = await process.communicate()
            (world.folder / "bot.log").touch()
            assert len(world.discord.messages(world.channel)) == clips
            await world.start()  # the harness checks the books at the end, so there have to be some
            return float(output)


async def from_memory(task: dict[str, str], addresses: list[str]) -> float:
    """The baseline's own process."""
    discord.http.Route.BASE = task["api"]
    async with discord.Client(intents=discord.Intents.none()) as client, aiohttp.ClientSession() as session:
        await client.login(task["token"])
        channel = client.get_partial_messageable(int(task["channel"]))
        idle = memory_mib(os.getpid(), "VmRSS")

        async def deliver(address: str) -> None:
            async with session.get(address) as reply:
                clip = io.BytesIO(await reply.read())
            await channel.send("done", file=discord.File(clip, filename="clip.mp4"))

        await asyncio.gather(*map(deliver, addresses))
        return memory_mib(os.getpid(), "VmHWM") - idle


async def measure(clips: int, size_mib: int) -> None:
    whole, streamed = await baseline(clips, size_mib), await ours(clips, size_mib)
    print(f"{clips} clips of {size_mib} MiB at once: peak memory over idle")
    print(f"  from memory  {whole:7.1f} MiB   1.00")
    print(f"  ours         {streamed:7.1f} MiB   {streamed / whole:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--from-memory"]:
        given = json.loads(sys.argv[2])
        print(asyncio.run(from_memory(given, given.pop("addresses"))))
    else:
        numbers = [int(each) for each in sys.argv[1:3]]
        asyncio.run(measure(*(numbers + [8, 9][len(numbers) :])))
