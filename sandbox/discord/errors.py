"""Error replies in Discord's format: ``{"message", "code"}``, plus a tree of ``errors`` for an invalid body.

Codes and texts are from the docs (Opcodes and Status Codes, JSON Error Codes). The docs don't say which HTTP status
goes with a code; the ones used here are those that users of the real API report.
"""

from collections.abc import Sequence
from typing import Any

JsonObject = dict[str, Any]
Path = tuple[str | int, ...]

TEXTS = {
    0: "401: Unauthorized",
    10003: "Unknown Channel",
    10004: "Unknown Guild",
    10007: "Unknown Member",
    10008: "Unknown Message",
    10013: "Unknown User",
    10014: "Unknown Emoji",
    10015: "Unknown Webhook",
    10062: "Unknown interaction",
    10063: "Unknown application command",
    20012: "You are not authorized to perform this action on this application",
    30032: "Maximum number of application commands reached (100)",
    30034: "Max number of daily application command creates has been reached (200)",
    30046: "Maximum number of edits to messages older than 1 hour reached. Try again later",
    40005: "Request entity too large",
    40060: "Interaction has already been acknowledged.",
    40094: "Maximum number of follow up messages has been reached",
    40333: "internal network error",
    50001: "Missing Access",
    50003: "Cannot execute action on a DM channel",
    50005: "Cannot edit a message authored by another user",
    50006: "Cannot send an empty message",
    50007: "Cannot send messages to this user",
    50008: "Cannot send messages in a non-text channel",
    50013: "Missing Permissions",
    50027: "Invalid Webhook Token",
    50035: "Invalid Form Body",
    50083: "Tried to perform an operation on an archived thread, such as editing a message or adding a user",
    50109: "The request body contains invalid JSON.",
    50146: "Uploaded file not found.",
    50278: "Cannot send messages to this user due to having no mutual guilds",
    130000: "API resource is currently overloaded. Try again a little later",
    160009: "Cannot reference a message without permission to read message history",
    160011: "Forward messages cannot have additional content",
    160014: "You cannot forward a message whose content you cannot read",
    200000: "Message was blocked by automatic moderation",
}


class ApiError(Exception):
    """An error reply with its HTTP status and JSON body."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str | None = None,
        *,
        errors: JsonObject | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status}/{code}")
        self.status = status
        self.body: JsonObject = {"message": message or TEXTS.get(code, f"{status}: Error"), "code": code}
        if errors is not None:
            self.body["errors"] = errors
        if retry_after is not None:
            self.body |= {"retry_after": retry_after, "global": False}


class Problems:
    """Collects what is wrong with a request body, field by field, and raises it all as one 400 with code 50035."""

    def __init__(self) -> None:
        self._found: list[tuple[Path, str, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, path: Sequence[str | int], code: str, message: str) -> None:
        """Add a problem at ``path``: field names and list indices from the top of the body."""
        self._found.append((tuple(path), code, message))

    def raise_if_any(self) -> None:
        """Raise the ApiError if any problem was added."""
        if self._found:
            raise ApiError(400, 50035, errors=self.tree())

    def tree(self) -> JsonObject:
        """The value of ``errors`` (docs: Reference, Error Messages)."""
        root: JsonObject = {}
        for path, code, message in self._found:
            node = root
            for step in path:
                node = node.setdefault(str(step), {})
            node.setdefault("_errors", []).append({"code": code, "message": message})
        return root


def invalid(path: Sequence[str | int], code: str, message: str) -> ApiError:
    """The ApiError for a body with one problem."""
    problems = Problems()
    problems.add(path, code, message)
    return ApiError(400, 50035, errors=problems.tree())
