"""The settings as documentation: the text of `.env.example` and the README's table, made from the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from pydantic.fields import FieldInfo

from bot.settings import Settings


@dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """A setting as the documentation shows it."""

    name: str
    group: str
    default: str  # as written in `.env`; empty if there is none
    required: bool
    unit: str
    meaning: str


def describe_settings() -> Iterator[SettingInfo]:
    """Every setting, in the order of the model: for `.env.example` and the README's table."""
    for name, field in Settings.model_fields.items():
        extra = cast("dict[str, object]", field.json_schema_extra)  # as `bot.settings` makes it
        yield SettingInfo(
            name=name.upper(),
            group=str(extra["group"]),
            default=_default_text(field),
            required=field.is_required(),
            unit=str(extra["unit"]),
            meaning=field.description or "",
        )


def _default_text(field: FieldInfo) -> str:
    default = None if field.is_required() else field.default
    if default is None or default == ():
        return ""
    if isinstance(default, dict):
        return json.dumps(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def env_example() -> str:
    """The text of `.env.example`: required settings to fill in, and all others as comments with their defaults."""
    lines = [
        "# Copy it so that only you can read it: install -m 600 .env.example .env",
        "# Only the two secrets are required; everything else has a default.",
    ]
    group = ""
    for info in describe_settings():
        if info.group != group:
            group = info.group
            lines += ["", f"## {group}"]
        unit = f" [{info.unit}]" if info.unit else ""
        lines.append(f"# {info.meaning[:1].upper()}{info.meaning[1:]}{unit}")
        lines.append(f"{info.name}=" if info.required else f"# {info.name}={info.default}")
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """The Markdown table of the README."""
    rows = ["| name | default | unit | meaning |", "|---|---|---|---|"]
    for info in describe_settings():
        default = "**required**" if info.required else (f"`{info.default}`" if info.default else "")
        rows.append(f"| `{info.name}` | {default} | {info.unit} | {info.meaning} |")
    return "\n".join(rows) + "\n"
