"""A database as it is at one moment, read beside the bot that goes on writing it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import DatabaseError
from storage.sqlite import migrations
from storage.sqlite.store import database_path

if TYPE_CHECKING:
    from sqlite_utils import Database


@contextmanager
def snapshot(url: str, *, older: bool = False) -> Iterator[Database]:
    """The whole database as it is at one moment, to be read only, beside a bot that goes on writing.

    Raises DatabaseError where there is no database of ours to read, or, unless `older` ones will do, one that this
    version has not brought up to date yet.
    """
    from sqlite_utils import Database  # noqa: PLC0415 - the running bot does without, see `storage.sqlite.migrations`

    path = database_path(url)
    if not Path(path).is_file():
        raise DatabaseError("database.none", path=path)
    try:
        with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("BEGIN")
            migrations.refuse_what_is_not_ours(connection, path)
            if not migrations.applied(connection):
                raise DatabaseError("database.empty", path=path)
            if not older and not migrations.is_up_to_date(connection):
                raise DatabaseError("database.older", path=path)
            yield Database(connection, execute_plugins=False, recursive_triggers=False)
    except sqlite3.Error as error:
        raise DatabaseError("database.unreadable", path=path, why=str(error)) from error
