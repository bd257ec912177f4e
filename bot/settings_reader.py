"""Reads every setting of `bot.settings` from the environment and `.env`, and checks it.

`bot.environment` finds the texts; an empty variable counts as not set. pydantic makes values of them, at a cost of
10 MB: what only runs for a moment imports this module, and the bot lets a child process do it (`bot.__main__`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, create_model
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
from bot.settings import DATABASE_URL, MEANING, PRICES_USD_PER_SECOND, Settings

ENV_FILE = Path(".env")

_QUOTES = ("'", '"')


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


def _header_safe(value: str) -> str:
    if value[:1] in _QUOTES or value[-1:] in _QUOTES:
        raise ValueError("must not have a quote at one end only")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces; copy it again")
    return value


def _callback_secret(value: str) -> str:
    if len(value) < 8:
        raise ValueError("must be secrets of at least 8 characters each")
    return value


# What each type of `Settings` is read as and must be like, by its name there. A name that were missing here would be
# found nowhere.
_TYPES = {
    "DatabaseUrl": Annotated[str, AfterValidator(_database)],
    "HttpUrl": Annotated[str, _address(("http", "https"))],
    "GatewayUrl": Annotated[str, _address(("ws", "wss"))],
    "Host": Annotated[str, AfterValidator(_host)],
    "Port": Annotated[int, Field(ge=0, le=65535)],
    "Zone": Annotated[str, AfterValidator(_zone)],
    "Secret": Annotated[str, AfterValidator(_header_safe)],
    "CallbackSecrets": Annotated[
        tuple[Annotated[str, AfterValidator(_callback_secret)], ...], NoDecode, BeforeValidator(_split)
    ],
    "Servers": Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], NoDecode, BeforeValidator(_split)],
    "Usd": Annotated[Decimal, BeforeValidator(_dollars)],
    "Seconds": Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)],
    "Days": Annotated[float, Field(gt=0, le=3650)],
    "Megabytes": Annotated[int, Field(ge=1, le=100_000)],
    "PromptChars": Annotated[int, Field(ge=1, le=6000)],
    "RunsOfMember": Annotated[int, Field(ge=1, le=10_000)],
    "RunsInTotal": Annotated[int, Field(ge=1, le=100_000)],
}


class _EnvironmentSettings(BaseSettings):
    model_config = SettingsConfigDict(hide_input_in_errors=True, extra="ignore", validate_default=False)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Called by pydantic. The values come from `bot.environment`, which understands them as people write them."""
        source = EnvSettingsSource(settings_cls)
        source.env_vars = {name.lower(): value for name, value in _environment().values.items()}
        return init_settings, source


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises SettingsError with a sentence for each wrong setting: its name and what is expected, never its value, which
    may be a secret.
    """
    return Settings(**_read([each.name for each in fields(Settings)]))


def database_url() -> str:
    """`DATABASE_URL` alone, read in the same way, without a token and a key. Raises SettingsError."""
    return str(_read(["database_url"]).get("database_url", DATABASE_URL))


def environment_warnings() -> tuple[str, ...]:
    """What an operator should know: misspelt settings, and a `.env` that others can read."""
    return _environment().warnings


def _environment() -> Environment:
    return read([each.name.upper() for each in fields(Settings)], os.environ, ENV_FILE)


def _read(names: list[str]) -> Mapping[str, Any]:
    """Those of the settings that are set."""
    try:
        found = _model(names)()
    except ValidationError as error:
        missing = any(problem["type"] == "missing" for problem in error.errors(include_input=False))
        hints = [f"{warning}." for warning in environment_warnings() if missing and "did you mean" in warning]
        raise SettingsError("setting.wrong", problem=" ".join([*_sentences(error), *hints])) from None
    except (SourceError, RecursionError):  # drop the cause, whose text has the value
        raise SettingsError("setting.prices", example=json.dumps(PRICES_USD_PER_SECOND)) from None
    except (UnicodeDecodeError, OSError) as error:  # the text of the former has the value
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError("setting.file", file=str(ENV_FILE), why=str(why)) from None
    return {name: getattr(found, name) for name in found.model_fields_set}


def _model(names: list[str]) -> type[_EnvironmentSettings]:
    """pydantic's model of these settings; of one that is not set, `Settings` itself has the default."""
    types = get_type_hints(Settings, localns=_TYPES, include_extras=True)
    required = {each.name for each in fields(Settings) if each.default is each.default_factory is MISSING}
    definitions: dict[str, Any] = {name: (types[name], ... if name in required else None) for name in names}
    return create_model("SettingsModel", __base__=_EnvironmentSettings, **definitions)


def _sentences(error: ValidationError) -> Iterator[str]:
    meanings = {each.name: each.metadata[MEANING] for each in fields(Settings)}
    seen: set[str] = set()
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if name in seen:
            continue
        seen.add(name)
        meaning = f" ({meanings[name]})" if name in meanings else ""
        if problem["type"] == "missing":
            yield f"{name.upper()} is not set{meaning}; set it in the environment or in .env."
        else:
            expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", unable to")[0]
            yield f"{name.upper()} {expected[:1].lower()}{expected[1:]}{meaning}."
