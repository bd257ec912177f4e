"""Shows views in Discord: the only place that knows its markup, embeds and components, and what fits into each.

Text from members and providers is escaped, so that mentions, markdown and links in it do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, get_args

import discord

from bot.domain.untrusted import strip_controls
from bot.facts import Moment, text
from bot.texts import Words
from bot.views import Action, ActionVerb, Menu, Tone, View

MESSAGE_CHARS_MAX = 2000  # Discord docs, Create Message
# Discord docs, Message, Embed Limits
TITLE_CHARS_MAX = 256
DESCRIPTION_CHARS_MAX = 4096
FIELD_CHARS_MAX = 1024
FIELD_CHARS_MIN = 64  # less room is not worth a field; ours
EMBED_CHARS_MAX = 6000
CARD_CHARS_MAX = 4000  # over all texts of a message in components (discord-api-docs, pull request 8562)
QUOTE_CHARS_MIN = 100  # less of a quote says nothing; ours
ESCAPE = "\\"
ROW_BUTTONS_MAX = 5  # Discord docs, Components Reference, Action Row
LABEL_CHARS_MAX = 80  # Discord docs, Components Reference, Button
OPTION_CHARS_MAX = 100  # Discord docs, Components Reference, String Select; and of a suggestion
PICKED = "picked"  # stands in a menu's name for what is picked from it

PREFIX = "veo"
_FORM = re.compile(rf"{PREFIX}:form:(?P<source>run|offer|new):(?P<about>\w+):\d+")
_STYLES = {"relative": "R", "clock": "t", "date": "d", "time": "f"}  # Discord docs, Message Formatting
_MENTIONS = {"member": "<@{}>", "channel": "<#{}>", "role": "<@&{}>"}
_MARKED = re.compile(r"<(?P<sort>@&|@|#|t:)(?P<number>\d+)(?::\w)?>")
_ESCAPED = re.compile(r"\\([^A-Za-z0-9\s])")
# What begins something in a message (Discord docs, Message Formatting): emphasis, code, spoilers, mentions, links.
_SPECIAL = re.compile(r"[\\*_~`|<>\[\]@#/]|^[-+]|^\d+(?=\.)")
_COLOURS = {
    Tone.NEUTRAL: discord.Colour.blurple(),
    Tone.WAITING: discord.Colour.gold(),
    Tone.GOOD: discord.Colour.green(),
    Tone.BAD: discord.Colour.red(),
}
_BUTTON_STYLES = {
    "primary": discord.ButtonStyle.primary,
    "success": discord.ButtonStyle.success,
    "danger": discord.ButtonStyle.danger,
    "secondary": discord.ButtonStyle.secondary,
}


class DiscordMarkup:
    """`bot.texts.Markup` for messages in Discord."""

    def moment(self, moment: Moment) -> str:
        """A moment as Discord shows it live, in the reader's own time."""
        return f"<t:{int(moment.at)}:{_STYLES[moment.style]}>"

    def named(self, scope: str) -> str:
        """A mention, which reads as a name; it pings nobody unless the message allows it."""
        sort, _, rest = scope.partition(":")
        number = rest.rpartition(":")[2]
        return _MENTIONS[sort].format(number) if sort in _MENTIONS else f"`{number}`"

    def quote(self, text: str, longest: int) -> str:
        """Quoted text in one line, between quotation marks."""
        return f"“{escaped(one_line(text, longest))}”"

    def code(self, text: str) -> str:
        return f"`{text}`"

    def command(self, name: str) -> str:
        return f"`{name}`"

    def url(self, url: str) -> str:
        return url

    def strong(self, text: str) -> str:
        return f"**{text}**"


class Letters(DiscordMarkup):
    """The same where Discord shows letters as they are: in buttons, forms, lists and footers."""

    def moment(self, moment: Moment) -> str:
        """A moment in UTC, for nobody's own time is known here."""
        shown = "%Y-%m-%d" if moment.style == "date" else "%Y-%m-%d %H:%M UTC"
        return datetime.fromtimestamp(moment.at, UTC).strftime(shown)

    def quote(self, text: str, longest: int) -> str:
        return one_line(text, longest)

    def code(self, text: str) -> str:
        return text

    def command(self, name: str) -> str:
        return name

    def strong(self, text: str) -> str:
        return text


MARKUP = DiscordMarkup()
LETTERS = Letters()


def one_line(text: str, longest: int) -> str:
    """Text without line breaks and controls, cut at so many letters."""
    line = " ".join(strip_controls(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def escaped(line: str) -> str:
    """A line that Discord shows exactly as it was written, without acting on anything in it."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}" if not found[0].isdigit() else f"{found[0]}\\", line)


# Words


def content(view: View, words: Words) -> str:
    """A view as the text of a message."""
    lines = [words.say(view.title)] if view.title else []
    lines += _body(view, words)
    for figure in view.figures:
        lines += [f"**{words.say(figure.label)}**", *map(words.say, figure.lines)]
    return "\n".join([*lines, *(f"-# {words.say(each)}" for each in view.small)])


def _body(view: View, words: Words) -> list[str]:
    return [*_quote(view), *map(words.say, view.lines)]


def _quote(view: View) -> list[str]:
    return [f"> {escaped(one_line(view.quote.text, view.quote.longest))}"] if view.quote else []


def card(view: View, words: Words) -> discord.ui.LayoutView:
    """A view as a card in components, for one reader: an edit to it has to reset content and embeds."""
    title = [f"### {words.say(view.title)}"] if view.title else []
    figures = [line for each in view.figures for line in (f"**{words.say(each.label)}**", *map(words.say, each.lines))]
    rest = [*map(words.say, view.lines), *figures, *(f"-# {words.say(each)}" for each in view.small)]
    entries = [(words.say(each.line), each.action) for each in view.entries]
    room = CARD_CHARS_MAX - sum(len(line) for line, _ in entries)
    quote = [_shortened(each, room - sum(len(line) + 1 for line in (*title, *rest))) for each in _quote(view)]
    shown, _ = cut("\n".join([*title, *quote, *rest]), room, words)
    parts: list[discord.ui.Item[discord.ui.LayoutView]] = [discord.ui.TextDisplay(shown)]
    parts += [discord.ui.Section(line, accessory=_button(action, words)) for line, action in entries]
    if view.menu is not None:
        parts.append(discord.ui.ActionRow(_menu(view.menu, words)))
    parts += _rows(view, words)
    made = discord.ui.LayoutView(timeout=None)
    made.add_item(discord.ui.Container(*parts, accent_colour=_COLOURS[view.tone]))
    made.stop()  # a finished view is not kept by the library
    return made


def _shortened(quote: str, room: int) -> str:
    """As much of a quote as there is room for: escaped, it may be twice as long as what was written."""
    return quote if len(quote) <= room else f"{quote[: max(room, QUOTE_CHARS_MIN) - 1].rstrip(ESCAPE)}…"


def _menu(menu: Menu, words: Words) -> discord.ui.Select[Any]:
    letters = words.marked(LETTERS)
    options = [
        discord.SelectOption(
            value=each.value,
            label=letters.say(each.label)[:OPTION_CHARS_MAX] or each.value,
            description=letters.say(each.note)[:OPTION_CHARS_MAX],
        )
        for each in menu.options
    ]
    label = letters.say(menu.label)
    return discord.ui.Select(custom_id=f"{PREFIX}:{menu.verb}:{PICKED}", placeholder=label, options=options)


def _rows(view: View, words: Words) -> Iterator[discord.ui.ActionRow[discord.ui.LayoutView]]:
    for actions in (view.actions, view.more):
        for start in range(0, len(actions), ROW_BUTTONS_MAX):
            chunk = actions[start : start + ROW_BUTTONS_MAX]
            yield discord.ui.ActionRow(*(_button(each, words) for each in chunk))


def embed(view: View, words: Words) -> discord.Embed:
    """A view as an embed that Discord takes, whatever is in it: what is too long is cut at whole lines, and says so."""
    letters = words.marked(LETTERS)
    made = discord.Embed(
        title=letters.say(view.title)[:TITLE_CHARS_MAX] if view.title else None,
        description=cut("\n".join(_body(view, words)), DESCRIPTION_CHARS_MAX, words)[0],
        colour=_COLOURS[view.tone],
    )
    if view.small:
        made.set_footer(text="\n".join(map(letters.say, view.small)))
    for figure in view.figures:
        name = letters.say(figure.label)
        room = min(FIELD_CHARS_MAX, EMBED_CHARS_MAX - len(made) - len(name))
        if room >= FIELD_CHARS_MIN:
            value = "\n".join(map(words.say, figure.lines))
            made.add_field(name=name, value=cut(value, room, words)[0], inline=not figure.wide)
    return made


def cut(shown: str, longest: int, words: Words, rest: str = "more") -> tuple[str, int]:
    """As many whole lines as fit, with a word on how many are left out, whose key is `rest`; and that number."""
    if len(shown) <= longest:
        return shown, 0
    lines = shown.split("\n")
    room = longest - len(_rest(rest, len(lines), words)) - 1
    kept = lines[: fitting(lines, room)] or [f"{lines[0][: room - 1]}…"]  # or one that is too long by itself
    left = len(lines) - len(kept)
    return "\n".join([*kept, _rest(rest, left, words)] if left else kept), left


def _rest(key: str, left: int, words: Words) -> str:
    return f"-# {words.say(text(key, count=left))}"


def fitting(lines: Sequence[str], longest: int) -> int:
    """How many of the lines fit, from the first on."""
    ends = accumulate(len(line) + 1 for line in lines)
    return sum(end - 1 <= longest for end in ends)


def unmarked(shown: str, names: Mapping[str, str]) -> str:
    """A text of ours as it reads outside of Discord: names or ids for mentions, and times in UTC."""

    def plain(found: re.Match[str]) -> str:
        sort, number = found["sort"], found["number"]
        if sort == "t:":
            return datetime.fromtimestamp(int(number), UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{'#' if sort == '#' else '@'}{names.get(f'discord:{number}', number)}"

    return _ESCAPED.sub(r"\1", _MARKED.sub(plain, strip_controls(shown)).replace("**", ""))


# Buttons. Their names are all that a press brings back, so they work for ever, also after a restart.


def buttons(view: View, words: Words) -> discord.ui.View | None:
    """The actions of a message, in rows; None where there are none. `cogs.presses` answers the presses."""
    if not view.actions and not view.more:
        return None
    made = discord.ui.View(timeout=None)
    for row, actions in enumerate((view.actions, view.more)):
        for action in actions:
            button = _button(action, words)
            button.row = row
            made.add_item(button)
    made.stop()  # a finished view is not kept by the library
    return made


def _button(action: Action, words: Words) -> discord.ui.Button[Any]:
    label = words.marked(LETTERS).say(action.label)
    return discord.ui.Button(
        label=label[:LABEL_CHARS_MAX], style=_BUTTON_STYLES[action.style], custom_id=custom_id_of(action)
    )


def custom_id_of(action: Action) -> str:
    """The name of an action's button."""
    return f"{PREFIX}:{action.verb}:{action.about}"


def is_ours(custom_id: str) -> bool:
    """Whether a button is one of ours, of this version or of another."""
    return custom_id.startswith(f"{PREFIX}:")


def parse_custom_id(custom_id: str) -> tuple[ActionVerb, list[str]] | None:
    """The verb of one of our buttons and what it is about; None for one that this version does not know."""
    prefix, verb, *about = f"{custom_id}:".split(":")
    if prefix != PREFIX:
        return None
    known: tuple[ActionVerb, ...] = get_args(ActionVerb)
    return next(((each, about[:-1]) for each in known if each == verb and about[:-1]), None)


def form_id(source: str, about: str, opening: int) -> str:
    """The name of a form: which row it is filled from, and the opening that is its own."""
    return f"{PREFIX}:form:{source}:{about}:{opening}"


def parse_form_id(custom_id: str) -> tuple[str, str] | None:
    """What one of our forms was filled from, `run`, `offer` or `new`, and its id; None for anything else."""
    found = _FORM.fullmatch(custom_id)
    return None if found is None else (found["source"], found["about"])
