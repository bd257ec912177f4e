"""The spend report, its CSV and its chart say what the runs say: by example, by property, and by a plain count.

In one piece, because report, table and chart are checked on the same facts.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from bot.domain.money import USD_U
from bot.domain.records import End
from bot.domain.report import COLUMNS, Day, Group, Ranking, Report, ReportedRun, days_of, write_runs
from bot.domain.runs import STATE_OF_ENDING, TERMINAL, Ending, RunState
from bot.domain.untrusted import strip_bidi_controls
from cogs import chart
from cogs.chart import grid_step_u, spend_chart
from storage import Archive
from tests.core import ADA, Bot
from tests.money import empty_books, home
from tests.words import ENGLISH

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        *("UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "America/Havana", "America/Nuuk"),
        *(
            "Africa/Cairo",
            "Asia/Beirut",
            "Asia/Kathmandu",
            "Atlantic/Azores",
            "Australia/Lord_Howe",
            "Pacific/Kiritimati",
        ),
    )
]
DAY_S = 86_400.0
NOON = datetime(2026, 11, 22, 12, tzinfo=BERLIN).timestamp()
LIMIT = 200 * DAY_S


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a test says of one run."""

    run_id: str
    member: str
    member_name: str
    channel: str
    roles: tuple[str, ...]
    created_at: float
    ended_at: float | None
    state: RunState
    ending: Ending | None
    price_u: int
    charged_u: int
    cost_u: int | None
    refunded_u: int

    @property
    def gave_video(self) -> bool:
        return self.ending in (Ending.VIDEO, Ending.PARTIAL)

    @property
    def line(self) -> ReportedRun:
        """The same as the table is given it."""
        return ReportedRun._make(getattr(self, name) for name in ReportedRun._fields)


def fact(**changes: Any) -> Fact:
    """A run of Ann's that gave a video for its quote of $3.20 after 90 s."""
    ann = Fact(
        run_id="r1",
        member="discord:1",
        member_name="Ann",
        channel="discord:10",
        roles=(),
        created_at=NOON,
        ended_at=NOON + 90,
        state=RunState.SUCCEEDED,
        ending=Ending.VIDEO,
        price_u=3_200_000,
        charged_u=3_200_000,
        cost_u=3_200_000,
        refunded_u=0,
    )
    return replace(ann, **changes)


def open_fact(**changes: Any) -> Fact:
    """A run that Runflow is still working on."""
    return fact(
        **{"state": RunState.RUNNING, "ended_at": None, "ending": None, "charged_u": 0, "cost_u": None, **changes}
    )


def write(path: Path, facts: Iterable[Fact], server: str = "discord:2") -> None:
    """Books with these runs, as far as a report looks at them."""
    path.write_bytes(empty_books())
    run = (
        "INSERT INTO run (run_id, origin, member, member_name, server, channel, budget_channel, roles, request, "
        "price_u, member_scope, member_period, state, state_at, created_at, ended_at, ending, cost_u, provider_id, "
        "callback_token) VALUES (:id, :id, :member, :member_name, :server, :channel, :channel, :names, '{}', "
        ":price_u, 'scope', 'period', :state, 0, :created_at, :ended_at, :ending, :cost_u, :id, :id)"
    )
    entry = (
        "INSERT INTO ledger_entry (run_id, scope, period_key, kind, amount_u, at, actor, reason, act_id) "
        "VALUES (:id, 'scope', 'period', :kind, :amount_u, 0, 'bot', '', 1)"
    )
    with closing(sqlite3.connect(path)) as db, db:
        for number, each in enumerate(facts):
            row = {**vars(each), "id": f"r{number}", "names": json.dumps(each.roles), "server": server}
            db.execute(run, row)
            half_u = each.charged_u // 2
            for kind, amount_u in (("post", half_u), ("adjust", each.charged_u - half_u), ("refund", each.refunded_u)):
                if amount_u:
                    db.execute(entry, {"id": row["id"], "kind": kind, "amount_u": amount_u})


async def read_report(
    path: Path,
    days: Sequence[Day],
    use: Callable[[Iterator[ReportedRun]], object] = lambda runs: None,
    server: str | None = "discord:2",
) -> Report:
    """What the books say of these days."""
    archive = Archive(f"sqlite:///{path}")
    try:
        return await archive.report(server, days, use)
    finally:
        archive.close()


def made(facts: Iterable[Fact], *, since: float, until: float, zone: ZoneInfo) -> Report:
    """The report of books with these runs."""
    with home() as folder:
        write(folder / "veo.db", facts)
        return asyncio.run(read_report(folder / "veo.db", days_of(since, until, zone)))


def report(*facts: Fact) -> Report:
    return made(facts, since=NOON - DAY_S, until=NOON + DAY_S, zone=BERLIN)


def counted(facts: Iterable[Fact], days: Sequence[Day]) -> Report:
    """The same by a plain count, which knows no more than what each figure means."""
    mine = [each for each in facts if days[0].starts_at <= each.created_at < days[-1].ends_at]
    ended = [each for each in mine if each.ended_at is not None]
    off = [each.cost_u - each.price_u for each in ended if each.cost_u not in (None, each.price_u)]
    waits = [each.ended_at - each.created_at for each in ended if each.ended_at and each.gave_video]

    def group(key: str, of_it: Callable[[Fact], bool]) -> Group:
        its = [each for each in mine if of_it(each)]
        videos, spent_u = sum(each.gave_video for each in its), sum(each.charged_u for each in its)
        return Group(key=key, runs=len(its), videos=videos, spent_u=spent_u)

    def ranked(keys_of: Callable[[Fact], Iterable[str]]) -> Ranking:
        keys = {key for each in mine for key in keys_of(each)}
        groups = sorted((group(key, lambda it, key=key: key in keys_of(it)) for key in keys), key=lambda it: it.key)  # type: ignore[misc] # its default says the type
        groups.sort(key=lambda it: it.spent_u, reverse=True)
        return Ranking(groups=tuple(groups[:20]), others=len(groups[20:]))

    return Report(
        since=days[0].starts_at,
        until=days[-1].ends_at,
        runs=len(mine),
        open=len(mine) - len(ended),
        videos=sum(each.gave_video for each in mine),
        ended=len(ended),
        spent_u=sum(each.charged_u for each in mine),
        held_u=sum(each.price_u for each in mine if each.ended_at is None),
        refunded_u=sum(each.refunded_u for each in mine),
        off_quote=len(off),
        off_quote_u=sum(off),
        wait_median_s=median(waits) if waits else None,
        members=ranked(lambda it: [it.member]),
        roles=ranked(lambda it: it.roles),
        channels=ranked(lambda it: [it.channel]),
        days=tuple(group(day.key, lambda it, day=day: day.starts_at <= it.created_at < day.ends_at) for day in days),  # type: ignore[misc] # the same
    )


@st.composite
def any_fact(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Fact:
    """Any run that the store could hold, created within LIMIT after NOON."""
    created_at = NOON + draw(st.floats(0, LIMIT))
    ending = draw(st.none() | st.sampled_from(Ending))
    open_states = st.sampled_from([state for state in RunState if state not in TERMINAL])
    amounts = st.integers(0, 5_000_000)
    return Fact(
        run_id=draw(st.text("abc123", min_size=1, max_size=6)),
        member=draw(st.sampled_from(["discord:1", "discord:2", "discord:3"])),
        member_name=draw(names),
        channel=draw(st.sampled_from(["discord:10", "discord:11"])),
        roles=tuple(draw(st.lists(st.sampled_from(["discord:20", "discord:21", "discord:22"]), unique=True))),
        created_at=created_at,
        ended_at=created_at + draw(st.floats(0, 5000)) if ending else None,
        state=STATE_OF_ENDING[ending] if ending else draw(open_states),
        ending=ending,
        price_u=draw(st.integers(1, 5_000_000)),
        charged_u=draw(amounts),
        cost_u=draw(st.none() | amounts),
        refunded_u=draw(amounts),
    )


class TestReport:
    def test_it_counts_and_sums_each_kind_of_run(self) -> None:
        """Open runs hold their quote, a refund leaves the spend as it was, and only a clip to post is a video."""
        found = report(
            fact(),
            fact(ending=Ending.PARTIAL),
            fact(ending=Ending.NSFW, refunded_u=3_200_000),
            fact(state=RunState.FAILED, ending=Ending.FAILED, charged_u=0, cost_u=None),
            open_fact(price_u=1_600_000),
            open_fact(price_u=800_000, state=RunState.UNKNOWN),
        )
        assert (found.runs, found.open, found.ended, found.videos) == (6, 2, 4, 2)
        assert (found.spent_u, found.held_u, found.refunded_u) == (9_600_000, 2_400_000, 3_200_000)
        assert found.success_rate == 0.5

    def test_off_quote_are_ended_runs_with_another_known_cost(self) -> None:
        """Above and below count as two and are summed with their signs; an unknown cost is no difference."""
        found = report(
            fact(cost_u=3_700_000),
            fact(cost_u=3_000_000),
            fact(),
            fact(cost_u=None),
            fact(state=RunState.FAILED, ending=Ending.FAILED, cost_u=0),
            open_fact(cost_u=1),
        )
        assert (found.off_quote, found.off_quote_u) == (3, 500_000 - 200_000 - 3_200_000)

    def test_the_wait_is_the_median_of_the_runs_with_a_video(self) -> None:
        """One very slow run moves it little, and a failure that came at once not at all."""
        waits = [fact(ended_at=NOON + wait) for wait in (60, 80, 3600)]
        failed = fact(ended_at=NOON + 1, state=RunState.FAILED, ending=Ending.FAILED)
        assert report(*waits, failed).wait_median_s == 80

    def test_nothing_is_told_apart_from_zero(self) -> None:
        """Without an ended run there is no rate, and without a video no wait."""
        found = report(open_fact())
        assert (found.success_rate, found.wait_median_s) == (None, None)
        assert report(fact(state=RunState.FAILED, ending=Ending.FAILED)).success_rate == 0

    def test_groups_come_by_spend_and_then_by_key(self) -> None:
        """Most first; equal ones in the order of their keys."""
        found = report(
            fact(member="discord:3", channel="discord:11"),
            fact(member="discord:2"),
            fact(member="discord:4"),
            fact(member="discord:4"),
        )
        assert [group.key for group in found.members.groups] == ["discord:4", "discord:2", "discord:3"]
        assert [(it.key, it.runs) for it in found.channels.groups] == [("discord:10", 3), ("discord:11", 1)]

    def test_who_spent_less_is_counted(self) -> None:
        """Of many the first are told, and how many there are beside them."""
        found = report(*(fact(member=f"discord:{each}", roles=(f"discord:{each}",)) for each in range(10, 35)))
        firsts = [f"discord:{each}" for each in range(10, 30)]
        for ranking in (found.members, found.roles):
            assert ([group.key for group in ranking.groups], ranking.others) == (firsts, 5)
        assert (len(found.channels.groups), found.channels.others) == (1, 0)

    def test_a_run_counts_once_under_each_role(self) -> None:
        """Two roles see the whole run, one that is named twice sees it once, and the role of everybody is no group."""
        found = report(fact(roles=("discord:20", "discord:21", "discord:20", "discord:2")), fact(roles=()))
        assert [(group.key, group.runs, group.spent_u) for group in found.roles.groups] == [
            ("discord:20", 1, 3_200_000),
            ("discord:21", 1, 3_200_000),
        ]

    def test_the_span_takes_its_start_and_leaves_its_end(self) -> None:
        """So that two spans side by side count each run once."""
        facts = [fact(created_at=NOON + hours * 3600) for hours in (-1, 0, 1)]
        found = made(facts, since=NOON, until=NOON + 3600, zone=BERLIN)
        assert found.runs == sum(group.runs for group in found.days) == 1

    def test_days_are_those_of_the_zone(self) -> None:
        """A run late in the evening counts on the day that its members saw."""
        late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC).timestamp()
        found = report(fact(created_at=late))
        assert [(group.key, group.runs) for group in found.days] == [
            ("2026-11-21", 0),
            ("2026-11-22", 1),
            ("2026-11-23", 0),
        ]

    def test_a_span_that_ends_at_midnight_has_no_day_more(self) -> None:
        """October 2026 in Berlin has 31 days, one of them of 25 hours; a span of no length is in the day it is in."""
        since, until = (datetime(2026, month, 1, tzinfo=BERLIN).timestamp() for month in (10, 11))
        assert [day.key for day in days_of(since, until, BERLIN)] == [f"2026-10-{day:02d}" for day in range(1, 32)]
        (day,) = days_of(since, since, BERLIN)
        assert (day.key, day.starts_at, day.ends_at) == ("2026-10-01", since, since)

    @pytest.mark.parametrize(
        ("damage", "roles", "videos"),
        [("roles = '7'", 0, 1), ("""roles = '[{"id": "1"}]'""", 0, 1), ("ending = 'a new one'", 1, 0)],
    )
    def test_a_run_that_cannot_be_read_is_counted_all_the_same(
        self, tmp_path: Path, damage: str, roles: int, videos: int
    ) -> None:
        """Its money was spent, and it has its line; what nobody can tell of it is left out."""
        path, table = tmp_path / "veo.db", io.StringIO(newline="")
        write(path, [fact(roles=("discord:20",))])
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"UPDATE run SET {damage}")
        days = days_of(NOON, NOON + 1, BERLIN)
        found = asyncio.run(read_report(path, days, lambda runs: write_runs(runs, table, str, bytes_max=9999)))
        assert (found.runs, found.ended, found.spent_u) == (1, 1, 3_200_000)
        assert (len(found.roles.groups), found.videos) == (roles, videos)
        assert [row["charged_usd"] for row in read(table.getvalue())] == ["3.20"]

    @settings(max_examples=60)
    @given(
        st.lists(any_fact(st.just("Ann")), max_size=12),
        st.sampled_from(ZONES),
        st.floats(0, LIMIT),
        st.floats(0, LIMIT),
    )
    def test_the_sums_are_those_of_a_plain_count(
        self, facts: list[Fact], zone: ZoneInfo, start: float, length: float
    ) -> None:
        """To the micro-dollar, over any runs, any zone and any span of it."""
        since, until = NOON + start, NOON + start + length
        assert made(facts, since=since, until=until, zone=zone) == counted(facts, days_of(since, until, zone))

    @given(st.sampled_from(ZONES), st.integers(1_767_225_600, 2_524_608_000), st.integers(1, 120 * 86_400))
    def test_no_day_is_missing_across_a_change_of_clocks(self, zone: ZoneInfo, since: int, length: int) -> None:
        """The days are those that a clock on the wall shows, looked at every hour, each once and in order."""
        until = since + length
        looks = [*range(since, until, 3600), until - 1]
        seen = sorted({datetime.fromtimestamp(at, zone).date().isoformat() for at in looks})
        assert [day.key for day in days_of(since, until, zone)] == seen

    @pytest.mark.parametrize("zone", ZONES, ids=str)
    def test_a_year_has_365_days_everywhere(self, zone: ZoneInfo) -> None:
        """Each follows the one before it by one, with a run at each midnight counted on the day that begins."""
        midnights = [
            datetime.combine(date(2026, 1, 1) + timedelta(day), datetime.min.time(), zone) for day in range(366)
        ]
        at = [midnight.timestamp() for midnight in midnights]
        facts = [fact(created_at=each, ended_at=each) for each in at[:-1]]
        days = made(facts, since=at[0], until=at[-1], zone=zone).days
        assert len(days) == 365
        assert {group.runs for group in days} == {1}
        keys = [date.fromisoformat(group.key) for group in days]
        assert all(after - before == timedelta(1) for before, after in pairwise(keys))


@pytest.mark.parametrize("seed", range(3))
async def test_the_report_of_real_books_is_that_of_their_runs(tmp_path: Path, seed: int) -> None:
    """Runs as the store makes, ends, corrects and refunds them, of two servers: each by itself, and both."""
    chance, path = random.Random(seed), tmp_path / "veo.db"
    bot = Bot(path, member_limit_u=None)
    ids: dict[str, list[str]] = {"discord:2": [], "discord:5": []}
    for number in range(60):
        bot.wall.at += chance.uniform(0, 2 * DAY_S)
        server = chance.choice(list(ids))
        run = await bot.run(
            chance.choice(("4s", "6s", "8s")),
            server=server,
            member=f"discord:1{chance.randrange(25)}",
            budget_channel=f"{server}{chance.randrange(3)}",
            roles=(server, *(f"{server}0{each}" for each in range(4) if chance.random() < 0.5)),
        )
        ids[server].append(run.run_id)
        if number % 6:
            run = await bot.moved(run, RunState.SUBMITTING, RunState.RUNNING)
            cost_u = chance.choice((None, 0, run.price_u, run.price_u, run.price_u // 3, run.price_u + 7))
            end = End(ending=chance.choice(list(Ending)), cost_u=cost_u)
            ended = await bot.store.settle(run, end, now=bot.wall.at + chance.uniform(1, 900))
            assert ended is not None
            if ended.cost_u is None and chance.random() < 0.5:
                ended = await bot.store.correct(ended, chance.randrange(10**6), now=bot.wall.at + 999)
            if ended.charged_u and chance.random() < 0.3:
                await bot.admins.refund(replace(ADA, server=server), ended.run_id, "")
    days = days_of(NOON + 3 * DAY_S, bot.wall.at, BERLIN)
    for server_, names in [*ids.items(), (None, [name for each in ids.values() for name in each])]:
        runs = [await bot.store.get(run_id) for run_id in names]
        facts = [
            fact(
                **{name: getattr(run, name) for name in ("member", "created_at", "ended_at", "state", "ending")},
                **{name: getattr(run, name) for name in ("price_u", "charged_u", "cost_u", "refunded_u")},
                channel=run.budget_channel,
                roles=tuple(role for role in run.roles if role != run.server),
            )
            for run in runs
            if run is not None
        ]
        assert await read_report(path, days, server=server_) == counted(facts, days)
    await bot.close()


SIGNS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NAMES = st.text(max_size=6) | st.builds(str.__add__, st.sampled_from(SIGNS), st.text(',;"\r\n1a=', max_size=4))


def read(text: str) -> list[dict[str, str]]:
    head, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(head) == COLUMNS
    return [dict(zip(head, row, strict=True)) for row in rows]


def report_csv(facts: Iterable[Fact], name_of: Callable[[str], str]) -> str:
    """The whole table."""
    table = io.StringIO(newline="")
    write_runs((each.line for each in facts), table, name_of, bytes_max=10**6)
    return table.getvalue()


class TestCsv:
    def test_a_line_tells_the_whole_run(self) -> None:
        """Names beside the opaque keys, exact dollars, the time in UTC."""
        names = {"discord:10": "#films", "discord:20": "Crew", "discord:21": "Paid, twice"}
        told = fact(
            roles=("discord:20", "discord:21"), charged_u=1_234_567, refunded_u=1_200_000, ended_at=NOON + 90.26
        )
        assert report_csv([told], names.__getitem__).splitlines() == [
            "run_id,created_at,member,member_name,channel,channel_name,roles,state,ending,"
            "quote_usd,charged_usd,refunded_usd,wait_s",
            'r1,2026-11-22T11:00:00+00:00,discord:1,Ann,discord:10,#films,"Crew;Paid, twice",succeeded,video,'
            "3.20,1.234567,1.20,90.3",
        ]

    def test_what_is_not_known_is_left_empty(self) -> None:
        """An open run has neither an ending nor a wait."""
        (row,) = read(report_csv([open_fact()], str))
        assert (row["state"], row["ending"], row["wait_s"], row["charged_usd"]) == ("running", "", "", "0.00")

    def test_a_table_ends_soon_after_it_has_become_too_large(self) -> None:
        """What nobody takes any more is not written, however many runs there are; what fits is whole."""

        def lines() -> Iterator[ReportedRun]:
            for number in range(100_000):
                asked[0] = number
                yield fact(run_id=f"r{number}", member_name="Ä" * 20).line

        asked, table = [0], io.StringIO(newline="")
        write_runs(lines(), table, str, bytes_max=50_000)
        assert 50_000 < len(table.getvalue().encode()) < 70_000
        assert asked[0] < 1000
        whole = report_csv([fact(run_id=f"r{number}") for number in range(1000)], str)
        assert [row["run_id"] for row in read(whole)] == [f"r{number}" for number in range(1000)]

    def test_no_facts_give_the_header_alone(self) -> None:
        """A table without rows is a table all the same."""
        assert read(report_csv([], str)) == []

    @pytest.mark.parametrize("start", SIGNS)
    def test_no_name_is_a_formula(self, start: str) -> None:
        """A member, channel or role called `=HYPERLINK(...)` is shown to the reader of the file, not run."""
        bad = f'{start}HYPERLINK("x")'
        (row,) = read(report_csv([fact(member_name=bad, roles=("a", "b"))], lambda _: bad))
        assert (row["member_name"], row["channel_name"], row["roles"]) == (f"'{bad}", f"'{bad}", f"'{bad};'{bad}")

    @given(st.lists(any_fact(NAMES), max_size=6), st.dictionaries(st.sampled_from(["discord:10", "discord:20"]), NAMES))
    def test_every_text_comes_back_as_it_was(self, facts: list[Fact], names: dict[str, str]) -> None:
        """Commas, quotes and line ends survive; only apostrophes are added, and what turns text round is gone."""
        text = report_csv(facts, lambda key: names.get(key, key))

        def plain(text: str) -> str:
            return strip_bidi_controls(text).replace("'", "")

        for each, row in zip(facts, read(text), strict=True):
            assert plain(row["member_name"]) == plain(each.member_name)
            assert plain(row["channel_name"]) == plain(names.get(each.channel, each.channel))
            assert plain(row["roles"]) == ";".join(plain(names.get(role, role)) for role in each.roles)
            assert abs(datetime.fromisoformat(row["created_at"]).timestamp() - each.created_at) <= 1
            assert round(float(row["quote_usd"]) * USD_U) == each.price_u
            assert not any(cell.startswith(SIGNS) for cell in row.values())

    def test_no_name_begins_a_formula_behind_another_separator(self) -> None:
        """Where a spreadsheet splits at semicolons, tabs or lines, and in full-width letters as well."""
        bad = 'x;=1\t@A1\n\uff0b1; "-1'
        table = report_csv([fact(member_name=bad, roles=("a;=1",))], str)
        for cell in re.split(r"[;,\t\r\n]", table):
            assert not cell.lstrip('" ').startswith(SIGNS)


def bars_of(amounts_u: Sequence[int], first: date = date(2026, 9, 3)) -> list[Group]:
    keys = [str(first + timedelta(place)) for place in range(len(amounts_u))]
    return [Group(key=key, runs=1, videos=1, spent_u=each) for key, each in zip(keys, amounts_u, strict=True)]


def picture(amounts_u: Sequence[int], first: date = date(2026, 9, 3)) -> Image.Image:
    """The chart as any reader of PNG sees it."""
    with Image.open(io.BytesIO(spend_chart(bars_of(amounts_u, first), ENGLISH))) as image:
        assert (image.format, image.size) == ("PNG", (chart.WIDTH, chart.HEIGHT))
        return image.convert("RGB")


def bar_heights(image: Image.Image) -> list[int]:
    """The height of every bar from left to right, measured in the picture."""
    bars = (chart.BAR, chart.HIGHEST_BAR)

    def height(x: int) -> int:
        return next(rise for rise in range(chart.HEIGHT) if image.getpixel((x, chart.BOTTOM - 1 - rise)) not in bars)

    columns = [height(x) for x in range(chart.WIDTH)]
    return [max(group) for high, group in groupby(columns, key=bool) if high]


def words_below(image: Image.Image) -> list[tuple[int, int]]:
    """From where to where each day's name reaches, told apart by more room than is between two words of one."""
    strip = range(chart.BOTTOM + chart.AXIS_GAP, chart.HEIGHT)  # below the `$0` beside the baseline
    marked = [x for x in range(chart.WIDTH) if any(image.getpixel((x, y)) != chart.BACKGROUND for y in strip)]
    starts = [x for before, x in pairwise([-100, *marked]) if x - before > chart.DAY_GAP // 2]
    ends = [x for x, after in pairwise([*marked, 10_000]) if after - x > chart.DAY_GAP // 2]
    return list(zip(starts, ends, strict=True))


def luminance(colour: tuple[int, int, int]) -> float:
    """As WCAG 2 defines it."""
    parts = [each / 255 / 12.92 if each <= 10 else ((each / 255 + 0.055) / 1.055) ** 2.4 for each in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


class TestChart:
    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.integers(0, 9_000_000) | st.just(0), min_size=1, max_size=92))
    @example([1])
    @example([4_999_999] * 92)
    @example([10**15, 1, 0, 10**14])
    def test_bars_are_as_high_as_what_was_spent(self, amounts_u: list[int]) -> None:
        """Measured against the highest, to the pixel; a day with any spend has a bar, a day without has none."""
        spent_u = [each for each in amounts_u if each]
        heights = bar_heights(picture(amounts_u))
        assert len(heights) == len(spent_u)
        for height, amount_u in zip(heights, spent_u, strict=True):
            assert abs(height - max(heights) * amount_u / max(spent_u)) <= 1
        assert all(height <= chart.BOTTOM - chart.TOP for height in heights)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 92), st.dates(date(2026, 1, 1), date(2027, 1, 1)))
    @example(1, date(2026, 9, 3))
    @example(7, date(2026, 9, 3))
    @example(31, date(2026, 9, 3))
    @example(92, date(2026, 9, 3))
    @example(1000, date(2026, 9, 3))
    def test_names_of_days_never_touch(self, number: int, first: date) -> None:
        """Each stands alone and whole within the picture, and there are as many as fit well."""
        words = words_below(picture([1_000_000] * number, first))
        font = ImageFont.load_default(chart.TEXT_SIZE)
        longest = max(font.getlength(f"{day} {month}") for day in (20, 28) for month in ("Sep", "Nov", "Mar", "May"))
        assert all(end - start <= longest + 2 for start, end in words)
        assert words[0][0] >= chart.DAY_GAP // 2
        assert words[-1][1] < chart.WIDTH - 1
        assert len(words) == number if number <= 7 else 3 <= len(words) <= 12

    @pytest.mark.parametrize("amounts_u", [[], [0], [0] * 31, [0] * 92, [-5_000_000, 0]], ids=len)
    def test_days_without_spend_give_an_empty_chart(self, amounts_u: list[int]) -> None:
        """A valid picture with a baseline and no bar, also of no days at all."""
        image = picture(amounts_u)
        assert bar_heights(image) == []
        assert image.getpixel((chart.WIDTH // 2, chart.BOTTOM)) == chart.BASELINE

    @pytest.mark.parametrize("place", [0, 15, 30])
    def test_the_highest_bar_has_its_amount_above_it(self, place: int) -> None:
        """Whole within the picture, also at either edge, and nothing else is written so bright."""
        amounts_u = [1_000_000] * 31
        amounts_u[place] = 10_000_000
        image = picture(amounts_u)
        points = [(x, y) for x in range(chart.WIDTH) for y in range(chart.HEIGHT)]
        bar = [x for x, y in points if image.getpixel((x, y)) == chart.HIGHEST_BAR]
        bright = [(x, y) for x, y in points if image.getpixel((x, y)) == chart.EMPHASIS]
        assert bright
        assert all(0 < y < chart.TOP for _, y in bright)
        assert all(min(bar) - 40 < x < min(max(bar) + 40, chart.WIDTH - 1) for x, _ in bright)

    @given(st.integers(0, 10**17))
    @example(5 * USD_U)
    def test_gridlines_are_few_and_round(self, highest_u: int) -> None:
        """A step of 1, 2 or 5 and zeros, at least a cent, no larger than is needed for a handful of lines."""
        step_u = grid_step_u(highest_u)
        assert str(step_u).rstrip("0") in ("1", "2", "5")
        assert step_u * chart.LINES_MAX >= highest_u
        assert step_u == USD_U // 100 or step_u * chart.LINES_MAX <= 2.5 * highest_u

    def test_it_reads_on_any_theme(self) -> None:
        """It is opaque, and against its own ground words and bars have the contrast that WCAG 2 asks for."""
        with Image.open(io.BytesIO(spend_chart(bars_of([1]), ENGLISH))) as image:
            assert not image.has_transparency_data
        ground = luminance(chart.BACKGROUND) + 0.05
        for least, colours in ((4.5, (chart.TEXT, chart.EMPHASIS)), (3, (chart.BAR, chart.HIGHEST_BAR))):
            assert all((luminance(colour) + 0.05) / ground >= least for colour in colours)

    def test_the_same_days_give_the_same_bytes(self) -> None:
        """Nothing of the clock or the machine is in the picture, and it is small."""
        first, second = (spend_chart(bars_of(range(0, 92_000_000, 1_000_000)), ENGLISH) for _ in range(2))
        assert first == second
        assert len(first) < 30_000
