"""How the program tells what it does: an event in a few plain words, and its fields as keyword arguments.

    log = get_logger("veo.delivery")
    log.info("delivered", notice="result", message="discord:1/2")

How a line looks, where it goes, and that no secret is in it is the business of `bot.telemetry.logs`.
"""

from __future__ import annotations

import logging
from typing import cast

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a part of the program; names of ours begin with `veo.`."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def bind(**fields: object) -> None:
    """From here on, name these fields in each line that this task logs, such as its run, member and server."""
    structlog.contextvars.bind_contextvars(**fields)
