"""Speaks Runflow: orders videos, reads their records, and fetches clips. `connect` is the way in."""

from __future__ import annotations

from bot.runflow.client import connect

__all__ = ["connect"]
