"""One SQLite file: its writer, its schema, its copies, and reading beside them."""
