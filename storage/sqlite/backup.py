"""Copies the database while the bot goes on writing: one moment of it, as one file that the bot can be started on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.errors import DatabaseError, SettingsError, StartError
from storage.sqlite.snapshot import snapshot
from storage.sqlite.store import database_path
from storage.sqlite.writer import is_damage

# What SQLite would read as a part of the new file, were it left there of another database.
_SIDES = ("-wal", "-shm", "-journal")


def back_up(url: str, file: Path) -> int:
    """Copy the database as it is at one moment into a new file, which its owner alone may read; its size in bytes.

    The file appears under its name only when it is whole, checked and on the disk, and it needs no other beside it.
    Raises SettingsError where it cannot be a new file, DatabaseError where there is no database of ours to copy or
    that is damaged, and StartError where the copy cannot be written or its name not surely kept.
    """
    with _told(database_path(url), file), _folder_beside(file) as folder:
        part = folder / "copy.db"
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # before a token is in it
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            _copy(url, file, copy)
            _check(copy)
        _sync(part)
        _name(part, file)
        _sync(file.parent)
    return file.stat().st_size


@contextmanager
def _folder_beside(file: Path) -> Iterator[Path]:
    """On the same disk, and gone afterwards with whatever SQLite made in it."""
    _refuse(file)
    with TemporaryDirectory(prefix=".veo-backup-", dir=file.parent) as name:
        yield Path(name)


def _refuse(file: Path) -> None:
    """Raise SettingsError where the name is taken, also by what is left of another database, or has no folder."""
    if file.is_dir():
        raise SettingsError("backup.folder", file=str(file), example=str(file / "veo-backup.db"))
    if not file.parent.is_dir():
        raise SettingsError("backup.no_folder", folder=str(file.parent))
    for taken in (file, *(file.with_name(f"{file.name}{side}") for side in _SIDES)):
        if os.path.lexists(taken):
            raise SettingsError("backup.exists", file=str(taken))


@contextmanager
def _told(path: str, file: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:  # it came while the copy was made
        raise SettingsError("backup.exists", file=str(file)) from None
    except (sqlite3.Error, OSError) as error:
        if is_damage(error):
            raise DatabaseError("backup.damaged", path=path, why=str(error)) from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartError("backup.unwritable", file=str(file), why=str(reason)) from error


def _copy(url: str, file: Path, copy: sqlite3.Connection) -> None:
    """All pages in one step, which no writer can make start again: the snapshot is held from before it."""
    with snapshot(url, older=True) as db, _told(database_path(url), file):
        db.conn.backup(copy)


def _check(copy: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError where a page, an index or a check of the schema does not hold."""
    copy.execute("PRAGMA journal_mode = DELETE")  # a reader of the write-ahead kind would make files beside it
    ((verdict,),) = copy.execute("PRAGMA integrity_check(1)").fetchall()
    if verdict != "ok":
        damage = sqlite3.DatabaseError(" ".join(verdict.split()))
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


def _name(part: Path, file: Path) -> None:
    """Give the copy its name. Raises FileExistsError where that was taken meanwhile."""
    try:
        file.hardlink_to(part)  # a rename would replace what is there
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        part.rename(file)


def _sync(path: Path) -> None:
    """What the file or the folder holds is on the disk from here on."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
