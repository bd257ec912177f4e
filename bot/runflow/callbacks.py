"""Runflow's callbacks: whether the signature is right, and which run the body names.

A callback only wakes its run early. Nothing else in it is believed: the engine reads the run from Runflow itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from bot.runflow.records import is_run_id, parse_json

_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def is_signed(body: bytes, signature: str | None, secrets: Sequence[str]) -> bool:
    """Whether `Runflow-Signature` is right for the raw body and one of the secrets.

    It is the bare lower-case hex HMAC-SHA256, without a timestamp (docs.runflow.io /guides/verify-callback-signatures).
    """
    if signature is None or not _SIGNATURE.fullmatch(signature):
        return False
    matches = [
        hmac.compare_digest(hmac.digest(secret.encode(), body, hashlib.sha256).hex(), signature) for secret in secrets
    ]
    return any(matches)


def run_id_in(body: bytes) -> str | None:
    """The run id that a callback's body names. It is a hint where to look, not a fact."""
    data = parse_json(body)
    run_id = data.get("run_id") if isinstance(data, dict) else None
    return run_id if is_run_id(run_id) else None
