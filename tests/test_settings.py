"""The settings: read from the environment and `.env`, refused in one sentence, documented without drift."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.settings import Settings, env_example, knobs, load_settings, settings_table
from tests.harness import ROOT

GOOD = {"DISCORD_TOKEN": "abc.def.ghi", "RUNFLOW_API_KEY": "rf_live_1"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the surroundings, and a folder without `.env`."""
    for knob in knobs():
        monkeypatch.delenv(knob.name, raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def test_two_secrets_are_enough() -> None:
    """Everything else has the contract's default."""
    settings = load_settings()
    assert settings.quota_user_usd == Decimal("10.00")
    assert (settings.quota_guild_usd, settings.quota_total_usd) == (None, None)
    assert settings.quota_confirm_above_usd == Decimal("3.20")
    assert settings.discord_servers == ()
    assert settings.public_url is None
    assert settings.price_usd_per_second["4k"]["audio"] == Decimal("0.60")


def test_dot_env_is_read_and_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`.env` counts, the environment counts more, and NAME= leaves the default."""
    (tmp_path / ".env").write_text("QUOTA_USER_USD=7.50\nWEB_PORT=9000\nPUBLIC_URL=\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("WEB_PORT", "9001")
    settings = load_settings()
    assert (settings.quota_user_usd, settings.web_port, settings.public_url) == (Decimal("7.50"), 9001, None)


@pytest.mark.parametrize("name", ["QUOTA_GUILD_USD", "QUOTA_TOTAL_USD"])
@pytest.mark.parametrize(("value", "limit"), [("", None), ("0", Decimal(0)), ("10.005", Decimal("10.005"))])
def test_an_empty_limit_is_none_and_zero_is_nobody(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, limit: Decimal | None
) -> None:
    """A ceiling that is not named is no ceiling, one of 0 lets nobody through, and each amount is kept exactly."""
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == limit


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids and secrets stand side by side, spaces and empty pieces do not count."""
    monkeypatch.setenv("DISCORD_SERVERS", "1, 22 ,")
    monkeypatch.setenv("RUNFLOW_CALLBACK_SECRETS", "whsec_newer, whsec_older")
    settings = load_settings()
    assert settings.discord_servers == ("1", "22")
    assert [secret.get_secret_value() for secret in settings.runflow_callback_secrets] == ["whsec_newer", "whsec_older"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("QUOTA_USER_USD", "$5", "without a currency sign"),
        ("QUOTA_USER_USD", "5,00", "an amount in dollars such as"),
        ("QUOTA_USER_USD", "-1", "from 0 to"),
        ("QUOTA_USER_USD", "NaN", "from 0 to"),
        ("QUOTA_GUILD_USD", "none", "an amount in dollars such as"),
        ("QUOTA_TOTAL_USD", "-0.01", "from 0 to"),
        ("QUOTA_TOTAL_USD", "Infinity", "from 0 to"),
        ("QUOTA_CONFIRM_ABOVE_USD", "3,20", "an amount in dollars such as"),
        ("QUOTA_PERIOD", "year", "'day', 'week' or 'month'"),
        ("QUOTA_TIMEZONE", "Mars/Olympus", "a time zone such as"),
        ("QUOTA_TIMEZONE", "../etc/passwd", "a time zone such as"),
        ("DISCORD_SERVERS", "my server", "server ids, comma-separated, or *"),
        ("DATABASE_URL", "postgresql://x", "must look like sqlite:///data/veo.db"),
        ("RUNFLOW_API_URL", "api.runflow.io", "starts with http:// or https://"),
        ("PUBLIC_URL", "https://bot.example/?x=1", "starts with http:// or https://"),
        ("RUNFLOW_API_URL", "https://me:hush@api.example", "without a user name and password"),
        ("PUBLIC_URL", "https://hush@bot.example", "without a user name and password"),
        ("PUBLIC_URL", "https://me:1/hush@bot.example", "without a user name and password"),
        ("DISCORD_API_URL", "http://me:hush@127.0.0.1:1", "without a user name and password"),
        ("DISCORD_GATEWAY_URL", "wss://:hush@gateway.example", "without a user name and password"),
        ("DISCORD_GATEWAY_URL", "https://x", "starts with ws:// or wss://"),
        ("WEB_PORT", "70000", "less than or equal to 65535"),
        ("POLL_INTERVAL_S", "0", "greater than 0"),
        ("POLL_INTERVAL_S", "nan", "finite"),
        ("PRICE_USD_PER_SECOND", '{"720p": {"silent": 0.1, "audio": 0.2}}', "a decimal string such as"),
        ("PRICE_USD_PER_SECOND", "{", "JSON such as"),
        ("DISCORD_TOKEN", "hush hush", "printable ASCII without spaces"),
        ("RUNFLOW_CALLBACK_SECRETS", "short", "at least 8"),
    ],
)
def test_a_wrong_value_is_named_and_never_repeated(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """The sentence says which setting, what was expected, and not what was there: it may be a secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    told = str(caught.value)
    assert name in told
    assert expected in told
    assert "hush" not in told
    assert "\n" not in told
    assert caught.value.__cause__ is None


@given(name=st.sampled_from(sorted(Settings.model_fields)), value=st.text(st.characters(exclude_characters="\0")))
def test_any_text_is_a_setting_or_a_sentence(name: str, value: str) -> None:
    """No value makes anything but settings or one line about them."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv(name.upper(), value)
        except UnicodeEncodeError:
            return  # no such environment can exist
        told = ""
        try:
            load_settings()
        except SettingsError as error:
            told = str(error)
        assert "\n" not in told


def test_secrets_never_show() -> None:
    """Printing the settings shows no token and no key."""
    assert not any(value in repr(load_settings()) for value in GOOD.values())


def test_the_committed_example_is_the_models_own() -> None:
    """`.env.example` is what `settings --env-example` prints."""
    assert (ROOT / ".env.example").read_text() == env_example()


def test_the_readme_lists_every_setting_as_it_is() -> None:
    """The table in the README is what `settings` prints."""
    assert settings_table() in (ROOT / "README.md").read_text()


def test_the_example_itself_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Copied to `.env`, with its comments taken away and two secrets put in, it gives the defaults."""
    for name in GOOD:
        monkeypatch.delenv(name)
    text = env_example().replace("DISCORD_TOKEN=", "DISCORD_TOKEN=a").replace("RUNFLOW_API_KEY=", "RUNFLOW_API_KEY=b")
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    changed = load_settings()
    (tmp_path / ".env").write_text("DISCORD_TOKEN=a\nRUNFLOW_API_KEY=b\n")
    assert changed == load_settings()
