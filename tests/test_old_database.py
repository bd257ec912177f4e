"""A database of the version before, with a run in every state, is brought up to date, carried on and proven."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.clock import SystemClock
from bot.domain.limits import Policy, Standing
from bot.domain.queue import Turn
from bot.domain.records import Accepted, Admin, Link
from bot.domain.runs import Delivery, Ending, Notice, Observation, Run, RunState
from bot.media import Media
from bot.services import Services
from bot.services.admission import Answer
from storage import check_books, open_store
from tests.money import Inline, home
from tests.parts import NoDesk, core, running
from tests.virtual import Timeline, VirtualLoop

NOON = 1795608000.0  # of 25 November 2026, UTC: about when the database was left
DAY_S = 86400.0
DUMP = Path(__file__).with_name("data") / "version_10.sql"
POLICY = Policy(
    member_limit_u=100_000_000,
    server_ceiling_u=None,
    total_ceiling_u=None,
    period="month",
    zone=ZoneInfo("UTC"),
    runs_per_member=99,
)
ADA = Admin(server="discord:2", actor="discord:90", name="Ada", origin="press-new")
ARRIVED = ("cutoff", "lost", "named", "darkpeng", "darkseng")  # orders that Runflow has after all
POSTED = ("succseng", "failseng", "lateseng")  # posts that were made, although nobody was told


def called(run_id: str, names: tuple[str, ...]) -> bool:
    """Whether the run is one of these: an id is a name, filled up with the letter a."""
    return run_id.rstrip("a") in names


@dataclass
class Runflow:
    """What became of the orders: those that arrived are filmed, at the price that was quoted."""

    prices_u: dict[str, int]
    ordered: Counter[str] = field(default_factory=Counter)

    def _seen(self, run_id: str) -> Observation:
        return Observation(
            provider_id=f"job-{run_id}",
            client_ref=f"veo-{run_id}",
            status="succeeded",
            ending=Ending.VIDEO,
            cost_u=self.prices_u[run_id],
        )

    async def submit(self, run: Run) -> Accepted:
        self.ordered[run.run_id] += 1
        self.prices_u[run.run_id] = run.price_u
        return Accepted(observation=self._seen(run.run_id))

    async def read(self, provider_id: str) -> Observation | None:
        return self._seen(provider_id.removeprefix("job-"))

    async def find(self, client_ref: str) -> list[Observation]:
        run_id = client_ref.removeprefix("veo-")
        return [self._seen(run_id)] if called(run_id, ARRIVED) or self.ordered[run_id] else []

    async def fetch(self, provider_id: str, path: Path, address: str | None = None) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"clip")

    async def link(self, provider_id: str) -> str:
        return f"https://files.example/{provider_id}"


@dataclass
class Front(NoDesk):
    """Posts, in their order; some that the bot of before was not told of are found."""

    posts: list[tuple[Run, Path | Link | None]] = field(default_factory=list)

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None: ...

    async def find(self, run: Run) -> str | None:
        assert run.post_handle is None or not called(run.run_id, POSTED)
        return f"discord:3/{run.run_id}" if called(run.run_id, POSTED) else None

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        self.posts.append((run, clip))
        return f"discord:3/{len(self.posts)}"


@pytest.fixture
def old() -> Iterator[Path]:
    with home() as folder:
        path = folder / "veo.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(DUMP.read_text())
        yield path


def rows(path: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def test_it_has_a_run_in_every_state(old: Path) -> None:
    """Each state with each delivery that occurs in it, so that what follows is about all of them."""
    told = {Delivery.PENDING, Delivery.SENDING, Delivery.DELIVERED, Delivery.UNDELIVERABLE}
    expected: dict[RunState, set[Delivery]] = dict.fromkeys(RunState, told)
    expected |= {state: {Delivery.NONE} for state in (RunState.RESERVED, RunState.SUBMITTING, RunState.AMBIGUOUS)}
    expected[RunState.RUNNING] = told | {Delivery.NONE}
    found = {(row["state"], row["delivery"]) for row in rows(old, "SELECT state, delivery FROM run")}
    assert found == {(state, delivery) for state, deliveries in expected.items() for delivery in deliveries}
    assert {row["kind"] for row in rows(old, "SELECT kind FROM ledger_entry")} == {
        *("hold", "post", "void", "adjust", "grant", "refund")
    }
    offers = {(row["kind"], row["state"]) for row in rows(old, "SELECT kind, state FROM offer")}
    assert offers == {
        *(("confirm", "open"), ("confirm", "taken"), ("request", "open")),
        *(("request", "taken"), ("request", "denied"), ("request", "replaced")),
    }


async def test_it_is_brought_up_to_date_with_nothing_lost(old: Path) -> None:
    """Every run and entry is what it was, each is found by its roles, and the books balance before anything moves."""
    before = {name: rows(old, f"SELECT * FROM {name}") for name in ("run", "ledger_entry", "act", "rule", "offer")}
    await open_store(f"sqlite:///{old}").close()
    assert check_books(f"sqlite:///{old}") == []
    for name, kept in before.items():
        assert [{column: row[column] for column in kept[0]} for row in rows(old, f"SELECT * FROM {name}")] == kept
    fresh = rows(old, "SELECT DISTINCT post_handle, locale, place_locale, can_post, post_limit_bytes FROM run")
    assert fresh == [
        {"post_handle": None, "locale": None, "place_locale": None, "can_post": 1, "post_limit_bytes": None}
    ]
    roles = Counter(row["role"] for row in rows(old, "SELECT role FROM run_role"))
    assert roles == {"discord:2": len(before["run"]), "discord:4": len(before["run"])}


def test_it_is_carried_on_until_all_is_over(old: Path) -> None:
    """Every order ends once and is told once, every question is answered, and the books say what Runflow billed."""
    timeline = Timeline()
    clock = SystemClock(wall=lambda: NOON + 1000 + timeline.now, steady=lambda: timeline.now)
    loop = VirtualLoop(timeline)
    before = {row["run_id"]: row for row in rows(old, "SELECT * FROM run_view")}
    runflow = Runflow({run_id: row["price_u"] for run_id, row in before.items()})
    front = Front()
    store = open_store(f"sqlite:///{old}", executor=Inline())
    media = Media(old.parent / "media", key=b"k" * 32, keep_s=DAY_S, public_url=None, now=clock.now)
    services = core(store=store, provider=runflow, policy=POLICY, clock=clock, chance=random.Random(1), clips=media)
    loop.run_until_complete(carried_on(services, front))
    loop.run_until_complete(store.close())
    loop.close()
    check_ends(old, before, runflow, front)
    assert check_books(f"sqlite:///{old}") == []


async def carried_on(services: Services, front: Front) -> None:
    """Three days with today's program; its first deed is to answer what was asked."""
    async with running(services.engine, front):
        agreed = await services.admission.confirm(Answer(offer_id="offerasks", choice=1), "discord:1")
        approved = await services.admission.approve("offerputsmore", ADA)
        assert (agreed.price_u, approved.state) == (2_400_000, "taken")
        await asyncio.sleep(3 * DAY_S)


def check_ends(path: Path, before: dict[str, dict[str, Any]], runflow: Runflow, front: Front) -> None:
    after = {row["run_id"]: row for row in rows(path, "SELECT * FROM run_view")}
    assert len(after) == len(before) + 2  # those of the two questions
    assert {row["due_at"] for row in after.values()} == {None}
    told = Counter(run.run_id for run, _ in front.posts if run.notice == Notice.RESULT)
    clips = {run.run_id: clip for run, clip in front.posts if run.notice == Notice.RESULT}
    for run_id, row in after.items():
        was = before.get(run_id, {"ended_at": None})
        assert row["state"] in ("succeeded", "failed", "cancelled"), row
        if was["ended_at"] is None:
            assert (row["delivery"], told[run_id]) == ("delivered", 1), row
        else:
            given_up, stands = was["delivery"] == "undeliverable", was["delivery"] == "delivered"
            assert row["delivery"] == ("undeliverable" if given_up else "delivered"), row
            assert told[run_id] == (0 if given_up or stands or called(run_id, POSTED) else 1), row
        if was["ended_at"] is not None and was["cost_u"] is not None:
            assert (row["ending"], row["charged_u"]) == (was["ending"], was["charged_u"]), row
        elif row["state"] == "succeeded":
            assert row["charged_u"] == row["cost_u"] == row["price_u"], row
    absent = {run_id.rstrip("a") for run_id, row in after.items() if row["failure_code"] == "NEVER_ARRIVED"}
    assert absent == {"darkdeld", "darkunde"}
    assert set(runflow.ordered.values()) == {1}
    assert isinstance(clips["link".ljust(16, "a")], Link)
    assert isinstance(clips["latepeng".ljust(16, "a")], Path)
