"""Any environment: settings, or one line that shows no secret."""

from __future__ import annotations

import asyncio
import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings import Settings
from bot.settings_reader import load_settings
from tests.harness import WAIT_S, nursery
from tests.words import said as in_words

NAMES = tuple(each.name for each in fields(Settings))
SECRETS = ("DISCORD_TOKEN", "RUNFLOW_API_KEY", "RUNFLOW_CALLBACK_SECRETS")
MARK = "h1dd3n"
_NASTY = st.sampled_from(
    ["", " ", "NaN", "-inf", "1e400", "-1", "0", "9" * 5000, "1e9999999999999999999", "0x10", "1_0", "١", "²", "true",
     "null",
     "[" * 100_000, '{"a":' * 30_000, '{"720p": {"silent": "1", "audio": NaN}}', '{"720p": ' + "9" * 5000 + "}", "[]",
     "{}",
     '{"720p": {"silent": "sNaN", "audio": "1"}}', '{"720p": 1}',
     '{"\\ud800": {"silent": "x"}}', '{"a\\nb": {"c\\nd": 1}}',
     "http://[", "http://", "https://[::1", "http://a:99999", "http://a:x", "http://\u2100.com",
     "http://u:h1dd3n@\u2100.com",
     "https://" + "a" * 70, "ws://x:0", "http://a\nb", "http://a b", "http://%00", "sqlite:///" + "a" * 300, "sqlite:////\udcff",
     "sqlite:///:memory:", "sqlite:///?mode=ro", "/", "..", "\udcff", "\udcff,\udc80", "a\nb", "a\r\u2028b", "*,*",
     "12,x\ny",
     "UTC\n", "Europe", "posix/../UTC", "a" * 300, "tzdata.zi", "day ", "\u202e"]
) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)  # fmt: skip
_SECRET = st.tuples(
    _NASTY.filter(lambda text: len(text) < 400), st.sampled_from(["{}" + MARK, MARK + "{}", MARK + "{}, {}"])
).map(lambda drawn: drawn[1].replace("{}", drawn[0]))
_ENVIRONMENT = st.dictionaries(st.sampled_from(NAMES), _NASTY, max_size=3)


def loaded(environment: dict[str, str]) -> Settings | str:
    """The settings, or the sentence about them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.delenv(name.upper(), raising=False)
        for name, value in environment.items():
            patch.setenv(name.upper(), value)
        try:
            return load_settings()
        except SettingsError as error:
            return in_words(error)


def test_any_environment_gives_settings_or_one_line_without_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several settings at once with any values: settings, or a line that names each wrong one and shows no value."""
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=400, deadline=None)
    @given(environment=_ENVIRONMENT, secrets=st.dictionaries(st.sampled_from(SECRETS), _SECRET, max_size=3))
    @example({"price_usd_per_second": "[" * 100_000}, {})
    @example({"runflow_api_url": "http://u:h1dd3n@\u2100.com"}, {})
    @example({"runflow_api_url": "http://a:99999"}, {})
    @example({"web_host": "a" * 70}, {})
    @example({"web_host": "a\nb"}, {})
    def gives_settings_or_one_line(environment: dict[str, str], secrets: dict[str, str]) -> None:
        good = {"DISCORD_TOKEN": "abc.def", "RUNFLOW_API_KEY": "rf_live_1"}
        wrong = {name: value for name, value in environment.items() if name.upper() not in SECRETS}
        said = loaded(good | wrong | secrets)
        if isinstance(said, str):
            assert len(said.splitlines()) == 1, said
            assert MARK not in said
            named = {name for name in NAMES if name.upper() in said}
            assert named & {name.lower() for name in (*wrong, *secrets)}, said
        else:
            kept = {name.lower(): getattr(said, name.lower()) for name in SECRETS}
            assert MARK not in repr(Settings(**kept))  # any other setting may be shown

    gives_settings_or_one_line()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISCORD_TOKEN", b"h1dd3n\xff"),
        ("PRICE_USD_PER_SECOND", b"[" * 100_000),
        ("RUNFLOW_API_URL", b"http://u:h1dd3n@127.0.0.1:99999"),
        ("DATABASE_URL", b"sqlite:////dev/null/\xff/x.db"),
        ("WEB_HOST", b"h1dd3n\xff"),
    ],
)
async def test_no_setting_gives_a_traceback(tmp_path: Path, name: str, value: bytes) -> None:
    """`python -m bot run` with bytes that are invalid in the setting: exit code 2, one line, no secret."""
    environment = {"PATH": "/usr/bin:/bin", "DISCORD_TOKEN": "abc.def", "RUNFLOW_API_KEY": "rf_live_1"}
    environment |= {
        "WEB_PORT": "0",
        "OPERATOR_PORT": "0",
        "RUNFLOW_API_URL": "http://127.0.0.1:9",
        name: os.fsdecode(value),
    }
    async with asyncio.timeout(WAIT_S):
        code, output, errors = await nursery().run("bot", "run", folder=tmp_path, environment=environment)
    assert (code, output) == (2, ""), errors
    assert "Traceback" not in errors
    assert len(errors.splitlines()) == 1, errors
    assert name in errors
    assert MARK not in errors
