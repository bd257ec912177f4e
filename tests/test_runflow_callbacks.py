"""Callback signatures, and the run that a callback names."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.runflow import is_signed, run_id_in
from tests.runflow_lab import ANYTHING, ID

SECRET = "whsec_local_example_key_0001"
BODY_A = (
    b'{"event":"run.completed","run_id":"0198c0de-7a11-7c3e-8f00-000000000001","status":"succeeded","output":{"outputs":'
    b'[{"url":"https://cdn.example.test/v/1.mp4?X-Sig=abc","type":"video","width":1280,"height":720,"duration":8}],'
    b'"nsfw_detected":false,"seed":null,"timing":{"inference_ms":61250}},"duration_ms":63500,"created_at":'
    b'"2026-01-15T10:00:00.000000+00:00","completed_at":"2026-01-15T10:01:03.500000+00:00","metadata":{"job":"j-42"}}'
)
BODY_B = (
    '{"event":"run.failed","run_id":"0198c0de-7a11-7c3e-8f00-000000000002","status":"failed","output":null,'
    '"duration_ms":1200,"created_at":"2026-01-15T10:00:00+00:00","completed_at":"2026-01-15T10:00:01.200000+00:00",'
    '"metadata":{"note":"café"}}'
).encode()
SIGNATURE_A = "89c9d189ceaf9af4f066b3246b71cc7e184894ad368d8cf4e7062eec0551fba8"
SIGNATURE_B = "726f9b220d0d2128ae82f630a6ca57789c173b11bbc390a9226d8611a4e2436c"
WITHOUT_PREFIX = "bdb57832ca3a81af7e21dbc32daed953854fca605aa9dd782c66787a3982628c"
WITH_NEWLINE = "2e24e826f5f80ea18e333cfbdebae5a07b2d5dc14b833ac0a1e3c05ff5e33fdf"
B_ESCAPED = "88e70857a95020c29e8d0f329b49e13381ae2ecf3242728eab34b22a804cfeb3"


def signature_of(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_the_signatures_are_those_of_the_documentation() -> None:
    """The raw bytes under the whole secret, bare lower-case hex (docs.runflow.io, verify-callback-signatures)."""
    assert hashlib.sha256(BODY_A).hexdigest() == "6d98b68e704fd438e191a1fea2dc29232f1445b0594d83ee499c1a37561fd2e2"
    assert (len(BODY_A), len(BODY_B)) == (434, 240)
    assert is_signed(BODY_A, SIGNATURE_A, [SECRET])
    assert is_signed(BODY_B, SIGNATURE_B, [SECRET])


def test_what_a_wrong_method_would_sign_is_refused() -> None:
    """A stripped prefix, a newline, escaped text, upper case, a scheme in front, or nothing at all."""
    escaped = json.dumps(json.loads(BODY_B), separators=(",", ":")).encode()
    assert len(escaped) == 244
    made = [
        signature_of(BODY_A, SECRET.removeprefix("whsec_")),
        signature_of(BODY_A + b"\n"),
        signature_of(escaped),
    ]
    assert made == [WITHOUT_PREFIX, WITH_NEWLINE, B_ESCAPED]
    for signature in (WITHOUT_PREFIX, WITH_NEWLINE, SIGNATURE_B, SIGNATURE_A.upper(), f"sha256={SIGNATURE_A}"):
        assert not is_signed(BODY_A, signature, [SECRET])
    for odd in (
        None,
        "",
        " ",
        SIGNATURE_A[:-1],
        SIGNATURE_A + "0",
        SIGNATURE_A + "\n",
        f" {SIGNATURE_A}",
        "é" * 64,
        "٠" * 64,
    ):
        assert not is_signed(BODY_A, odd, [SECRET])
    assert not is_signed(BODY_B, B_ESCAPED, [SECRET])
    assert not is_signed(escaped, SIGNATURE_B, [SECRET])
    for changed in (BODY_A + b"\n", BODY_A[:-1], BODY_A.replace(b"j-42", b"j-43"), b""):
        assert not is_signed(changed, SIGNATURE_A, [SECRET])


def test_any_listed_secret_is_accepted() -> None:
    """During a rotation both secrets verify, in any order; one that is not listed does not, nor does an empty list."""
    others = ["whsec_newer_0002", "whsec_ä_0003"]
    for place in range(3):
        secrets = [*others[:place], SECRET, *others[place:]]
        assert is_signed(BODY_A, SIGNATURE_A, secrets)
        assert is_signed(BODY_B, signature_of(BODY_B, others[1]), secrets)
    assert not is_signed(BODY_A, SIGNATURE_A, others)
    assert not is_signed(BODY_A, SIGNATURE_A, [])
    assert not is_signed(b"", signature_of(b"", ""), [])


@given(body=st.binary(max_size=100), at=st.integers(0, 10_000), signature=st.text(max_size=70))
def test_no_other_body_or_signature_is_accepted(body: bytes, at: int, signature: str) -> None:
    """One changed bit breaks a signature; text that is none is refused without an error."""
    right = signature_of(body)
    assert is_signed(body, right, [SECRET])
    assert is_signed(body, signature, [SECRET]) == (signature == right)
    if body:
        position = at % len(body)
        altered = body[:position] + bytes([body[position] ^ (1 << at % 8)]) + body[position + 1 :]
        assert not is_signed(altered, right, [SECRET])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (BODY_A, ID), (BODY_B, "0198c0de-7a11-7c3e-8f00-000000000002"), (b'{"run_id":"a"}', "a"),
        (b"", None), (b"{}", None), (b"[]", None), (b"null", None), (b'"run_id"', None), (b"{", None),
        (b"\xff\xfe", None),
        (b'{"run_id":null}', None), (b'{"run_id":7}', None), (b'{"run_id":["a"]}', None), (b'{"run_id":""}', None),
        (b'{"run_id":"../../admin"}', None), (b'{"run_id":"a/b"}', None), (b'{"run_id":"a?b"}', None),
        (b'{"run_id":"a\\n"}', None), (b'{"run_id":"\\ud800"}', None), (b'{"run_id":"' + b"a" * 101 + b'"}', None),
        (b'{"id":"a"}', None), (b"[" * 65_000, None), (b'{"run_id":"a","x":' + b"9" * 5000 + b"}", None),
    ],
)  # fmt: skip
def test_a_callback_names_a_run_or_nothing(body: bytes, named: str | None) -> None:
    """Only a plain id is taken from a body, and no body raises."""
    assert run_id_in(body) == named


def test_an_absurd_number_in_a_callback_is_harmless() -> None:
    """An exponent that no Decimal holds raises nothing."""
    assert run_id_in(b'{"run_id":"a","x":1e99999999999999999999}') in ("a", None)


@given(body=st.binary(max_size=60) | ANYTHING.map(lambda value: json.dumps({"run_id": value}).encode()))
def test_no_body_raises(body: bytes) -> None:
    """The result is an id that can be part of a path, or nothing."""
    named = run_id_in(body)
    assert named is None or named.replace("-", "").replace("_", "").isalnum()
