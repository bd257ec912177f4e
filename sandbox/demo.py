"""The commands `demo` and `sandbox`.

`demo` runs the real bot as a process of its own, connected over TCP to a sandbox Discord and a sandbox Runflow.
You use it on a chat page; with `--headless`, one `/veo` runs by itself and is printed as JSON lines. `sandbox` runs
one of the sandboxes alone, for other clients.
"""

import argparse
import asyncio
import errno
import json
import os
import signal
import sys
import textwrap
import webbrowser
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from sandbox.discord import DiscordSandbox
from sandbox.headless import download, typed_options, use_veo
from sandbox.runflow import MARKERS, RunflowSandbox
from sandbox.scenarios import SCENARIOS
from sandbox.stage import API_KEY, SECRET, DemoFailed, stage

USUAL_PORT = 8899  # fixed, so that a page that was left open finds the next demo


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str]) -> int:
    """Run `demo` or `sandbox`; 0 if it went as planned, 1 if it did not, 2 if it could not start."""
    options = _parser().parse_args(arguments)
    if options.command == "demo" and options.out is not None and not options.out.absolute().parent.is_dir():
        print(f"The folder of --out {options.out} doesn't exist. Create it or choose another file.", file=sys.stderr)
        return 2
    if options.command == "demo" and options.out is not None and options.out.is_dir():
        print(
            f"--out {options.out} is a folder. Name a file in it, such as {options.out / 'clip.mp4'}.", file=sys.stderr
        )
        return 2
    try:
        return asyncio.run(_run_until_stopped(options))
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except asyncio.CancelledError:
        return 0
    except OSError as error:
        print(_explain(error, options), file=sys.stderr)
        return 2
    except DemoFailed as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _explain(error: OSError, options: argparse.Namespace) -> str:
    """What kept the command from starting, and what to do about it."""
    name = f"The {options.command}"
    if error.errno == errno.EADDRINUSE:
        return f"{name} can't start: another program uses port {options.port}. Choose another --port."
    if error.errno == errno.EACCES and options.port:
        return f"{name} can't start: you aren't allowed to use port {options.port}. Choose another --port."
    return f"{name} can't start: {error}."


async def _run_until_stopped(options: argparse.Namespace) -> int:
    """Run the command. SIGINT and SIGTERM cancel it, which also stops the bot in an orderly way."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    if options.command == "sandbox":
        return await _serve_sandbox(options.which, options.port)
    return await (_run_headless(options) if options.headless else _serve_page(options))


def _parser() -> Parser:
    parser = Parser(prog="python -m bot")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    demo = commands.add_parser(
        "demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run the bot with a built-in Discord and Runflow, without a token and without spending money.\n"
        "You use it on a chat page in your browser.",
        epilog=_demo_epilog(),
    )
    demo.add_argument("--headless", action="store_true", help="use /veo once, without the page; print JSON lines")
    demo.add_argument(
        "--scenario", choices=SCENARIOS, default="callback", metavar="NAME", help="what happens (default: callback)"
    )
    usual = f"port of the chat page (default: {USUAL_PORT}, or a free one if that is taken)"
    demo.add_argument("--port", type=_port, metavar="N", help=usual)
    demo.add_argument(
        "--prompt", default="a red fox in falling snow", metavar="TEXT", help="prompt of /veo; with --headless"
    )
    demo.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another option of /veo, such as duration=4s; with --headless",
    )
    demo.add_argument("--out", type=Path, metavar="FILE", help="save the posted video as FILE; with --headless")
    sandbox = commands.add_parser(
        "sandbox",
        description="Run the built-in Discord or Runflow alone and print the settings that a client needs as JSON.",
    )
    sandbox.add_argument("which", choices=("discord", "runflow"), help="the one to run")
    sandbox.add_argument("--port", type=_port, default=0, metavar="N", help="port to listen on (default: a free one)")
    return parser


def _demo_epilog() -> str:
    scenarios = [f"  {name:<14} {scenario.about} ({scenario.outcome})" for name, scenario in SCENARIOS.items()]
    markers = textwrap.wrap(
        " ".join(f"[{name}]" for name in MARKERS),
        width=100,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    return "\n".join(
        [
            "scenarios, with the outcome of each:",
            *scenarios,
            "",
            "markers, which you can put into any prompt to make something go wrong (the chat page explains them):",
            *markers,
        ]
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a port number; expected 0 to 65535")
    return int(text)


async def _serve_page(options: argparse.Namespace) -> int:
    """Serve the chat page until the command is stopped; DemoFailed if the bot stops by itself."""
    ports = [USUAL_PORT, 0] if options.port is None else [options.port]
    async with stage(SCENARIOS[options.scenario], ports=ports, queue_s=2.0, run_s=6.0) as running:
        print(f"\n  Chat page: {running.discord.url}\n  Type /veo there. Press Ctrl+C here to stop.\n", flush=True)
        if _can_open_browser():
            # A daemon thread, because some browsers block until they are closed.
            Thread(target=webbrowser.open, args=(running.discord.url,), daemon=True).start()
        await running.bot.wait()
    raise DemoFailed("The bot stopped. Its log above says why.")


def _can_open_browser() -> bool:
    """Whether a browser could open a window. Without one, a text browser would take over the terminal."""
    variables = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in variables)


async def _run_headless(options: argparse.Namespace) -> int:
    """Use `/veo` once and print what happens; 0 if the outcome is the scenario's."""
    scenario = SCENARIOS[options.scenario]
    async with stage(scenario, ports=[options.port or 0], queue_s=0.4, run_s=1.2) as running:
        chosen = typed_options(running.discord, options.prompt, options.option)
        result = await use_veo(running, chosen, _print_json)
        if options.out is not None and result.video_url is not None:
            await download(result.video_url, options.out)
    _print_json(
        {
            "outcome": result.outcome,
            "run_id": result.run_id,
            "cost_usd": result.cost_usd,
            "message_id": result.message_id,
        }
    )
    return 0 if result.outcome == scenario.outcome else 1


async def _serve_sandbox(which: str, port: int) -> int:
    """Run one sandbox until the command is stopped."""
    settings: dict[str, str]
    async with AsyncExitStack() as stack:
        if which == "discord":
            discord = await stack.enter_async_context(DiscordSandbox(port=port))
            settings = {"DISCORD_TOKEN": discord.token, "DISCORD_API_URL": discord.api_url}
            settings |= {"DISCORD_GATEWAY_URL": discord.gateway_url, "page": discord.url}
        else:
            runflow = await stack.enter_async_context(
                RunflowSandbox(port=port, api_key=API_KEY, callback_secret=SECRET)
            )
            settings = {"RUNFLOW_API_URL": runflow.url, "RUNFLOW_API_KEY": API_KEY, "RUNFLOW_CALLBACK_SECRETS": SECRET}
        _print_json(settings)
        await asyncio.get_running_loop().create_future()  # runs until a signal cancels it
    return 0


def _print_json(record: dict[str, Any]) -> None:
    print(json.dumps(record, ensure_ascii=False), flush=True)
