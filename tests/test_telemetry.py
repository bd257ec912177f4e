"""The log and the metrics: events with their fields, and never a secret, a token in an address or a signed query."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.records import Figures
from bot.log import bind, get_logger
from bot.telemetry.logs import formatter
from bot.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
SECRETS = ["MTA1.Gx.discord-token", "rf_live_0123456789", "whsec_first_0001", "whsec_second_0002"]
BOTH = pytest.mark.parametrize("terminal", [False, True], ids=["json", "terminal"])
COLOURS = re.compile(r"\x1b\[\d*m")


@contextmanager
def logged(*, terminal: bool = False, secrets: list[str] | None = None) -> Iterator[io.StringIO]:
    """What the bot's log says of this block."""
    text, handler = io.StringIO(), logging.StreamHandler()
    handler.setStream(text)
    handler.setFormatter(formatter(SECRETS if secrets is None else secrets, terminal=terminal))
    logger = logging.getLogger("veo.test")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield text
    finally:
        logger.removeHandler(handler)


def written(text: str, *, terminal: bool, secrets: list[str] | None = None) -> str:
    """The lines of one text: as an event of ours, as a field, and as a library logs it; without colours."""
    with logged(terminal=terminal, secrets=secrets) as log:
        get_logger("veo.test").info(text)
        get_logger("veo.test").info("event", field=text, several=[text], words={"of": text})
        logging.getLogger("veo.test").info("%s", text)
    return COLOURS.sub("", log.getvalue())


def test_an_event_is_told_with_its_fields() -> None:
    """As JSON: when, how bad, whose, what, and then the fields in their order, numbers as numbers."""
    with logged() as log:
        get_logger("veo.test").warning("not delivered", reason="closed", tries=2, direct=False, wait_s=1.5, place=None)
    line = json.loads(log.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert list(line.items()) == [
        ("level", "warning"),
        ("logger", "veo.test"),
        ("event", "not delivered"),
        ("reason", "closed"),
        ("tries", 2),
        ("direct", False),
        ("wait_s", 1.5),
        ("place", None),
    ]


def test_a_line_for_people_reads_as_one() -> None:
    """At a terminal: the same, in colours, with `key=value`."""
    with logged(terminal=True) as log:
        get_logger("veo.test").warning("not delivered", reason="closed", tries=2)
    assert "\x1b[" in log.getvalue()
    plain = COLOURS.sub("", log.getvalue())
    assert re.fullmatch(r"\S+Z \[warning *\] not delivered +\[veo\.test\] reason=closed tries=2\n", plain)


async def test_what_is_bound_is_named_in_each_line_of_the_task() -> None:
    """Also in what a library logs there, and in no other task."""

    async def step(run: str) -> None:
        bind(run=run, member=f"member of {run}")
        await asyncio.sleep(0)
        get_logger("veo.test").info("step")
        logging.getLogger("veo.test").info("library")

    with logged() as log:
        await asyncio.gather(step("a"), step("b"))
        get_logger("veo.test").info("outside")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [(line["event"], line.get("run"), line.get("member")) for line in lines]
    expected = [(event, run, f"member of {run}") for run in "ab" for event in ("step", "library")]
    assert told == [*expected, ("outside", None, None)]


@BOTH
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: str, terminal: bool) -> None:
    """In the event, in a field of any type, in an address and in the words of an error that is logged."""
    with logged(terminal=terminal) as log:
        try:
            raise ValueError(f"refused: Bearer {secret}")
        except ValueError as error:
            get_logger("veo.test").exception(f"key {secret}", a=secret, b=[secret], c=error, d=f"http://h/{secret}/x")
    text = log.getvalue()
    assert secret not in text
    assert text.count("***") == 6
    assert "Traceback" in text
    assert "ValueError: refused: Bearer ***" in text


@BOTH
@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET https://cdn.example/v/1.mp4?X-Sig=abc&e=1 failed", "GET https://cdn.example/v/1.mp4?*** failed"),
        ("url=URL('http://127.0.0.1:8/f/0.mp4?signature=abc')", "url=URL('http://127.0.0.1:8/f/0.mp4?***')"),
        ('"https://a.example/?s=1" and "https://b.example/x?s=2"', '"https://a.example/?***" and "https://b.example/x?***"'),
        ("proxy http://me:p@w@proxy.example:3128 refuses", "proxy http://***@proxy.example:3128 refuses"),
        ("POST /callbacks/runflow/abcdefgh234 HTTP/1.1", "POST /callbacks/runflow/*** HTTP/1.1"),
        ("https://bot.example/callbacks/runflow/abc?x=1", "https://bot.example/callbacks/runflow/***"),
        ("GET /media/AAAA-_bc/veo-abc.mp4", "GET /media/***/veo-abc.mp4"),
        ("/api/v10/interactions/123/aW50/callback", "/api/v10/interactions/123/***/callback"),
        ("/webhooks/123/aW50/messages/@original", "/webhooks/123/***/messages/@original"),
    ],
)  # fmt: skip
def test_tokens_in_addresses_are_masked(text: str, masked: str, terminal: bool) -> None:
    """Queries of addresses, callback, media and interaction tokens; the rest of an address stays readable."""
    lines = written(text, terminal=terminal).splitlines()
    for gone in ("X-Sig=abc", "signature=abc", "s=1", "s=2", "p@w", "abcdefgh234", "/abc?", "AAAA-_bc", "aW50"):
        assert gone not in "".join(lines)
    if not terminal:
        assert [json.loads(line)["event"] for line in lines] == [masked, "event", masked]
        assert json.loads(lines[1])["field"] == masked
    else:
        assert masked in lines[0]
        assert masked in lines[2]


@pytest.mark.parametrize(
    "text",
    ["run=abc234 state=running price_u=3200000", "https://cdn.example/1.mp4", "what? https://discord.com/api",
     "invite: https://discord.com/oauth2/authorize?client_id=1&scope=bot"],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    """Ordinary words, addresses without a query and the invite link are told as they are."""
    lines = [json.loads(line) for line in written(text, terminal=False).splitlines()]
    assert [lines[0]["event"], lines[1]["field"], lines[2]["event"]] == [text] * 3
    assert text in written(text, terminal=True)


def test_an_unset_secret_masks_nothing() -> None:
    """An empty secret is not found between all letters."""
    assert "***" not in written("hello", terminal=False, secrets=[""])


@given(
    secrets=st.lists(st.text("abcXYZ012._-", min_size=8, max_size=20), min_size=1, max_size=4),
    words=st.lists(st.text(max_size=10), max_size=4),
    choice=st.integers(0, 3),
    terminal=st.booleans(),
)
def test_no_line_shows_any_secret(secrets: list[str], words: list[str], choice: int, terminal: bool) -> None:
    """Whatever stands around it, no secret comes through whole."""
    secret = secrets[choice % len(secrets)]
    lines = written(secret.join(["", *words, ""]), secrets=secrets, terminal=terminal)
    assert all(each not in lines for each in secrets)


def test_of_two_secrets_no_rest_is_shown() -> None:
    """A secret that begins like another one, as after a rotation, is masked whole."""
    secrets = ["whsec_rotated_0001", "whsec_rotated_0001_NEW"]
    lines = written("key whsec_rotated_0001_NEW.", secrets=secrets, terminal=False)
    assert json.loads(lines.splitlines()[0])["event"] == "key ***."


@BOTH
def test_an_event_is_one_upright_line(terminal: bool) -> None:
    """Outside text in it neither begins another event, nor turns the line round, nor talks to the terminal."""
    lines = written("a\nERROR veo forged\r\u2028b\u202ec\x1b[31md", terminal=terminal)
    assert lines.count("\n") == 3
    assert lines.count("a ERROR veo forged") == 5
    assert not set(lines) & set("\r\u2028\u202e\x1b")
    assert not re.search(r"\\u202e|\\u001b|\\u2028", lines)


@BOTH
def test_a_trace_is_told_whole(terminal: bool) -> None:
    """Below its line at a terminal, in its line as JSON; never with the values of variables."""
    with logged(terminal=terminal) as log:
        try:
            unseen = "a value"
            raise ValueError("x" if unseen else "")
        except ValueError:
            get_logger("veo.test").exception("failed")
    assert (log.getvalue().count("\n") >= 4) == terminal
    trace = log.getvalue() if terminal else json.loads(log.getvalue())["exception"]
    assert trace.count("\n") >= 3
    assert "Traceback (most recent call last):" in trace
    assert "a value" not in trace.replace('unseen = "a value"', "")


PROGRAM = """
import logging
from bot.log import get_logger
from bot.telemetry.logs import start_logging
start_logging(["rf_live_0123456789"])
log = get_logger("veo.engine")
log.info("told", key="rf_live_0123456789")
log.debug("too quiet")
logging.getLogger("aiohttp.server").info("not ours")
logging.getLogger("aiohttp.server").warning("POST /callbacks/runflow/abcdef failed")
"""


def test_the_started_log_masks_every_logger() -> None:
    """Our own lines from INFO on, the libraries' from WARNING on, all on standard error, JSON and masked."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    for line in lines:
        del line["timestamp"]
    assert lines == [
        {"level": "info", "logger": "veo.engine", "event": "told", "key": "***"},
        {"level": "warning", "logger": "aiohttp.server", "event": "POST /callbacks/runflow/*** failed"},
    ]


def test_the_started_log_is_for_people_at_a_terminal() -> None:
    """The one rule: words where somebody looks, JSON where somebody keeps it."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=theirs, check=True)
    os.close(theirs)
    text = COLOURS.sub("", os.read(ours, 10_000).decode())
    os.close(ours)
    assert "[info     ] told" in text
    assert "key=***" in text
    assert "{" not in text


async def test_metrics_are_read_anew_for_each_scrape() -> None:
    """Each a gauge with its meaning, in the format that is asked for, and nothing of them is global."""
    figures = Figures(open=3, unknown=1, overdue=0, unreadable=0, lookup_proven=True)

    async def read() -> Figures:
        return figures

    metrics = Metrics(read)
    page, content_type = await metrics.scrape("")
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"# TYPE veo_runs_open gauge\nveo_runs_open 3.0\n" in page
    assert page.count(b"# HELP veo_") == page.count(b"# TYPE veo_") == 5
    figures = Figures(open=0, unknown=0, overdue=0, unreadable=0, lookup_proven=False)
    page, content_type = await metrics.scrape("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert b"veo_runs_open 0.0\n" in page
    assert page.endswith(b"# EOF\n")
    assert b"veo_" not in prometheus_client.generate_latest()
