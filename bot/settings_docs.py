"""The settings as documentation: the text of `.env.example` and the README's table, made from their fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from bot.settings import GROUP, MEANING, UNIT, Settings


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
    """Every setting, in the order of `Settings`: for `.env.example` and the README's table."""
    for each in fields(Settings):
        yield SettingInfo(
            name=each.name.upper(),
            group=each.metadata[GROUP],
            default=_default_text(each),
            required=each.default is MISSING and each.default_factory is MISSING,
            unit=each.metadata[UNIT],
            meaning=each.metadata[MEANING],
        )


def _default_text(setting: Field[Any]) -> str:
    default = setting.default if setting.default_factory is MISSING else setting.default_factory()
    if default is MISSING or default is None or default == ():
        return ""
    if isinstance(default, dict):
        return json.dumps(default, default=str)
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
