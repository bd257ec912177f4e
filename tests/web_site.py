"""Shared by the tests of the web servers: both listeners over a real engine and a real store, and a client."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bot.domain.runs import Run
from bot.media import Media
from bot.runflow import connect
from bot.services.admission import Admission
from bot.services.engine import Engine
from bot.telemetry.metrics import Metrics
from bot.web.listener import Bounds
from bot.web.operator import OperatorServer
from bot.web.public import WebServer
from storage import Archive, SqliteStore
from tests.money import store_at, wish
from tests.parts import NO_LIMITS, HandClock, core

START = 1_800_000_000.0
KEEP_S = 1000.0
USUAL = Bounds()
SECRETS = ["whsec_newer_0002", "whsec_older_0001"]
ID = "0198c0de-7a11-7c3e-8f00-000000000001"
BODY = json.dumps({"event": "run.completed", "run_id": ID, "status": "succeeded"}).encode()


def signature_of(body: bytes, secret: str = SECRETS[0]) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Site:
    """The web servers, what is behind them, and a client in front."""

    folder: Path
    clock: HandClock
    store: SqliteStore
    media: Media
    engine: Engine
    admission: Admission
    session: aiohttp.ClientSession
    parts: dict[str, bool] = field(default_factory=lambda: {"discord": True, "database": True})
    port: int = 0
    operator_port: int = 0
    runs: int = 0

    async def a_run(self) -> Run:
        """An admitted run that somebody is working on: it is not due before the clock moves by an hour."""
        self.runs += 1
        run = await self.admission.ask(wish(str(self.runs)))
        assert isinstance(run, Run)
        assert await self.due() == [run.run_id]
        return run

    async def due(self) -> list[str]:
        """The runs that the engine, which does not run here, would take now; this leases them for an hour."""
        now, woken = self.clock.now(), list(self.engine._next)
        self.engine._next.clear()
        due = (await self.store.claim_due(now, lease_until=now + 3600, limit=100, total_max=99)).runs
        return list(dict.fromkeys([*woken, *(run.run_id for run in due)]))

    async def now(self, run: Run) -> Run:
        """The run as the store has it."""
        current = await self.store.get(run.run_id)
        assert current is not None
        return current

    async def request(self, method: str, path: str, **more: Any) -> tuple[int, Mapping[str, str], bytes]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, allow_redirects=False, **more) as response:
            return response.status, response.headers, await response.read()

    async def ask(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """The reply of the operator's listener."""
        async with self.session.get(f"http://127.0.0.1:{self.operator_port}{path}") as response:
            return response.status, response.headers, await response.read()

    async def call(self, token: str, body: Any = BODY, signature: str | None = None, **headers: str) -> int:
        """The status that a callback gets; it is signed correctly unless told otherwise."""
        if signature is None and isinstance(body, bytes):
            signature = signature_of(body)
        if signature is not None:
            headers["Runflow-Signature"] = signature
        status, _, _ = await self.request("POST", f"/callbacks/runflow/{token}", data=body, headers=headers)
        return status

    async def raw(self, *pieces: bytes, whole: bool = True) -> bytes:
        """The reply to these bytes, sent piece by piece: all of it, or what comes first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            async with asyncio.timeout(5):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
                answer = await (reader.read() if whole else reader.read(1000))
        except ConnectionError:
            pass  # the server hung up
        finally:
            writer.close()
        return answer


@asynccontextmanager
async def web_site(folder: Path, secrets: list[str], bounds: Bounds = USUAL) -> AsyncIterator[Site]:
    clock, chance = HandClock(START), random.Random(7)
    store, archive = store_at(folder / "veo.db"), Archive(f"sqlite:///{folder / 'veo.db'}")
    media = Media(
        folder / "media",
        key=await store.media_key(),
        keep_s=KEEP_S,
        public_url="https://bot.example",
        now=clock.now,
    )
    (folder / "media").mkdir(exist_ok=True)
    async with (
        connect(api_url="http://127.0.0.1:1", api_key="k", public_url=None, clip_bytes_max=1) as provider,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        services = core(store=store, provider=provider, policy=NO_LIMITS, clock=clock, chance=chance, clips=media)
        engine = services.engine
        made = Site(folder, clock, store, media, engine, services.admission, session)

        async def ready() -> dict[str, bool]:
            return made.parts

        try:
            async with (
                WebServer(engine=engine, media=media, secrets=secrets, bounds=bounds).listening(
                    "127.0.0.1", 0
                ) as made.port,
                OperatorServer(ready=ready, metrics=Metrics(archive.figures), bounds=bounds).listening(
                    "127.0.0.1", 0
                ) as made.operator_port,
            ):
                yield made
        finally:
            archive.close()
            await store.close()


@contextmanager
def store_down(folder: Path) -> Iterator[None]:
    """The run table is missing during the block."""
    with closing(sqlite3.connect(folder / "veo.db", isolation_level=None)) as beside:
        beside.execute("ALTER TABLE run RENAME TO run_away")
        try:
            yield
        finally:
            beside.execute("ALTER TABLE run_away RENAME TO run")
