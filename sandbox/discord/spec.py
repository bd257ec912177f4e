"""Checks every request and reply against the JSON schemas of Discord's own API description.

The description covers neither gateway payloads nor rules across fields; other modules check those. Four differences
are allowed. Requests may have numbers as ``attachments[].id`` (docs: Uploading Files), and as ids in
``allowed_mentions``, ``message_reference`` and ``recipient_id`` (discord.py sends them). Codes in an ``errors`` tree
may be texts (docs: Error Messages). A ``message_reference`` may be a forward, of which the description knows nothing.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sandbox.discord.errors import JsonObject, Problems

if TYPE_CHECKING:
    import jsonschema_rs
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Registry

BASE = "urn:discord-api"
LEAVES = {
    "required": ("BASE_TYPE_REQUIRED", "This field is required"),
    "enum": ("BASE_TYPE_CHOICES", "Value is not one of the choices"),
    "const": ("BASE_TYPE_CHOICES", "Value is not one of the choices"),
    "maxLength": ("BASE_TYPE_MAX_LENGTH", "Too long"),
    "minLength": ("BASE_TYPE_MIN_LENGTH", "Too short"),
    "maxItems": ("BASE_TYPE_MAX_LENGTH", "Too many"),
    "minItems": ("BASE_TYPE_MIN_LENGTH", "Too few"),
    "maximum": ("NUMBER_TYPE_MAX", "Too large"),
    "minimum": ("NUMBER_TYPE_MIN", "Too small"),
}


class Spec:
    """An API description in one file (OpenAPI 3.1). Each validator is built once, when it is first needed.

    What is sound, as nearly all is, is found to be so by a validator in Rust; only what is not is looked at by the one
    in Python, which says where and why, and takes fifty times as long.
    """

    def __init__(self, path: Path) -> None:
        self._document: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        self._sound: dict[tuple[str, ...], jsonschema_rs.Validator] = {}
        self._validators: dict[tuple[str, ...], Draft202012Validator | None] = {}
        self._registry: Registry[Any] | None = None
        self._quick_registry: jsonschema_rs.Registry | None = None

    def check_request(self, method: str, template: str, body: Any) -> JsonObject | None:
        """The ``errors`` tree for a body that breaks the description; None if it doesn't."""
        path = ("paths", template, method.lower(), "requestBody", "content", "application/json", "schema")
        body = _ids_as_text(body)
        if self._is_sound(path, body) or (validator := self._validator(path)) is None:
            return None
        problems = Problems()
        for error in validator.iter_errors(body):
            deepest = _deepest(error)
            code, text = LEAVES.get(str(deepest.validator), ("BASE_TYPE_INVALID", deepest.message[:200]))
            where = list(deepest.absolute_path)
            if deepest.validator == "required":
                where.append(deepest.message.split("'")[1])
            problems.add(where, code, text)
        return problems.tree() if problems else None

    def check_reply(self, method: str, template: str, status: int, payload: Any) -> list[str]:
        """One sentence for each way in which a reply breaks the description."""
        responses = self._at(("paths", template, method.lower(), "responses"))
        if responses is None:
            return [f"{method} {template} is not in the description"]
        key = str(status) if str(status) in responses else f"{status // 100}XX"
        if key not in responses:
            return [f"{method} {template}: status {status} is not in the description"]
        place: tuple[str, ...] = ("paths", template, method.lower(), "responses", key)
        if "$ref" in responses[key]:
            place = tuple(responses[key]["$ref"].removeprefix("#/").split("/"))
        path = (*place, "content", "application/json", "schema")
        known = _forwards_as_replies(_leaf_codes_as_numbers(payload))
        if self._is_sound(path, known):
            return []
        validator = self._validator(path)
        if validator is None:
            return [] if payload is None else [f"{method} {template}: {status} has no body"]
        found = (_deepest(error) for error in validator.iter_errors(known))
        return [
            f"{method} {template} {status}: {'/'.join(map(str, each.absolute_path))}: {each.message[:300]}"
            for each in found
        ]

    def _is_sound(self, path: tuple[str, ...], payload: Any) -> bool:
        """Whether a payload surely keeps to a schema; False where it doesn't, or there is none."""
        import jsonschema_rs  # noqa: PLC0415 - see _build

        if path not in self._sound:
            if self._at(path) is None:
                return False
            if self._quick_registry is None:
                self._quick_registry = jsonschema_rs.Registry([(BASE, self._document)])
            pointer = "/".join(quote(_escaped(step), safe="~") for step in path)
            schema = {"$ref": f"{BASE}#/{pointer}"}
            self._sound[path] = jsonschema_rs.Draft202012Validator(schema, registry=self._quick_registry)
        try:
            return self._sound[path].is_valid(payload)
        except ValueError:  # such as a lone surrogate, or a number that JSON has no way to write
            return False

    def _at(self, path: Iterable[str]) -> Any:
        node: Any = self._document
        for step in path:
            if not isinstance(node, dict) or step not in node:
                return None
            node = node[step]
        return node

    def _validator(self, path: tuple[str, ...]) -> "Draft202012Validator | None":
        if path not in self._validators:
            self._validators[path] = self._build(path) if self._at(path) else None
        return self._validators[path]

    def _build(self, path: tuple[str, ...]) -> "Draft202012Validator":
        # A development dependency, so it is only imported if a description is given.
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - see above
        from referencing import Registry  # noqa: PLC0415 - see above
        from referencing.jsonschema import DRAFT202012  # noqa: PLC0415 - see above

        if self._registry is None:
            resource = DRAFT202012.create_resource(self._document)
            self._registry = Registry().with_resource(BASE, resource)
        pointer = "/".join(map(_escaped, path))
        return Draft202012Validator({"$ref": f"{BASE}#/{pointer}"}, registry=self._registry)


@cache
def load_spec(path: Path) -> Spec:
    """The description in this file, read once: nothing of it ever changes."""
    return Spec(path)


def _escaped(step: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def _deepest(error: "ValidationError") -> "ValidationError":
    """The most specific error: within the alternative that was probably meant, the deepest one."""
    while error.context:
        branches: dict[Any, list[ValidationError]] = {}
        for each in error.context:
            branches.setdefault(each.schema_path[0], []).append(each)
        meant = min(branches.values(), key=lambda branch: (any(map(_is_foreign, branch)), sum(map(_leaves, branch))))
        error = max((_deepest(each) for each in meant), key=lambda each: len(each.absolute_path))
    return error


def _is_foreign(error: "ValidationError") -> bool:
    """Whether an error rules out an alternative: the value's kind or the component's ``type`` is another one."""
    return list(error.path) == ["type"] or (error.validator == "type" and not error.path)


def _leaves(error: "ValidationError") -> int:
    return min(map(_leaves, error.context)) if error.context else 1


def _leaf_codes_as_numbers(payload: Any) -> Any:
    if not isinstance(payload, dict) or "errors" not in payload:
        return payload

    def changed(node: JsonObject) -> JsonObject:
        return {
            key: [leaf | {"code": 0} for leaf in value] if key == "_errors" else changed(value)
            for key, value in node.items()
        }

    return payload | {"errors": changed(payload["errors"])}


def _forwards_as_replies(payload: Any) -> Any:
    if isinstance(payload, list):
        return [_forwards_as_replies(each) for each in payload]
    if not isinstance(payload, dict) or not isinstance(reference := payload.get("message_reference"), dict):
        return payload
    return payload | {"message_reference": reference | {"type": 0} if reference.get("type") == 1 else reference}


def _ids_as_text(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    changed: JsonObject = dict(_forwards_as_replies(body))
    if isinstance(reference := changed.get("message_reference"), dict):
        changed["message_reference"] = {
            key: str(each) if key.endswith("_id") and type(each) is int else each for key, each in reference.items()
        }
    if isinstance(body.get("data"), dict):
        changed["data"] = _ids_as_text(body["data"])
    if type(body.get("recipient_id")) is int:
        changed["recipient_id"] = str(body["recipient_id"])
    if isinstance(body.get("attachments"), list):
        changed["attachments"] = [
            each | {"id": str(each["id"])} if isinstance(each, dict) and type(each.get("id")) is int else each
            for each in body["attachments"]
        ]
    if isinstance(body.get("allowed_mentions"), dict):
        changed["allowed_mentions"] = {
            key: [str(each) if type(each) is int else each for each in value] if isinstance(value, list) else value
            for key, value in body["allowed_mentions"].items()
        }
    return changed
