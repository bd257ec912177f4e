"""The log: one line for each event, without secrets. For people at a terminal, as JSON where it is piped or kept."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping, Set

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.domain.untrusted import strip_controls

# Passwords of proxies, queries of presigned addresses, callback, media and interaction tokens: never in a log.
_MASKED = (
    (re.compile(r"(https?://)[^\s/?#'\"]*@"), r"\1***@"),
    (re.compile(r"(https?://(?!discord\.com/oauth2/)[^\s?'\"]+)\?[^\s'\"]+"), r"\1?***"),
    (re.compile(r"(/callbacks/runflow/|/media/|/interactions/\d+/|/webhooks/\d+/)[^\s/'\"]+"), r"\1***"),
)
_FIRST = ("timestamp", "level", "logger", "event", "run", "member", "server")
_MULTILINE = "exception"  # the one field that may have several lines


def start_logging(secrets: Iterable[str]) -> None:
    """Send everything of ours from INFO on to standard error, and what the libraries log from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(secrets, terminal=sys.stderr.isatty()))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("veo").setLevel(logging.INFO)
    logging.getLogger("discord.client").setLevel(logging.ERROR)  # it warns that voice, which is not used, is missing


def formatter(secrets: Iterable[str], *, terminal: bool) -> logging.Formatter:
    """Makes a line of each record, of ours and of the libraries alike."""
    renderer: Processor = structlog.processors.JSONRenderer()
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback,  # others show the values of variables
            sort_keys=False,
        )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Mask(secrets),
            renderer,
        ],
    )


class Mask:
    """Leaves none of the secrets, nothing that an address may carry, and nothing that talks to a terminal."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)  # a longer one may begin like a shorter

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The fields in the order of reading."""
        names = dict.fromkeys([*(name for name in _FIRST if name in event), *event])
        return {name: self._masked(event[name], lines=name == _MULTILINE) for name in names}

    def _masked(self, value: object, *, lines: bool = False) -> object:
        if isinstance(value, str):  # first, as most are, and what a type may be in general takes long to find out
            return self._masked_text(str(value), lines=lines)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(self._masked(key)): self._masked(each) for key, each in value.items()}
        if isinstance(value, list | tuple | Set):
            return [self._masked(each) for each in value]
        return self._masked_text(str(value), lines=lines)

    def _masked_text(self, text: str, *, lines: bool) -> str:
        if not text.isprintable():  # else it has neither controls nor line ends
            text = strip_controls(text)
            if not lines:  # outside text cannot begin a line of its own
                text = " ".join(text.splitlines())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        if "/" in text:  # nothing of these is without one
            for pattern, replacement in _MASKED:
                text = pattern.sub(replacement, text)
        return text
