"""What survives a restart: the only code that knows a database.

`open_store` gives the one writer of a database, and `Archive` reads it in bulk beside that; `check_books` proves the
books of any, `export_entries` writes them out and `back_up` copies the database, all three also beside a running bot.
Callers speak in verbs of the business, each one transaction (`bot.ports.Store`). What a verb decides and says to the
database stands in `storage.verbs`, once for every database; `storage.sqlite` runs it.
"""

from __future__ import annotations

from storage.audit import Proof, check_books, prove
from storage.export import export_entries
from storage.sqlite.backup import back_up
from storage.sqlite.reading import Archive
from storage.sqlite.store import SqliteStore, open_store

__all__ = ["Archive", "Proof", "SqliteStore", "back_up", "check_books", "export_entries", "open_store", "prove"]
