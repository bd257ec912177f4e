"""Whole worlds from seeds: the shipped engine, admission, ledger and store on virtual time, all else scripted.

One seed is one world: a few members, a Runflow, a Discord, a network and a disk in which anything may fail, stall, come
twice, late or out of order, and a process that may die between any two awaits and inside any transaction. When all is
calm again and nothing moves any more, the books must balance, every billed run must have arrived once or be honestly
accounted for, and nobody may have paid twice. What the scripts assume of the outside stands in `docs/faults.md`.

`python -m tests.worlds --help` tells how to run many of them, or one again with its story.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat

from bot.errors import StoreDown
from storage.verbs.rows import UnreadableRow
from tests.money import home
from tests.outside import UNEXPECTED
from tests.world import THEMES, World


class Witness(logging.Handler):
    """Hears what the process logs: part of the story, and a breach where it is an error that nobody expected."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        fields = dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage()}
        error = fields.pop("exc_info", record.exc_info[1] if record.exc_info else None)
        if error is True:
            error = sys.exception()
        told = {name: value for name, value in fields.items() if name not in ("event", "member", "server")}
        line = " ".join([str(fields["event"]), *(f"{name}={value}" for name, value in told.items())])
        self._world.tell(f"  {line}")
        if isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        dying = self._world.life is None or self._world.life.loop.dying
        expected = isinstance(error, StoreDown | UnreadableRow) or str(error) == UNEXPECTED
        if error is not None and not expected and not dying:
            self._world.breach(f"{line}: {error!r}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    seed: int
    breaches: list[str]
    story: list[str]
    runs: int
    lives: int
    unknown: int
    bought: int


def live(seed: int, theme: str | None = None) -> Outcome:
    """One world, from its seed to its end; a theme makes another one of it."""
    with home() as folder:
        world = World(seed, folder, theme)
        witness = Witness(world)
        log = logging.getLogger("veo")
        log.addHandler(witness)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - a world that cannot be told is one that went wrong
            world.breach(f"the world broke: {error!r}")
        finally:
            log.removeHandler(witness)
            log.propagate = True
        rows = world.rows()
    return Outcome(
        seed=seed,
        breaches=world.breaches,
        story=world.story,
        runs=len(rows),
        lives=world.lives,
        unknown=sum(row["state"] == "unknown" for row in rows),
        bought=len(world.jobs),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Live many worlds; 1 and the story of the first that went wrong, where one did."""
    parser = argparse.ArgumentParser(prog="python -m tests.worlds", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=None, help="the first seed; by default another one each time")
    parser.add_argument("--seed", type=int, default=None, help="this one alone, with its story")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--theme", choices=THEMES, default=None, help="only worlds about this sort of trouble")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        outcome = live(options.seed, options.theme)
        print(*outcome.story, *outcome.breaches, sep="\n")
        return 1 if outcome.breaches else 0
    first = random.SystemRandom().randrange(10**9) if options.first is None else options.first
    began, told = time.monotonic(), Tally()
    for outcome in lived(range(first, first + options.worlds), options.theme, options.jobs):
        told.add(outcome)
        if outcome.breaches:
            print(*outcome.story, f"seed {outcome.seed}: {outcome.breaches}", sep="\n")
            return 1
    print(told.line(time.monotonic() - began))
    return 0


def lived(seeds: Iterable[int], theme: str | None, jobs: int) -> Iterator[Outcome]:
    """The worlds of these seeds in turn, so many at a time."""
    if jobs == 1:
        yield from map(live, seeds, repeat(theme))
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(live, seeds, repeat(theme), chunksize=20)
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class Tally:
    """What many worlds came to."""

    sums: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.sums["worlds"] += 1
        self.sums["starts"] += outcome.lives
        self.sums["runs"] += outcome.runs
        self.sums["bought"] += outcome.bought
        self.sums["unknown"] += outcome.unknown

    def line(self, seconds: float) -> str:
        said = ", ".join(f"{count} {name}" for name, count in self.sums.items())
        return f"{said}: nothing went wrong; {self.sums['worlds'] / seconds:.0f} worlds a second"


if __name__ == "__main__":
    sys.exit(main())
