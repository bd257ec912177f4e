"""The bot's web server over real TCP, with a real engine and a real store: what strangers may send and get."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import random
import re
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.limits import Policy
from bot.domain.records import End, RunChanges, Wish
from bot.domain.runs import Delivery, Ending, Run, RunState, VeoRequest
from bot.errors import PortError
from bot.media import Media
from bot.runflow import connect
from bot.services.admission import Admission
from bot.services.engine import Engine
from bot.telemetry.metrics import Metrics
from bot.web import listener, operator, public
from bot.web.listener import REQUEST_BYTES_MAX, Bounds
from bot.web.operator import OperatorServer, Readiness
from bot.web.public import WebServer
from storage import SqliteStore
from tests.money import store_at
from tests.parts import HandClock, core

START = 1_800_000_000.0
KEEP_S = 1000.0
USUAL = Bounds()
SECRETS = ["whsec_newer_0002", "whsec_older_0001"]
ID = "0198c0de-7a11-7c3e-8f00-000000000001"
BODY = json.dumps({"event": "run.completed", "run_id": ID, "status": "succeeded"}).encode()


class Hand(HandClock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        super().__init__(START)


def signature_of(body: bytes, secret: str = SECRETS[0]) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Site:
    """The web server, what lies behind it, and a client in front."""

    folder: Path
    clock: Hand
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
        """An admitted run that somebody is working on: not due before the clock moves by an hour."""
        self.runs += 1
        wish = Wish(
            origin=f"origin {self.runs}",
            member="m",
            member_name="Mo",
            server="s",
            channel="c",
            budget_channel="c",
            roles=(),
            request=VeoRequest(prompt="a red fox"),
        )
        run = await self.admission.ask(wish)
        assert isinstance(run, Run)
        assert await self.due() == [run.run_id]
        return run

    async def due(self) -> list[str]:
        """The runs that the engine would look at now; they are leased for an hour."""
        now = self.clock.now()
        return [run.run_id for run in await self.store.claim_due(now, lease_until=now + 3600, limit=100, total_max=99)]

    async def now(self, run: Run) -> Run:
        """The run as it stands in the store."""
        current = await self.store.get(run.run_id)
        assert current is not None
        return current

    async def request(self, method: str, path: str, **more: Any) -> tuple[int, Mapping[str, str], bytes]:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, allow_redirects=False, **more) as response:
            return response.status, response.headers, await response.read()

    async def ask(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        """What the operator's own listener answers."""
        async with self.session.get(f"http://127.0.0.1:{self.operator_port}{path}") as response:
            return response.status, response.headers, await response.read()

    async def call(self, token: str, body: Any = BODY, signature: str | None = None, **headers: str) -> int:
        """The status that a callback is answered with; it is signed rightly unless told otherwise."""
        if signature is None and isinstance(body, bytes):
            signature = signature_of(body)
        if signature is not None:
            headers["Runflow-Signature"] = signature
        status, _, _ = await self.request("POST", f"/callbacks/runflow/{token}", data=body, headers=headers)
        return status

    async def raw(self, *pieces: bytes, whole: bool = True) -> bytes:
        """The answer to these bytes, sent piece by piece: until the connection is closed, or what comes first of it."""
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
            pass  # it has heard enough
        finally:
            writer.close()
        return answer


@asynccontextmanager
async def site(folder: Path, secrets: list[str], bounds: Bounds = USUAL) -> AsyncIterator[Site]:
    clock, chance = Hand(), random.Random(7)
    store = store_at(folder / "veo.db")
    media = Media(
        folder / "media",
        key=await store.media_key(),
        keep_s=KEEP_S,
        public_url="https://bot.example",
        now=clock.now,
    )
    (folder / "media").mkdir(exist_ok=True)
    policy = Policy(
        member_limit_u=None,
        server_ceiling_u=None,
        total_ceiling_u=None,
        period="month",
        zone=ZoneInfo("UTC"),
        runs_per_member=1000,
    )
    async with (
        connect(api_url="http://127.0.0.1:1", api_key="k", public_url=None, clip_bytes_max=1) as provider,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
    ):
        services = core(store=store, provider=provider, policy=policy, clock=clock, chance=chance, clips=media)
        engine = services.engine
        made = Site(folder, clock, store, media, engine, services.admission, session)

        async def ready() -> dict[str, bool]:
            return made.parts

        try:
            async with (
                WebServer(engine=engine, media=media, secrets=secrets, bounds=bounds).listening(
                    "127.0.0.1", 0
                ) as made.port,
                OperatorServer(ready=ready, metrics=Metrics(store.figures), bounds=bounds).listening(
                    "127.0.0.1", 0
                ) as made.operator_port,
            ):
                yield made
        finally:
            await store.close()


@pytest.fixture
async def signed(tmp_path: Path) -> AsyncIterator[Site]:
    """A site with two secrets."""
    async with site(tmp_path, SECRETS) as made:
        yield made


@pytest.fixture
async def unsigned(tmp_path: Path) -> AsyncIterator[Site]:
    """A site without secrets: the address is the only guard."""
    async with site(tmp_path, []) as made:
        yield made


# Callbacks that are right.


@pytest.mark.parametrize("secret", SECRETS)
async def test_a_callback_makes_its_run_due(signed: Site, secret: str) -> None:
    """202 at once, the run is due, and the id that was named is kept as a candidate; any secret will do."""
    run, other = await signed.a_run(), await signed.a_run()
    signed.clock.at += 10
    assert await signed.due() == []
    assert await signed.call(run.callback_token, signature=signature_of(BODY, secret)) == 202
    assert await signed.due() == [run.run_id]
    after = await signed.now(run)
    assert (after.candidate_id, after.state, after.charged_u) == (ID, RunState.RESERVED, 0)
    assert (await signed.now(other)).candidate_id is None


async def test_a_doubled_callback_is_one_wake_up_more(signed: Site) -> None:
    """Copies, also at the same moment, are all answered and change nothing but when the run is looked at."""
    run = await signed.a_run()
    assert await asyncio.gather(*(signed.call(run.callback_token) for _ in range(20))) == [202] * 20
    assert await signed.due() == [run.run_id]
    assert await signed.due() == []
    assert await signed.call(run.callback_token) == 202
    assert await signed.due() == [run.run_id]


async def test_only_the_signed_bytes_count(signed: Site) -> None:
    """A signature over UTF-8 text, odd spaces and a newline at the end is checked over just these bytes."""
    run = await signed.a_run()
    for body in ('{ "run_id" : "a",\t"note":"café" }\n'.encode(), b'{"note":"caf\\u00e9","run_id":"a"}', b""):
        assert await signed.call(run.callback_token, body) == 202
        assert await signed.call(run.callback_token, body + b"\n", signature_of(body)) == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"run_id":["x"]}', b"[" * 60_000, b'{"run_id":"../x"}']
)
async def test_a_malformed_body_is_a_harmless_wake_up(signed: Site, body: bytes) -> None:
    """Rightly signed but no JSON or without an id: the run is looked at, and an earlier candidate stays."""
    run = await signed.a_run()
    assert await signed.call(run.callback_token, body) == 202
    assert await signed.due() == [run.run_id]
    assert (await signed.now(run)).candidate_id is None
    assert await signed.call(run.callback_token) == 202
    assert await signed.call(run.callback_token, body) == 202
    assert (await signed.now(run)).candidate_id == ID


async def test_a_number_beyond_all_measure_is_a_wake_up_too(signed: Site) -> None:
    """An exponent that no decimal holds does not make our server fail."""
    run = await signed.a_run()
    assert await signed.call(run.callback_token, b'{"run_id":"a","cost":1e99999999999999999999}') == 202
    assert await signed.due() == [run.run_id]


async def test_a_run_that_has_its_id_takes_no_candidate(signed: Site) -> None:
    """Once Runflow has told us the id, what a callback names no longer matters."""
    run = await signed.a_run()
    now = signed.clock.now()
    begun = await signed.store.begin_submit(run, now=now, total_max=10)
    assert begun is not None
    changes = RunChanges(provider_id="the-true-one", due_at=now + 100)
    await signed.store.advance(begun, RunState.RUNNING, now=now, changes=changes)
    assert await signed.call(run.callback_token) == 202
    after = await signed.now(run)
    assert (after.provider_id, after.candidate_id, after.state) == ("the-true-one", None, RunState.RUNNING)
    assert await signed.due() == [run.run_id]


async def test_a_late_callback_wakes_nobody(signed: Site) -> None:
    """After the end it is still answered with 202, and the run stays as it ended, with nothing left to do."""
    run = await signed.a_run()
    now = signed.clock.now()
    begun = await signed.store.begin_submit(run, now=now, total_max=10)
    assert begun is not None
    ended = await signed.store.settle(begun, End(ending=Ending.FAILED, cost_u=0), now=now)
    assert ended is not None
    changes = RunChanges(delivery=Delivery.DELIVERED, message="1", due_at=None)
    final = await signed.store.advance(ended, ended.state, now=now, changes=changes)
    assert final is not None
    assert final.due_at is None
    signed.clock.at += 86_400
    assert await signed.call(run.callback_token) == 202
    after = await signed.now(run)
    assert (after.due_at, after.state, after.charged_u) == (None, RunState.FAILED, 0)
    assert await signed.due() == []


async def test_without_secrets_a_callback_is_a_hint(unsigned: Site) -> None:
    """Any body behind the right address wakes the run, with or without a signature; another address does not."""
    run = await unsigned.a_run()
    for signature in ("", "nonsense", signature_of(BODY, "whsec_of_someone_else")):
        assert await unsigned.call(run.callback_token, signature=signature) == 202
    assert await unsigned.due() == [run.run_id]
    assert (await unsigned.now(run)).candidate_id == ID
    assert await unsigned.call("a" * 32) == 404


# Callbacks that are refused.


@pytest.mark.parametrize(
    "signature",
    ["", "0" * 64, signature_of(BODY).upper(), f"sha256={signature_of(BODY)}", signature_of(BODY)[:-1],
     signature_of(BODY + b"\n"), signature_of(BODY, "newer_0002"), signature_of(BODY, "whsec_of_someone_else"),
     "é" * 64, "a, b"],
)  # fmt: skip
async def test_a_wrong_signature_is_refused(signed: Site, signature: str, caplog: pytest.LogCaptureFixture) -> None:
    """401, the run is not looked at, nothing is kept, and the log does not tell the address."""
    run = await signed.a_run()
    with caplog.at_level(logging.DEBUG):
        assert await signed.call(run.callback_token, signature=signature) == 401
    assert await signed.due() == []
    assert (await signed.now(run)).candidate_id is None
    assert run.callback_token not in caplog.text


async def test_a_missing_signature_is_refused(signed: Site) -> None:
    """No header at all, or the right one under another name."""
    run = await signed.a_run()
    path = f"/callbacks/runflow/{run.callback_token}"
    for headers in ({}, {"X-Runflow-Signature": signature_of(BODY)}, {"Authorization": signature_of(BODY)}):
        assert (await signed.request("POST", path, data=BODY, headers=headers))[0] == 401
    assert await signed.due() == []


async def test_an_unknown_address_is_not_found(signed: Site) -> None:
    """404 for a token that no run has, even rightly signed; a part of a token or a longer one is not enough."""
    run = await signed.a_run()
    token = run.callback_token
    for other in (
        token[:-1],
        token + "a",
        token.upper(),
        "a" * 32,
        "%",
        "*",
        "%25",
        "a" * 5000,
        "%00",
        "%ff",
        f"{token}/x",
    ):
        assert await signed.call(other) == 404
    assert (await signed.request("POST", "/callbacks/runflow/", data=BODY))[0] == 404
    assert await signed.due() == []


async def test_a_body_that_is_too_large_is_refused(signed: Site) -> None:
    """413 above 64 KiB, whether its length is announced or it comes in chunks; below, it is read."""
    run = await signed.a_run()
    large, fits = b"x" * (REQUEST_BYTES_MAX + 1), b"x" * (REQUEST_BYTES_MAX - 1)

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 10_000):
            yield body[begin : begin + 10_000]

    assert await signed.call(run.callback_token, large) == 413
    assert await signed.call(run.callback_token, chunks(large), signature_of(large)) == 413
    assert await signed.due() == []
    assert await signed.call(run.callback_token, chunks(fits), signature_of(fits)) == 202
    assert await signed.call(run.callback_token, fits) == 202


async def test_a_body_that_does_not_come_is_not_waited_for(signed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that stops in the middle is answered with 408 after the read time."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    run = await signed.a_run()
    head = f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    assert (await signed.raw(head.encode() + b"half", whole=False)).startswith(b"HTTP/1.1 408 ")
    assert await signed.due() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_another_method_is_not_allowed(signed: Site, method: str) -> None:
    """Only POST is for callbacks."""
    run = await signed.a_run()
    status, _, _ = await signed.request(method, f"/callbacks/runflow/{run.callback_token}", data=BODY)
    assert status == 405
    assert await signed.due() == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "nonsense"])
async def test_a_body_in_a_coding_that_it_is_not_in_is_the_senders_fault(signed: Site, encoding: str) -> None:
    """A wrong Content-Encoding is never our server's error, and the server goes on."""
    run = await signed.a_run()
    head = (
        f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\n"
        f"Content-Length: {len(BODY)}\r\nRunflow-Signature: {signature_of(BODY)}\r\nConnection: close\r\n\r\n"
    )
    status = int((await signed.raw(head.encode() + BODY)).split()[1])
    assert status < 500
    assert (await signed.ask("/healthz"))[0] == 200


async def test_broken_chunks_are_the_senders_fault(signed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk whose length is none, after a right beginning, gets no server error and wakes nobody."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    run = await signed.a_run()
    head = f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await signed.raw(head.encode() + b"3\r\nabc\r\n", b"zz\r\nabc\r\n0\r\n\r\n", whole=False)
    assert answer.partition(b" ")[2].startswith(b"4")
    assert await signed.due() == []
    assert (await signed.ask("/healthz"))[0] == 200


@pytest.mark.parametrize("expectation", [b"wonders", b"\x80", b"100-Continue"])
async def test_no_expectation_is_our_fault(signed: Site, expectation: bytes) -> None:
    """An Expect header is met where it is the known one, and else the sender's mistake, however it is spelt."""
    run = await signed.a_run()
    head = (
        f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Length: {len(BODY)}\r\nRunflow-Signature: {signature_of(BODY)}\r\nExpect: "
    )
    answer = await signed.raw(head.encode() + expectation + b"\r\n\r\n" + BODY)
    if expectation == b"100-Continue":
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
    else:
        assert answer.startswith(b"HTTP/1.1 417 ")
        assert await signed.due() == []


@contextmanager
def store_down(folder: Path) -> Iterator[None]:
    """The run's table is out of reach while the block lasts."""
    with closing(sqlite3.connect(folder / "veo.db", isolation_level=None)) as beside:
        beside.execute("ALTER TABLE run RENAME TO run_away")
        try:
            yield
        finally:
            beside.execute("ALTER TABLE run_away RENAME TO run")


async def test_while_the_store_is_down_the_sender_is_to_come_again(signed: Site) -> None:
    """503 for a right callback, still 401 for a wrong one, and 202 once the store is back."""
    run = await signed.a_run()
    with store_down(signed.folder):
        assert await signed.call(run.callback_token) == 503
        assert await signed.call(run.callback_token, signature="0" * 64) == 401
        assert (await signed.ask("/healthz"))[0] == 200
    assert await signed.call(run.callback_token) == 202
    assert await signed.due() == [run.run_id]


# Strangers who are silent, slow, or many.


@asynccontextmanager
async def strangers(at: Site, count: int, *words: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections, each of which says that much."""
    opened = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(count)]
    try:
        for _, writer in opened:
            writer.writelines(words)
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def gone(reader: asyncio.StreamReader) -> bytes:
    """What came until the other side hung up."""
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""


HEAD = b"POST /callbacks/runflow/x HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("words", [b"", b"P", HEAD, HEAD + b"X-A: "], ids=["silent", "a-letter", "half", "a-word"])
async def test_half_a_request_is_not_waited_for_without_end(tmp_path: Path, words: bytes) -> None:
    """Who connects and does not come to the end of the head is hung up on after `head_s`, and not before."""
    async with site(tmp_path, SECRETS, Bounds(head_s=0.3)) as made, strangers(made, 5, words) as readers:
        await asyncio.sleep(0.15)
        assert not any(reader.at_eof() for reader in readers)
        assert await asyncio.gather(*map(gone, readers)) == [b""] * 5


async def test_a_head_in_drops_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """Nor is one that goes on and on: each byte alone would look like life."""
    async with site(tmp_path, SECRETS, Bounds(head_s=0.3)) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(HEAD)
        dripped = 0
        with suppress(ConnectionError):
            while not reader.at_eof() and dripped < 100:
                writer.write(b"X-A: a\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
                dripped += 1
        writer.close()
        assert 5 < dripped < 50


@pytest.mark.parametrize("path", [b"/callbacks/runflow/x", b"/media/a/b", b"/", b"/callbacks/runflow/x/y"])
async def test_a_body_that_does_not_come_holds_no_connection(
    tmp_path: Path, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nobody asked for one: the answer, and then the end."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    words = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\nhalf"
    async with site(tmp_path, SECRETS, Bounds(rest_s=0.2)) as made, strangers(made, 3, words) as readers:
        for answer in await asyncio.gather(*map(gone, readers)):
            assert answer.startswith(b"HTTP/1.1 4")


async def test_no_connection_is_kept_after_its_answer(signed: Site) -> None:
    """Two requests on one connection are one too many, so that none has to be waited for again."""
    one = b"GET /media/a/b HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await signed.raw(one + one)
    assert answer.count(b"HTTP/1.1 404") == 1
    assert b"Connection: close" in answer


async def test_more_connections_than_are_granted_are_closed_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever comes too many is not heard; one line tells it, and once the silent ones are gone others are served."""
    async with site(tmp_path, SECRETS, Bounds(head_s=0.5, connections=5)) as made:
        run = await made.a_run()
        async with strangers(made, 5) as silent:
            async with strangers(made, 40, HEAD) as late:
                assert await asyncio.gather(*map(gone, late)) == [b""] * 40
            assert not any(reader.at_eof() for reader in silent)
            assert (await made.ask("/healthz"))[0] == 200  # the operator's listener has a bound of its own
            await asyncio.gather(*map(gone, silent))
        assert await made.call(run.callback_token) == 202
    told = [each.msg for each in caplog.records if each.name == "veo.web"]
    assert told == [{"event": "requests refused", "counts": {"connections beyond the bound": 1}}]


async def test_what_strangers_do_is_a_line_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed requests and wrong signatures are counted, not told one by one."""
    monkeypatch.setattr(listener, "TOLD_EVERY_S", 0.3)
    async with site(tmp_path, SECRETS) as made:
        run = await made.a_run()
        for _ in range(30):
            assert (await made.raw(b"GET / HTTP/9.9 \xff\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
            assert await made.call(run.callback_token, signature="0" * 64) == 401
        await asyncio.sleep(0.4)
    told = [str(each.msg) for each in caplog.records if each.name.startswith("veo.web")]
    assert 2 <= len(told) <= 4
    counted = [int(count) for line in told for count in re.findall(r": (\d+)", line)]
    assert sum(counted) == 60
    assert run.callback_token not in caplog.text


# Anything at all.

_LINE = st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
_HEADERS = st.sampled_from(
    [b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Runflow-Signature", b"Range", b"Cookie",
     b"Content-Length", b"Upgrade", b"If-Range", b"If-Modified-Since", b"Accept-Encoding", b"X-Odd", b"Host"]
)  # fmt: skip
_VALUES = _LINE | st.sampled_from(
    [b"gzip", b"deflate", b"chunked", b"100-continue", b"bytes=0-", b"bytes=9-1", b"websocket", b"0", b"1e9", b"-1",
     signature_of(BODY).encode(), b"text/plain; charset=nonsense", b"a=b; c", b"Thu, 31 Feb 2020 00:00:00 GMT"]
)  # fmt: skip
_PATHS = st.sampled_from(
    [b"/callbacks/runflow/TOKEN", b"/callbacks/runflow/TOKEN?x=%ff", b"/callbacks/runflow/a", b"/media/MEDIA",
     b"/healthz", b"/readyz", b"*", b"http://[::1/", b"//", b"/callbacks/runflow/%ed%a0%80", b"/media/%2e%2e/%2e%2e"]
) | _LINE.map(lambda text: b"/" + text.replace(b" ", b""))  # fmt: skip
_METHODS = st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"BREW"])


def test_no_request_makes_a_server_error(tmp_path: Path) -> None:
    """Whatever is sent to whatever path under whatever headers: never a 5xx, and the server goes on."""
    with asyncio.Runner() as runner:
        made = site(tmp_path, [])
        world = runner.run(made.__aenter__())
        run = runner.run(world.a_run())
        world.media.path(run.file_name).write_bytes(b"film")
        link = world.media.link(run.file_name)
        assert link is not None
        known = {b"TOKEN": run.callback_token.encode(), b"MEDIA": link.url.partition("/media/")[2].encode()}

        async def send(request: bytes) -> None:
            answer = await world.raw(request)
            assert not answer.partition(b" ")[2].startswith(b"5"), answer
            assert (await world.ask("/healthz"))[0] == 200

        @settings(max_examples=150, deadline=None)
        @given(
            method=_METHODS,
            path=_PATHS,
            headers=st.lists(st.tuples(_HEADERS, _VALUES), max_size=3),
            body=st.binary(max_size=40)
            | st.sampled_from([BODY, b"2\r\n{}\r\n0\r\n\r\n", b'{"x":1e9999999999999999999}']),
        )
        @example(b"POST", b"/callbacks/runflow/TOKEN", [(b"Content-Encoding", b"gzip")], BODY)
        @example(b"GET", b"/media/MEDIA", [(b"Range", b"bytes=9-1"), (b"If-Range", b"x")], b"")
        def never(method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
            for name, value in known.items():
                path = path.replace(name, value)
            lines = [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Connection: close"]
            lines += [name + b": " + value for name, value in headers]
            if not {b"Transfer-Encoding", b"Content-Length"} & {name for name, _ in headers}:
                lines.append(b"Content-Length: %d" % len(body))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(public, "CALLBACK_READ_S", 0.02)
                runner.run(send(b"\r\n".join(lines) + b"\r\n\r\n" + body))

        try:
            never()
        finally:
            runner.run(made.__aexit__(None, None, None))


# Health.


async def test_health_is_told_of_the_process_alone(signed: Site) -> None:
    """`/healthz` is 200 as long as the process answers, whatever else is down."""
    signed.parts["discord"] = signed.parts["database"] = False
    with store_down(signed.folder):
        status, _, body = await signed.ask("/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True})


@pytest.mark.parametrize(("discord", "database"), [(True, True), (True, False), (False, True), (False, False)])
async def test_readiness_is_told_part_by_part(signed: Site, discord: bool, database: bool) -> None:
    """`/readyz` is 200 only where every part would work now, and names each."""
    signed.parts.update(discord=discord, database=database)
    status, _, body = await signed.ask("/readyz")
    assert status == (200 if discord and database else 503)
    assert json.loads(body) == {"discord": discord, "database": database}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
async def test_the_public_learns_nothing_of_health(signed: Site, path: str) -> None:
    """Where callbacks and clips are served there is nothing else, and the other way round."""
    assert (await signed.request("GET", path))[0] == 404
    assert (await signed.ask("/callbacks/runflow/x"))[0] == 404


async def test_readiness_is_found_out_once_in_some_seconds(signed: Site) -> None:
    """However many ask, the disk is written once; the gateway, which costs nothing, is asked each time."""
    asked, up = [0], [True]

    async def keeps() -> bool:
        asked[0] += 1
        await asyncio.sleep(0)
        return asked[0] == 1

    ready = Readiness(gateway=lambda: up[0], checks={"database": keeps}, now=signed.clock.now)
    assert await asyncio.gather(*(ready() for _ in range(20))) == [{"discord": True, "database": True}] * 20
    up[0] = False
    signed.clock.at += operator.KEPT_S - 0.1
    assert await ready() == {"discord": False, "database": True}
    signed.clock.at += 0.2
    assert await ready() == {"discord": False, "database": False}
    assert asked == [2]


async def test_a_disk_that_does_not_answer_is_none_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that hangs is red after some seconds, and whoever asked is answered."""
    monkeypatch.setattr(operator, "CHECK_S", 0.05)
    never = asyncio.Event()

    async def hangs() -> bool:
        return await never.wait()

    assert await Readiness(gateway=lambda: True, checks={"media": hangs})() == {"discord": True, "media": False}


async def test_the_figures_are_told_as_gauges(signed: Site) -> None:
    """`/metrics` counts what is open and what is unknown, which should be zero, and says what the look-up is worth."""
    run: Run | None = await signed.a_run()
    await signed.a_run()
    for state in (RunState.AMBIGUOUS, RunState.UNKNOWN):
        assert run is not None
        if state == RunState.AMBIGUOUS:
            run = await signed.store.begin_submit(run, now=signed.clock.now(), total_max=9)
            assert run is not None
        run = await signed.store.advance(run, state, now=signed.clock.now(), changes=RunChanges())
    status, headers, body = await signed.ask("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    gauges = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert gauges == [
        "veo_runs_open 1.0",
        "veo_runs_unknown 1.0",
        "veo_runs_overdue 0.0",
        "veo_runs_unreadable 0.0",
        "veo_lookup_proven 0.0",
    ]
    with store_down(signed.folder):
        assert (await signed.ask("/metrics"))[0] == 503


# Clips.

FILM = bytes(range(256)) * 4


async def a_clip(at: Site) -> str:
    """The path of a fresh link to a clip on the shelf."""
    run = await at.a_run()
    at.media.path(run.file_name).write_bytes(FILM)
    link = at.media.link(run.file_name)
    assert link is not None
    return link.url.removeprefix("https://bot.example")


async def test_a_link_gives_the_clip(signed: Site) -> None:
    """The whole film as a film, to GET and HEAD, not to be kept by anyone in between."""
    path = await a_clip(signed)
    status, headers, body = await signed.request("GET", path)
    assert (status, body) == (200, FILM)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private"
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = await signed.request("HEAD", path)
    assert (status, headers["Content-Length"], body) == (200, str(len(FILM)), b"")
    assert (await signed.request("POST", path))[0] == 405


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-9", slice(0, 10)), ("bytes=1000-", slice(1000, 1024)), ("bytes=-24", slice(1000, 1024))],
)
async def test_a_part_of_the_clip_can_be_asked_for(signed: Site, asked: str, part: slice) -> None:
    """Players jump: a Range request gives 206 with just these bytes; past the end there are none."""
    path = await a_clip(signed)
    status, headers, body = await signed.request("GET", path, headers={"Range": asked})
    assert (status, body) == (206, FILM[part])
    assert headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/{len(FILM)}"
    assert (await signed.request("GET", path, headers={"Range": "bytes=5000-"}))[0] == 416


async def reading(at: Site, path: str, rests: Iterator[float]) -> int:
    """How many bytes of a clip come to somebody who takes 64 KiB and then rests so long, again and again."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        caller.setblocking(False)
        loop, took = asyncio.get_running_loop(), 0
        await loop.sock_connect(caller, ("127.0.0.1", at.port))
        await loop.sock_sendall(caller, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with suppress(ConnectionError):
            while piece := await loop.sock_recv(caller, 65536):
                took += len(piece)
                await asyncio.sleep(next(rests))
        return took


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system leaves stalled connections to itself")
async def test_a_slow_reader_has_the_whole_clip_and_one_who_stops_is_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What counts is that something is taken now and then, not how long all of it takes."""
    async with site(tmp_path, SECRETS, Bounds(head_s=0.2, stall_s=0.3)) as made:
        path = await a_clip(made)
        size = 6_000_000
        with made.media.path(path.rpartition("/")[2]).open("wb") as file:
            file.write(bytes(size))
        begun = time.monotonic()
        assert await reading(made, path, repeat(0.015)) > size
        assert time.monotonic() - begun > 3 * 0.3
        assert await reading(made, path, chain([1.2], repeat(0.0))) < size
    assert not [each for each in caplog.records if each.name.startswith("veo")]


async def test_an_expired_link_is_gone(signed: Site) -> None:
    """404 with a sentence from the second that was told on."""
    path = await a_clip(signed)
    signed.clock.at += KEEP_S - 1
    assert (await signed.request("GET", path))[0] == 200
    signed.clock.at += 1
    status, _, body = await signed.request("GET", path)
    assert status == 404
    assert b"expired" in body


async def test_no_other_address_gives_a_clip(signed: Site) -> None:
    """A changed token, another clip's name, no name, another folder: 404, and never a byte of a file."""
    first, second = await a_clip(signed), await a_clip(signed)
    _, _, token, name = first.split("/")
    other = second.split("/")[3]
    for place in range(0, 32, 5):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert (await signed.request("GET", f"/media/{changed}/{name}"))[0] == 404
    odd = [
        "",
        "x.mp4",
        "veo-.mp4",
        name.upper(),
        f"{name}.part",
        f"{name}%00",
        f"{name}/",
        f"%2e%2e%2f{name}",
        f".%2f{name}",
    ]
    for wrong in (other, *odd):
        assert (await signed.request("GET", f"/media/{token}/{wrong}"))[0] == 404
    signed.media.discard(name)
    assert (await signed.request("GET", first))[0] == 404


@pytest.mark.parametrize(
    "path",
    [b"/media/TOKEN/../veo.db", b"/media/TOKEN/../../veo.db", b"/media/TOKEN/..%2fveo.db",
     b"/media/TOKEN/..%2f..%2fveo.db", b"/media/../veo.db", b"/media/..%2fveo.db",
     b"/media/TOKEN/%2fetc%2fpasswd", b"/media/TOKEN//etc/passwd",
     b"/media/TOKEN/..\\veo.db", b"/media/TOKEN/%252e%252e%252fveo.db", b"/../../../../etc/passwd"],
)  # fmt: skip
async def test_no_path_leads_out_of_the_shelf(signed: Site, path: bytes) -> None:
    """Sent as raw bytes, so that no client tidies them up: 4xx, and nothing of a file."""
    token = (await a_clip(signed)).split("/")[2]
    request = b"GET " + path.replace(b"TOKEN", token.encode()) + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await signed.raw(request)
    assert answer.partition(b" ")[2].startswith(b"4")
    assert b"SQLite" not in answer
    assert b"root:" not in answer


# Listening.


async def test_a_taken_port_is_told_in_a_sentence(signed: Site) -> None:
    """The error names the address and the settings to change."""
    server = WebServer(engine=signed.engine, media=signed.media, secrets=[], bounds=USUAL)
    with pytest.raises(PortError) as told:
        async with server.listening("127.0.0.1", signed.port):
            pass
    sentence = str(told.value)
    assert sentence.startswith(f"The web server cannot listen on 127.0.0.1:{signed.port} (")
    assert "address already in use" in sentence
    assert sentence.endswith("; set WEB_PORT or WEB_HOST to an address that is free.")
    with pytest.raises(PortError, match="WEB_HOST"):
        async with server.listening("no-such-host.invalid", 0):
            pass


async def test_the_port_is_free_again_afterwards(signed: Site) -> None:
    """Leaving the block closes the listener, also with a connection open."""
    server = WebServer(engine=signed.engine, media=signed.media, secrets=[], bounds=USUAL)
    async with server.listening("127.0.0.1", 0) as port:
        open_one = socket.create_connection(("127.0.0.1", port))
    open_one.close()
    async with server.listening("127.0.0.1", port) as again:
        assert again == port
        async with signed.session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 404
