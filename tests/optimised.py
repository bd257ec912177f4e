"""What guards the money, tried where Python leaves every `assert` out: `python -O -m tests.optimised FOLDER`.

Prints one line for each thing that must not be possible, with the name of the error that kept it from happening.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from bot.domain.records import Act, End, RunChanges
from bot.domain.runs import Ending, Run, RunState
from storage import check_books
from storage.verbs import books
from tests.core import ADA, Bot
from tests.money import PRICE_U, new_run

S = RunState


async def tries(bot: Bot) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each with a run of its own, in the state that forbids it."""
    store, now = bot.store, bot.wall.at
    ended, waiting = await bot.ended(cost_u=PRICE_U), await bot.run()
    running = await bot.moved(await bot.run(), S.SUBMITTING, S.RUNNING)
    lost = await bot.moved(await bot.run(), S.SUBMITTING, S.AMBIGUOUS, S.UNKNOWN)
    release = Act(at=now, server=ADA.server, actor=ADA.actor, actor_name=ADA.name, verb="release", subject="run:x")
    failed, seen = End(ending=Ending.FAILED), RunChanges(provider_id="another")

    async def resolve_what_was_never_held() -> None:
        await store.writer.write(lambda tx: books.resolve_holds(tx, "no-such-run", failed, succeeded=False, now=now))

    async def move_as_nobody_may(run: Run, state: RunState) -> None:
        await store.advance(run, state, now=now, changes=seen)

    return {
        "an end without its money": lambda: move_as_nobody_may(running, S.SUCCEEDED),
        "a move that is not allowed": lambda: move_as_nobody_may(waiting, S.UNKNOWN),
        "a run that goes back": lambda: move_as_nobody_may(running, S.RESERVED),
        "a second end": lambda: store.settle(ended, failed, now=now),
        "an end of what waits": lambda: store.settle(waiting, End(ending=Ending.VIDEO), now=now),
        "an end of an unknown run for money": lambda: store.settle(lost, End(ending=Ending.FAILED, cost_u=5), now=now),
        "a release of what runs": lambda: store.release(running, release, failed),
        "a cost of what runs": lambda: store.correct(running, 5, now=now),
        "an end of what was never held": resolve_what_was_never_held,
        "the same hold twice": lambda: store.admit(
            replace(new_run("again", now=now), run_id=waiting.run_id), lambda _: bot.levels()
        ),
    }


async def main(folder: Path) -> None:
    bot = Bot(folder / "veo.db")
    for name, attempt in (await tries(bot)).items():
        try:
            await attempt()
        except Exception as error:  # noqa: BLE001 - its name is what is asked for
            print(f"{name}: {type(error).__name__}")
        else:
            print(f"{name}: done")
    await bot.store.close()
    print(f"asserts {'count' if __debug__ else 'are left out'}, breaches {check_books(f'sqlite:///{bot.path}')}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
