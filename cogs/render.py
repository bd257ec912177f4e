"""Shows views in Discord: the only place that knows its markup, embeds and components, and what fits into each.

Somebody else's text goes into code spans, where neither mentions nor markdown nor links work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate

import discord

from bot.domain.untrusted import strip_controls
from bot.facts import Moment, text
from bot.texts import Words
from bot.views import Action, ActionVerb, Tone, View

MESSAGE_CHARS_MAX = 2000  # Discord docs, Create Message
# Discord docs, Message, Embed Limits
TITLE_CHARS_MAX = 256
DESCRIPTION_CHARS_MAX = 4096
FIELD_CHARS_MAX = 1024
FIELD_CHARS_MIN = 64  # less room is not worth a field; ours
EMBED_CHARS_MAX = 6000
LABEL_CHARS_MAX = 80  # Discord docs, Components Reference, Button

PREFIX = "veo"
_STYLES = {"relative": "R", "clock": "t", "date": "d", "time": "f"}  # Discord docs, Message Formatting
_MENTIONS = {"member": "<@{}>", "channel": "<#{}>", "role": "<@&{}>"}
_MARKED = re.compile(r"<(?P<sort>@&|@|#|t:)(?P<number>\d+)(?::\w)?>")
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
        """Somebody else's text as one code span."""
        line = " ".join(strip_controls(text).replace("`", "'").split())
        return f"`{line if len(line) <= longest else line[: longest - 1] + '…'}`" if line else "` `"

    def code(self, text: str) -> str:
        return f"`{text}`"

    def command(self, name: str) -> str:
        return f"`{name}`"

    def url(self, url: str) -> str:
        return url

    def strong(self, text: str) -> str:
        return f"**{text}**"


class Letters(DiscordMarkup):
    """The same where Discord shows letters as they are: in buttons, titles and footers."""

    def quote(self, text: str, longest: int) -> str:
        return super().quote(text, longest).strip("`")

    def code(self, text: str) -> str:
        return text

    def command(self, name: str) -> str:
        return name

    def strong(self, text: str) -> str:
        return text


MARKUP = DiscordMarkup()
LETTERS = Letters()


# Words


def content(view: View, words: Words) -> str:
    """A view as the text of a message."""
    lines = [words.say(view.title)] if view.title else []
    lines += _body(view, words)
    for figure in view.figures:
        lines += [f"**{words.say(figure.label)}**", *map(words.say, figure.lines)]
    return "\n".join([*lines, *(f"-# {words.say(each)}" for each in view.small)])


def _body(view: View, words: Words) -> list[str]:
    quote = [f"> {words.fact(view.quote)}"] if view.quote else []
    return [*quote, *map(words.say, view.lines)]


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

    return _MARKED.sub(plain, strip_controls(shown)).replace("**", "")


# Buttons. Their names are all that a press brings back, so they work for ever, also after a restart.


def buttons(view: View, words: Words) -> discord.ui.View | None:
    """The actions of a view in a row; None where there are none. `cogs.presses` answers the presses."""
    if not view.actions:
        return None
    row = discord.ui.View(timeout=None)
    for action in view.actions:
        row.add_item(_button(action, words))
    row.stop()  # a finished view is not kept by the library
    return row


def _button(action: Action, words: Words) -> discord.ui.Button[discord.ui.View]:
    label = words.marked(LETTERS).say(action.label)
    custom_id = f"{PREFIX}:{action.verb}:{action.about}"
    return discord.ui.Button(label=label[:LABEL_CHARS_MAX], style=_BUTTON_STYLES[action.style], custom_id=custom_id)


def parse_custom_id(custom_id: str) -> tuple[ActionVerb, list[str]] | None:
    """The verb of one of our buttons and what it is about; None for anything else."""
    prefix, _, rest = custom_id.partition(":")
    verb, *about = rest.split(":")
    known: tuple[ActionVerb, ...] = ("yes", "no", "ask", "approve", "deny", "receipt", "cancel")
    if prefix != PREFIX or not about:
        return None
    return next(((each, about) for each in known if each == verb), None)
