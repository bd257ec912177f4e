"""Long answers are whole, within what Discord takes, and keep nobody waiting."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import StoreDown
from bot.facts import text
from bot.views import Figure, View
from cogs.render import EMBED_CHARS_MAX, FIELD_CHARS_MAX, MESSAGE_CHARS_MAX, embed
from storage import Archive
from tests.core import ADA, Bot
from tests.harness import WAIT_S, Json, Scene, scene
from tests.money import PRICE_U
from tests.words import ENGLISH

MANY = 50_000


def repeat(path: str, table: str, times: int, **changes: str) -> None:
    """Write the last row of a table so many times more, with columns changed to SQL of `n`."""
    with closing(sqlite3.connect(path)) as db, db:
        db.row_factory = sqlite3.Row
        columns = [row["name"] for row in db.execute(f"PRAGMA table_info({table})")]
        values = [changes.get(name, name) for name in columns]
        db.execute(
            f"WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {times})"
            f" INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)}"
            f" FROM counter, (SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1)"
        )


async def test_a_report_of_many_runs_blocks_nobody(tmp_path: Path) -> None:
    """While 50,000 are read, counted and written, the loop turns and whoever spends is admitted."""
    bot = Bot(tmp_path / "veo.db", member_limit_u=MANY * PRICE_U)
    await bot.ended()
    names = {"run_id": "'r' || n", "origin": "'o' || n", "callback_token": "'c' || n", "provider_id": "'p' || n"}
    repeat(str(bot.path), "run", MANY, **names)
    bot.wall.at += 1
    table, asked = io.StringIO(newline=""), []
    reading = asyncio.create_task(bot.admins.report(ADA, 30, table, str, bytes_max=10**8))
    while not reading.done():
        began = time.monotonic()
        await bot.run()
        asked.append(time.monotonic() - began)
        await asyncio.sleep(0.05)
    report = await reading
    await bot.store.close()
    bot.archive.close()
    assert report.runs == MANY + 1
    assert report.spent_u == PRICE_U  # the copies have no entries in the ledger
    assert table.getvalue().count("\r\n") == report.runs + 1
    assert len(asked) > 10
    assert sorted(asked)[len(asked) * 9 // 10] < 0.1  # nine of ten; the tenth is left to a busy machine


async def test_what_is_read_of_a_lost_database_is_told_as_such(tmp_path: Path) -> None:
    bot = Bot(tmp_path / "veo.db")
    bot.archive = Archive(f"sqlite:///{tmp_path / 'other.db'}")
    bot.serve()
    with pytest.raises(StoreDown):
        await bot.admins.report(ADA, 30, io.StringIO(), str, bytes_max=9)
    await bot.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path) as made:
        yield made


def path_of(world: Scene) -> str:
    return world.database_url.removeprefix("sqlite:///")


async def files_of(world: Scene, command: str) -> tuple[Json, dict[str, str]]:
    """The answer to `/veo-admin ...`, and its text files by their names."""
    used = await world.use(f"veo-admin {command}", by="Ada")
    message = await used.wait(lambda each: bool(each["content"] or each["embeds"]), timeout=WAIT_S)
    found = {}
    async with aiohttp.ClientSession() as session:
        for each in message["attachments"]:
            async with session.get(each["url"]) as reply:
                found[each["filename"]] = (await reply.read()).decode("utf-8-sig", "replace")
    return message, found


async def test_a_log_of_any_length_is_whole(world: Scene) -> None:
    """The latest in words, and all of them in a file once there are more."""
    await world.act("limit set", amount="5", member=world.member())
    message, files = await files_of(world, "log")
    assert (message["content"].count("set a limit"), files) == (1, {})
    repeat(path_of(world), "act", 2000, act_id="act_id + n", origin="'o' || n", detail="'n' || n")
    message, files = await files_of(world, "log")
    told = message["content"].splitlines()
    assert len(message["content"]) <= MESSAGE_CHARS_MAX
    assert told[-1] == f"-# {2001 - len(told) + 1:,} older, in the file."
    rows = list(csv.DictReader(io.StringIO(files["veo-log.csv"])))
    assert [row["detail"] for row in rows[:-1]] == [f"n{n}" for n in range(2000, 0, -1)]


async def test_limits_of_any_number_are_whole(world: Scene) -> None:
    """What does not fit into the message is in a file, each line of it, as it reads outside of Discord."""
    await world.act("limit set", amount="5", member=world.member())
    for table in ("act", "rule", "rule_change"):
        origin = {"origin": "'o' || n"} if table == "act" else {}
        repeat(path_of(world), table, 200, act_id="act_id + n", subject="subject || n", **origin)
    message, files = await files_of(world, "limit show")
    assert len(message["content"]) <= MESSAGE_CHARS_MAX
    assert message["content"].endswith(" more, in the file")
    (whole,) = files.values()
    assert "<" not in whole
    for n in range(1, 201):
        assert f"@{world.member().id}{n}: $5.00 a month" in whole


@pytest.mark.parametrize(("limit", "left"), [(1000, {"veo-report.csv"}), (10, set())])
async def test_a_report_too_large_for_discord_gives_the_rest(tmp_path: Path, limit: int, left: set[str]) -> None:
    """Its figures always; of its files those that are taken, and a word about the others."""
    async with scene(tmp_path, discord={"interaction_upload_limit": limit, "announced_upload_limit": 10**8}) as world:
        message, files = await files_of(world, "report")
        told = {each["name"]: each["value"] for each in message["embeds"][0]["fields"]}
        assert told["Spent"].startswith("$0.00")
        assert set(files) == left
        assert "too large for Discord here" in told["Not attached"]


@given(st.lists(st.text("a\n<", min_size=1, max_size=3000), max_size=8))
def test_no_embed_passes_what_discord_takes(values: list[str]) -> None:
    """Whatever is in it; and what is cut says so."""
    figures = [Figure(label=text("report.spent"), lines=(text("is", fact=value),)) for value in values]
    long = (text("is", fact="d" * 5000),)
    view = View(title=text("is", fact="t" * 300), lines=long, figures=tuple(figures))
    made = embed(view, ENGLISH)
    assert len(made) <= EMBED_CHARS_MAX
    for field, value in zip(made.fields, values, strict=False):
        shown = str(field.value)
        assert len(shown) <= FIELD_CHARS_MAX
        assert shown == value or shown.endswith("more") or "…" in shown
