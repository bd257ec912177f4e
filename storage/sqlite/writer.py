"""The one connection that writes: a lock file, a thread, and transactions that share their commits.

Jobs that have queued up while the disk was busy run one after the other in one transaction, each inside a savepoint of
its own, and are committed together; each caller is answered after the commit that made its job durable. A job is a
function of the transaction alone, so that it may be run again: where the shared transaction breaks, each gets one of
its own, and each caller its own verdict.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from bot.errors import DatabaseError, StoreDown
from storage.dialect import Transaction
from storage.sqlite import migrations
from storage.sqlite.transaction import SqliteTransaction, immediate, undo, undo_job

Result = TypeVar("Result")
Job = tuple[Callable[[Transaction], Any], "asyncio.Future[Any]"]
Verdict = tuple[Any, BaseException | None]  # what a job gave, or what it raised

TOGETHER_MAX = 64  # jobs that share one commit; more wait for the next


class Writer:
    """Opens the database, refusing a second writer, and runs transactions until it is closed.

    `executor` runs the jobs one after the other; by default a thread of its own. `through` gives what stands between
    the jobs and the connection. Raises DatabaseError with a sentence where the file cannot be used, and then leaves it
    untouched.
    """

    def __init__(
        self,
        path: str,
        executor: Executor | None = None,
        through: Callable[[sqlite3.Connection], sqlite3.Connection] | None = None,
    ) -> None:
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="store")
        self._jobs: deque[Job] = deque()
        self._asking = Lock()
        self._drain_waits = False  # behind every job waits a drain, and one is enough for all that wait
        self.damage: sqlite3.Error | None = None  # the first sign that the file is corrupt; no later success undoes it
        try:
            self._lock = _lock_out_others(path)
            try:
                self.connection = self._executor.submit(_open, path).result()
            except BaseException:
                os.close(self._lock)
                self._executor.shutdown()
                raise
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError("database.unopened", path=path, why=str(error)) from error
        if through is not None:
            self.connection = through(self.connection)

    async def close(self) -> None:
        await self._behind_all(self.connection.close)
        self.let_go()

    def let_go(self) -> None:
        """Give the file up to the next process without a word, as when this one dies; nothing can be asked any more."""
        self._executor.shutdown()
        os.close(self._lock)

    async def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run one transaction; a cancelled caller never interrupts it. Raises StoreDown, and then nothing was kept.

        Once the file has shown to be corrupt, nothing is written into it any more.
        """
        if self.damage is not None:
            raise StoreDown from self.damage
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        with self._asking:
            self._jobs.append((work, answer))
            if not self._drain_waits:
                self._drain_waits = True
                loop.call_soon(self._send)  # behind all who ask in this turn of the loop, so that they share a commit
        return await self._spoken(answer)

    def _send(self) -> None:
        try:
            self._executor.submit(self._drain)
        except RuntimeError as error:  # it was shut down
            with self._asking:
                self._drain_waits = False
                jobs = [self._jobs.popleft() for _ in range(len(self._jobs))]
            _answer(jobs, [(None, error)] * len(jobs))

    async def read(self, work: Callable[[Transaction], Result]) -> Result:
        """Run one reading behind everything that was asked for before it. Raises StoreDown."""
        return await self._behind_all(lambda: work(self._between_transactions()))

    async def _behind_all(self, work: Callable[[], Result]) -> Result:
        if self._jobs:  # they wait for the end of this turn of the loop; a drain too many finds nothing to do
            self._executor.submit(self._drain)
        answer = asyncio.wrap_future(self._executor.submit(work))
        # An error whose caller was cancelled meanwhile is nobody's any more, and nothing to complain about.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await self._spoken(asyncio.shield(answer))

    async def _spoken(self, answer: Awaitable[Result]) -> Result:
        try:
            return await answer
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            if self.damage is None and is_damage(error):
                self.damage = error
            raise StoreDown from error

    def _drain(self) -> None:
        """In the writer's thread: commit together what has queued up."""
        self._drain_waits = False  # first: whoever asks from here on sends another
        for _ in range(0, len(self._jobs), TOGETHER_MAX):
            jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), TOGETHER_MAX))]
            _answer(jobs, self._verdicts([work for work, _ in jobs]))

    def _verdicts(self, works: list[Callable[[Transaction], Any]]) -> list[Verdict]:
        try:
            self._between_transactions()
            together = self._together(works) if len(works) > 1 else None
            return together or [self._alone(work) for work in works]
        except BaseException as error:  # noqa: BLE001 - whatever it was, nobody is left waiting
            return [(None, error)] * len(works)

    def _between_transactions(self) -> SqliteTransaction:
        """For a reading with no transaction open: one that the disk did not even let undo is undone now."""
        if self.connection.in_transaction:
            undo(self.connection)
        return SqliteTransaction(self.connection)

    def _alone(self, work: Callable[[Transaction], Any]) -> Verdict:
        try:
            with immediate(self.connection) as tx:
                result = work(tx)
        except BaseException as error:  # noqa: BLE001 - whatever it was belongs to the caller
            return None, error
        return result, None

    def _together(self, works: list[Callable[[Transaction], Any]]) -> list[Verdict] | None:
        """One commit for all; None, and nothing was kept, where it could not be had."""
        verdicts: list[Verdict] = []
        try:
            with immediate(self.connection) as tx:
                for work in works:
                    self.connection.execute("SAVEPOINT job")
                    try:
                        verdicts.append((work(tx), None))
                    except sqlite3.OperationalError:  # the disk, a lock: perhaps all of the transaction is gone
                        raise
                    except BaseException as error:  # noqa: BLE001 - whatever it was belongs to the caller
                        verdicts.append((None, error))
                        undo_job(self.connection)
                    self.connection.execute("RELEASE job")
        except sqlite3.Error:
            return None
        return verdicts


def _answer(jobs: list[Job], verdicts: list[Verdict]) -> None:
    """Wake each event loop once, with the verdicts on all of its jobs."""
    of_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Verdict]]] = {}
    for (_, answer), verdict in zip(jobs, verdicts, strict=True):
        of_loop.setdefault(answer.get_loop(), []).append((answer, verdict))
    for loop, answers in of_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there
            loop.call_soon_threadsafe(_tell, answers)


def _tell(answers: list[tuple[asyncio.Future[Any], Verdict]]) -> None:
    """In the callers' thread."""
    for answer, (result, error) in answers:
        if answer.done():  # cancelled
            continue
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)


def is_damage(error: BaseException) -> bool:
    """Whether the error says that the file itself is corrupt: unlike a full disk, that does not pass by itself."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # what Python itself refuses has none
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _lock_out_others(path: str) -> int:
    """Take the lock beside the database; the system drops it when the process dies, however it dies.

    Beside the file itself, by whichever links it was named: a second name is no second database.
    """
    real = os.path.realpath(path)
    Path(real).parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{real}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 100).decode(errors="replace").strip() or "another process"
        os.close(lock)
        raise DatabaseError("database.in_use", path=path, owner=owner) from None
    except OSError as error:  # such as ENOLCK, of some network disks
        os.close(lock)
        raise DatabaseError("database.unlockable", path=path, why=str(error.strerror)) from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}".encode(), 0)
    except OSError:  # a full disk: the next try is to find no lock
        os.close(lock)
        raise
    return lock


def _open(path: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # it holds tokens: for its owner alone
    # Without an isolation level the transactions are ours to begin.
    connection = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)
    try:
        migrations.refuse_what_is_not_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")  # what a savepoint keeps for its undoing is not worth a file
        if not migrations.is_up_to_date(connection):
            migrations.migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection
