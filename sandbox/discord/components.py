"""Message components: checks them as Discord does, and builds the form in which the API returns them.

The limits are from the docs (Components Reference). Components are stored as they were sent, plus an ``id`` each.
The form that is returned is built again for every read, because file links expire.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sandbox.discord.errors import JsonObject, Path, Problems

ROW, BUTTON, STRING_SELECT, SECTION, TEXT_DISPLAY, THUMBNAIL, GALLERY, FILE, SEPARATOR, CONTAINER = (
    1, 2, 3, 9, 10, 11, 12, 13, 14, 17,
)  # fmt: skip
SELECTS = (STRING_SELECT, 5, 6, 7, 8)
OPTION_TEXT_MAX = 100  # of an option's label, value and description
INSIDE_CONTAINER = (ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR)
TOP_LEVEL = (*INSIDE_CONTAINER, CONTAINER)
LINK, PREMIUM = 5, 6
COMPONENTS_MAX = 40  # including nested ones
TEXT_MAX = 4000  # of one text display, and of all together


def walk(components: object, path: Path = ("components",)) -> Iterator[tuple[Path, JsonObject]]:
    """Every component with its path; a container comes before its children."""
    if not isinstance(components, list):
        return
    for index, component in enumerate(components):
        if not isinstance(component, dict):
            continue
        yield (*path, index), component
        yield from walk(component.get("components"), (*path, index, "components"))
        for key in ("accessory", "component"):
            if isinstance(inner := component.get(key), dict):
                yield (*path, index, key), inner


def find(components: object, custom_id: str) -> JsonObject | None:
    """The component with this ``custom_id``."""
    return next((each for _, each in walk(components) if each.get("custom_id") == custom_id), None)


def check(components: object, problems: Problems, *, v2: bool) -> None:
    """Add a problem for everything that Discord refuses. ``v2``: the message has the flag IS_COMPONENTS_V2."""
    if components is None:
        return
    if not isinstance(components, list):
        problems.add(("components",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if not v2 and len(components) > 5:
        problems.add(("components",), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
    _check_list(components, ("components",), TOP_LEVEL if v2 else (ROW,), problems)
    check_whole(components, problems)


def check_whole(components: object, problems: Problems) -> None:
    """Add a problem for what must hold across all components: their number, their text, and unique ids."""
    found = list(walk(components))
    if len(found) > COMPONENTS_MAX:
        problems.add(("components",), "BASE_TYPE_MAX_LENGTH", f"Must be {COMPONENTS_MAX} or fewer in length.")
    _check_unique(found, "custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", problems)
    _check_unique(found, "id", "COMPONENT_ID_DUPLICATED", problems)
    texts = [each.get("content") for _, each in found if each.get("type") == TEXT_DISPLAY]
    if sum(len(text) for text in texts if isinstance(text, str)) > TEXT_MAX:
        problems.add(("components",), "BASE_TYPE_MAX_LENGTH", f"All text must be {TEXT_MAX} or fewer in length.")


def _check_unique(found: list[tuple[Path, JsonObject]], key: str, code: str, problems: Problems) -> None:
    seen: set[object] = set()
    for path, component in found:
        value = component.get(key)
        if not value or not isinstance(value, str | int):
            continue
        if value in seen:
            problems.add((*path, key), code, f"Component {key.replace('_', ' ')} cannot be duplicated")
        seen.add(value)


def _check_list(children: object, path: Path, allowed: Sequence[int], problems: Problems) -> None:
    for index, child in enumerate(children if isinstance(children, list) else []):
        here = (*path, index)
        kind = child.get("type") if isinstance(child, dict) else None
        if kind not in allowed:
            message = f'Value of field "type" must be one of {tuple(allowed)}.'
            problems.add((*here, "type"), "UNION_TYPE_CHOICES", message)
        else:
            _check_one(child, here, problems)


def _check_one(component: JsonObject, path: Path, problems: Problems) -> None:
    field = Fields(component, path, problems)
    match component["type"]:
        case 1:
            _check_row(field)
        case 9:
            field.count("components", 1, 3)
            _check_list(component.get("components"), (*path, "components"), (TEXT_DISPLAY,), problems)
            accessory = component.get("accessory")
            _check_list([accessory], (*path, "accessory"), (BUTTON, THUMBNAIL), problems)
        case 10:
            field.text("content", 1, TEXT_MAX, required=True)
        case 11:
            field.text("description", 0, 1024)
            field.media("media")
        case 12:
            field.count("items", 1, 10)
            for index, item in enumerate(field.list("items")):
                inner = Fields(item, (*path, "items", index), problems)
                inner.text("description", 0, 1024)
                inner.media("media")
        case 13:
            field.media("file")
        case 17:
            field.count("components", 1, COMPONENTS_MAX)
            field.number("accent_color", 0, 0xFFFFFF)
            _check_list(component.get("components"), (*path, "components"), INSIDE_CONTAINER, problems)
        case 2:
            _check_button(field)
        case kind if kind in SELECTS:
            check_select(field)


def _check_row(field: "Fields") -> None:
    children = field.component.get("components")
    kinds = [child.get("type") for child in field.list("components") if isinstance(child, dict)]
    field.count("components", 1, 1 if any(kind in SELECTS for kind in kinds) else 5)
    _check_list(children, (*field.path, "components"), (BUTTON, *SELECTS), field.problems)


def _check_button(field: "Fields") -> None:
    button = field.component
    field.text("label", 0, 80)
    style = button.get("style")
    if style not in range(1, 7):
        field.refuse("style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4, 5, 6).")
    wanted = {LINK: "url", PREMIUM: "sku_id"}.get(style, "custom_id") if isinstance(style, int) else "custom_id"
    for key, longest in (("custom_id", 100), ("url", 512), ("sku_id", 25)):
        field.text(key, 1, longest, required=key == wanted)
        if key != wanted and button.get(key):
            field.refuse(key, "COMPONENT_FIELD_NOT_ALLOWED", f"A button of this style has no {key}")
    if style != PREMIUM and not button.get("label") and not button.get("emoji"):
        field.refuse("label", "BUTTON_COMPONENT_INVALID", "A button must have a label or emoji")


def check_select(field: "Fields") -> None:
    """Check a select menu, of a message or of a form."""
    field.text("custom_id", 1, 100, required=True)
    field.text("placeholder", 0, 150)
    field.range("min_values", "max_values", (0, 25), (1, 25))
    most = limit(field.component, "max_values", 1)
    if field.component["type"] == STRING_SELECT:
        check_options(field, max(1, most), 25, most)
    elif len(field.list("default_values")) > most:
        field.refuse("default_values", "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")


def check_options(field: "Fields", least: int, most: int, defaults: int) -> None:
    """Check ``options``: how many, their texts, unique values, and at most ``defaults`` that are set beforehand."""
    field.count("options", least, most)
    seen: set[object] = set()
    options = [each if isinstance(each, dict) else {} for each in field.list("options")]
    for index, option in enumerate(options):
        inner = Fields(option, (*field.path, "options", index), field.problems)
        for key in ("label", "value", "description"):
            needed = key != "description"
            inner.text(key, int(needed), OPTION_TEXT_MAX, required=needed)
        inner.flag("default")
        value = option.get("value")
        if isinstance(value, str) and value in seen:
            inner.refuse("value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The option value is already used")
        seen.add(str(value))
    if sum(1 for option in options if option.get("default") is True) > defaults:
        field.refuse("options", "SELECT_COMPONENT_TOO_MANY_DEFAULTS", f"At most {defaults} can be selected by default.")


def limit(component: Mapping[str, Any], key: str, default: int) -> int:
    """The number under ``key``; ``default`` if it is absent or no number."""
    value = component.get(key)
    return value if isinstance(value, int) else default


class Fields:
    """Checks the fields of one component and adds problems at their paths."""

    def __init__(self, component: object, path: Path, problems: Problems) -> None:
        self.component: JsonObject = component if isinstance(component, dict) else {}
        self.path = path
        self.problems = problems

    def refuse(self, key: str, code: str, message: str) -> None:
        self.problems.add((*self.path, key), code, message)

    def text(self, key: str, shortest: int, longest: int, *, required: bool = False) -> None:
        value = self.component.get(key)
        if value is None:
            if required:
                self.refuse(key, "BASE_TYPE_REQUIRED", "This field is required")
        elif not isinstance(value, str):
            self.refuse(key, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
        elif not shortest <= len(value) <= longest:
            code = "BASE_TYPE_BAD_LENGTH" if shortest else "BASE_TYPE_MAX_LENGTH"
            limits = f"between {shortest} and {longest}" if shortest else f"{longest} or fewer"
            self.refuse(key, code, f"Must be {limits} in length.")

    def count(self, key: str, least: int, most: int) -> None:
        value = self.component.get(key)
        if not isinstance(value, list):
            self.refuse(key, "BASE_TYPE_REQUIRED", "This field is required")
        elif not least <= len(value) <= most:
            self.refuse(key, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")

    def list(self, key: str) -> Sequence[object]:
        value = self.component.get(key)
        return value if isinstance(value, list) else []

    def flag(self, key: str) -> None:
        value = self.component.get(key)
        if value is not None and not isinstance(value, bool):
            self.refuse(key, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")

    def range(self, low: str, high: str, lows: tuple[int, int], highs: tuple[int, int]) -> None:
        """Check a pair of limits, such as ``min_values`` and ``max_values``: each in its range, and in order."""
        self.number(low, *lows)
        self.number(high, *highs)
        least, most = self.component.get(low), self.component.get(high)
        if isinstance(least, int) and isinstance(most, int) and least > most:
            self.refuse(low, "NUMBER_TYPE_MAX", f"{low} can't be more than {high}.")

    def number(self, key: str, least: int, most: int) -> None:
        value = self.component.get(key)
        if value is not None and not (isinstance(value, int) and least <= value <= most):
            self.refuse(key, "NUMBER_TYPE_MAX", f"int value should be between {least} and {most}.")

    def media(self, key: str) -> None:
        value = self.component.get(key)
        url = value.get("url") if isinstance(value, dict) else None
        schemes = ("attachment://",) if key == "file" else ("attachment://", "http://", "https://")
        if not isinstance(url, str):
            self.problems.add((*self.path, key, "url"), "BASE_TYPE_REQUIRED", "This field is required")
        elif not url.startswith(schemes):
            message = f"Scheme must be one of {schemes}."
            self.problems.add((*self.path, key, "url"), "URL_TYPE_INVALID_SCHEME", message)


def media_urls(components: object) -> Iterator[tuple[Path, str]]:
    """Every media URL in the components, with its path."""
    for path, component in walk(components):
        if isinstance(media := component.get("media") or component.get("file"), dict):
            key = "media" if component.get("media") else "file"
            yield (*path, key, "url"), str(media.get("url"))
        items = component.get("items")
        for index, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, dict) and isinstance(item.get("media"), dict):
                yield (*path, "items", index, "media", "url"), str(item["media"].get("url"))


def assign_ids(components: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """A copy in which each component has an ``id``: its own, or the next free number from 1."""
    taken = {each.get("id") for _, each in walk(list(components))}
    free = (number for number in range(1, 1_000_000) if number not in taken)

    def copy(component: Mapping[str, Any]) -> JsonObject:
        copied = dict(component)
        copied["id"] = component.get("id") or next(free)
        if isinstance(component.get("components"), list):
            copied["components"] = [copy(child) for child in component["components"]]
        for key in ("accessory", "component"):
            if isinstance(component.get(key), dict):
                copied[key] = copy(component[key])
        return copied

    return [copy(component) for component in components]


def response_form(components: Sequence[JsonObject], media: Callable[[str], JsonObject]) -> list[JsonObject]:
    """The components as the API returns them; ``media`` turns a URL into an unfurled media item."""
    return [_respond(component, media) for component in components]


def _respond(component: JsonObject, media: Callable[[str], JsonObject]) -> JsonObject:
    form: JsonObject = {"type": component["type"], "id": component["id"]}
    match component["type"]:
        case 1:
            form["components"] = response_form(component["components"], media)
        case 2:
            form |= _given(component, "custom_id", "style", "label", "disabled", "emoji", "url", "sku_id")
        case 9:
            form["components"] = response_form(component["components"], media)
            form["accessory"] = _respond(component["accessory"], media)
        case 10:
            form["content"] = component["content"]
        case 11:
            form |= _media_item(component, media)
        case 12:
            form["items"] = [_media_item(item, media) for item in component["items"]]
        case 13:
            file = media(component["file"]["url"])
            spoiler = bool(component.get("spoiler"))
            form |= {"file": file, "name": file.pop("name"), "size": file.pop("size"), "spoiler": spoiler}
        case 14:
            divider = component.get("divider")
            form |= {
                "spacing": component.get("spacing") or 1,
                "divider": True if divider is None else divider,
            }
        case 17:
            form |= {"accent_color": component.get("accent_color"), "spoiler": bool(component.get("spoiler"))}
            form["components"] = response_form(component["components"], media)
        case _:
            form |= _given(component, "custom_id", "placeholder", "disabled", "options", "default_values")
            form["min_values"] = _or(component.get("min_values"), 1)
            form["max_values"] = _or(component.get("max_values"), 1)
    return form


def _media_item(item: JsonObject, media: Callable[[str], JsonObject]) -> JsonObject:
    shown = media(item["media"]["url"])
    del shown["name"], shown["size"]
    return {"media": shown, "description": item.get("description"), "spoiler": bool(item.get("spoiler"))}


def _given(component: JsonObject, *keys: str) -> JsonObject:
    return {key: component[key] for key in keys if component.get(key) is not None}


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
