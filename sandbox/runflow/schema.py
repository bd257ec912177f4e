"""Checks the body of a POST for a run: the input schema of ``google/veo3.1`` and the fields around it.

Documented types are checked strictly: ``4`` is not accepted as ``"4"``, nor ``"true"`` as ``true``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "duration": ("4s", "6s", "8s"),
        "resolution": ("720p", "1080p", "4k"),
        "aspect_ratio": ("16:9", "9:16"),
        "safety_tolerance": ("1", "2", "3", "4", "5", "6"),
    }
)
DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "duration": "8s",
        "resolution": "720p",
        "aspect_ratio": "16:9",
        "safety_tolerance": "4",
        "generate_audio": True,
        "auto_fix": True,
    }
)
INPUT_FIELDS = frozenset({"prompt", "seed", "negative_prompt", *DEFAULTS})
BODY_FIELDS = frozenset({"input", "callback_url", "metadata", "client_ref"})
CALLBACK_URL_MAX_CHARS = 2048
CLIENT_REF_MAX_CHARS = 255


@dataclass(frozen=True)
class Problem:
    """One error in a body: its path, its message and its kind."""

    path: tuple[str, ...]
    message: str
    kind: str = "value_error"


def body_problems(body: Mapping[str, object]) -> list[Problem]:
    """The errors outside the input (docs.runflow.io /models/google/veo3.1). Such a POST creates no run."""
    found = [Problem((key,), "Extra inputs are not permitted", "extra_forbidden") for key in body.keys() - BODY_FIELDS]
    if not isinstance(body.get("input"), dict):
        found.append(Problem(("input",), "Input should be an object", "type_error"))
    if body.get("metadata") is not None and not isinstance(body["metadata"], dict):
        found.append(Problem(("metadata",), "Input should be an object or null", "type_error"))
    if "client_ref" in body:
        reference = body["client_ref"]
        if not isinstance(reference, str):
            found.append(Problem(("client_ref",), "Input should be a string", "type_error"))
        elif not 0 < len(reference) <= CLIENT_REF_MAX_CHARS:
            found.append(Problem(("client_ref",), f"Should have 1 to {CLIENT_REF_MAX_CHARS} characters"))
    if body.get("callback_url") is not None:
        found.extend(_callback_problems(body["callback_url"]))
    return found


def input_problems(given: Mapping[str, object], *, strict_veo: bool, refuse_unknown: bool) -> list[Problem]:
    """The errors in the model's input. With ``strict_veo``, 1080p and 4k require 8 s."""
    found = list(_value_problems(given))
    if refuse_unknown:
        found += [
            Problem(("input", key), "Extra inputs are not permitted", "extra_forbidden")
            for key in sorted(given.keys() - INPUT_FIELDS)
        ]
    resolution, duration = (given.get(name, DEFAULTS[name]) for name in ("resolution", "duration"))
    if strict_veo and resolution in ("1080p", "4k") and duration in ("4s", "6s"):
        found.append(Problem(("input", "duration"), f"{resolution} needs a duration of 8s"))
    return found


def _value_problems(given: Mapping[str, object]) -> Iterator[Problem]:
    prompt = given.get("prompt")
    if "prompt" not in given:
        yield Problem(("input", "prompt"), "Field required", "missing")
    elif not isinstance(prompt, str):
        yield Problem(("input", "prompt"), "Input should be a string", "type_error")
    elif not prompt.strip():
        yield Problem(("input", "prompt"), "Should not be empty")
    for name in sorted(given.keys() & CHOICES.keys()):
        if given[name] not in CHOICES[name]:
            allowed = ", ".join(f"'{choice}'" for choice in CHOICES[name])
            yield Problem(("input", name), f"Input should be one of {allowed}", "literal_error")
    for name in sorted(given.keys() & {"generate_audio", "auto_fix"}):
        if not isinstance(given[name], bool):
            yield Problem(("input", name), "Input should be a boolean", "type_error")
    if "seed" in given and (not isinstance(given["seed"], int) or isinstance(given["seed"], bool)):
        yield Problem(("input", "seed"), "Input should be an integer", "type_error")
    if "negative_prompt" in given and not isinstance(given["negative_prompt"], str):
        yield Problem(("input", "negative_prompt"), "Input should be a string", "type_error")


def _callback_problems(url: object) -> Iterator[Problem]:
    if not isinstance(url, str):
        yield Problem(("callback_url",), "Input should be a string or null", "type_error")
    elif len(url) > CALLBACK_URL_MAX_CHARS:
        yield Problem(("callback_url",), f"Should have at most {CALLBACK_URL_MAX_CHARS} characters")
    elif not _is_web_address(url):
        yield Problem(("callback_url",), "Should be an http or https address")


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
