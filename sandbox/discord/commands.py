"""Registers commands, and checks what a member sends. Refuses what Discord would refuse in both cases.

The limits are from the docs (Application Commands). Integers range from -(2^53)+1 to 2^53-1.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from sandbox.clock import Clock
from sandbox.discord.entities import LOCALES, Channel, Member, Role, Server
from sandbox.discord.errors import ApiError, JsonObject, Path, Problems, invalid
from sandbox.discord.events import Events, Snowflakes
from sandbox.discord.permissions import ADMINISTRATOR, ALL_PERMISSIONS
from sandbox.discord.switches import Switches
from sandbox.discord.world import World

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
CHAT_INPUT_AND_MENUS = (1, 2, 3, 4)
SUB_COMMAND, SUB_GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
CHAT_COMMANDS_MAX, MENUS_MAX, OPTIONS_MAX, CHOICES_MAX, COMMAND_MAX = 100, 15, 25, 25, 8000
INTEGER_MAX = 2**53 - 1
ChannelOrRole = TypeVar("ChannelOrRole", Channel, Role)
NAME = re.compile(r"^[-_'\w]{1,32}$", re.UNICODE)


class CommandRefused(ValueError):
    """Discord would not let the member send this; the message says why. ``option`` is the option at fault, if any."""

    def __init__(self, sentence: str, option: str | None = None) -> None:
        super().__init__(sentence)
        self.option = option


class Commands:
    """The application's commands. A scope is a server's id, or None for the global commands."""

    def __init__(
        self, *, world: World, clock: Clock, switches: Switches, snowflakes: Snowflakes, events: Events
    ) -> None:
        self._world = world
        self._clock = clock
        self._switches = switches
        self._snowflakes = snowflakes
        self._events = events
        self._scopes: dict[str | None, list[JsonObject]] = {}
        self._created: dict[str | None, list[float]] = {}

    def registered(self, guild_id: str | None = None) -> list[JsonObject]:
        """The commands of a server, or the global ones."""
        return list(self._scopes.get(guild_id, []))

    def all(self) -> Iterator[JsonObject]:
        """Every command of every scope; a server's command has its ``guild_id``."""
        for commands in self._scopes.values():
            yield from commands

    def replace(self, guild_id: str | None, wanted: object) -> list[JsonObject]:
        """Replace all commands of the scope; a command whose name was registered before keeps its id."""
        if not isinstance(wanted, list):
            raise invalid((), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        check_commands(wanted, in_server=guild_id is not None)
        known = {(each["type"], each["name"]): each for each in self.registered(guild_id)}
        fresh = [each for each in wanted if (each.get("type") or CHAT_INPUT, each["name"]) not in known]
        self._count_creates(guild_id, len(fresh))
        self._scopes[guild_id] = [
            self._stored(each, guild_id, known.get((each.get("type") or CHAT_INPUT, each["name"]))) for each in wanted
        ]
        self._events.publish("commands_registered", guild_id=guild_id)
        return self.registered(guild_id)

    def offered(self, name: str, channel: Channel, kind: int = CHAT_INPUT) -> JsonObject:
        """The command ``name`` in ``channel``: the server's, else the global one; CommandRefused if there is none."""
        scopes = [channel.guild_id, None] if channel.guild_id else [None]
        for scope in scopes:
            for command in self._scopes.get(scope, []):
                if command["name"] == name and command["type"] == kind:
                    return command
        raise CommandRefused(f"There's no command {'/' if kind == CHAT_INPUT else ''}{name} here.")

    def check_visible(self, command: JsonObject, member: Member, channel: Channel, permissions: int) -> None:
        """Check that Discord shows the command to this member in this channel; CommandRefused otherwise."""
        contexts = command.get("contexts")
        if contexts is not None and context_of(channel) not in contexts:
            raise CommandRefused(f"/{command['name']} can't be used in this kind of channel.")
        needed = command.get("default_member_permissions")
        if channel.server and needed is not None and not _explicitly_allowed(command["name"], member):
            administrator = permissions == ALL_PERMISSIONS or permissions & ADMINISTRATOR
            wanted = int(needed)
            if not administrator and (wanted == 0 or permissions & wanted != wanted):
                raise CommandRefused(f"{member.name} may not use /{command['name']}.")
        if command.get("nsfw") and not (channel.parent or channel).nsfw:
            raise CommandRefused(f"/{command['name']} only works in age-restricted channels.")

    def _count_creates(self, guild_id: str | None, number: int) -> None:
        day_ago = self._clock.now() - 86_400
        recent = [at for at in self._created.get(guild_id, []) if at > day_ago]
        if len(recent) + number > self._switches.command_creates_per_day:
            raise ApiError(400, 30034)
        self._created[guild_id] = recent + [self._clock.now()] * number

    def _stored(self, wanted: JsonObject, guild_id: str | None, known: JsonObject | None) -> JsonObject:
        permissions = wanted.get("default_member_permissions")
        wanted = _without_equal_texts(wanted)
        stored: JsonObject = {
            "id": known["id"] if known else self._snowflakes.next(),
            "application_id": self._world.application_id,
            "version": self._snowflakes.next(),
            "default_member_permissions": None if permissions is None else str(permissions),
            "type": wanted.get("type") or CHAT_INPUT,
            "name": wanted["name"],
            "name_localizations": wanted.get("name_localizations"),
            "description": wanted.get("description") or "",
            "description_localizations": wanted.get("description_localizations"),
            "nsfw": bool(wanted.get("nsfw")),
        }
        if wanted.get("options"):
            stored["options"] = [_option_form(option) for option in wanted["options"]]
        if guild_id:
            return stored | {"guild_id": guild_id}
        return stored | {
            "dm_permission": wanted.get("dm_permission") is not False,
            "contexts": wanted.get("contexts"),
            "integration_types": wanted.get("integration_types") or [0],
        }


def context_of(channel: Channel) -> int:
    """0 in a server, 1 in the bot's direct messages, 2 in a group (docs: Interaction Context Types)."""
    return 0 if channel.server else 1 if channel.recipient else 2


def _explicitly_allowed(name: str, member: Member) -> bool:
    """Whether an admin of the server allowed the command for this member or one of the member's roles."""
    given = member.server.command_permissions.get(name, set())
    return not given.isdisjoint({member.id, *(role.id for role in member.roles)})


def _option_form(option: JsonObject) -> JsonObject:
    """An option as Discord stores it, without null and empty fields."""
    form = {key: value for key, value in _without_equal_texts(option).items() if value is not None and value != []}
    if form.get("required") is False:
        del form["required"]
    if "options" in form:
        form["options"] = [_option_form(each) for each in form["options"]]
    if "choices" in form:
        form["choices"] = [_without_equal_texts(each) for each in form["choices"]]
    return form


def _without_equal_texts(part: JsonObject) -> JsonObject:
    """A copy without the translations that equal the default text, which Discord drops (docs: Localization)."""
    copy = dict(part)
    for key in ("name", "description"):
        if isinstance(texts := part.get(f"{key}_localizations"), dict):
            kept = {locale: text for locale, text in texts.items() if text != part.get(key)}
            copy[f"{key}_localizations"] = kept or None
    return copy


def check_commands(wanted: list[Any], *, in_server: bool) -> None:
    """Refuse a list of commands that exceeds a documented limit."""
    problems = Problems()
    seen: set[tuple[str, str]] = set()
    for index, command in enumerate(wanted):
        if not isinstance(command, dict):
            problems.add((index,), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
            continue
        kind = command.get("type") or CHAT_INPUT
        _check_texts(command, (index,), problems, described=kind == CHAT_INPUT)
        if kind not in CHAT_INPUT_AND_MENUS:
            problems.add((index, "type"), "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4).")
        key = (str(kind), str(command.get("name")))
        if key in seen:
            text = "Application command names must be unique"
            problems.add((index, "name"), "APPLICATION_COMMANDS_DUPLICATE_NAME", text)
        seen.add(key)
        if in_server and (command.get("contexts") or command.get("integration_types")):
            text = "Only global commands have contexts"
            problems.add((index, "contexts"), "APPLICATION_COMMAND_INVALID_CONTEXTS", text)
        _check_options(command.get("options"), (index, "options"), problems)
        for field in ("description", "options") if kind in (USER_MENU, MESSAGE_MENU) else ():
            if command.get(field):
                text = f"Context menu commands cannot have {field}"
                problems.add((index, field), "APPLICATION_COMMAND_CONTEXT_MENU_FIELD", text)
        if _length(command) > COMMAND_MAX:
            text = f"Command exceeds maximum size ({COMMAND_MAX})"
            problems.add((index,), "APPLICATION_COMMAND_TOO_LARGE", text)
    problems.raise_if_any()
    kinds = [each.get("type") or CHAT_INPUT for each in wanted]
    if kinds.count(CHAT_INPUT) > CHAT_COMMANDS_MAX or max(map(kinds.count, (USER_MENU, MESSAGE_MENU))) > MENUS_MAX:
        raise ApiError(400, 30032)


def _check_texts(part: JsonObject, path: Path, problems: Problems, *, described: bool = True) -> None:
    name = part.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 32:
        problems.add((*path, "name"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 32 in length.")
    elif described and not (NAME.match(name) and name == name.lower()):
        problems.add((*path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    text = part.get("description")
    if described and (not isinstance(text, str) or not 1 <= len(text) <= 100):
        problems.add((*path, "description"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    _check_translations(part, "name", 32, path, problems, as_name=described)
    _check_translations(part, "description", 100, path, problems)


def _check_translations(
    part: JsonObject, key: str, longest: int, path: Path, problems: Problems, *, as_name: bool = False
) -> None:
    """Check ``name_localizations`` or ``description_localizations``: known locales, and the limits of the default."""
    texts = part.get(f"{key}_localizations")
    if texts is None:
        return
    where = (*path, f"{key}_localizations")
    if not isinstance(texts, dict):
        problems.add(where, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    for locale, text in texts.items():
        if locale not in LOCALES:
            problems.add((*where, str(locale)), "BASE_TYPE_CHOICES", "Value must be one of the locales.")
        elif not isinstance(text, str) or not 1 <= len(text) <= longest:
            problems.add((*where, locale), "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {longest} in length.")
        elif as_name and not (NAME.match(text) and text == text.lower()):
            problems.add((*where, locale), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _check_options(options: object, path: Path, problems: Problems) -> None:
    if options is None:
        return
    if not isinstance(options, list) or len(options) > OPTIONS_MAX:
        problems.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {OPTIONS_MAX} or fewer in length.")
        return
    names: set[str] = set()
    optional_seen = False
    for index, option in enumerate(options):
        here = (*path, index)
        if not isinstance(option, dict) or option.get("type") not in tuple(range(1, 12)):
            problems.add((*here, "type"), "BASE_TYPE_CHOICES", "Value must be one of (1, ..., 11).")
            continue
        _check_texts(option, here, problems)
        if str(option.get("name")) in names:
            text = "Option name already exists in this option list"
            problems.add((*here, "name"), "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", text)
        names.add(str(option.get("name")))
        if option["type"] not in (SUB_COMMAND, SUB_GROUP):
            if option.get("required") and optional_seen:
                text = "Required options must be placed before non-required options"
                problems.add((*here, "required"), "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", text)
            optional_seen |= not option.get("required")
        _check_name_clash(option, index, options, here, problems)
        _check_choices(option, here, problems)
        _check_range(option, here, problems)
        _check_options(option.get("options"), (*here, "options"), problems)


def _check_name_clash(option: JsonObject, index: int, options: list[Any], path: Path, problems: Problems) -> None:
    """Refuse a translated option name that is another option's name, or its name in the same language."""
    translated = option.get("name_localizations")
    for locale, text in (translated if isinstance(translated, dict) else {}).items():
        for number, other in enumerate(_objects(options)):
            theirs = other.get("name_localizations")
            names = [other.get("name"), theirs.get(locale) if isinstance(theirs, dict) else None]
            if number != index and isinstance(text, str) and text in names:
                where = (*path, "name_localizations", str(locale))
                sentence = "Option name already exists in this option list"
                problems.add(where, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", sentence)


def _check_choices(option: JsonObject, path: Path, problems: Problems) -> None:
    choices = option.get("choices") or []
    if not isinstance(choices, list) or len(choices) > CHOICES_MAX:
        problems.add((*path, "choices"), "BASE_TYPE_MAX_LENGTH", f"Must be {CHOICES_MAX} or fewer in length.")
        return
    if choices and option.get("autocomplete"):
        text = "Autocomplete excludes choices"
        problems.add((*path, "autocomplete"), "APPLICATION_COMMAND_INVALID_AUTOCOMPLETE", text)
    for index, choice in enumerate(choices):
        check_choice(choice, option["type"], (*path, "choices", index), problems)


def check_choice(choice: object, kind: int, path: Path, problems: Problems) -> None:
    """Check one choice for an option of this kind: of a command, or of an answer to an autocomplete."""
    if not isinstance(choice, dict):
        problems.add(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
        return
    name, value = choice.get("name"), choice.get("value")
    if not isinstance(name, str) or not 1 <= len(name) <= 100:
        problems.add((*path, "name"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    _check_translations(choice, "name", 100, path, problems)
    fits = {
        STRING: isinstance(value, str) and len(value) <= 100,
        INTEGER: _is_number(value, whole=True),
        NUMBER: _is_number(value, whole=False),
    }
    if not fits.get(kind, False):
        problems.add((*path, "value"), "STRING_TYPE_CONVERT", "The value does not fit the option's type.")


def _check_range(option: JsonObject, path: Path, problems: Problems) -> None:
    largest = INTEGER_MAX if option["type"] == INTEGER else 2**53
    for key in ("min_value", "max_value"):
        value = option.get(key)
        if value is not None and not (_is_number(value, whole=False) and abs(value) <= largest):
            where = (*path, key)
            problems.add(where, "NUMBER_TYPE_MAX", f"Must be between -{largest} and {largest}.")
    for key in ("min_length", "max_length"):
        value = option.get(key)
        if value is not None and not (_is_number(value, whole=True) and 0 <= value <= 6000):
            problems.add((*path, key), "NUMBER_TYPE_MAX", "Must be between 0 and 6000.")


def _length(part: JsonObject) -> int:
    """The combined length of names, descriptions and values; of translations only the longest counts."""
    total = 0
    for key in ("name", "description"):
        translations = part.get(f"{key}_localizations")
        texts = [part.get(key), *(translations.values() if isinstance(translations, dict) else ())]
        total += max((len(text) for text in texts if isinstance(text, str)), default=0)
    for choice in _objects(part.get("choices")):
        total += _length(choice) + len(str(choice.get("value") or ""))
    return total + sum(_length(each) for each in _objects(part.get("options")))


def _objects(value: object) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return abs(value) <= 2**53 - whole


def read_options(
    command: JsonObject,
    path: list[str],
    values: Mapping[str, object],
    world: World,
    server: Server | None,
    focused: str | None = None,
) -> tuple[list[JsonObject], JsonObject]:
    """The ``options`` and ``resolved`` of an interaction, from the values that a member entered.

    ``path`` has the names of the subcommand group and the subcommand, if any. For an autocomplete, ``focused`` is the
    option being typed: values are then not checked, and required options may be missing. CommandRefused if Discord
    would not send this.
    """
    offered = command.get("options") or []
    if offered and offered[0]["type"] in (SUB_COMMAND, SUB_GROUP):
        inner = next((each for each in offered if path and each["name"] == path[0]), None)
        if inner is None:
            names = ", ".join(each["name"] for each in offered)
            raise CommandRefused(f"/{command['name']} needs a subcommand: {names}.")
        options, resolved = read_options(inner, path[1:], values, world, server, focused)
        return [{"name": inner["name"], "type": inner["type"], "options": options}], resolved
    if path:
        raise CommandRefused(f"{command['name']} has no subcommand {path[0]}.")
    known = {option["name"]: option for option in offered}
    for name in values:
        if name not in known:
            raise CommandRefused(f"There's no option {name}.", name)
    read: list[JsonObject] = []
    resolved = {}
    for name, option in known.items():
        value = values.get(name)
        if name == focused and option.get("autocomplete"):
            text = "" if value is None else str(value)
            read.append({"name": name, "type": option["type"], "value": text, "focused": True})
            continue
        if value is None:
            if option.get("required") and focused is None:
                raise CommandRefused(f"{name} is required.", name)
            continue
        if focused is None:
            _check_value(option, value)
            resolve(option["type"], name, str(value), world, server, resolved)
        read.append({"name": name, "type": option["type"], "value": value})
    return read, resolved


def _check_value(option: JsonObject, value: object) -> None:
    name, kind = option["name"], option["type"]
    fits = {
        STRING: isinstance(value, str),
        INTEGER: _is_number(value, whole=True),
        BOOLEAN: isinstance(value, bool),
        NUMBER: _is_number(value, whole=False),
    }.get(kind, isinstance(value, str) and value.isdecimal())
    if not fits:
        raise CommandRefused(f"{value!r} isn't a valid value for {name}.", name)
    choices = [choice["value"] for choice in option.get("choices") or []]
    if choices and value not in choices:
        raise CommandRefused(f"{name} must be one of: {', '.join(map(str, choices))}.", name)
    if isinstance(value, str) and kind == STRING:
        least, most = option.get("min_length", 0), option.get("max_length", 6000)
        if not least <= len(value) <= most:
            raise CommandRefused(f"{name} takes {least} to {most} characters.", name)
    if isinstance(value, int | float) and kind in (INTEGER, NUMBER):
        low, high = option.get("min_value", -INTEGER_MAX), option.get("max_value", INTEGER_MAX)
        if not low <= value <= high:
            raise CommandRefused(f"{name} must be between {low} and {high}.", name)


def resolve(kind: int, name: str, value: str, world: World, server: Server | None, resolved: JsonObject) -> None:
    """Add the object that an option's id refers to to ``resolved`` (docs: Resolved Data Structure).

    A user can be anybody; a channel or role must be in the server.
    """
    user = world.user(value) if kind in (USER, MENTIONABLE) else None
    if user:
        resolved.setdefault("users", {})[value] = user.to_json()
        member = next((each for each in server.members if each.user is user), None) if server else None
        if member:
            bits = str(member.server.roles[0].permissions)
            resolved.setdefault("members", {})[value] = member.partial_json() | {"permissions": bits}
    elif kind == CHANNEL and (channel := _by_id(server.channels if server else [], value)):
        assert server
        mine = world.permissions(world.me(server), channel)
        allowed = {"permissions": str(server.roles[0].permissions), "app_permissions": str(mine)}
        resolved.setdefault("channels", {})[value] = channel.to_json() | allowed
    elif kind in (ROLE, MENTIONABLE) and (role := _by_id(server.roles if server else [], value)):
        resolved.setdefault("roles", {})[value] = role.to_json()
    elif kind in (USER, CHANNEL, ROLE, MENTIONABLE, ATTACHMENT):
        raise CommandRefused(f"There's nothing with the id {value} that {name} accepts.", name)


def _by_id(things: list[ChannelOrRole], wanted: str) -> ChannelOrRole | None:
    return next((each for each in things if each.id == wanted), None)


def without_localizations(form: Any) -> Any:
    """Commands as Discord lists them to a client that did not ask for translations."""
    if isinstance(form, list):
        return [without_localizations(each) for each in form]
    if not isinstance(form, dict):
        return form
    return {name: without_localizations(value) for name, value in form.items() if not name.endswith("_localizations")}
