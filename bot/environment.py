"""Reads settings from the environment, from `.env` and from what the image sets.

People, Docker, Kubernetes and hosting platforms write them differently. What is clear is accepted. The rest gives a
warning with the name, never with the value, which may be a secret.
"""

from __future__ import annotations

import difflib
import io
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import parse_stream

from bot.errors import SettingsError

IMAGE = "IMAGE_"  # the image sets IMAGE_NAME as a default for NAME; an empty NAME from outside would hide a plain one
# A name with one of these prefixes is a setting or a mistake. Platforms also use WEB_, RUN_, PUBLIC_ and DATABASE_.
_OUR_PREFIXES = (
    "QUOTA_",
    "PRICE_",
    "RUNFLOW_",
    "DISCORD_",
    "RUNS_",
    "POLL_",
    "CLIP_",
    "MEDIA_",
    "OPERATOR_",
    "PROMPT_",
)
_SIMILARITY_MIN, _SIMILARITY_MIN_OURS = 0.8, 0.5  # by `difflib`, from 0 to 1
_QUOTED = re.compile(r"""(["'])(.*?)\1(?:\s+#.*)?""", re.DOTALL)
_COMMENT = re.compile(r"\s+#.*", re.DOTALL)  # as in `.env`
# Variables that Kubernetes sets for each Service (kubernetes.io, Service, Discovering services).
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")
_SERVICE_NAME = re.compile(r"_SERVICE_(?:HOST|PORT)(?:_|$)|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_|$)")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The values of the settings by name, none of them empty, and warnings for the operator."""

    values: Mapping[str, str]
    warnings: tuple[str, ...]


def read(names: Collection[str], environment: Mapping[str, str], file: Path) -> Environment:
    """Find these settings: in the environment, else in the file, else as the image sets them. An empty value is none.

    Raises SettingsError if a line of the file cannot be read, OSError or UnicodeDecodeError if the file cannot.
    """
    variables = {name.upper(): value for name, value in environment.items()}
    unquoted = {name: _unquote(value) for name, value in variables.items() if name.removeprefix(IMAGE) in names}
    from_kubernetes = [name for name in names if _SERVICE_ADDRESS.match(unquoted.get(name, ""))]
    unquoted |= dict.fromkeys(from_kubernetes, "")
    in_file = {name.upper(): value for name, value in _lines(file)}
    values = {name: unquoted.get(name) or in_file.get(name) or unquoted.get(f"{IMAGE}{name}") for name in names}
    return Environment(
        values={name: value for name, value in values.items() if value},
        warnings=(
            *_warn_of_mode(file),
            *map(_kubernetes_warning, from_kubernetes),
            *_warn_of_misspelt(names, in_file | variables),
        ),
    )


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Names and values as they are written: `${NAME}` is not replaced."""
    if not file.is_file():
        return
    for binding in parse_stream(io.StringIO(file.read_text(encoding="utf-8-sig"))):
        if binding.error:
            line = binding.original.line
            raise SettingsError("setting.line", line=str(line), file=str(file))
        if binding.key is not None:
            yield binding.key, binding.value or ""


def _unquote(text: str) -> str:
    """A value without quotes and comment: `docker --env-file` passes both on as a part of it."""
    if quoted := _QUOTED.fullmatch(text.strip()):
        return quoted[2].strip()
    return _COMMENT.sub("", text).strip()


def _warn_of_mode(file: Path) -> Iterator[str]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        yield f"{file} holds secrets and others can read it (mode {mode:03o}); run chmod 600 {file}"


def _kubernetes_warning(name: str) -> str:
    service = name.removesuffix("_PORT").replace("_", "-").lower()
    return f"{name} is ignored: Kubernetes set it for the Service {service}; set enableServiceLinks: false"


def _warn_of_misspelt(names: Collection[str], found: Mapping[str, str]) -> Iterator[str]:
    """Warn of each name that looks like a setting and is none."""
    for name, value in sorted(found.items()):
        if name.removeprefix(IMAGE) in names or _SERVICE_NAME.search(name) or _SERVICE_ADDRESS.match(value):
            continue
        ours = name.startswith(_OUR_PREFIXES)
        similar = difflib.get_close_matches(name, names, 1, _SIMILARITY_MIN_OURS if ours else _SIMILARITY_MIN)
        if similar or ours:
            yield f"{name} is not a setting and has no effect" + "".join(f"; did you mean {each}?" for each in similar)
