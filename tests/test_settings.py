"""The settings: read from the environment and `.env`, refused in a sentence, and documented as they are."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import SettingsError
from bot.proxies import proxy_for
from bot.settings import PRICES_USD_PER_SECOND, Settings
from bot.settings_docs import describe_settings, env_example, settings_table
from bot.settings_reader import environment_warnings, load_settings
from tests.harness import ROOT
from tests.words import refuses, said

GOOD = {"DISCORD_TOKEN": "abc.def.ghi", "RUNFLOW_API_KEY": "rf_live_1"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and a folder without `.env`."""
    for info in describe_settings():
        monkeypatch.delenv(info.name, raising=False)
    monkeypatch.delenv("DISCORD_OPENAPI", raising=False)  # the tests' own
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
def test_an_empty_limit_means_none_and_zero_means_nobody(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, limit: Decimal | None
) -> None:
    """A missing limit is no limit, 0 lets nobody through, and each amount is kept exactly."""
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == limit


def test_lists_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and empty pieces do not count."""
    monkeypatch.setenv("DISCORD_SERVERS", "1, 22 ,")
    monkeypatch.setenv("RUNFLOW_CALLBACK_SECRETS", "whsec_newer, whsec_older")
    settings = load_settings()
    assert settings.discord_servers == ("1", "22")
    assert settings.runflow_callback_secrets == ("whsec_newer", "whsec_older")


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
def test_a_wrong_setting_is_named_and_its_value_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    """The sentence says which setting and what was expected, but not the value: it may be a secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    told = said(caught.value)
    assert name in told
    assert expected in told
    assert "hush" not in told
    assert "\n" not in told
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("where", ["environment", "file"])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("QUOTA_USR_USD", "QUOTA_USER_USD"),
        ("QUOTA_TOTAL", "QUOTA_TOTAL_USD"),
        ("quota_totl_usd", "QUOTA_TOTAL_USD"),
        ("RUNFLOW_KEY", "RUNFLOW_API_KEY"),
        ("DISCORD_BOT_TOKEN", "DISCORD_TOKEN"),
        ("MEDIA_DIRECTORY", "MEDIA_DIR"),
        ("PUBLIC_URI", "PUBLIC_URL"),
        ("RUN_DEADLINE", "RUN_DEADLINE_S"),
    ],
)
def test_a_misspelt_setting_gets_a_warning_with_the_right_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, name: str, meant: str
) -> None:
    """Without a warning there would be no limit; the value is not shown."""
    if where == "environment":
        monkeypatch.setenv(name, "hush")
    else:
        (tmp_path / ".env").write_text(f"{name}=hush\n")
        (tmp_path / ".env").chmod(0o600)
    assert environment_warnings() == (f"{name.upper()} is not a setting and has no effect; did you mean {meant}?",)


def test_a_missing_setting_is_told_with_its_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot that cannot start has no later moment for the warning."""
    monkeypatch.delenv("DISCORD_TOKEN")
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "hush")
    with refuses(SettingsError, r"DISCORD_TOKEN is not set .* did you mean DISCORD_TOKEN\?\.$") as told:
        load_settings()
    assert "hush" not in said(told.value)


def test_variables_of_platforms_get_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """What platforms, shells, Kubernetes and our own image set is not the operator's mistake."""
    for name, value in {
        "WEB_CONCURRENCY": "2",
        "DATABASE_PUBLIC_URL": "postgresql://x",
        "HOST": "x",
        "PORT": "80",
        "RUNFLOW_PORT": "tcp://10.0.0.7:80",
        "RUNFLOW_PORT_80_TCP_ADDR": "10.0.0.7",
        "RUNFLOW_SERVICE_HOST": "10.0.0.7",
        "RUNFLOW_SERVICE_PORT_HTTP": "80",
        "IMAGE_DATABASE_URL": "sqlite:////data/veo.db",
    }.items():
        monkeypatch.setenv(name, value)
    assert environment_warnings() == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DISCORD_TOKEN", '"abc.def.ghi"', "abc.def.ghi"),
        ("DISCORD_TOKEN", "'abc.def.ghi' # the bot's", "abc.def.ghi"),
        ("RUNFLOW_API_KEY", ' rf_live_1\t# of "me"', "rf_live_1"),
        ("RUNFLOW_API_KEY", "rf#1", "rf#1"),
        ("WEB_PORT", "8080 #the usual", 8080),
        ("WEB_PORT", '""', 8080),
        ("WEB_PORT", " # none", 8080),
        ("QUOTA_TIMEZONE", "'Europe/Berlin'", "Europe/Berlin"),
        ("MEDIA_DIR", "'/a b/c'", Path("/a b/c")),
    ],
)
def test_quotes_and_comments_that_docker_passes_on_are_dropped(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object
) -> None:
    """`docker --env-file` passes on quotes and comments, which `.env` does not."""
    monkeypatch.setenv(name, value)
    assert getattr(load_settings(), name.lower()) == expected


def test_prices_are_read_with_quotes_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has quotes of its own."""
    expected = load_settings().price_usd_per_second
    for quote in ("'", '"'):
        monkeypatch.setenv("PRICE_USD_PER_SECOND", f"{quote}{json.dumps(PRICES_USD_PER_SECOND)}{quote}")
        assert load_settings().price_usd_per_second == expected


@pytest.mark.parametrize("value", ['"hush', "hush'"])
def test_half_a_pair_of_quotes_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """`copy it again` would not help."""
    monkeypatch.setenv("DISCORD_TOKEN", value)
    with refuses(SettingsError, "must not have a quote at one end only"):
        load_settings()


@pytest.mark.parametrize("secret", ["whsec_12345${abc}678", "whsec_$HOME_1", "whsec_${DISCORD_TOKEN}"])
def test_a_secret_with_a_dollar_sign_is_taken_as_it_is(tmp_path: Path, secret: str) -> None:
    """What looks like a reference in `.env` is none; the byte order mark of Windows is not part of the text."""
    (tmp_path / ".env").write_text(f"RUNFLOW_CALLBACK_SECRETS={secret}\n", encoding="utf-8-sig")
    assert load_settings().runflow_callback_secrets == (secret,)


@pytest.mark.parametrize("empty", ["", "''", " # none"])
def test_an_empty_variable_leaves_the_images_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: str) -> None:
    """Otherwise NAME= in an `--env-file` would put clips and books outside the volume."""
    image = dict(re.findall(r"^ +(IMAGE_\w+)=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert image.keys() == {"IMAGE_DATABASE_URL", "IMAGE_MEDIA_DIR", "IMAGE_WEB_HOST"}
    for name, value in image.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.removeprefix("IMAGE_"), empty)
    settings = load_settings()
    assert (settings.database_url, str(settings.media_dir)) == ("sqlite:////data/veo.db", "/data/media")
    assert settings.web_host == "0.0.0.0"  # noqa: S104 - what the image says
    (tmp_path / ".env").write_text("MEDIA_DIR=/elsewhere\n")
    assert str(load_settings().media_dir) == "/elsewhere"


@pytest.mark.parametrize("name", ["WEB_PORT", "OPERATOR_PORT"])
def test_variables_of_kubernetes_are_ignored_with_a_warning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A Service named `web` sets WEB_PORT=tcp://..., which is not our port."""
    expected = load_settings()
    monkeypatch.setenv(name, "tcp://10.0.0.7:80")
    assert load_settings() == expected
    service = name.partition("_")[0].lower()
    assert environment_warnings() == (
        f"{name} is ignored: Kubernetes set it for the Service {service}; set enableServiceLinks: false",
    )


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    """In another encoding: which file, and why."""
    (tmp_path / ".env").write_text("DISCORD_TOKEN=hush\n", encoding="utf-16")
    with refuses(SettingsError, r"^\.env cannot be read \(it is not UTF-8\)"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://discord.com", "http://me:pw@proxy.example:3128"),
        ("https://files.example:8443/x?y", "http://me:pw@proxy.example:3128"),
        ("http://files.example/", "http://plain.example:8080"),
        ("https://api.inside.example/v1", None),
        ("https://127.0.0.1:9", None),
        ("https://[::1]:9", None),
        ("http://localhost:9", None),
    ],
)
def test_the_proxy_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None) -> None:
    """By scheme, except for NO_PROXY and this machine; a proxy without a scheme speaks HTTP."""
    monkeypatch.setenv("https_proxy", "http://me:pw@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "plain.example:8080")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for(url) == proxy


@pytest.mark.parametrize("value", ["socks5://hush:1", "http://hush:x", "http://", "http://hush:0"])
def test_a_proxy_that_cannot_be_used_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """At the start, rather than at each order."""
    monkeypatch.setenv("https_proxy", value)
    with refuses(SettingsError, r"^HTTPS_PROXY must be") as told:
        proxy_for("https://discord.com")
    assert "hush" not in said(told.value)


@given(
    name=st.sampled_from([each.name for each in fields(Settings)]),
    value=st.text(st.characters(exclude_characters="\0")),
)
def test_any_value_gives_settings_or_one_line(name: str, value: str) -> None:
    """No value does anything else."""
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


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings shows no token, no key and no signing secret."""
    monkeypatch.setenv("RUNFLOW_CALLBACK_SECRETS", "whsec_newer, whsec_older")
    assert not any(value in repr(load_settings()) for value in (*GOOD.values(), "whsec"))


def test_the_committed_example_is_up_to_date() -> None:
    """`.env.example` is what `settings --env-example` prints."""
    assert (ROOT / ".env.example").read_text() == env_example()


def test_the_readmes_table_is_up_to_date() -> None:
    """It is what `settings` prints."""
    assert settings_table() in (ROOT / "README.md").read_text()


def test_the_example_itself_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Copied to `.env`, uncommented, with two secrets filled in, it gives the defaults."""
    for name in GOOD:
        monkeypatch.delenv(name)
    text = env_example().replace("DISCORD_TOKEN=", "DISCORD_TOKEN=a").replace("RUNFLOW_API_KEY=", "RUNFLOW_API_KEY=b")
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    changed = load_settings()
    (tmp_path / ".env").write_text("DISCORD_TOKEN=a\nRUNFLOW_API_KEY=b\n")
    assert changed == load_settings()
