"""Logs: one line an event, `key=value`, with every secret masked whoever wrote it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable

from bot.domain.untrusted import strip_controls

# Passwords of proxies, queries of presigned addresses, callback, media and interaction tokens: never in a log.
_MASKED = (
    (re.compile(r"(https?://)[^\s/?#'\"]*@"), r"\1***@"),
    (re.compile(r"(https?://(?!discord\.com/oauth2/)[^\s?'\"]+)\?[^\s'\"]+"), r"\1?***"),
    (re.compile(r"(/callbacks/runflow/|/media/|/interactions/\d+/|/webhooks/\d+/)[^\s/'\"]+"), r"\1***"),
)


class MaskingFormatter(logging.Formatter):
    """Formats a record, then masks the given secrets and whatever an address may carry."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)  # a longer one may begin like a shorter

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line of an event: one, whatever outside text is in it; a trace comes below it."""
        return " ".join(super().formatMessage(record).splitlines())

    def format(self, record: logging.LogRecord) -> str:
        text = strip_controls(super().format(record))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        for pattern, replacement in _MASKED:
            text = pattern.sub(replacement, text)
        return text


def start_logging(secrets: Iterable[str]) -> None:
    """Send everything from INFO on to standard error; the libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter(secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("veo").setLevel(logging.INFO)
    logging.getLogger("discord.client").setLevel(logging.ERROR)  # it warns that voice, which is not used, is missing
