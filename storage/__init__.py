"""What survives a restart: the only code that knows a database.

`open_store` gives the one writer of a database; `check_books` proves the books of any and `export_entries` writes them
out, both also beside a running bot. Callers speak in verbs of the business, each one transaction; see
`bot.ports.Store`.
"""

from __future__ import annotations

from storage.audit import check_books
from storage.export import export_entries
from storage.sqlite import SqliteStore, open_store

__all__ = ["SqliteStore", "check_books", "export_entries", "open_store"]
