"""The real process, killed with -9 wherever it is, again and again, and what must hold when all is quiet.

`python -m tests.kills --help` tells how to kill it more often, or as a seed did.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness import Scene, notice_of, scene

KILLS_IN_A_SCENE = 20
MEMBERS = ("Ada", "Bo", "Cem", "Dana")
PRICE_U = 3_200_000


async def everything_is_quiet(world: Scene, timeout_s: float = 40) -> None:
    """Wait until no run has anything left to do; one that is unknown is looked for without end."""
    async with asyncio.timeout(timeout_s):
        while world.rows(  # noqa: ASYNC110 - another process writes it
            "SELECT 1 FROM run WHERE due_at IS NOT NULL AND NOT (state = 'unknown' AND delivery = 'delivered')"
        ):
            await asyncio.sleep(0.02)


async def kill_at_random(folder: Path, kills: int, seed: int) -> Counter[str]:
    """One scene: members ask, both sides stumble, and the bot is killed so often; then all must have come right."""
    chance = random.Random(seed)
    async with scene(folder, queue_s=0.1, run_s=0.3) as world:
        for _ in range(kills):
            for _ in range(chance.choice((0, 1, 2, 3))):
                await world.veo("a red fox", member=chance.choice(MEMBERS))
            _stumble(world, chance)
            await asyncio.sleep(chance.choice((0.0, chance.uniform(0.0, 0.3), chance.uniform(0.0, 1.0))))
            await world.kill()
            await world.start()
        world.runflow.switches.reply_delay_s = 0.0
        await everything_is_quiet(world)
        return _judge(world) + Counter(kills=kills)


def _stumble(world: Scene, chance: random.Random) -> None:
    """Now and then an answer is late, or is an error although what was asked for was done."""
    world.runflow.switches.reply_delay_s = chance.choice((0.0, 0.0, chance.uniform(0.0, 0.4)))
    if chance.random() < 0.3:
        world.discord.fault(
            "POST",
            rf"/channels/{world.channel.id}/messages",
            status=chance.choice((500, 503)),
            effect=chance.random() < 0.5,
            delay_s=chance.uniform(0.0, 0.3),
        )


def _judge(world: Scene) -> Counter[str]:
    """Every run ordered, billed, charged and posted once, or told as unknown and held; what they were."""
    rows = world.rows("SELECT run_id, state FROM run")
    unknown = {row["run_id"] for row in rows if row["state"] == "unknown"}
    known = {row["run_id"] for row in rows} - unknown
    posted = Counter(found for each in world.posts() if (found := notice_of(each)))
    # What is known by now may have been told as unknown before.
    assert {run: times for (run, kind), times in posted.items() if kind is None} == dict.fromkeys(known, 1)
    assert {run for run, kind in posted if kind == "unknown"} >= unknown
    assert set(posted.values()) <= {1}
    bought = Counter(run.client_ref for run in world.runflow.runs.values())
    assert bought == Counter(f"veo-{run}" for run in known)
    booked = world.rows("SELECT sum(held_u) AS held_u, sum(spent_u) AS spent_u FROM budget WHERE scope = 'total'")
    assert booked == [{"held_u": len(unknown) * PRICE_U or 0, "spent_u": len(known) * PRICE_U}] or not rows
    return Counter(runs=len(rows), unknown=len(unknown))


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill it so often, a scene after the other, and print rate and result; a breach ends it with its trace."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="of the first scene; by default another one each time")
    options = parser.parse_args(arguments)
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # the sandbox tells of each connection that a kill cut
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    began, sums = time.monotonic(), Counter[str]()
    while sums["kills"] < options.kills:
        with TemporaryDirectory() as folder:
            print(f"scene with seed {seed}", flush=True)
            kills = min(KILLS_IN_A_SCENE, options.kills - sums["kills"])
            sums += asyncio.run(kill_at_random(Path(folder), kills, seed))
            seed += 1
    told = ", ".join(f"{count} {name}" for name, count in sums.items())
    print(f"{told}: nothing went wrong; {sums['kills'] / (time.monotonic() - began):.1f} kills a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
