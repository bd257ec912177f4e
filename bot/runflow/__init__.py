"""Speaks Runflow: submits runs, reads their records, checks callbacks and downloads clips. Start with `connect`."""

from __future__ import annotations

from bot.runflow.callbacks import is_signed, run_id_in
from bot.runflow.client import Runflow, connect
from bot.runflow.clips import unsound_mp4
from bot.runflow.public_net import is_public
from bot.runflow.records import observe

__all__ = ["Runflow", "connect", "is_public", "is_signed", "observe", "run_id_in", "unsound_mp4"]
