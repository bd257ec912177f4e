"""What the log never shows: secrets, tokens in addresses, and the queries of presigned addresses."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.telemetry.logs import MaskingFormatter

ROOT = Path(__file__).resolve().parent.parent
SECRETS = ["MTA1.Gx.discord-token", "rf_live_0123456789", "whsec_first_0001", "whsec_second_0002"]


def written(message: str, *args: object, error: BaseException | None = None, secrets: list[str] | None = None) -> str:
    """The line that a record becomes."""
    trace = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("veo.test", logging.INFO, __file__, 1, message, args, trace)
    return MaskingFormatter(SECRETS if secrets is None else secrets).format(record)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    """In the message, in an argument, in an address and in the words of an error that is logged."""
    try:
        raise ValueError(f"refused: Bearer {secret}")
    except ValueError as error:
        line = written(f"key {secret}, %s and http://h/{secret}/x", [secret], error=error)
    assert secret not in line
    assert line.count("***") == 4
    assert "Traceback" in line
    assert "ValueError: refused: Bearer ***" in line


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
def test_tokens_in_addresses_are_masked(text: str, masked: str) -> None:
    """Queries of addresses, callback, media and interaction tokens; the rest of an address stays readable."""
    assert written("%s", text).endswith(f" veo.test {masked}")


@pytest.mark.parametrize(
    "text",
    ["run=abc234 state=running price_u=3200000", "https://cdn.example/1.mp4", "what? https://discord.com/api",
     "invite: https://discord.com/oauth2/authorize?client_id=1&scope=bot"],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    """Ordinary words, addresses without a query and the invite link are told as they are."""
    assert written("%s", text).endswith(f" INFO veo.test {text}")


def test_an_unset_secret_masks_nothing() -> None:
    """An empty secret is not found between all letters."""
    assert written("hello", secrets=[""]).endswith("hello")


@given(
    secrets=st.lists(st.text("abcXYZ012._-", min_size=8, max_size=20), min_size=1, max_size=4),
    words=st.lists(st.text(max_size=10), max_size=4),
    choice=st.integers(0, 3),
)
def test_no_line_shows_any_secret(secrets: list[str], words: list[str], choice: int) -> None:
    """Whatever stands around it, no secret comes through whole."""
    secret = secrets[choice % len(secrets)]
    line = written("%s", secret.join(["", *words, ""]), secrets=secrets)
    assert all(each not in line for each in secrets)


def test_of_two_secrets_no_rest_is_shown() -> None:
    """A secret that begins like another one, as after a rotation, is masked whole."""
    line = written("key whsec_rotated_0001_NEW.", secrets=["whsec_rotated_0001", "whsec_rotated_0001_NEW"])
    assert line.endswith("key ***.")


def test_an_event_is_one_upright_line() -> None:
    """Outside text in it neither begins another event, nor turns the line round, nor talks to the terminal."""
    hostile = "a\nERROR veo forged\r\u2028b\u202ec\x1b[31md"
    line = MaskingFormatter([]).format(logging.makeLogRecord({"msg": "said %s", "args": (hostile,)}))
    assert "said a ERROR veo forged" in line
    assert not set(line) & set("\n\r\u2028\u202e\x1b")
    try:
        raise ValueError("x")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert MaskingFormatter([]).format(record).count("\n") >= 3


def test_the_started_log_masks_every_logger() -> None:
    """Our own lines from INFO on, the libraries' from WARNING on, all on standard error and all masked."""
    program = (
        "import logging\n"
        "from bot.telemetry.logs import start_logging\n"
        "start_logging(['rf_live_0123456789'])\n"
        "logging.getLogger('veo.engine').info('told rf_live_0123456789')\n"
        "logging.getLogger('veo.engine').debug('too quiet')\n"
        "logging.getLogger('aiohttp.server').info('not ours')\n"
        "logging.getLogger('aiohttp.server').warning('POST /callbacks/runflow/abcdef failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    told = [line.split(" ", 2)[2] for line in done.stderr.splitlines()]
    assert told == ["INFO veo.engine told ***", "WARNING aiohttp.server POST /callbacks/runflow/*** failed"]
