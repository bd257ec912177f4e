"""Checks of a message's body that don't depend on its sender (docs: Message, Create Message; Embed Limits).

They are pure functions: they report problems or raise ApiError.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.discord import components
from sandbox.discord.cdn import Attachment, Upload, safe_name
from sandbox.discord.errors import ApiError, JsonObject, Path, Problems, invalid

TEXT_MAX = 2000
NONCE_MAX = 25
EMBEDS_MAX, EMBED_SUM_MAX = 10, 6000
FILES_MAX = 10
SUPPRESS_EMBEDS, EPHEMERAL, LOADING, SILENT, COMPONENTS_V2 = 1 << 2, 1 << 6, 1 << 7, 1 << 12, 1 << 15


@dataclass(kw_only=True)
class Body:
    """A request's body: its JSON (all of it, or its part ``payload_json``), and its parts ``files[n]`` by ``n``."""

    json: Any = None
    files: dict[int, Upload] = field(default_factory=dict)

    def fields(self) -> JsonObject:
        """The JSON object; ApiError if the JSON is something else."""
        if self.json is None:
            return {}
        if not isinstance(self.json, dict):
            raise invalid((), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return self.json

    def inner(self, key: str) -> "Body":
        """The body under ``key``, with the same files; an interaction's callback has its message under ``data``."""
        return Body(json=self.fields().get(key), files=self.files)


def check_fields(fields: JsonObject, *, v2: bool) -> None:
    """Refuse (400/50035) fields that have a wrong type or exceed a limit."""
    problems = Problems()
    _check_text(fields.get("content"), problems)
    _check_embeds(fields.get("embeds"), problems)
    _check_nonce(fields.get("nonce"), problems)
    flags = fields.get("flags")
    if flags is not None and (isinstance(flags, bool) or not isinstance(flags, int)):
        problems.add(("flags",), "NUMBER_TYPE_COERCE", f'Value "{flags}" is not int.')
    components.check(fields.get("components"), problems, v2=v2)
    _check_allowed(fields.get("allowed_mentions"), problems)
    problems.raise_if_any()


def _check_allowed(allowed: object, problems: Problems) -> None:
    if allowed is None:
        return
    lists = [allowed.get(key) or [] for key in ("parse", "users", "roles")] if isinstance(allowed, dict) else [None]
    # Ids may be numbers: discord.py sends them like that, and Discord accepts it.
    if not all(isinstance(each, list) and all(type(name) in (str, int) for name in each) for each in lists):
        problems.add(("allowed_mentions",), "DICT_TYPE_CONVERT", "Only lists of ids may be used here")
        return
    for kind, named in zip(("users", "roles"), lists[1:], strict=True):
        if named and kind in (lists[0] or []):
            text = f'parse:["{kind}"] and {kind}: [ids...] are mutually exclusive.'
            problems.add(("allowed_mentions",), "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)


def _check_text(content: object, problems: Problems) -> None:
    if content is None:
        return
    if not isinstance(content, str):
        problems.add(("content",), "STRING_TYPE_CONVERT", f'Could not interpret "{content}" as string.')
    elif len(content) > TEXT_MAX:
        problems.add(("content",), "BASE_TYPE_MAX_LENGTH", f"Must be {TEXT_MAX} or fewer in length.")


def _check_nonce(nonce: object, problems: Problems) -> None:
    if nonce is None:
        return
    fits = (isinstance(nonce, int) and not isinstance(nonce, bool) and -(2**63) <= nonce < 2**63) or (
        isinstance(nonce, str) and len(nonce) <= NONCE_MAX
    )
    if not fits:
        problems.add(("nonce",), "NONCE_TYPE_TOO_LONG", f"Nonce must be {NONCE_MAX} or fewer in length.")


def _check_embeds(embeds: object, problems: Problems) -> None:
    if embeds is None:
        return
    if not isinstance(embeds, list):
        problems.add(("embeds",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(embeds) > EMBEDS_MAX:
        problems.add(("embeds",), "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS_MAX} or fewer in length.")
    total = 0
    for index, embed in enumerate(embeds):
        if not isinstance(embed, dict):
            problems.add(("embeds", index), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
            continue
        total += _check_embed(embed, ("embeds", index), problems)
    if total > EMBED_SUM_MAX:
        problems.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum of {EMBED_SUM_MAX}")


def _check_embed(embed: JsonObject, path: Path, problems: Problems) -> int:
    """Check one embed and return the number of characters that count towards the limit of all embeds."""
    fields = embed.get("fields") or []
    wrong = [key for key in ("footer", "author", "image", "thumbnail") if not _is_object(embed.get(key))]
    for key in ("image", "thumbnail"):
        if isinstance(embed.get(key), dict) and not isinstance(embed[key].get("url"), str):
            problems.add((*path, key, "url"), "BASE_TYPE_REQUIRED", "This field is required")
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        wrong.append("fields")
    for key in wrong:
        problems.add((*path, key), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
    if wrong:
        return 0
    if len(fields) > 25:
        problems.add((*path, "fields"), "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    total = 0
    for place, text, longest in _embed_texts(embed, fields):
        total += len(text)
        if len(text) > longest:
            problems.add((*path, *place), "BASE_TYPE_MAX_LENGTH", f"Must be {longest} or fewer in length.")
    return total


def _is_object(value: object) -> bool:
    return value is None or isinstance(value, dict)


def _embed_texts(embed: JsonObject, fields: list[JsonObject]) -> Iterable[tuple[Path, str, int]]:
    """Every text of an embed that has a limit, with its path and limit."""
    yield ("title",), str(embed.get("title") or ""), 256
    yield ("description",), str(embed.get("description") or ""), 4096
    yield ("footer", "text"), str((embed.get("footer") or {}).get("text") or ""), 2048
    yield ("author", "name"), str((embed.get("author") or {}).get("name") or ""), 256
    for number, each in enumerate(fields):
        yield ("fields", number, "name"), str(each.get("name") or ""), 256
        yield ("fields", number, "value"), str(each.get("value") or ""), 1024


@dataclass(kw_only=True)
class Files:
    """The existing files that a body keeps, and the new ones that it uploads."""

    kept: list[Attachment]
    new: list[tuple[Upload, str | None]]  # each with its description

    def names(self) -> set[str]:
        """The names that ``attachment://`` URLs can refer to."""
        return {each.name for each in self.kept} | {safe_name(upload.name) for upload, _ in self.new}

    def __len__(self) -> int:
        return len(self.kept) + len(self.new)


def match_files(body: Body, existing: list[Attachment], *, limit: int) -> Files:
    """Match ``attachments`` with ``files[n]`` (docs: Reference, Uploading Files; Editing Message Attachments).

    If the body has ``attachments``, only the listed files remain: existing ones by id, uploads by index. Otherwise
    uploads are appended. Raises 413/40005 for a file above ``limit`` bytes, 400/50146 for an unknown file.
    """
    if any(upload.size > limit or upload.path is None for upload in body.files.values()):
        raise ApiError(413, 40005)
    listed = body.fields().get("attachments")
    if listed is None:
        files = Files(kept=list(existing), new=[(body.files[n], None) for n in sorted(body.files)])
    else:
        files = _match_listed(listed, body.files, {each.id: each for each in existing})
    if len(files) > FILES_MAX:
        raise invalid(("attachments",), "BASE_TYPE_MAX_LENGTH", f"Must be {FILES_MAX} or fewer in length.")
    return files


def _match_listed(listed: object, uploads: dict[int, Upload], existing: dict[str, Attachment]) -> Files:
    if not isinstance(listed, list):
        raise invalid(("attachments",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    files = Files(kept=[], new=[])
    used: set[int] = set()
    for index, entry in enumerate(listed):
        key = str(entry.get("id")) if isinstance(entry, dict) else ""
        if not key.isdecimal():
            raise invalid(("attachments", index, "id"), "BASE_TYPE_REQUIRED", "This field is required")
        description = entry.get("description")
        if description is not None and len(str(description)) > 1024:
            where = ("attachments", index, "description")
            raise invalid(where, "BASE_TYPE_MAX_LENGTH", "Must be 1024 or fewer in length.")
        if int(key) in uploads and int(key) not in used:
            used.add(int(key))
            upload = uploads[int(key)]
            upload.name = entry.get("filename") or upload.name
            files.new.append((upload, description))
        elif key in existing:
            files.kept.append(existing[key])
        else:
            raise ApiError(400, 50146)
    if unlisted := uploads.keys() - used:
        raise invalid(("attachments",), "BASE_TYPE_REQUIRED", f"files[{min(unlisted)}] is not listed")
    return files


def check_media(component_list: object, names: set[str]) -> None:
    """Refuse components that refer to an ``attachment://`` file that the message doesn't have."""
    problems = Problems()
    for path, url in components.media_urls(component_list):
        if url.startswith("attachment://") and safe_name(url.removeprefix("attachment://")) not in names:
            problems.add(path, "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", f"{url} was not found.")
    problems.raise_if_any()


def check_v2(content: object, embeds: object) -> None:
    """Refuse fields that a message with IS_COMPONENTS_V2 can't have (docs: Message, Message Flags)."""
    problems = Problems()
    for key, value in (("content", content), ("embeds", embeds)):
        if value:
            text = f'The "{key}" field cannot be used when using MessageFlags.IS_COMPONENTS_V2'
            problems.add((key,), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
    problems.raise_if_any()


@dataclass(kw_only=True)
class Mentions:
    """The users and roles that a text notifies, after ``allowed_mentions`` was applied."""

    users: list[str]
    roles: list[str]
    everyone: bool


def mentions(texts: str, allowed: Mapping[str, Any] | None, default: tuple[str, ...]) -> Mentions:
    """Apply ``allowed_mentions`` (docs: Message, Allowed Mentions); if it is absent, ``default`` applies."""
    parse = default if allowed is None else tuple(allowed.get("parse") or ())
    named = allowed or {}
    users = dict.fromkeys(re.findall(r"<@!?(\d+)>", texts))
    roles = dict.fromkeys(re.findall(r"<@&(\d+)>", texts))
    named_users = {str(each) for each in named.get("users") or ()}
    named_roles = {str(each) for each in named.get("roles") or ()}
    return Mentions(
        users=[each for each in users if "users" in parse or each in named_users],
        roles=[each for each in roles if "roles" in parse or each in named_roles],
        everyone="everyone" in parse and re.search(r"@(everyone|here)\b", texts) is not None,
    )
