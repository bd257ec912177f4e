"""Watches a process's event loop for stops: Python imports this at its start where the folder is on PYTHONPATH.

A stop is the time between two looks at the sockets: as long as it lasts nobody is heard. The longest one is written to
the file that BENCH_STOPS names, as two numbers: its seconds, and how many of them this thread was computing.
"""

from __future__ import annotations

import mmap
import os
import selectors
import struct
from time import perf_counter, thread_time
from typing import Any


class Watched(selectors.DefaultSelector):
    """The selector that event loops use, which knows how long it was left alone."""

    def __init__(self) -> None:
        super().__init__()
        with open(os.environ["BENCH_STOPS"], "r+b") as file:  # noqa: PTH123 - pathlib would cost memory here
            self._longest = mmap.mmap(file.fileno(), 16)
        self._seen = perf_counter(), thread_time()

    def select(self, timeout: float | None = None) -> Any:
        stop_s = perf_counter() - self._seen[0]
        if stop_s > struct.unpack_from("d", self._longest)[0]:
            struct.pack_into("dd", self._longest, 0, stop_s, thread_time() - self._seen[1])
        events = super().select(timeout)
        self._seen = perf_counter(), thread_time()
        return events


if "BENCH_STOPS" in os.environ:
    selectors.DefaultSelector = Watched  # type: ignore[misc]
