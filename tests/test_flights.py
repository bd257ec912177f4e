"""Runs at a time are counted up to the limit and no further, and an operator's figures beside the writer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.domain.limits import Level, TooManyInFlight
from bot.domain.periods import period_at
from bot.domain.records import Figures, RunChanges
from bot.domain.runs import Run, RunState
from storage import Archive, open_store
from tests.long_runs import EPOCH, POLICY, in_flight
from tests.money import Inline, new_run, store_at, work_of

S = RunState
MONTH = period_at(EPOCH, "month", POLICY.zone)


def place(name: str) -> dict[str, Any]:
    """A server, a channel, a role and a member, all of one name."""
    return {"server": name, "budget_channel": name, "roles": (name,), "member": name}


async def steps_to_ask(path: Path, sort: str, name: str) -> tuple[bool, int]:
    """Whether a wish of a place is let in where five may be under way at a time, and the work that this is."""
    store = open_store(f"sqlite:///{path}", executor=Inline())
    scope = "total" if sort == "total" else f"{sort}:{name}"
    limited = Level(scope=scope, period=MONTH, limit_u=None, in_flight_max=5)
    behind = [] if sort == "member" else [Level(scope=f"member:{name}", period=MONTH, limit_u=None)]
    in_ = True
    for number in range(2):  # the first opens what is to be opened
        with work_of(store) as work:
            try:
                await store.admit(new_run(f"{name} {number}", now=EPOCH, **place(name)), lambda _: [limited, *behind])
            except TooManyInFlight:
                in_ = False
    await store.close()
    return in_, work[0]


@pytest.mark.parametrize("sort", ["total", "server", "channel", "role", "member"])
def test_no_more_runs_are_counted_than_the_limit_and_none_of_others(tmp_path: Path, sort: str) -> None:
    """Who is refused, and who comes from elsewhere, costs as much beside 3,000 runs in flight as beside 30."""
    of = {"server": "discord:2", "channel": "discord:3", "role": "discord:4"}.get(sort, "discord:1")
    costs = {}
    for runs in (30, 3000):
        path = tmp_path / f"{runs}.db"
        in_flight(path, runs)
        here, elsewhere = (asyncio.run(steps_to_ask(path, sort, name)) for name in (of, "elsewhere"))
        assert (here[0], elsewhere[0]) == (False, sort != "total")
        costs[runs] = here[1], elsewhere[1]
    assert all(many <= 1.2 * few + 2 for few, many in zip(costs[30], costs[3000], strict=True)), costs


async def test_what_an_operator_watches_is_counted_beside_the_writer(tmp_path: Path) -> None:
    """Every figure is what is there, and the writer is not asked."""
    path = tmp_path / "veo.db"
    store, archive = store_at(path), Archive(f"sqlite:///{path}")
    assert await archive.figures() == Figures(open=0, unknown=0, overdue=0, unreadable=0, lookup_proven=False)
    ways = ["", "submitting", "submitting ambiguous unknown", "submitting running"]
    for number, way in enumerate(ways):
        new = new_run(str(number), now=1.0)
        run: Run | None = await store.admit(new, POLICY.levels(new.wish.spender, 1.0))
        for state in map(S, way.split()):
            assert run is not None
            changes = RunChanges(provider_id="job", overdue=True) if state == S.RUNNING else RunChanges()
            if state == S.SUBMITTING:
                run = await store.begin_submit(run, now=2.0, total_max=99)
            else:
                run = await store.advance(run, state, now=3.0, changes=changes)
        await store.looked_up(new.run_id, fresh=True)
    statements: list[str] = []
    store.writer.connection.set_trace_callback(statements.append)
    assert await archive.figures() == Figures(open=3, unknown=1, overdue=1, unreadable=0, lookup_proven=True)
    assert statements == []
    archive.close()
    await store.close()
