"""Callbacks over real TCP: which are accepted, and that none does more than wake its run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from bot.domain.records import End, RunChanges
from bot.domain.runs import Delivery, Ending, RunState
from bot.web import public
from bot.web.listener import REQUEST_BYTES_MAX
from tests.web_site import BODY, ID, SECRETS, Site, signature_of, store_down


@pytest.mark.parametrize("secret", SECRETS)
async def test_a_callback_makes_its_run_due(site: Site, secret: str) -> None:
    """202 at once, the run is due, and the id in the body is kept as a candidate; any of the secrets may sign."""
    run, other = await site.a_run(), await site.a_run()
    site.clock.at += 10
    assert await site.due() == []
    assert await site.call(run.callback_token, signature=signature_of(BODY, secret)) == 202
    assert await site.due() == [run.run_id]
    after = await site.now(run)
    assert (after.candidate_id, after.state, after.charged_u) == (ID, RunState.RESERVED, 0)
    assert (await site.now(other)).candidate_id is None


async def test_a_repeated_callback_only_wakes_its_run_again(site: Site) -> None:
    """Copies, also at the same moment, all get 202 and change nothing but when the run is looked at."""
    run = await site.a_run()
    assert await asyncio.gather(*(site.call(run.callback_token) for _ in range(20))) == [202] * 20
    assert await site.due() == [run.run_id]
    assert await site.due() == []
    assert await site.call(run.callback_token) == 202
    assert await site.due() == [run.run_id]


async def test_the_signature_is_checked_over_the_raw_bytes(site: Site) -> None:
    """UTF-8 text, odd spaces and a final newline are part of what is site."""
    run = await site.a_run()
    for body in ('{ "run_id" : "a",\t"note":"café" }\n'.encode(), b'{"note":"caf\\u00e9","run_id":"a"}', b""):
        assert await site.call(run.callback_token, body) == 202
        assert await site.call(run.callback_token, body + b"\n", signature_of(body)) == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b'{"run_id":["x"]}', b"[" * 60_000, b'{"run_id":"../x"}']
)
async def test_a_malformed_body_only_wakes_its_run(site: Site, body: bytes) -> None:
    """Correctly signed but no JSON, or without an id: the run is looked at, and an earlier candidate stays."""
    run = await site.a_run()
    assert await site.call(run.callback_token, body) == 202
    assert await site.due() == [run.run_id]
    assert (await site.now(run)).candidate_id is None
    assert await site.call(run.callback_token) == 202
    assert await site.call(run.callback_token, body) == 202
    assert (await site.now(run)).candidate_id == ID


async def test_an_absurd_number_only_wakes_its_run(site: Site) -> None:
    """An exponent that no Decimal holds does not make the server fail."""
    run = await site.a_run()
    assert await site.call(run.callback_token, b'{"run_id":"a","cost":1e99999999999999999999}') == 202
    assert await site.due() == [run.run_id]


async def test_a_run_with_an_id_takes_no_candidate(site: Site) -> None:
    """Once Runflow has told us the id, the id in a callback no longer matters."""
    run = await site.a_run()
    now = site.clock.now()
    begun = await site.store.begin_submit(run, now=now, total_max=10)
    assert begun is not None
    changes = RunChanges(provider_id="the-true-one", due_at=now + 100)
    await site.store.advance(begun, RunState.RUNNING, now=now, changes=changes)
    assert await site.call(run.callback_token) == 202
    after = await site.now(run)
    assert (after.provider_id, after.candidate_id, after.state) == ("the-true-one", None, RunState.RUNNING)
    assert await site.due() == [run.run_id]


async def test_a_late_callback_changes_nothing(site: Site) -> None:
    """After the end it still gets 202; the run stays as it ended and is not due."""
    run = await site.a_run()
    now = site.clock.now()
    begun = await site.store.begin_submit(run, now=now, total_max=10)
    assert begun is not None
    ended = await site.store.settle(begun, End(ending=Ending.FAILED, cost_u=0), now=now)
    assert ended is not None
    changes = RunChanges(delivery=Delivery.DELIVERED, message="1", due_at=None)
    final = await site.store.advance(ended, ended.state, now=now, changes=changes)
    assert final is not None
    assert final.due_at is None
    site.clock.at += 86_400
    assert await site.call(run.callback_token) == 202
    after = await site.now(run)
    assert (after.due_at, after.state, after.charged_u) == (None, RunState.FAILED, 0)
    assert await site.due() == []


async def test_without_secrets_the_address_is_enough(unsigned_site: Site) -> None:
    """Any body at the right address wakes the run, with or without a signature; another address does not."""
    run = await unsigned_site.a_run()
    for signature in ("", "nonsense", signature_of(BODY, "whsec_of_someone_else")):
        assert await unsigned_site.call(run.callback_token, signature=signature) == 202
    assert await unsigned_site.due() == [run.run_id]
    assert (await unsigned_site.now(run)).candidate_id == ID
    assert await unsigned_site.call("a" * 32) == 404


@pytest.mark.parametrize(
    "signature",
    ["", "0" * 64, signature_of(BODY).upper(), f"sha256={signature_of(BODY)}", signature_of(BODY)[:-1],
     signature_of(BODY + b"\n"), signature_of(BODY, "newer_0002"), signature_of(BODY, "whsec_of_someone_else"),
     "é" * 64, "a, b"],
)  # fmt: skip
async def test_a_wrong_signature_is_refused(site: Site, signature: str, caplog: pytest.LogCaptureFixture) -> None:
    """401, the run is not due, nothing is kept, and the log does not show the address."""
    run = await site.a_run()
    with caplog.at_level(logging.DEBUG):
        assert await site.call(run.callback_token, signature=signature) == 401
    assert await site.due() == []
    assert (await site.now(run)).candidate_id is None
    assert run.callback_token not in caplog.text


async def test_a_missing_signature_is_refused(site: Site) -> None:
    """No header at all, or the right value under another name."""
    run = await site.a_run()
    path = f"/callbacks/runflow/{run.callback_token}"
    for headers in ({}, {"X-Runflow-Signature": signature_of(BODY)}, {"Authorization": signature_of(BODY)}):
        assert (await site.request("POST", path, data=BODY, headers=headers))[0] == 401
    assert await site.due() == []


async def test_an_unknown_address_is_not_found(site: Site) -> None:
    """404 for a token that no run has, even correctly signed; a part of a token or a longer one does not match."""
    run = await site.a_run()
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
        assert await site.call(other) == 404
    assert (await site.request("POST", "/callbacks/runflow/", data=BODY))[0] == 404
    assert await site.due() == []


async def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    """413 above 64 KiB, with a Content-Length or in chunks; below, it is read."""
    run = await site.a_run()
    large, fits = b"x" * (REQUEST_BYTES_MAX + 1), b"x" * (REQUEST_BYTES_MAX - 1)

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 10_000):
            yield body[begin : begin + 10_000]

    assert await site.call(run.callback_token, large) == 413
    assert await site.call(run.callback_token, chunks(large), signature_of(large)) == 413
    assert await site.due() == []
    assert await site.call(run.callback_token, chunks(fits), signature_of(fits)) == 202
    assert await site.call(run.callback_token, fits) == 202


async def test_a_body_that_stops_gets_a_timeout(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that stops in the middle gets 408 after the read timeout."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    run = await site.a_run()
    head = f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    assert (await site.raw(head.encode() + b"half", whole=False)).startswith(b"HTTP/1.1 408 ")
    assert await site.due() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_another_method_is_not_allowed(site: Site, method: str) -> None:
    """Callbacks are POSTs only."""
    run = await site.a_run()
    status, _, _ = await site.request(method, f"/callbacks/runflow/{run.callback_token}", data=BODY)
    assert status == 405
    assert await site.due() == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "nonsense"])
async def test_a_wrong_content_encoding_is_the_senders_error(site: Site, encoding: str) -> None:
    """It is never a 5xx, and the server goes on."""
    run = await site.a_run()
    head = (
        f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nContent-Encoding: {encoding}\r\n"
        f"Content-Length: {len(BODY)}\r\nRunflow-Signature: {signature_of(BODY)}\r\nConnection: close\r\n\r\n"
    )
    status = int((await site.raw(head.encode() + BODY)).split()[1])
    assert status < 500
    assert (await site.ask("/healthz"))[0] == 200


async def test_broken_chunks_are_the_senders_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk with an invalid length after a good beginning gets a 4xx and wakes no run."""
    monkeypatch.setattr(public, "CALLBACK_READ_S", 0.1)
    run = await site.a_run()
    head = f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await site.raw(head.encode() + b"3\r\nabc\r\n", b"zz\r\nabc\r\n0\r\n\r\n", whole=False)
    assert answer.partition(b" ")[2].startswith(b"4")
    assert await site.due() == []
    assert (await site.ask("/healthz"))[0] == 200


@pytest.mark.parametrize("expectation", [b"wonders", b"\x80", b"100-Continue"])
async def test_an_expect_header_is_never_our_error(site: Site, expectation: bytes) -> None:
    """The known value is met; any other, however it is spelt, is the sender's mistake."""
    run = await site.a_run()
    head = (
        f"POST /callbacks/runflow/{run.callback_token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Length: {len(BODY)}\r\nRunflow-Signature: {signature_of(BODY)}\r\nExpect: "
    )
    answer = await site.raw(head.encode() + expectation + b"\r\n\r\n" + BODY)
    if expectation == b"100-Continue":
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
    else:
        assert answer.startswith(b"HTTP/1.1 417 ")
        assert await site.due() == []


async def test_while_the_store_is_down_callbacks_get_503(site: Site) -> None:
    """503 for a good callback, still 401 for a wrong signature, and 202 once the store is back."""
    run = await site.a_run()
    with store_down(site.folder):
        assert await site.call(run.callback_token) == 503
        assert await site.call(run.callback_token, signature="0" * 64) == 401
        assert (await site.ask("/healthz"))[0] == 200
    assert await site.call(run.callback_token) == 202
    assert await site.due() == [run.run_id]
