"""What delivery and front promise each other (`bot.ports.Front`): prepare, commit, post, and the handle that stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.limits import Standing
from bot.domain.queue import Turn
from bot.domain.records import End, Link, RunChanges
from bot.domain.runs import Delivery, Ending, Run
from bot.errors import HistoryClosed, PlaceClosed, PlaceGone, PostFailed
from bot.services.delivery import ARRIVES_S, CLOSED_S, Deliverer
from storage import SqliteStore
from tests.harness import Scene, scene
from tests.hostile import Wire
from tests.money import Inline, new_run, store_at
from tests.parts import NO_LIMITS, HandClock, NoDesk, core

EPOCH = 1_795_000_000.0


@dataclass
class Uploads(NoDesk):
    """A front whose handles are made anew each time; it fails as it is told to."""

    store: SqliteStore
    repeat_s: float = 120.0
    failing: Exception | None = None
    upload_failing: Exception | None = None
    history: Exception | None = None
    prepared: int = 0
    looked_for: list[str | None] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    on_disk: list[tuple[Delivery, str | None]] = field(default_factory=list)

    async def show_progress(
        self, run: Run, standings: list[Standing], turn: Turn | None = None, *, last: bool = False
    ) -> None: ...

    async def prepare(self, run: Run, clip: Path | Link | None) -> str:
        if self.upload_failing is not None:
            raise self.upload_failing
        self.prepared += 1
        return f"upload-{self.prepared}"

    async def post(self, run: Run, clip: Path | Link | None, handle: str) -> str:
        kept = await self.store.get(run.run_id)
        assert kept is not None
        self.on_disk.append((kept.delivery, kept.post_handle))
        self.posted.append(handle)
        if self.failing is not None:
            raise self.failing
        return "place/1"

    async def find(self, run: Run) -> str | None:
        self.looked_for.append(run.post_handle)
        if self.history is not None:
            raise self.history
        return None


@dataclass
class Desk:
    """A run that failed and is to be told, with all that tells it."""

    store: SqliteStore
    front: Uploads
    deliverer: Deliverer
    clock: HandClock
    run: Run

    async def deliver(self, later_s: float = 1.0) -> Run:
        self.clock.at += later_s
        run = await self.deliverer.deliver(self.front, self.run)
        assert run is not None
        self.run = run
        return run


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store, clock = store_at(tmp_path / "veo.db", Inline()), HandClock(EPOCH)
    new = replace(new_run("1", now=EPOCH), run_id="abcdefghijklmnop")
    admitted = await store.admit(new, NO_LIMITS.levels(new.wish.spender, EPOCH))
    run = await store.settle(admitted, End(ending=Ending.FAILED, cost_u=0), now=EPOCH)
    assert run is not None
    services = core(store=store, policy=NO_LIMITS, clock=clock)
    yield Desk(store, Uploads(store), services.deliverer, clock, run)
    await store.close()


async def test_intent_and_handle_are_on_disk_before_the_post(desk: Desk) -> None:
    """Whoever finds the run after a crash knows that it may be posted, and under which handle."""
    run = await desk.deliver()
    assert desk.front.on_disk == [(Delivery.SENDING, "upload-1")]
    assert (run.delivery, run.message) == (Delivery.DELIVERED, "place/1")


async def test_a_post_in_doubt_is_looked_for_and_repeated_by_its_handle(desk: Desk) -> None:
    """Nothing is uploaded a second time, and the front can see that it is the same post."""
    desk.front.failing = PostFailed("no answer")
    assert (await desk.deliver()).delivery == Delivery.SENDING
    desk.front.failing = None
    assert (await desk.deliver()).delivery == Delivery.DELIVERED
    assert (desk.front.looked_for, desk.front.posted, desk.front.prepared) == (["upload-1"], ["upload-1"] * 2, 1)


async def test_what_was_surely_not_posted_is_prepared_anew(desk: Desk) -> None:
    """After a clear refusal, and once an earlier post cannot arrive any more."""
    desk.front.failing = PlaceClosed("no permission")
    assert (await desk.deliver()).delivery == Delivery.PENDING
    desk.front.failing = PostFailed("no answer")
    assert (await desk.deliver()).delivery == Delivery.SENDING
    desk.front.failing = None
    await desk.deliver(later_s=ARRIVES_S)
    assert (desk.front.looked_for, desk.front.posted) == (["upload-2"], ["upload-1", "upload-2", "upload-3"])


async def test_a_preparation_that_fails_leaves_no_doubt(desk: Desk) -> None:
    """Nobody has seen anything, so nothing is looked for."""
    desk.front.upload_failing = PostFailed("the upload broke off")
    run = await desk.deliver()
    assert (run.delivery, run.post_handle, run.last_try_at) == (Delivery.PENDING, None, None)
    desk.front.upload_failing = None
    assert (await desk.deliver()).delivery == Delivery.DELIVERED
    assert (desk.front.looked_for, desk.front.posted) == ([], ["upload-1"])


async def test_another_place_is_another_post(desk: Desk) -> None:
    """The handle of the channel's post is not taken along to the member's direct messages."""
    desk.front.failing = PostFailed("no answer")
    await desk.deliver()
    desk.front.history = PlaceGone("deleted")
    run = await desk.deliver()
    assert (run.direct, run.delivery, run.post_handle) == (True, Delivery.PENDING, None)
    desk.front.failing = desk.front.history = None
    await desk.deliver()
    assert desk.front.posted == ["upload-1", "upload-2"]


async def test_a_post_of_the_version_before_has_no_handle(desk: Desk) -> None:
    """It was begun by what the front would prepare again, so that is what its repeat has."""
    changes = RunChanges(delivery=Delivery.SENDING, first_try_at=EPOCH, last_try_at=EPOCH)
    begun = await desk.store.advance(desk.run, desk.run.state, now=EPOCH, changes=changes)
    assert begun is not None
    desk.run = begun
    assert (await desk.deliver()).delivery == Delivery.DELIVERED
    assert (desk.front.looked_for, desk.front.posted) == ([None], ["upload-1"])


async def test_a_front_that_sees_no_repeats_gets_none(desk: Desk) -> None:
    """A post in doubt is repeated there only when the first cannot arrive any more."""
    desk.front = replace(desk.front, repeat_s=0.0, failing=PostFailed("no answer"))
    await desk.deliver()
    desk.front.failing = None
    assert (await desk.deliver()).delivery == Delivery.SENDING
    assert (await desk.deliver(later_s=ARRIVES_S / 2)).delivery == Delivery.SENDING
    assert desk.front.posted == ["upload-1"]
    assert (await desk.deliver(later_s=ARRIVES_S / 2)).delivery == Delivery.DELIVERED
    assert desk.front.posted == ["upload-1", "upload-2"]


@pytest.mark.parametrize(("repeat_s", "repeats"), [(120.0, False), (300.0, True)])
async def test_how_long_a_repeat_is_seen_is_the_fronts_own_number(desk: Desk, repeat_s: float, repeats: bool) -> None:
    """Where nothing can be looked for a post is repeated for half of that time, and no longer."""
    desk.front = replace(desk.front, repeat_s=repeat_s, failing=PostFailed("no answer"))
    await desk.deliver()
    desk.front.failing, desk.front.history = None, HistoryClosed("no permission")
    run = await desk.deliver(later_s=100.0)
    assert (run.delivery, desk.front.posted) == (
        (Delivery.DELIVERED, ["upload-1"] * 2) if repeats else (Delivery.SENDING, ["upload-1"])
    )
    assert CLOSED_S > 100.0  # so it was not given up


# What a front keeps on the run, over Discord


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({}, ("en-US", "en-US")),
        ({"locale": "pt-BR", "guild_locale": "de"}, ("pt-BR", "de")),
        ({"locale": "tlh", "guild_locale": None}, ("tlh", None)),  # a language that the library does not know
        ({"locale": ["de"], "guild_locale": "x" * 99}, (None, None)),
    ],
)
async def test_the_languages_of_reader_and_place_are_kept(
    world: Scene, sent: dict[str, object], kept: tuple[str | None, str | None]
) -> None:
    """As Discord names them; what is no name of a language is none, and stands in nobody's way."""

    def changed(payload: dict[str, Any]) -> dict[str, Any]:
        return payload | sent

    await world.end_of(await Wire(world).use(changed, "veo", prompt="a red fox"))
    (row,) = world.rows("SELECT locale, place_locale, can_post, post_limit_bytes FROM run")
    assert row == {"locale": kept[0], "place_locale": kept[1], "can_post": 1, "post_limit_bytes": 10 * 2**20}


async def test_a_members_own_limit_is_not_that_of_a_post(tmp_path: Path) -> None:
    """Who may upload 50 MiB themselves is given a link at once where the bot may post 10: nothing is tried in vain."""
    limits = {"announced_upload_limit": 50 * 2**20}
    async with scene(tmp_path, discord=limits, runflow={"file_bytes": 11 * 2**20}) as world:
        message = await world.end_of(await world.veo("a red fox"))
        assert "/media/" in message["content"]
        assert [each for each in world.discord.requests if each.files] == []
        assert world.rows("SELECT upload_limit_bytes FROM run") == [{"upload_limit_bytes": 50 * 2**20}]
