"""Forms that the bot opens ("modals"), and menus: checks them, and reads what a member enters as real clients do.

The limits are from the docs (Components Reference). A client doesn't send what doesn't fit: where the real one keeps
its button grey, ``submitted`` and ``chosen`` raise CommandRefused. Files can't be uploaded into a form here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.discord import components
from sandbox.discord.commands import CHANNEL, MENTIONABLE, ROLE, USER, CommandRefused
from sandbox.discord.components import ROW, SELECTS, TEXT_DISPLAY, Fields, limit
from sandbox.discord.errors import JsonObject, Problems

LABEL, TEXT_INPUT, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 18, 4, 19, 21, 22, 23
INPUTS = (TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX)
OPTION_KINDS = {5: USER, 6: ROLE, 7: MENTIONABLE, 8: CHANNEL}  # of selects, whose values are ids
PARTS_MAX, TITLE_MAX, INPUT_MAX, CHECKBOXES_MAX, FILES_MAX = 5, 45, 4000, 10, 10


def read(data: JsonObject) -> JsonObject:
    """The modal with an ``id`` for each component; 400/50035 at each field that Discord would refuse."""
    problems = Problems()
    field = Fields(data, (), problems)
    field.text("title", 1, TITLE_MAX, required=True)
    field.text("custom_id", 1, 100, required=True)
    field.count("components", 1, PARTS_MAX)
    for index, part in enumerate(field.list("components")):
        _check_part(Fields(part, ("components", index), problems))
    components.check_whole(data.get("components"), problems)
    problems.raise_if_any()
    return data | {"components": components.assign_ids(data["components"])}


def _check_part(field: Fields) -> None:
    match field.component.get("type"):
        case 18:
            field.text("label", 1, TITLE_MAX, required=True)
            field.text("description", 1, 100)
            _check_input(Fields(field.component.get("component"), (*field.path, "component"), field.problems), INPUTS)
        case 10:
            field.text("content", 1, components.TEXT_MAX, required=True)
        case 1:
            field.count("components", 1, 1)
            for index, each in enumerate(field.list("components")):
                inner = Fields(each, (*field.path, "components", index), field.problems)
                inner.text("label", 1, TITLE_MAX, required=True)
                _check_input(inner, (TEXT_INPUT,))
        case _:
            field.refuse("type", "UNION_TYPE_CHOICES", 'Value of field "type" must be one of (1, 10, 18).')


def _check_input(field: Fields, allowed: Sequence[int]) -> None:
    kind = field.component.get("type")
    if kind not in allowed:
        field.refuse("type", "UNION_TYPE_CHOICES", f'Value of field "type" must be one of {tuple(allowed)}.')
        return
    field.text("custom_id", 1, 100, required=True)
    field.flag("required")
    if field.component.get("disabled"):
        field.refuse("disabled", "MODAL_COMPONENT_DISABLED", "Modals cannot have disabled components.")
    if field.component.get("min_values") == 0 and _required(field.component):
        field.refuse("min_values", "MODAL_REQUIRED_MIN_VALUES", "Must be at least 1 if the field is required.")
    match kind:
        case 4:
            _check_text_input(field)
        case 19:
            field.range("min_values", "max_values", (0, FILES_MAX), (1, FILES_MAX))
        case 21:
            components.check_options(field, 2, CHECKBOXES_MAX, 1)
        case 22:
            field.range("min_values", "max_values", (0, CHECKBOXES_MAX), (1, CHECKBOXES_MAX))
            most = limit(field.component, "max_values", CHECKBOXES_MAX)
            components.check_options(field, 1, CHECKBOXES_MAX, most)
        case 23:
            field.flag("default")
        case _:
            components.check_select(field)


def _check_text_input(field: Fields) -> None:
    if field.component.get("style") not in (1, 2):
        field.refuse("style", "BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
    field.range("min_length", "max_length", (0, INPUT_MAX), (1, INPUT_MAX))
    field.text("placeholder", 0, 100)
    least, most = limit(field.component, "min_length", 0), limit(field.component, "max_length", INPUT_MAX)
    field.text("value", least if field.component.get("value") else 0, most)


def submitted(modal: JsonObject, values: Mapping[str, object]) -> list[JsonObject]:
    """The ``components`` of a modal submit: what the member entered by ``custom_id``, else what was set beforehand.

    CommandRefused, with the ``custom_id``, if a client wouldn't let the member submit this.
    """
    known = {each["custom_id"] for _, each in components.walk(modal["components"]) if "custom_id" in each}
    for name in values.keys() - known:
        raise CommandRefused(f"The form has no field {name}.", name)
    parts = []
    for part in modal["components"]:
        form: JsonObject = {"type": part["type"], "id": part["id"]}
        if part["type"] == ROW:
            form["components"] = [_answer(each, values) for each in part["components"]]
        elif part["type"] != TEXT_DISPLAY:
            form["component"] = _answer(part["component"], values)
        parts.append(form)
    return parts


def _answer(entered: JsonObject, values: Mapping[str, object]) -> JsonObject:
    """One field in the form in which clients send it: no label and no options, only the value or values."""
    name = entered["custom_id"]
    given = values[name] if name in values else _default(entered)
    form: JsonObject = {"type": entered["type"], "id": entered["id"], "custom_id": name}
    match entered["type"]:
        case 4:
            return form | {"value": _text(entered, given)}
        case 23:
            if not isinstance(given, bool):
                raise CommandRefused(f"{name} is either ticked or not.", name)
            return form | {"value": given}
        case 21:
            picked = chosen(entered, [] if given is None else given)
            return form | {"value": picked[0] if picked else None}
        case _:
            return form | {"values": chosen(entered, given)}


def _default(entered: JsonObject) -> object:
    """What the field shows when the form opens."""
    match entered["type"]:
        case 4:
            return entered.get("value") or ""
        case 23:
            return bool(entered.get("default"))
        case _:
            preset = [each["id"] for each in entered.get("default_values") or []]
            return preset + [each["value"] for each in entered.get("options") or [] if each.get("default")]


def _text(entered: JsonObject, given: object) -> str:
    name = entered["custom_id"]
    if not isinstance(given, str):
        raise CommandRefused(f"{name} takes text.", name)
    if not given and _required(entered):
        raise CommandRefused(f"{name} is required.", name)
    least, most = limit(entered, "min_length", 0), limit(entered, "max_length", INPUT_MAX)
    if given and not least <= len(given) <= most:
        raise CommandRefused(f"{name} takes {least} to {most} characters.", name)
    return given


def chosen(menu: JsonObject, given: object, *, in_modal: bool = True) -> list[str]:
    """The values picked in a menu, a group of boxes or a row of radio buttons; CommandRefused if they don't fit.

    One value may be given as text.
    """
    name = menu["custom_id"]
    picked = [given] if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else [None]
    values = [each for each in picked if isinstance(each, str)]
    if len(values) < len(picked) or len(set(values)) < len(values):
        raise CommandRefused(f"{name} takes a list of different values.", name)
    if values and menu["type"] == FILE_UPLOAD:
        raise CommandRefused(f"{name} takes files, which can't be uploaded here.", name)
    if "options" in menu:
        offered = [option["value"] for option in menu["options"]]
        for value in values:
            if value not in offered:
                raise CommandRefused(f"{name} must be one of: {', '.join(offered)}.", name)
    most = 1 if menu["type"] == RADIO_GROUP else limit(menu, "max_values", _most(menu))
    least = limit(menu, "min_values", 1)
    optional = in_modal and not _required(menu)
    if not (optional and not values) and not least <= len(values) <= most:
        raise CommandRefused(f"{name} takes {least} to {most} values.", name)
    return values


def _most(menu: JsonObject) -> int:
    return len(menu["options"]) if menu["type"] == CHECKBOX_GROUP else 1


def _required(entered: Mapping[str, Any]) -> bool:
    """Whether the member must fill it in; they must unless the form says otherwise."""
    return entered.get("type") != CHECKBOX and entered.get("required") is not False


def ids(parts: object) -> list[tuple[int, str, str]]:
    """The ids among the answers to select menus, each as (kind of option, ``custom_id``, id)."""
    return [
        (OPTION_KINDS[each["type"]], each["custom_id"], value)
        for _, each in components.walk(parts)
        if each.get("type") in OPTION_KINDS
        for value in each["values"]
    ]
