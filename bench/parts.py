"""What the parts share: sizes, folders, the table; and the loads that several of them put on a bot."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench import payloads
from bench.books import Kind, Library, last
from bench.outside import Click, Outside, outside
from bench.processes import OURS, Bot, bot
from bench.table import Table

ADOPTED_S = 0.1  # after its order a run ends so late at the earliest: in life it takes minutes


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How much is measured, where, and what has come of it."""

    table: Table
    folder: Path
    rounds: int
    scale: float
    runs: int
    library: Library

    def size(self, usual: int, least: int = 2) -> int:
        """So many, made smaller or larger by `--scale`."""
        return max(least, round(usual * self.scale))

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="bench-") as made:
            yield Path(made)

    @asynccontextmanager
    async def started(
        self,
        what: tuple[str, ...],
        more: Mapping[str, str] | None = None,
        *,
        watched: bool = False,
        connected: bool = True,
        clip_bytes: int = 20_000,
        run_s: float | None = None,
        books: tuple[Kind, int] | None = None,
    ) -> AsyncIterator[tuple[Outside, Bot]]:
        """A bot with `more` settings and its outside; with books of so many runs of a kind, or with new ones.

        `run_s`: how long runs take, there and in the books.
        """
        with self.new_folder() as folder:
            if books is not None:
                path = await self.library.copy(*books, folder)
                if run_s is not None:
                    last(path, run_s)
            async with (
                outside(clip_bytes=clip_bytes, run_s=run_s) as out,
                bot(what, out, folder, watched=watched, connected=connected, more=more) as process,
            ):
                yield out, process


async def set_limits(what: tuple[str, ...], out: Outside, amount: str = "1000000") -> None:
    """Let an admin limit the role and the channel, so that with member, server and total a run has five levels."""
    for role in (True, False) if what == OURS else ():
        click = out.use(payloads.limit_set(amount, role=role))
        await click.wait("edited")
        assert "1,000,000" in click.said, f"the limit was not set: {click.said}"
    await out.quiet()


async def closed_loop(
    count: int, at_once: int, do: Callable[[], Awaitable[None]], *, most_s: float
) -> tuple[int, float]:
    """Do it so often, so many at once, but begin none after some seconds; how many were done, in how long."""
    waiting, done, began = iter(range(count)), 0, perf_counter()

    async def member() -> None:
        nonlocal done
        for _ in waiting:
            if perf_counter() - began > most_s:
                return
            await do()
            done += 1

    await asyncio.gather(*(member() for _ in range(at_once)))
    return done, perf_counter() - began


async def whole_run(out: Outside) -> Click:
    """One `/veo`, from the click to the posted video, with a callback."""
    click = out.veo()
    await click.wait("ordered")
    await asyncio.sleep(ADOPTED_S)
    await out.finish(click)
    await click.wait("posted")
    return click
