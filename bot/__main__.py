"""The command line: `python -m bot COMMAND`. Each command imports what it needs, so that help and errors are quick."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn, TextIO

from bot.errors import SettingsError, StartError
from bot.settings import Settings

PROGRESS_S = 2.0  # between two words about a long check


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 if it did what it promises, 1 if its check failed, 2 if it could not start."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # first: a container's process 1 ignores it otherwise
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _check_packages()
        if words[:1] in (["demo"], ["sandbox"]):
            return _sandbox(words)
        return _command(_parser().parse_args(words))
    except StartError as error:
        print(_in_words(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0 if words[:1] == ["run"] else 130  # a bot that is stopped while it starts has stopped as it should


def _in_words(error: StartError) -> str:
    from bot.texts import PLAIN, Languages  # noqa: PLC0415 - see _run

    return Languages().words(None, PLAIN).say(error.text)


def _parser() -> Parser:
    parser = Parser(prog="python -m bot", description="A Discord bot for Google Veo 3.1 on Runflow")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    commands.add_parser("run", help="run the bot, with settings from the environment or .env")
    commands.add_parser("demo", help="run the bot with a sandbox Discord and a sandbox Runflow: no token, no money")
    commands.add_parser("sandbox", help="run one sandbox alone, for other clients")
    settings = commands.add_parser("settings", help="list every setting with its default, unit and meaning")
    settings.add_argument("--env-example", action="store_true", help="print the text of .env.example")
    ledger = commands.add_parser("ledger", help="check or export the books")
    tasks = ledger.add_subparsers(dest="task", required=True, parser_class=Parser, metavar="TASK")
    tasks.add_parser("check", help="prove that the books balance; works while the bot runs")
    export = tasks.add_parser("export", help="write every ledger entry; works while the bot runs")
    export.add_argument("--from", dest="first", type=_day, metavar="DATE", help="first day (UTC), such as 2026-11-22")
    export.add_argument("--to", dest="last", type=_day, metavar="DATE", help="last day (UTC), included")
    export.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="default: csv")
    backup = commands.add_parser("backup", help="copy the database; works while the bot runs")
    backup.add_argument(
        "file", type=Path, metavar="FILE", help="new file for the copy; keep it private, it holds tokens"
    )
    return parser


def _command(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            return _run()
        case "settings":
            return _settings(env_example=options.env_example)
        case "backup":
            return _back_up(options.file)
        case _:
            return _check_ledger() if options.task == "check" else _export_ledger(options)


def _run() -> int:
    """In another process meanwhile: what reads settings and translations would be a fifth of the bot's memory."""
    from bot.child import in_child  # noqa: PLC0415 - see below

    with in_child(_read_ahead) as read:
        import asyncio  # noqa: PLC0415 - half a second of imports that other commands do not need

        from bot import app  # noqa: PLC0415 - the same

        settings, warnings, translations = read()
    os.umask(0o077)  # the database, clips and their folders are for their owner alone
    asyncio.run(app.run(settings, warnings, translations))
    return 0


def _read_ahead() -> tuple[Settings, Sequence[str], bytes]:
    """The settings, what to warn of, and the translations of the commands."""
    import logging  # noqa: PLC0415 - in the child alone

    from bot import settings_reader  # noqa: PLC0415 - the same
    from bot.domain.prices import PriceTable  # noqa: PLC0415 - the same
    from bot.texts import Languages  # noqa: PLC0415 - the same
    from bot.texts.commands import pack_translations  # noqa: PLC0415 - the same
    from bot.views import choices  # noqa: PLC0415 - the same

    logging.disable()  # what is wrong with a catalogue is said where it is first spoken, in the format of the log
    settings, warnings = settings_reader.load_settings(), settings_reader.environment_warnings()
    with_prices = choices.durations(PriceTable(settings.price_usd_per_second))
    return settings, warnings, pack_translations(Languages(), with_prices.values())


def _sandbox(words: Sequence[str]) -> int:
    """The sandbox parses its own arguments, because it shares no code with the bot."""
    if importlib.util.find_spec("sandbox") is None:
        raise SettingsError("start.no_sandbox")
    from sandbox import demo  # noqa: PLC0415 - absent from the image

    return demo.main(words)


def _settings(*, env_example: bool) -> int:
    from bot import settings_docs  # noqa: PLC0415 - see _run

    _print(settings_docs.env_example() if env_example else settings_docs.settings_table())
    return 0


def _print(words: str) -> None:
    """Write all of it at once. Raises StartError where it cannot be written; a reader who left misses nothing."""
    try:
        print(words, end="", flush=True)
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        raise StartError("output.incomplete", why=str(error.strerror)) from error


def _discard_output() -> None:
    """What is left in the buffer would fail once more when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _check_ledger() -> int:
    from bot import settings_reader  # noqa: PLC0415 - see _run
    from bot.domain.money import usd  # noqa: PLC0415 - see _run
    from storage import prove  # noqa: PLC0415 - see _run

    proof = prove(settings_reader.database_url(), progress(sys.stderr, time.monotonic))
    lines = [*proof.breaches] or ["The books balance: every invariant holds over the whole database."]
    if proof.invariants:
        rows = ", ".join(f"{count} in {table}" for table, count in proof.counts.items())
        lines.append(
            f"Proven: the file, its schema, and {proof.invariants} invariants over all rows ({rows}); "
            f"{usd(proof.charged_u)} charged and {usd(proof.held_u)} held."
        )
    _print("".join(f"{line}\n" for line in lines))
    return 1 if proof.breaches else 0


def progress(out: TextIO | None, now: Callable[[], float]) -> Callable[[str], None]:
    """Says what a long check is looking at, every few seconds, where somebody looks on."""
    began_at = told_at = now()
    terminal = out is not None and out.isatty()

    def watch(part: str) -> None:
        nonlocal told_at
        if terminal and now() - told_at >= PROGRESS_S:
            told_at = now()
            print(f"Checking for {told_at - began_at:.0f} s; now: {part}.", file=out, flush=True)

    return watch


def _export_ledger(options: argparse.Namespace) -> int:
    if options.first and options.last and options.first > options.last:
        raise SettingsError("export.days", first=str(options.first), last=str(options.last))
    from bot import settings_reader  # noqa: PLC0415 - see _run
    from storage import export_entries  # noqa: PLC0415 - see _run

    if sys.stdout is None:
        raise StartError("export.incomplete", why="there is no standard output")
    try:
        # An export is UTF-8 with its own line ends, whatever the encoding of the terminal.
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as out:
            export_entries(settings_reader.database_url(), out, options.format, first=options.first, last=options.last)
    except BrokenPipeError:
        pass  # the reader has seen enough
    except OSError as error:
        raise StartError("export.incomplete", why=str(error)) from error
    return 0


def _back_up(file: Path) -> int:
    from bot import settings_reader  # noqa: PLC0415 - see _run
    from storage import back_up  # noqa: PLC0415 - see _run

    url = settings_reader.database_url()
    _print(f"Copied the database to {file}: {back_up(url, file):,} bytes, all checked.\n")
    return 0


def _day(text: str) -> date:
    """A day such as 2026-11-22; no other form of a date is accepted."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-11-22")
    return day


def _check_packages() -> None:
    """Make sure that `cogs` and `storage` are ours: other packages have these names too. Raises SettingsError."""
    here = Path(__file__).resolve().parent.parent
    for name in ("cogs", "storage"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parent.parent != here:
            raise SettingsError("start.other_package", name=name, folder=str(here))


if __name__ == "__main__":
    sys.exit(main())
