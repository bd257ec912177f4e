"""Every setting of the bot: its type, group, default, unit and meaning.

`bot.environment` reads the values from the environment and from `.env`; an empty variable counts as not set. Nothing
here knows what the values are used for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from bot.environment import Environment, read
from bot.errors import SettingsError

ENV_FILE = Path(".env")
DATABASE_URL = "sqlite:///data/veo.db"
# Upper bounds. 720p without audio: docs.runflow.io /models/google/veo3.1; everything else: what fal.ai publishes.
PRICES_USD_PER_SECOND = {
    "720p": {"silent": "0.20", "audio": "0.40"},
    "1080p": {"silent": "0.20", "audio": "0.40"},
    "4k": {"silent": "0.40", "audio": "0.60"},
}

_QUOTES = ("'", '"')
Model = TypeVar("Model", bound=BaseSettings)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
    return value


def _dollars(value: object) -> object:
    """Accept decimal strings only: a float is no longer the amount that was written."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        raise ValueError('must be a decimal string such as "0.40"')
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError('must be an amount in dollars such as "10.00", without a currency sign') from None
    if not amount.is_finite() or amount < 0 or amount > 10**9:
        raise ValueError("must be an amount of dollars from 0 to 1000000000")
    return amount


def _address(schemes: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:  # its text would repeat the value
            parts, port = urlsplit(""), None
        if parts.scheme not in schemes or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise ValueError(f"must be an address that starts with {' or '.join(f'{s}://' for s in schemes)}")
        if "@" in value:  # logs show addresses, and everybody in the channel sees PUBLIC_URL
            raise ValueError("must be an address without a user name and password before an @")
        return value.rstrip("/")

    return AfterValidator(check)


def _host(value: str) -> str:
    try:
        value.encode("idna")  # the resolver does the same
    except UnicodeError:
        value = ""
    if not value.isprintable() or " " in value or not value:
        raise ValueError("must be a host name or an address such as 127.0.0.1")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not found, or not the name of a zone
        raise ValueError('must be a time zone such as "UTC" or "Europe/Berlin"') from None
    return value


def _server(value: str) -> str:
    if value != "*" and not (value.isascii() and value.isdigit()):
        raise ValueError("must be server ids, comma-separated, or *")
    return value


def _database(value: str) -> str:
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError("must look like sqlite:///data/veo.db (four slashes: an absolute path)")
    return value


def _header_safe(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if secret[:1] in _QUOTES or secret[-1:] in _QUOTES:
        raise ValueError("must not have a quote at one end only")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("must be printable ASCII without spaces; copy it again")
    return value


def _callback_secret(value: SecretStr) -> SecretStr:
    if len(value) < 8:
        raise ValueError("must be secrets of at least 8 characters each")
    return value


DatabaseUrl = Annotated[str, AfterValidator(_database)]
HttpUrl = Annotated[str, _address(("http", "https"))]
Secret = Annotated[SecretStr, AfterValidator(_header_safe)]
Usd = Annotated[Decimal, BeforeValidator(_dollars)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
DISCORD, RUNFLOW, WEB, STORAGE, MONEY, RUNS = "Discord", "Runflow", "Web server", "Storage", "Money", "Runs"


def _setting(group: str, meaning: str, unit: str = "", **more: Any) -> Any:
    """A field with its group, its unit and what it means."""
    return Field(description=meaning, json_schema_extra={"group": group, "unit": unit}, **more)


class _EnvironmentSettings(BaseSettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Called by pydantic. The values come from `bot.environment`, which understands them as people write them."""
        source = EnvSettingsSource(settings_cls)
        source.env_vars = {name.lower(): value for name, value in _environment().values.items()}
        return init_settings, source


class DatabaseSettings(_EnvironmentSettings):
    """What the ledger and backup commands need: no token, no key."""

    database_url: DatabaseUrl = DATABASE_URL


class Settings(_EnvironmentSettings):
    """The settings of one bot. Make them with `load_settings`."""

    discord_token: Secret = _setting(DISCORD, "bot token, from the application's page in Discord's Developer Portal")
    discord_servers: Annotated[
        tuple[Annotated[str, AfterValidator(_server)], ...], NoDecode, BeforeValidator(_split)
    ] = _setting(
        DISCORD,
        "servers where /veo works; *: every server; empty: the servers owned by the application's owner",
        "ids",
        default=(),
    )
    discord_api_url: HttpUrl | None = _setting(DISCORD, "base URL of the REST API; empty: Discord's own", default=None)
    discord_gateway_url: Annotated[str, _address(("ws", "wss"))] | None = _setting(
        DISCORD, "gateway URL; empty: Discord's own", default=None
    )

    runflow_api_key: Secret = _setting(RUNFLOW, "API key, from Runflow's dashboard")
    runflow_api_url: HttpUrl = _setting(RUNFLOW, "base URL of Runflow's API", default="https://api.runflow.io")
    runflow_callback_secrets: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_callback_secret)], ...], NoDecode, BeforeValidator(_split)
    ] = _setting(
        RUNFLOW,
        "signing secrets of callbacks, newest first; empty: signatures are not checked, and only the unguessable "
        "address of each run protects it",
        default=(),
    )
    runflow_settle_s: Seconds = _setting(
        RUNFLOW,
        "how long to wait, after a submission without a clear answer, before a look-up that finds nothing may count",
        "seconds",
        default=120.0,
    )

    public_url: HttpUrl | None = _setting(
        WEB,
        "address at which the Internet reaches the web server; empty: no callbacks, runs are only polled, and links to "
        "large videos are Runflow's own",
        default=None,
    )
    web_host: Annotated[str, AfterValidator(_host)] = _setting(
        WEB, "address that the web server listens on", default="127.0.0.1"
    )
    web_port: Annotated[int, Field(ge=0, le=65535)] = _setting(
        WEB, "port that the web server listens on; 0: any free one", default=8080
    )

    operator_host: Annotated[str, AfterValidator(_host)] = _setting(
        WEB, "address for health checks and metrics; keep it private", default="127.0.0.1"
    )
    operator_port: Annotated[int, Field(ge=0, le=65535)] = _setting(
        WEB, "port for health checks and metrics; 0: any free one", default=8081
    )

    database_url: DatabaseUrl = _setting(
        STORAGE, "database file; three slashes: relative to the working directory; four: absolute", default=DATABASE_URL
    )
    media_dir: Path = _setting(STORAGE, "folder for clips on their way to Discord", default=Path("data/media"))
    media_keep_days: Annotated[float, Field(gt=0, le=3650)] = _setting(
        STORAGE,
        "how long a clip that is too large to attach is kept, and how long its link works",
        "days",
        default=7.0,
    )
    clip_max_mb: Annotated[int, Field(ge=1, le=100_000)] = _setting(
        STORAGE, "largest clip to download; for a larger one there is only Runflow's link", "MB", default=500
    )

    quota_user_usd: Usd = _setting(
        MONEY,
        "each member's limit per period, across all servers; 0: nobody, unless an admin sets a limit for them",
        "USD",
        default=Decimal("10.00"),
    )
    quota_guild_usd: Usd | None = _setting(
        MONEY,
        "each server's limit per period, and the most that its admins can set; empty: no limit",
        "USD",
        default=None,
    )
    quota_total_usd: Usd | None = _setting(
        MONEY,
        "the whole bot's limit per period, and the most that anybody can set; empty: no limit",
        "USD",
        default=None,
    )
    quota_period: Literal["day", "week", "month"] = _setting(
        MONEY,
        "calendar period of these limits: day, week (from Monday) or month; limits set by admins may have their own",
        default="month",
    )
    quota_timezone: Annotated[str, AfterValidator(_zone)] = _setting(
        MONEY, "time zone whose midnight starts a period", default="UTC"
    )
    quota_confirm_above_usd: Usd = _setting(
        MONEY, "a higher price needs the member's confirmation first", "USD", default=Decimal("3.20")
    )
    price_usd_per_second: dict[str, dict[str, Usd]] = _setting(
        MONEY,
        "silent and audio price of each resolution, as decimal strings; use upper bounds, because this amount is held",
        "JSON, USD per second of video",
        default=PRICES_USD_PER_SECOND,
        validate_default=True,
    )

    prompt_max_chars: Annotated[int, Field(ge=1, le=6000)] = _setting(
        RUNS, "longest prompt that is accepted", "characters", default=2000
    )
    quota_runs_in_flight: Annotated[int, Field(ge=1, le=10_000)] = _setting(
        RUNS, "runs that one member may have at a time; more are refused", default=3
    )
    runs_in_flight_total: Annotated[int, Field(ge=1, le=100_000)] = _setting(
        RUNS, "runs that the whole bot may have at a time; more wait in line", default=20
    )
    poll_interval_s: Seconds = _setting(RUNS, "first pause between two polls of a run", "seconds", default=3.0)
    poll_interval_max_s: Seconds = _setting(RUNS, "longest pause between two polls of a run", "seconds", default=15.0)
    run_deadline_s: Seconds = _setting(
        RUNS,
        "after this long a run is reported as overdue; the bot still watches it and keeps its hold until it has ended",
        "seconds",
        default=3600.0,
    )


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises SettingsError with a sentence for each wrong setting: its name and what is expected, never its value, which
    may be a secret.
    """
    return _load(Settings)


def database_url() -> str:
    """`DATABASE_URL` alone, read in the same way. Raises SettingsError."""
    return _load(DatabaseSettings).database_url


def environment_warnings() -> tuple[str, ...]:
    """What an operator should know: misspelt settings, and a `.env` that others can read."""
    return _environment().warnings


def _environment() -> Environment:
    return read([name.upper() for name in Settings.model_fields], os.environ, ENV_FILE)


def _load(model: type[Model]) -> Model:
    try:
        return model()
    except ValidationError as error:
        missing = any(problem["type"] == "missing" for problem in error.errors(include_input=False))
        hints = [f"{warning}." for warning in environment_warnings() if missing and "did you mean" in warning]
        raise SettingsError(" ".join([*_sentences(error), *hints])) from None
    except (SourceError, RecursionError):  # drop the cause, whose text has the value
        raise SettingsError(f"PRICE_USD_PER_SECOND must be JSON such as {json.dumps(PRICES_USD_PER_SECOND)}.") from None
    except (UnicodeDecodeError, OSError) as error:  # the text of the former has the value
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{ENV_FILE} cannot be read ({why}); it must be UTF-8 text of NAME=VALUE lines.") from None


def _sentences(error: ValidationError) -> Iterator[str]:
    seen: set[str] = set()
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if field in seen:
            continue
        seen.add(field)
        about = Settings.model_fields.get(field)
        meaning = f" ({about.description})" if about and about.description else ""
        if problem["type"] == "missing":
            yield f"{field.upper()} is not set{meaning}; set it in the environment or in .env."
        else:
            expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", unable to")[0]
            yield f"{field.upper()} {expected[:1].lower()}{expected[1:]}{meaning}."
