"""The verbs of the store say nothing that only SQLite understands (`storage.verbs`, `storage.dialect`)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import storage.verbs

VERBS = Path(storage.verbs.__file__).parent
STATEMENT = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|AND|OR|CASE|SET|ORDER BY|VALUES)\b")
FUNCTIONS = (
    *(
        "json_\\w+",
        "randomblob",
        "hex",
        "ifnull",
        "iif",
        "strftime",
        "julianday",
        "unixepoch",
        "printf",
        "typeof",
        "instr",
    ),
    *("typeof", "instr", "total", "group_concat", "zeroblob", "quote", "last_insert_rowid", "changes"),
)
WORDS = (
    *("GLOB", "REGEXP", "ISNULL", "NOTNULL", "PRAGMA", "VACUUM", "ATTACH", "INDEXED BY", "AUTOINCREMENT", "STRICT"),
    *("REPLACE INTO", "INSERT OR", "UPDATE OR", "rowid", "_rowid_", "sqlite_\\w+", "IMMEDIATE"),
)
FLAGS = ("overdue", "in_line", "direct", "plain", "unknown_told", "lookup_fresh", "1")
ONLY_SQLITE = {
    "functions of its own": rf"\b({'|'.join(FUNCTIONS)})\s*\(",
    "max and min of several values": r"\b(max|min)\s*\([^()]*,",
    "words of its own": rf"\b({'|'.join(WORDS)})\b",
    "IS between values": r"\bIS (?!(NOT )?NULL\b)(?!(NOT )?DISTINCT\b)\S",
    "a number as a condition": rf"\b(WHERE|AND|OR|NOT)\s+\(?(\w+\.)?({'|'.join(FLAGS)})\b(?!\s*(=|!=|<|>|IS\b|IN\b))",
    "values without a name": r"\?",
    "double quotes for texts, or two equal signs": r'==|"',
}


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is SQL or a part of it, with its line; what is put into it stands as a name."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "put_in" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told | parts:
            text = node.value
        else:
            continue
        if STATEMENT.search(text):
            yield node.lineno, text


@pytest.mark.parametrize("path", sorted(VERBS.glob("*.py")), ids=lambda path: path.stem)
def test_what_only_sqlite_understands_stands_in_the_dialect(path: Path) -> None:
    """Each statement of a verb could be given to another database as it is."""
    found = [
        f"{path.name}:{line}: {what}: {text}"
        for line, text in texts_of(path)
        for what, pattern in ONLY_SQLITE.items()
        if re.search(pattern, text, re.IGNORECASE)
    ]
    assert found == []


def test_the_statements_are_seen() -> None:
    """As many as there are, so that the test above does not pass for want of them."""
    assert sum(1 for path in VERBS.glob("*.py") for _ in texts_of(path)) > 60


@pytest.mark.parametrize(
    ("what", "sql"),
    [
        ("functions of its own", "SELECT 1 FROM json_each(run.roles) WHERE value = :name"),
        ("max and min of several values", "SELECT max(:a, :b) FROM run"),
        ("words of its own", "SELECT 1 FROM budget WHERE period_key GLOB :key"),
        ("words of its own", "INSERT OR IGNORE INTO answer VALUES (:origin)"),
        ("IS between values", "SELECT 1 FROM run WHERE state IS NOT :state"),
        ("a number as a condition", "SELECT 1 FROM run WHERE state = :state AND NOT other.overdue"),
        ("a number as a condition", "SELECT 1 FROM run WHERE 1 AND state = :state"),
        ("values without a name", "SELECT 1 FROM run WHERE run_id = ?"),
    ],
)
def test_each_sort_is_noticed(what: str, sql: str) -> None:
    """The patterns find what they are there for."""
    assert re.search(ONLY_SQLITE[what], sql, re.IGNORECASE)


def test_the_patterns_let_the_rest_pass() -> None:
    """Words that look alike and belong to every database."""
    sql = "SELECT max(at) FROM run WHERE message IS NOT NULL AND run.overdue = 0 AND in_line = 1 OR ended_at IS NULL"
    assert [what for what, pattern in ONLY_SQLITE.items() if re.search(pattern, sql, re.IGNORECASE)] == []
