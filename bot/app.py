"""Builds every part from the settings, runs them, and takes them down again: the one place that knows them all."""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from bot.clock import SystemClock
from bot.domain.limits import Policy
from bot.domain.money import to_micro
from bot.domain.prices import PriceTable
from bot.errors import DatabaseError, InvariantError, StoreDown
from bot.log import get_logger
from bot.media import Media
from bot.ports import Clock, Store
from bot.proxies import proxy_for
from bot.runflow import connect as connect_runflow
from bot.runflow.client import Runflow
from bot.services import Terms, compose
from bot.services.engine import Engine
from bot.services.pace import Limits
from bot.settings import Settings
from bot.telemetry.logs import start_logging
from bot.telemetry.metrics import Metrics
from bot.texts import Languages
from bot.web.listener import Bounds
from bot.web.operator import OperatorServer, Readiness
from bot.web.public import WebServer
from cogs import client as discord_front
from cogs.acknowledge import Acknowledger
from cogs.context import Speaker
from cogs.front import DiscordFront
from storage import Archive, open_store

log = get_logger("veo.app")

DISCORD_URL = "https://discord.com"
BYTES_PER_MB = 1_000_000
DAY_S = 86400.0
SWEEP_S = 3600.0  # between two sweeps of old clips
OPEN_FILES = 65_536
SWITCH_S = 0.0005
CONNECTIONS_MAX = 1000  # on each listener


async def run(settings: Settings, warnings: Sequence[str], translations: bytes) -> None:
    """The bot, until SIGTERM or SIGINT; its log has the `warnings` of those who read the settings.

    `translations`: of the commands, see `bot.texts.commands`.

    Raises StartError where it cannot start as configured.
    """
    if main := asyncio.current_task():
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signal_number, main.cancel)
    start_logging(_secrets_of(settings))
    try:
        async with AsyncExitStack() as stack:
            await _serve(settings, warnings, translations, stack)
    except StoreDown as error:
        raise DatabaseError("database.unusable", url=settings.database_url, why=str(error.__cause__)) from error
    except asyncio.CancelledError:
        log.info("stopped")


async def _serve(settings: Settings, warnings: Sequence[str], translations: bytes, stack: AsyncExitStack) -> None:
    """Start in this order and serve; the stack takes everything down again in the opposite order."""
    clock = SystemClock()
    kept = await _open(settings, clock, stack)
    speaker = Speaker(Languages())
    outside = await _connect(settings, speaker, stack)
    services = compose(
        terms=_terms(settings),
        store=kept.store,
        archive=kept.archive,
        provider=outside.provider,
        clips=kept.media,
        clock=clock,
        chance=random.SystemRandom(),
    )
    await _listen(settings, kept, outside, services.engine, stack)
    await outside.provider.check_key()
    await discord_front.log_in(outside.client, settings.discord_token)
    _warn(settings, warnings)  # only now: what keeps the bot from starting should be the only thing that is said
    await services.engine.recover()
    front = DiscordFront(outside.client, speaker, services.admission.prices)
    # The store's thread needs the interpreter for a moment between any two statements, and would wait each time for as
    # long as the loop may keep it: 5 ms by default.
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # what stands here stays: each full collection would look through it again, and hold the loop for 50 ms
    await supervise(
        engine=services.engine.run(front),
        sweep=_sweep(kept.media),
        gateway=discord_front.serve(
            outside.client,
            services=services,
            front=front,
            speaker=speaker,
            servers=settings.discord_servers,
            translations=translations,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What survives a restart."""

    store: Store
    archive: Archive
    media: Media


async def _open(settings: Settings, clock: Clock, stack: AsyncExitStack) -> _Kept:
    """Open the database and the folder for clips. The store is closed last of all."""
    store = open_store(settings.database_url)
    stack.push_async_callback(store.close)
    archive = Archive(settings.database_url)
    stack.callback(archive.close)
    media = Media(
        settings.media_dir,
        key=await store.media_key(),
        keep_s=settings.media_keep_days * DAY_S,
        public_url=settings.public_url,
        now=clock.now,
    )
    media.prepare()
    return _Kept(store=store, archive=archive, media=media)


@dataclass(frozen=True, kw_only=True)
class _Outside:
    """Those that the bot speaks to."""

    provider: Runflow
    client: discord_front.VeoClient


async def _connect(settings: Settings, speaker: Speaker, stack: AsyncExitStack) -> _Outside:
    """Make the clients for Runflow and Discord. Neither is asked anything yet."""
    provider = await stack.enter_async_context(
        connect_runflow(
            api_url=settings.runflow_api_url,
            api_key=settings.runflow_api_key,
            public_url=settings.public_url,
            clip_bytes_max=settings.clip_max_mb * BYTES_PER_MB,
            proxy_for=proxy_for,
        )
    )
    client = await stack.enter_async_context(
        discord_front.new_client(
            settings.discord_api_url,
            settings.discord_gateway_url,
            proxy=proxy_for(settings.discord_api_url or DISCORD_URL),
            acknowledger=Acknowledger(),
            speaker=speaker,
        )
    )
    return _Outside(provider=provider, client=client)


async def _listen(settings: Settings, kept: _Kept, outside: _Outside, engine: Engine, stack: AsyncExitStack) -> None:
    """Open both ports. Raises PortError where one is taken."""
    bounds = Bounds(connections=min(CONNECTIONS_MAX, _allow_open_files(OPEN_FILES) // 4))
    ready = Readiness(
        gateway=outside.client.hears_discord,
        checks={
            "database": partial(_can_write, kept.store),
            "media": partial(asyncio.to_thread, kept.media.has_room),
        },
    )
    operator = OperatorServer(ready=ready, metrics=Metrics(kept.archive.figures), bounds=bounds)
    port = await stack.enter_async_context(operator.listening(settings.operator_host, settings.operator_port))
    log.info("health and metrics for the operator", host=settings.operator_host, port=port)
    secrets = settings.runflow_callback_secrets
    web = WebServer(engine=engine, media=kept.media, secrets=secrets, bounds=bounds)
    port = await stack.enter_async_context(web.listening(settings.web_host, settings.web_port))
    log.info("web server listens", host=settings.web_host, port=port)


async def supervise(**loops: Coroutine[Any, Any, None]) -> None:
    """Run these until this is cancelled or one of them ends; then all are ended, and the error of the first is raised.

    None is meant to end by itself, so one that does is an error too: no loop can stop without being noticed.
    """

    async def endless(name: str, loop: Coroutine[Any, Any, None]) -> None:
        await loop
        raise InvariantError(f"the {name} loop has ended by itself")

    try:
        async with asyncio.TaskGroup() as group:
            for name, loop in loops.items():
                group.create_task(endless(name, loop), name=name)
    except ExceptionGroup as failed:
        first, *others = failed.exceptions
        for other in others:
            log.error("another loop failed while the bot ended", exc_info=other)
        raise first from first.__cause__


def _warn(settings: Settings, warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning(warning)
    if settings.public_url is not None and not settings.runflow_callback_secrets:
        log.warning("RUNFLOW_CALLBACK_SECRETS is empty: who knows the address of a callback can send one")
    if settings.quota_guild_usd is None and settings.quota_total_usd is None:
        log.warning(
            "neither QUOTA_GUILD_USD nor QUOTA_TOTAL_USD is set, so there is no ceiling: anyone who manages a server "
            "where the bot is enabled can lift every limit there and spend without end; set one of them"
        )


def _secrets_of(settings: Settings) -> list[str]:
    return [settings.discord_token, settings.runflow_api_key, *settings.runflow_callback_secrets]


def _terms(settings: Settings) -> Terms:
    return Terms(
        policy=_policy(settings),
        prices=PriceTable(settings.price_usd_per_second),
        limits=_limits(settings),
        prompt_max_chars=settings.prompt_max_chars,
        confirm_above_u=to_micro(settings.quota_confirm_above_usd),
    )


def _policy(settings: Settings) -> Policy:
    ceilings = (settings.quota_guild_usd, settings.quota_total_usd)
    server_u, total_u = (None if ceiling is None else to_micro(ceiling) for ceiling in ceilings)
    return Policy(
        member_limit_u=to_micro(settings.quota_user_usd),
        server_ceiling_u=server_u,
        total_ceiling_u=total_u,
        period=settings.quota_period,
        zone=ZoneInfo(settings.quota_timezone),
        runs_per_member=settings.quota_runs_in_flight,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        runs_total=settings.runs_in_flight_total,
        poll_first_s=settings.poll_interval_s,
        poll_longest_s=max(settings.poll_interval_s, settings.poll_interval_max_s),
        deadline_s=settings.run_deadline_s,
        settle_s=settings.runflow_settle_s,
        callbacks=settings.public_url is not None,
    )


def _allow_open_files(wanted: int) -> int:
    """Raise this process's limit on open files to `wanted`, as far as the system allows; the limit afterwards.

    The usual 1024 is meant for programs that use select(2), and every connection from outside takes one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # some systems have a limit of their own below the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return most if soft == resource.RLIM_INFINITY else soft


async def _can_write(store: Store) -> bool:
    """Whether the database takes anything: on a full disk reading still works, but no run could be booked."""
    try:
        await store.check()
    except StoreDown:
        return False
    return True


async def _sweep(media: Media) -> None:
    """Delete clips that nobody needs any longer, again and again."""
    while True:
        try:
            await asyncio.to_thread(media.sweep)
        except Exception:
            log.exception("old clips not deleted; it is tried again")
        await asyncio.sleep(SWEEP_S)
