"""Delivers what there is to tell of a run, once: the clip fetched, posted, looked for, given up only for good reasons.

A message that may have been posted is looked for before it is posted again, and repeated unseen only while the front
itself would see the repeat. A place that is gone, or closed for long, is replaced by the member's direct messages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bot.domain.pauses import growing_pause, jittered
from bot.domain.records import Link, RunChanges
from bot.domain.runs import COST_CHECKS_S, Delivery, Notice, Run
from bot.errors import (
    ClipNotKept,
    ClipTooBig,
    ClipTooSlow,
    ClipUnavailable,
    HistoryClosed,
    PlaceClosed,
    PlaceGone,
    PostFailed,
    PostRefused,
    TooLarge,
    Unreadable,
)
from bot.log import get_logger
from bot.ports import Clips, Clock, Front, Provider, Runs

log = get_logger("veo.delivery")

_TROUBLE = (
    *(PlaceGone, PlaceClosed, PostRefused, HistoryClosed, TooLarge, PostFailed),
    *(Unreadable, ClipUnavailable),
)

TRANSFERS_AT_ONCE = 4  # clips on their way from Runflow to disk, or from disk to Discord
POSTS_AT_ONCE = 12  # messages without a clip: of a place that takes few at a time they wait in the library
# Deliveries that wait for one of these in memory, in their order; more are due again later. While both sorts wait, the
# engine has steps left for everything else.
WAITING_MAX = 128
LINE_PAUSE_S = 15.0  # how much later
AT_ONCE_S = 5.0  # a first try that is counted with the end of its run began then, if it waited no longer than this
SHOWS_AT_ONCE = 2  # beside those: clips that members ask for again
UPLOADS_MAX = 3  # a clip that could not be uploaded so often is given as a link
PAUSE_MAX_S = 900.0
GIVE_UP_S = 7 * 86400.0  # a message that could not be posted for so long; /veo-show is what is left
CLIP_GIVE_UP_S = 86400.0  # a clip that Runflow did not give out for so long is told as lost
GIVE_UP_TRIES = 20  # and neither before so many tries: time that the bot itself was down proves nothing
CLOSED_S = 600.0  # so long a place that takes no messages may open again; then the member is written to
ARRIVES_S = 120.0  # a post that is not shown so long after it was sent does not arrive any more
REPEAT_SHARE = (
    0.5  # of the front's `repeat_s`: a repeat begun so soon arrives while the front still sees that it is one
)


@dataclass(kw_only=True)
class _Try:
    """One try to deliver: the run as it stands now, and what is known of the tries before."""

    front: Front
    run: Run
    doubtful: bool  # an earlier post may stand, or may still arrive
    unseen: bool = False  # and it could not be looked for
    looked_at: float | None = None  # when it was looked for
    address: str | None = None  # of the clip, where it was just read
    uploading: bool = False  # it came as far as to upload the clip
    posting: bool = False  # it came as far as to post

    @property
    def repeat_s(self) -> float:
        """A repeat that is begun within this is seen by the front as one."""
        return REPEAT_SHARE * self.front.repeat_s


class _Line:
    """So many places, and how many deliveries wait for one, in their order."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._waiting = 0

    @property
    def is_full(self) -> bool:
        return self._waiting >= WAITING_MAX

    @asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """One of the places, in this block. Gives for how many seconds it had to be waited for."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            yield loop.time() - began
        finally:
            self._places.release()


@dataclass(kw_only=True)
class _Showing:
    """A clip that members are shown again at this moment."""

    kept: bool  # it was on disk before, or a link to it was given out
    members: int = 0


@dataclass(frozen=True, kw_only=True)
class _Posted:
    """A message that stands, and what it means for the clip."""

    message: str
    keep: bool = False  # the clip is still needed on disk
    lost: bool = False  # the message could only say that the clip cannot be had


class Deliverer:
    """Brings clips from Runflow to disk and notices to the front. `first_pause_s`: after the first try in vain."""

    def __init__(
        self,
        *,
        store: Runs,
        provider: Provider,
        media: Clips,
        clock: Clock,
        chance: random.Random,
        first_pause_s: float,
    ) -> None:
        self._store = store
        self._provider = provider
        self._media = media
        self._clock = clock
        self._chance = chance
        self._first_pause_s = first_pause_s
        self._transfers, self._posts = _Line(TRANSFERS_AT_ONCE), _Line(POSTS_AT_ONCE)
        self._shows = asyncio.Semaphore(SHOWS_AT_ONCE)
        self._showing: dict[str, _Showing] = {}  # by run id
        self._addresses: dict[str, str] = {}  # of clips that are about to be delivered, by run id

    # Clips, also for those who ask for one again

    @asynccontextmanager
    async def shown(self, run: Run, limit_bytes: int | None) -> AsyncIterator[Path | None]:
        """A clip that is asked for again, on disk in this block; None where it cannot be attached.

        It has transfers of its own, so deliveries never wait for it. What was fetched for it is deleted at the end,
        unless a link to it was given out. Raises Unreadable, ClipUnavailable.
        """
        showing = self._showing.setdefault(run.run_id, _Showing(kept=self._holds(run)))
        showing.members += 1
        try:
            async with self._shows:
                path = None
                with suppress(ClipTooSlow):  # then a link to it is what can be given
                    path = await self._attachable(run, limit_bytes)
                yield path
        finally:
            showing.members -= 1
            if not showing.members:
                del self._showing[run.run_id]
                if not showing.kept and not run.delivery_open:
                    self._media.discard(run.file_name)

    async def _attachable(self, run: Run, limit_bytes: int | None, address: str | None = None) -> Path | None:
        """The clip of a finished run on disk, if it is no larger than that. `address`: where it lies, if just read."""
        path = self._media.path(run.file_name)
        if not self._holds(run):
            if run.provider_id is None:
                raise ClipUnavailable("the run has no clip")
            try:
                await self._provider.fetch(run.provider_id, path, address)
            except (ClipTooBig, ClipNotKept) as error:
                log.warning("clip given as a link", run=run.run_id, reason=str(error))
                return None
        return path if limit_bytes is None or path.stat().st_size <= limit_bytes else None

    def _holds(self, run: Run) -> bool:
        return self._media.holds(run.file_name)

    async def link(self, run: Run) -> Link:
        """A fresh link to a clip: our own where it lies on disk and we have an address, else Runflow's."""
        if self._holds(run) and (ours := self._media.link(run.file_name)):
            if showing := self._showing.get(run.run_id):
                showing.kept = True
            return ours
        if run.provider_id is None:
            raise ClipUnavailable("the run has no clip")
        return Link(url=await self._provider.link(run.provider_id), expires_at=None)

    # Notices

    def expect(self, run_id: str, address: str) -> None:
        """The clip of a run that is delivered next was just read to lie at this address."""
        self._addresses[run_id] = address

    async def deliver(self, front: Front, run: Run, *, is_begun: bool = False) -> Run | None:
        """Try once to post what there is to tell; the run after it, or None where somebody else moved it.

        `is_begun`: this try is counted already, with the end of the run.
        """
        address = self._addresses.pop(run.run_id, None)
        line = self._transfers if run.notice == Notice.RESULT and run.shows_video else self._posts
        if line.is_full:
            now = self._clock.now()
            changes = RunChanges(due_at=now + jittered(self._chance, LINE_PAUSE_S))
            if is_begun:  # it does not begin after all
                changes |= RunChanges(delivery_tries=0, first_try_at=None)
            return await self._store.advance(run, run.state, now=now, changes=changes)
        async with line.place() as waited_s:
            begun = run if is_begun and waited_s < AT_ONCE_S else await self._begin(run, is_begun=is_begun)
            return None if begun is None else await self._try(front, begun, address)

    async def _begin(self, run: Run, *, is_begun: bool) -> Run | None:
        """Count one try more, or let the first that is counted begin only now.

        A first try that was counted with the end may never have begun, where the process died: what happened since
        then proves nothing about the place.
        """
        now = self._clock.now()
        never_begun = run.delivery_tries <= 1 and run.last_try_at is None
        first_try_at = now if never_begun or run.first_try_at is None else run.first_try_at
        tries = run.delivery_tries if is_begun else run.delivery_tries + 1
        changes = RunChanges(first_try_at=first_try_at, delivery_tries=tries)
        return await self._store.advance(run, run.state, now=now, changes=changes)

    async def _try(self, front: Front, run: Run, address: str | None) -> Run | None:
        attempt = _Try(front=front, run=run, doubtful=run.delivery == Delivery.SENDING, address=address)
        try:
            posted = await self._found(attempt) or await self._post(attempt)
        except _TROUBLE as error:
            log.warning("not delivered", run=run.run_id, attempt=run.delivery_tries, reason=str(error))
            return await self._advance(attempt, self._after_failure(attempt, error))
        log.info("delivered", run=run.run_id, notice=run.notice, message=posted.message)
        end = Delivery.UNDELIVERABLE if posted.lost else Delivery.DELIVERED
        changes = RunChanges(delivery=end, message=posted.message, due_at=self._next_look(run), tries=0)
        delivered = await self._advance(attempt, changes)
        if not posted.keep:
            self._media.discard(run.file_name)
        return delivered

    async def _advance(self, attempt: _Try, changes: RunChanges) -> Run | None:
        return await self._store.advance(attempt.run, attempt.run.state, now=self._clock.now(), changes=changes)

    async def _found(self, attempt: _Try) -> _Posted | None:
        """The message that an earlier try made; None where there is none, or where a repeat is safe unseen."""
        if not attempt.doubtful:
            return None
        begun_at, last_try_at = self._clock.now(), attempt.run.last_try_at
        arrived = last_try_at is not None and self._clock.elapsed(last_try_at) >= ARRIVES_S
        try:
            message = await attempt.front.find(attempt.run)
        except HistoryClosed:
            if not self._repeat_is_seen(attempt):
                raise
            attempt.unseen = True
            return None
        # What is not shown so long after the last try does not arrive any more.
        attempt.looked_at = begun_at
        attempt.doubtful = not arrived
        return None if message is None else _Posted(message=message, keep=True)

    async def _post(self, attempt: _Try) -> _Posted:
        """The notice with its clip: as a file, else as a link, else with the word that it is lost."""
        run = attempt.run
        if run.notice != Notice.RESULT or not run.shows_video:
            return _Posted(message=await self._send(attempt, None))
        if run.uploads >= UPLOADS_MAX:
            with suppress(Unreadable, ClipUnavailable):  # then it may be uploaded after all
                return await self._post_link(attempt)
        try:
            clip = await self._attachable(run, run.attachable_bytes, attempt.address)
        except ClipTooSlow:
            if run.delivery_tries < UPLOADS_MAX:
                raise
            return await self._post_link(attempt)
        except ClipUnavailable:
            if not self._tried_for(run, CLIP_GIVE_UP_S):
                raise
            log.error("clip unavailable; the member is told", run=run.run_id)
            return _Posted(message=await self._send(attempt, None), lost=True)
        if clip is not None:
            try:
                return _Posted(message=await self._send(attempt, clip))
            except TooLarge:
                log.info("clip too large to attach", run=run.run_id, bytes=clip.stat().st_size)
        return await self._post_link(attempt)

    async def _post_link(self, attempt: _Try) -> _Posted:
        link = await self.link(attempt.run)
        return _Posted(message=await self._send(attempt, link), keep=link.expires_at is not None)

    async def _send(self, attempt: _Try, clip: Path | Link | None) -> str:
        """Post, with the intent and the handle on disk before it."""
        if attempt.unseen and not self._repeat_is_seen(attempt):  # to get the clip took its time
            raise HistoryClosed("too late to be seen as a repeat")
        handle = await self._handle(attempt, clip)
        looked_at = attempt.looked_at if attempt.doubtful else None
        if looked_at is not None and not self._clock.within(looked_at, attempt.repeat_s):
            raise PostFailed("it was looked for too long ago")  # the clip is on disk by now: the next try is quicker
        now = self._clock.now()
        changes = RunChanges(delivery=Delivery.SENDING, last_try_at=now, post_handle=handle)
        sending = await self._advance(attempt, changes)
        if sending is None:
            raise PostFailed("somebody else moved the run")
        attempt.run, attempt.posting, attempt.uploading = sending, True, isinstance(clip, Path)
        return await attempt.front.post(sending, clip, handle)

    async def _handle(self, attempt: _Try, clip: Path | Link | None) -> str:
        """That of the earlier post while this may be its repeat, else a new one."""
        if attempt.doubtful and attempt.run.post_handle is not None:
            return attempt.run.post_handle
        attempt.uploading = isinstance(clip, Path)  # for some fronts this is the upload
        handle = await attempt.front.prepare(attempt.run, clip)
        attempt.uploading = False
        return handle

    def _repeat_is_seen(self, attempt: _Try) -> bool:
        """Whether the front would see now that a post is a repeat."""
        first_try_at = attempt.run.first_try_at
        return first_try_at is not None and self._clock.within(first_try_at, attempt.repeat_s)

    def _after_failure(self, attempt: _Try, error: Exception) -> RunChanges:
        """What is next after a try that came to nothing."""
        now, run = self._clock.now(), attempt.run
        doubtful = attempt.doubtful or (attempt.posting and isinstance(error, PostFailed))
        gone, closed = isinstance(error, PlaceGone), isinstance(error, PlaceClosed)
        refused = isinstance(error, PostRefused) and not doubtful
        closed_for_long = closed and not doubtful and self._clock.elapsed(run.first_try_at or now) >= CLOSED_S
        if refused and not run.plain:
            log.warning("posted again without the member's words", run=run.run_id, reason=str(error))
            return RunChanges(plain=True, delivery=Delivery.PENDING, due_at=now)
        if refused and attempt.uploading and run.uploads < UPLOADS_MAX:
            log.warning("clip given as a link: its place takes no such file", run=run.run_id)
            return RunChanges(uploads=UPLOADS_MAX, delivery=Delivery.PENDING, due_at=now)
        if not run.direct and (gone or closed_for_long or refused):
            log.warning("sent to the member instead: its place takes no messages", run=run.run_id)
            anew = RunChanges(delivery_tries=0, first_try_at=None, uploads=0, post_handle=None)
            return RunChanges(direct=True, delivery=Delivery.PENDING, due_at=now) | anew
        if gone or ((closed or refused) and run.direct) or self._tried_for(run, GIVE_UP_S):
            log.error("given up: its message cannot be posted", run=run.run_id)
            return RunChanges(delivery=Delivery.UNDELIVERABLE, due_at=self._next_look(run))
        longest = growing_pause(self._first_pause_s, run.delivery_tries - 1, PAUSE_MAX_S)
        tried_s = self._clock.elapsed(run.first_try_at or now)  # each start is a try, too, and proves nothing
        pause = jittered(self._chance, min(longest, max(self._first_pause_s, tried_s)))
        wait_s = error.wait_s if isinstance(error, Unreadable | ClipUnavailable) else None
        changes = RunChanges(delivery=Delivery.PENDING, due_at=now + max(pause, wait_s or 0.0))
        if attempt.uploading and isinstance(error, PostFailed):
            changes["uploads"] = run.uploads + 1
        if doubtful:
            changes["delivery"] = Delivery.SENDING
        if attempt.posting and isinstance(error, PostFailed):  # the front may have repeated it by itself until now
            changes["last_try_at"] = now
        return changes

    def _tried_for(self, run: Run, seconds: float) -> bool:
        """Whether the delivery was tried for so long, and often enough for that to mean something."""
        since = self._clock.now() if run.first_try_at is None else run.first_try_at
        return run.delivery_tries >= GIVE_UP_TRIES and self._clock.elapsed(since) >= seconds

    def _next_look(self, run: Run) -> float | None:
        """When a run whose notice is out, or given up, needs attention again."""
        wait_s = cost_wait_s(run, self._clock) if run.terminal else 0.0
        return None if wait_s is None else self._clock.now() + wait_s


def cost_wait_s(run: Run, clock: Clock) -> float | None:
    """In how many seconds an ended run is read again for its cost; None where that is not worth asking for."""
    if run.ended_at is None or run.cost_check_s is None:
        return None
    wait_s = run.cost_check_s - clock.elapsed(run.ended_at)
    if run.cost_checked_at is not None:  # a clock that was set while nobody ran would use all the checks up at once
        apart_s = COST_CHECKS_S[run.cost_checks] - COST_CHECKS_S[run.cost_checks - 1]
        wait_s = max(wait_s, apart_s - clock.elapsed(run.cost_checked_at))
    return max(0.0, wait_s)
