"""Finds again what members asked for: their videos, page by page or by their words, and what is still open."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.records import Key, Open, Page, Wanted
from bot.domain.runs import Ending, Run
from bot.errors import Refusal
from bot.ports import Clock, Members

PAGE_RUNS = 8
OPEN_MAX = 5  # questions, and runs in the works, that are shown at a time
SUGGESTIONS_MAX = 25  # Discord's most, and more than anybody reads
SEARCHED_MAX = 1000  # a member's latest videos among which one is suggested


class NoSuchVideo(Refusal):
    """The member has no such finished video."""


class Finder:
    """Finds a member's own runs and questions; only `page` can be asked about another member."""

    def __init__(self, books: Members, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    async def page(self, wanted: Wanted) -> Page:
        """The next page of these runs; the first one where there are too few newer ones to fill one."""
        found = await self._books.history(wanted, PAGE_RUNS + 1)
        more = len(found) > PAGE_RUNS
        if wanted.newer_than is not None:
            if not more:
                return await self.page(replace(wanted, newer_than=None))
            runs = found[1:]
            return Page(runs=runs, newer_than=_key(runs[0]), older_than=_key(runs[-1]))
        runs = found[:PAGE_RUNS]
        newer = _key(runs[0]) if runs and wanted.older_than is not None else None
        return Page(runs=runs, newer_than=newer, older_than=_key(runs[-1]) if more else None)

    async def suggestions(self, member: str, typed: str) -> list[tuple[str, str]]:
        """Ids and prompts of the member's own videos that have these words, the latest first."""
        return await self._books.prompts(member, typed, searched=SEARCHED_MAX, limit=SUGGESTIONS_MAX)

    async def video(self, member: str, named: str) -> Run:
        """The member's video by its id, its file's name or words of its prompt; the latest where nothing is named.

        Raises NoSuchVideo.
        """
        named = named.strip(" `")
        run = await self._books.get(named.partition(".")[0].rpartition("-")[2]) if named else None
        # The clip of one that came back empty may have come since.
        if run is not None and run.member == member and (run.shows_video or run.ending == Ending.EMPTY):
            return run
        for run_id, _ in await self._books.prompts(member, named, searched=SEARCHED_MAX, limit=1):
            if (found := await self._books.get(run_id)) is not None:
                return found
        raise NoSuchVideo("show.no_such" if named else "show.none")

    async def open_of(self, member: str, server: str) -> Open:
        """The member's runs in the works, and in that server the wishes of which nothing came yet."""
        return await self._books.open_of(member, server, now=self._clock.now(), limit=OPEN_MAX)

    async def latest(self, member: str) -> Run | None:
        """What the member asked for last."""
        return next(iter(await self._books.history(Wanted(member=member), 1)), None)


def _key(run: Run) -> Key:
    return run.created_at, run.run_id
