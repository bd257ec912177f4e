"""Every knob of the bot: typed, grouped, with default and unit.

Read from the environment and from `.env`, by `bot.environment` alone; an empty variable counts as not set. Nothing
here knows what the values are used for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from bot.environment import Surroundings, read
from bot.errors import SettingsError

ENV_FILE = Path(".env")
DATABASE_URL = "sqlite:///data/veo.db"
# Upper bounds: docs.runflow.io /models/google/veo3.1 for 720p without audio, the rest as fal.ai publishes it.
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
    """Decimal strings only: a float has already lost the cents that it was given."""
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
        except ValueError:  # its words would repeat the value
            parts, port = urlsplit(""), None
        if parts.scheme not in schemes or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise ValueError(f"must be an address that starts with {' or '.join(f'{s}://' for s in schemes)}")
        if "@" in value:  # it is shown in logs, and PUBLIC_URL to everybody in the channel
            raise ValueError("must be an address without a user name and password in front of an @")
        return value.rstrip("/")

    return AfterValidator(check)


def _host(value: str) -> str:
    try:
        value.encode("idna")  # as the resolver will: what it cannot spell is no host
    except UnicodeError:
        value = ""
    if not value.isprintable() or " " in value or not value:
        raise ValueError("must be a host name or an address such as 127.0.0.1")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not found, or no name of a zone at all
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
        raise ValueError("must be without the quote at one of its ends")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("must be printable ASCII without spaces; copy it again")
    return value


DatabaseUrl = Annotated[str, AfterValidator(_database)]
HttpUrl = Annotated[str, _address(("http", "https"))]
Secret = Annotated[SecretStr, AfterValidator(_header_safe)]
Usd = Annotated[Decimal, BeforeValidator(_dollars)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
DISCORD, RUNFLOW, WEB, STORAGE, MONEY, RUNS = "Discord", "Runflow", "Web server", "Storage", "Money", "Runs"


def _about(group: str, meaning: str, unit: str = "", **more: Any) -> Any:
    """A settings field: its group, its unit and one sentence about it."""
    return Field(description=meaning, json_schema_extra={"group": group, "unit": unit}, **more)


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Called by the library, which itself reads neither `.env` nor the environment as people write them."""
        source = EnvSettingsSource(settings_cls)
        source.env_vars = {name.lower(): value for name, value in _surroundings().values.items()}
        return init_settings, source


class DatabaseSettings(_Environment):
    """What the commands about the books need: no token, no key."""

    database_url: DatabaseUrl = DATABASE_URL


class Settings(_Environment):
    """The configuration of one bot. Build it with `load_settings`."""

    discord_token: Secret = _about(DISCORD, "the bot token, from the application's page at Discord")
    discord_servers: Annotated[
        tuple[Annotated[str, AfterValidator(_server)], ...], NoDecode, BeforeValidator(_split)
    ] = _about(
        DISCORD,
        "servers in which /veo works; *: every server; empty: the servers owned by the application's owner",
        "ids",
        default=(),
    )
    discord_api_url: HttpUrl | None = _about(DISCORD, "REST base; empty: Discord's own", default=None)
    discord_gateway_url: Annotated[str, _address(("ws", "wss"))] | None = _about(
        DISCORD, "gateway; empty: Discord's own", default=None
    )

    runflow_api_key: Secret = _about(RUNFLOW, "the API key, from Runflow's dashboard")
    runflow_api_url: HttpUrl = _about(RUNFLOW, "API base", default="https://api.runflow.io")
    runflow_callback_secrets: Annotated[
        tuple[Annotated[SecretStr, Field(min_length=8)], ...], NoDecode, BeforeValidator(_split)
    ] = _about(
        RUNFLOW,
        "signing secrets of callbacks, newest first; empty: signatures are not checked, and the "
        "unguessable address of each run is the only guard",
        default=(),
    )
    runflow_settle_s: Seconds = _about(
        RUNFLOW,
        "after a submission without a clear answer: how long before an empty look-up may count",
        "seconds",
        default=120.0,
    )

    public_url: HttpUrl | None = _about(
        WEB,
        "where the outside reaches this bot's web server; empty: no callbacks are asked for, and polling "
        "alone completes runs",
        default=None,
    )
    web_host: Annotated[str, AfterValidator(_host)] = _about(WEB, "the web server's own address", default="127.0.0.1")
    web_port: Annotated[int, Field(ge=0, le=65535)] = _about(
        WEB, "the web server's own port; 0: any free one", default=8080
    )

    operator_host: Annotated[str, AfterValidator(_host)] = _about(
        WEB, "the address for health and figures; keep it from the public", default="127.0.0.1"
    )
    operator_port: Annotated[int, Field(ge=0, le=65535)] = _about(
        WEB, "the port for health and figures; 0: any free one", default=8081
    )

    database_url: DatabaseUrl = _about(
        STORAGE, "three slashes: relative to the working directory; four: absolute", default=DATABASE_URL
    )
    media_dir: Path = _about(STORAGE, "clips pass through here", default=Path("data/media"))
    media_keep_days: Annotated[float, Field(gt=0, le=3650)] = _about(
        STORAGE,
        "how long a clip that is too large to attach is kept and its link works",
        "days",
        default=7.0,
    )
    clip_max_mb: Annotated[int, Field(ge=1, le=100_000)] = _about(
        STORAGE, "a larger download is refused", "MB", default=500
    )

    quota_user_usd: Usd = _about(
        MONEY,
        "each member's limit per period, over all servers; 0: nobody may",
        "USD",
        default=Decimal("10.00"),
    )
    quota_guild_usd: Usd | None = _about(
        MONEY, "each server's limit per period, a ceiling for what its admins may set; empty: none", "USD", default=None
    )
    quota_total_usd: Usd | None = _about(
        MONEY, "the whole bot's limit per period, a ceiling for everybody; empty: none", "USD", default=None
    )
    quota_period: Literal["day", "week", "month"] = _about(
        MONEY,
        "the calendar period of these limits: day, week (from Monday) or month; an admin's limit may name its own",
        default="month",
    )
    quota_timezone: Annotated[str, AfterValidator(_zone)] = _about(
        MONEY, "whose midnight starts a period", default="UTC"
    )
    quota_confirm_above_usd: Usd = _about(
        MONEY, "a price above this is shown and must be confirmed first", "USD", default=Decimal("3.20")
    )
    price_usd_per_second: dict[str, dict[str, Usd]] = _about(
        MONEY,
        "resolution to the prices silent and audio, decimal strings; an upper bound, for it is what is held",
        "JSON, USD per second of video",
        default=PRICES_USD_PER_SECOND,
        validate_default=True,
    )

    prompt_max_chars: Annotated[int, Field(ge=1, le=6000)] = _about(
        RUNS, "a longer prompt is refused", "characters", default=2000
    )
    quota_runs_in_flight: Annotated[int, Field(ge=1, le=10_000)] = _about(
        RUNS, "runs of one member at a time; more are refused", default=3
    )
    runs_in_flight_total: Annotated[int, Field(ge=1, le=100_000)] = _about(
        RUNS, "runs of the whole bot at a time; more wait their turn", default=20
    )
    poll_interval_s: Seconds = _about(RUNS, "first pause between two looks at a run", "seconds", default=3.0)
    poll_interval_max_s: Seconds = _about(RUNS, "the pauses grow up to this", "seconds", default=15.0)
    run_deadline_s: Seconds = _about(
        RUNS,
        "after this a run is reported as overdue; it is watched and its hold kept until there is evidence",
        "seconds",
        default=3600.0,
    )


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises SettingsError with one sentence that names each wrong setting and says what is expected;
    no value is repeated in it, since it may be a secret.
    """
    return _load(Settings)


def database_url() -> str:
    """`DATABASE_URL` alone, read in the same way."""
    return _load(DatabaseSettings).database_url


def remarks() -> tuple[str, ...]:
    """Sentences about the surroundings that an operator should read: names that are none, a `.env` that others read."""
    return _surroundings().remarks


def _surroundings() -> Surroundings:
    return read([name.upper() for name in Settings.model_fields], os.environ, ENV_FILE)


def _load(model: type[Model]) -> Model:
    try:
        return model()
    except ValidationError as error:
        missing = any(problem["type"] == "missing" for problem in error.errors(include_input=False))
        hints = [f"{remark}." for remark in remarks() if missing and "did you mean" in remark]
        raise SettingsError(" ".join([*_sentences(error), *hints])) from None
    except (SourceError, RecursionError):  # the cause prints the raw text: dropped
        raise SettingsError(
            f"PRICE_USD_PER_SECOND is wrong: it must be JSON such as {json.dumps(PRICES_USD_PER_SECOND)}."
        ) from None
    except (UnicodeDecodeError, OSError) as error:  # the words of the former hold the text
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{ENV_FILE} cannot be read ({why}); it must be a text of NAME=VALUE lines.") from None


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
            yield f"{field.upper()} is not set{meaning}; put it into the environment or into .env."
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"{field.upper()} is wrong: {said[:1].lower()}{said[1:]}{meaning}."


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting as the documentation shows it."""

    name: str
    group: str
    default: str  # as it would be written in `.env`; empty where there is none
    required: bool
    unit: str
    meaning: str


def knobs() -> Iterator[Knob]:
    """Every setting in the order of the model: the source of `.env.example` and of the README's table."""
    for name, field in Settings.model_fields.items():
        extra = cast("dict[str, object]", field.json_schema_extra)  # as `_about` makes it
        yield Knob(
            name=name.upper(),
            group=str(extra["group"]),
            default=_written(field),
            required=field.is_required(),
            unit=str(extra["unit"]),
            meaning=field.description or "",
        )


def _written(field: FieldInfo) -> str:
    default = None if field.is_required() else field.default
    if default is None or default == ():
        return ""
    if isinstance(default, dict):
        return json.dumps(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def env_example() -> str:
    """The text of `.env.example`: what must be set is open, everything else is a comment with its default."""
    lines = [
        "# Copy to .env, for yourself alone: install -m 600 .env.example .env",
        "# Only the two secrets are needed; everything else has a default.",
    ]
    group = ""
    for knob in knobs():
        if knob.group != group:
            group = knob.group
            lines += ["", f"## {group}"]
        unit = f" [{knob.unit}]" if knob.unit else ""
        lines.append(f"# {knob.meaning[:1].upper()}{knob.meaning[1:]}{unit}")
        lines.append(f"{knob.name}=" if knob.required else f"# {knob.name}={knob.default}")
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """The Markdown table of the README."""
    rows = ["| name | default | unit | meaning |", "|---|---|---|---|"]
    for knob in knobs():
        default = "**required**" if knob.required else (f"`{knob.default}`" if knob.default else "")
        rows.append(f"| `{knob.name}` | {default} | {knob.unit} | {knob.meaning} |")
    return "\n".join(rows) + "\n"
