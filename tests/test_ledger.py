"""Prices, amounts, periods and settlement are exact, over every option and by property.

In one piece, because every part of it checks the others by the same options and prices.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.models import DURATIONS, RESOLUTIONS, Duration, Resolution, VeoRequest
from bot.domain.money import AMOUNT_MAX_U, USD_U, Kind, parse_amount, parse_cost, plain_usd, settle, to_micro, usd
from bot.domain.periods import Period, PeriodKind, period_at
from bot.domain.prices import PriceTable
from bot.errors import BadAmount, SettingsError
from bot.settings import PRICES_USD_PER_SECOND
from tests.words import refuses, said

# USD per run as published (docs.runflow.io /models/google/veo3.1 and fal.ai/models/fal-ai/veo3.1), written out.
LADDER = {
    ("720p", False): {"4s": "0.80", "6s": "1.20", "8s": "1.60"},
    ("720p", True): {"4s": "1.60", "6s": "2.40", "8s": "3.20"},
    ("1080p", False): {"4s": "0.80", "6s": "1.20", "8s": "1.60"},
    ("1080p", True): {"4s": "1.60", "6s": "2.40", "8s": "3.20"},
    ("4k", False): {"4s": "1.60", "6s": "2.40", "8s": "3.20"},
    ("4k", True): {"4s": "2.40", "6s": "3.60", "8s": "4.80"},
}
REQUESTS = [
    VeoRequest(prompt="p", duration=duration, resolution=resolution, generate_audio=audio)
    for duration, resolution, audio in product(DURATIONS, RESOLUTIONS, (True, False))
]
KINDS: tuple[PeriodKind, ...] = ("day", "week", "month")
# Whole and half hours, changes at midnight and across it, both hemispheres, one that skipped a day in 2011.
ZONES = [
    ZoneInfo(name)
    for name in (
        *("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Santiago", "America/Havana"),
        *("America/Nuuk", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Kathmandu", "Atlantic/Azores"),
        *("Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati"),
    )
]
INSTANTS = st.floats(1_322_697_600, 2_524_608_000, allow_nan=False)  # from December 2011 to 2050
AMOUNTS = st.integers(0, AMOUNT_MAX_U)
PER_SECOND = st.decimals("0.000001", 1000, places=6)
PRICES = st.builds(
    PriceTable,
    st.fixed_dictionaries(
        {name: st.fixed_dictionaries({"silent": PER_SECOND, "audio": PER_SECOND}) for name in RESOLUTIONS}
    ),
)


def table(**changes: dict[str, Decimal]) -> PriceTable:
    prices = {
        name: {kind: Decimal(text) for kind, text in each.items()} for name, each in PRICES_USD_PER_SECOND.items()
    }
    return PriceTable(prices | changes)


class TestPrices:
    def test_every_combination_costs_what_the_ladder_says(self) -> None:
        """Duration, resolution and sound each have their published price, in micro-dollars."""
        quoted = {(r.resolution, r.generate_audio, r.duration): table().quote(r) for r in REQUESTS}
        assert quoted == {
            (resolution, audio, duration): to_micro(Decimal(price))
            for (resolution, audio), row in LADDER.items()
            for duration, price in row.items()
        }

    @pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.duration}-{r.resolution}-{r.generate_audio}")
    def test_no_other_option_changes_the_price(self, request_: VeoRequest) -> None:
        """Format, seed, tolerance and words are free; no setting costs more than 4.80 or less than 0.80."""
        other = replace(
            request_,
            prompt="q" * 999,
            aspect_ratio="9:16",
            seed=7,
            auto_fix=False,
            safety_tolerance="6",
            negative_prompt="n",
        )
        assert table().quote(request_) == table().quote(other)
        assert 800_000 <= table().quote(request_) <= 4_800_000

    def test_more_never_costs_less(self) -> None:
        """Each step up in length, sound or resolution is priced at least as high, so that a quote is an upper bound."""
        for low, high in product(REQUESTS, REQUESTS):
            if (
                low.seconds <= high.seconds
                and low.generate_audio <= high.generate_audio
                and RESOLUTIONS.index(low.resolution) <= RESOLUTIONS.index(high.resolution)
            ):
                assert table().quote(low) <= table().quote(high)

    def test_the_variants_are_all_settings_of_the_same_prompt(self) -> None:
        """Every combination once, each with its own quote, and nothing else of the wish changed."""
        wish = VeoRequest(prompt="fox", seed=3, aspect_ratio="9:16")
        found = list(table().variants(wish))
        assert {(v.duration, v.resolution, v.generate_audio) for _, v in found} == set(
            product(DURATIONS, RESOLUTIONS, (True, False))
        )
        assert len(found) == 18
        for price_u, variant in found:
            assert price_u == table().quote(variant)
            assert replace(variant, duration="8s", resolution="720p", generate_audio=True) == wish

    @given(wish=st.sampled_from(REQUESTS), left_u=st.integers(0, 6 * USD_U))
    def test_what_is_suggested_fits_and_is_nearest(self, wish: VeoRequest, left_u: int) -> None:
        """Each is another setting of the same prompt that fits; none that fits is nearer to the wish than the first."""
        found = table().nearest_that_fit(wish, left_u, 3)
        assert len(found) <= 3
        assert len(set(found)) == len(found)
        fitting = [item for item in table().variants(wish) if item[0] <= left_u and item[1] != wish]

        def changes(request: VeoRequest) -> int:
            return sum(value != wish.options[name] for name, value in request.options.items())

        assert set(found) <= set(fitting)
        sizes = RESOLUTIONS[: RESOLUTIONS.index(wish.resolution) + 1]
        nearest = min((changes(request) for _, request in fitting if request.resolution in sizes), default=None)
        assert [changes(request) for _, request in found[:1]] == ([] if nearest is None else [nearest])

    def test_the_dearest_of_the_nearest_comes_first(self) -> None:
        found = table().nearest_that_fit(VeoRequest(prompt=""), 3_000_000, 3)
        assert [(price_u, each.duration, each.generate_audio) for price_u, each in found] == [
            (2_400_000, "6s", True), (1_600_000, "8s", False), (1_600_000, "4s", True),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("wish", "offered"),
        [
            (("8s", "4k", True), [("3.20", "silent"), ("3.20", "1080p"), ("3.60", "6s"), ("2.40", "4s")]),
            (("8s", "4k", False), [("1.60", "1080p"), ("2.40", "6s"), ("1.60", "4s")]),
            (("8s", "1080p", True), [("1.60", "silent"), ("2.40", "6s"), ("1.60", "4s")]),
            (("6s", "720p", False), [("0.80", "4s")]),
            (("4s", "720p", False), []),
        ],
    )
    def test_what_would_be_cheaper_is_one_step_away(
        self, wish: tuple[Duration, Resolution, bool], offered: list[tuple[str, str]]
    ) -> None:
        """Silent first, then a lower resolution where that saves anything, then shorter, the longest of these first."""
        duration, resolution, audio = wish
        asked = VeoRequest(prompt="fox", duration=duration, resolution=resolution, generate_audio=audio)
        steps = {"silent": replace(asked, generate_audio=False), "1080p": replace(asked, resolution="1080p")}
        steps |= {each: replace(asked, duration=each) for each in DURATIONS}
        assert table().cheaper(asked) == [(to_micro(Decimal(price)), steps[step]) for price, step in offered]

    @given(wish=st.sampled_from(REQUESTS), prices=PRICES)
    def test_whatever_the_prices_nothing_offered_costs_as_much(self, wish: VeoRequest, prices: PriceTable) -> None:
        """Each offer is the same prompt, changed in one thing, at its own quote, which is below that of the wish."""
        offers = prices.cheaper(wish)
        for price_u, offer in offers:
            assert price_u == prices.quote(offer) < prices.quote(wish)
            names = ("duration", "resolution", "generate_audio")
            changed = [name for name in names if getattr(offer, name) != getattr(wish, name)]
            assert len(changed) == 1
            assert replace(offer, **{changed[0]: getattr(wish, changed[0])}) == wish
        assert len({offer for _, offer in offers}) == len(offers)
        shorter = [each for each in DURATIONS if int(each[0]) < wish.seconds]
        assert {offer.duration for _, offer in offers if offer.duration != wish.duration} == set(shorter)

    @pytest.mark.parametrize(
        "prices",
        [
            {},
            {"720p": {"silent": Decimal(1), "audio": Decimal(1)}},
            {name: {"silent": Decimal(1), "audio": Decimal(1)} for name in (*RESOLUTIONS, "8k")},
            {name: {"silent": Decimal(1)} for name in RESOLUTIONS},
            {name: {"silent": Decimal(1), "audio": Decimal(1), "music": Decimal(1)} for name in RESOLUTIONS},
            {name: {"silent": Decimal(0), "audio": Decimal(1)} for name in RESOLUTIONS},
            {name: {"silent": Decimal(1), "audio": Decimal(-1)} for name in RESOLUTIONS},
            {name: {"silent": Decimal(1), "audio": Decimal("1000.01")} for name in RESOLUTIONS},
        ],
        ids=["empty", "one", "unknown", "no audio", "a third", "zero", "negative", "absurd"],
    )
    def test_a_hole_in_the_price_table_is_refused(self, prices: dict[str, dict[str, Decimal]]) -> None:
        """An option without a sensible price would be free, so the program does not start with one."""
        with refuses(SettingsError, "PRICE_USD_PER_SECOND"):
            PriceTable(prices)

    def test_a_price_that_rounds_to_nothing_is_refused(self) -> None:
        """Less than a micro-dollar a second would be held as nothing at all."""
        with refuses(SettingsError, "PRICE_USD_PER_SECOND"):
            table(**{"4k": {"silent": Decimal("0.0000004"), "audio": Decimal(1)}})


class TestAmounts:
    @pytest.mark.parametrize(
        ("text", "amount_u"),
        [
            ("0", 0),
            ("3.20", 3_200_000),
            ("10.005", 10_005_000),
            ("0.1", 100_000),
            ("0.0000005", 1),
            ("0.00000049", 0),
            ("0.0000015", 2),
            ("1e-6", 1),
            ("-0", 0),
            ("1000000000", AMOUNT_MAX_U),
            ("1000000000.01", None),
            ("-0.01", None),
            ("1E+999999", None),
            ("9E+999999", None),
            ("1E+99999999999999999999", None),
            ("NaN", None),
            ("sNaN", None),
            ("Infinity", None),
            ("-Infinity", None),
            ("", None),
            ("$3.20", None),
            ("3,20", None),
            ("null", None),
        ],
    )
    def test_a_cost_is_read_exactly_or_not_at_all(self, text: str, amount_u: int | None) -> None:
        """Whatever stands in `cost`, the answer is whole micro-dollars or None, never an error."""
        assert parse_cost(text) == amount_u

    @given(st.text("0123456789.eE+-_ \n\0NaInfsty$,½٣"))
    def test_no_text_is_an_error(self, text: str) -> None:
        """Any text at all is an amount within the bounds or none."""
        amount_u = parse_cost(text)
        assert amount_u is None or 0 <= amount_u <= AMOUNT_MAX_U

    @given(st.decimals(allow_nan=True, allow_infinity=True))
    @example(Decimal("9E+999999"))
    def test_what_is_no_amount_is_a_value_error(self, amount: Decimal) -> None:
        """Negative, not finite, above a billion: ValueError and nothing else; otherwise an amount within the bounds."""
        if amount.is_finite() and 0 <= amount <= 10**9:
            assert 0 <= to_micro(amount) <= AMOUNT_MAX_U
        else:
            with pytest.raises(ValueError, match="not an amount"):
                to_micro(amount)

    @given(st.decimals(min_value=0, max_value=10**9, places=12))
    @example(Decimal("10.005"))
    @example(Decimal("0.0000005"))
    @example(Decimal("0.0000004" + "9" * 40))
    @example(Decimal("0.0000005" + "0" * 40 + "1"))
    def test_the_seventh_decimal_is_rounded_half_up(self, amount: Decimal) -> None:
        """The same as exact rational arithmetic gives, also with more digits than a Decimal context holds."""
        assert to_micro(amount) == math.floor(Fraction(amount) * USD_U + Fraction(1, 2))

    @given(AMOUNTS)
    @example(10_005_000)
    @example(1)
    @example(AMOUNT_MAX_U)
    def test_what_is_printed_is_read_back(self, amount_u: int) -> None:
        """An amount survives being printed and read, loses no micro-dollar, and shows no needless zero."""
        text = plain_usd(amount_u)
        whole, decimals = text.split(".")
        assert to_micro(Decimal(text)) == parse_cost(text) == amount_u
        assert whole == str(amount_u // USD_U)
        assert len(decimals) == 2 or (2 < len(decimals) <= 6 and not decimals.endswith("0"))

    @given(st.integers(-AMOUNT_MAX_U, AMOUNT_MAX_U))
    @example(0)
    @example(-5_000)
    def test_the_sign_stands_in_front_of_the_dollar(self, amount_u: int) -> None:
        """`-$1.50`, never `$-1.50`; below zero the same digits as above."""
        sign = "-" if amount_u < 0 else ""
        assert usd(amount_u) == f"{sign}${plain_usd(abs(amount_u))}"
        assert plain_usd(amount_u) == f"{sign}{plain_usd(abs(amount_u))}"

    @pytest.mark.parametrize(
        ("amount_u", "text"),
        [
            (0, "0.00"),
            (3_200_000, "3.20"),
            (10_005_000, "10.005"),
            (1, "0.000001"),
            (-10, "-0.00001"),
            (5_000, "0.005"),
        ],
    )
    def test_amounts_read_as_people_write_them(self, amount_u: int, text: str) -> None:
        """Two decimals, and more only where they say something."""
        assert plain_usd(amount_u) == text


class TestTypedAmounts:
    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("0", "0"),
            ("10", "10"),
            ("007", "7"),
            ("10.0050", "10.005"),
            ("1.00", "1"),
            ("1.0000", "1"),
            ("1000.000", "1000"),
            ("0.000001", "0.000001"),
            ("10,5", "10.5"),
            ("10,50", "10.50"),
            ("0,1234", "0.1234"),
            ("1,000.50", "1000.50"),
            ("1,000,000", "1000000"),
            ("1.000,50", "1000.50"),
            ("12.345.678,9", "12345678.9"),
            ("$5", "5"),
            ("$ 5", "5"),
            ("5$", "5"),
            ("5 USD", "5"),
            ("usd 5", "5"),
            (" \t10.25\n", "10.25"),
            ("1000000000", "1000000000"),
            ("0" * 60 + "100", "100"),
            ("1000000000.000001", None),
            ("9" * 6000, None),
            ("-5", None),
            ("-$5", None),
            ("$-5", None),
            ("-0.01", None),
            ("+5", None),
            ("1,000", None),
            ("$12,345", None),
            ("1.000", None),
            ("10.005", None),
            ("$999.999 USD", None),
            ("1.0000001", None),
            ("1,0000001", None),
            ("1,00,000", None),
            ("1,000.50.2", None),
            ("1.000.50", None),
            (".5", None),
            ("5.", None),
            ("1 000", None),
            ("1_000", None),
            ("1e3", None),
            ("0x10", None),
            ("ten", None),
            ("5 EUR", None),
            ("\N{EURO SIGN}5", None),
            ("\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT ZERO}", None),
            ("\N{FULLWIDTH DIGIT FIVE}", None),
            ("NaN", None),
            ("Infinity", None),
            ("none", None),
            ("$", None),
            ("", None),
            (" \n ", None),
            ("10 " + "x" * 60, None),
            ("5" + " " * 60 + "or 6", None),
        ],
    )
    def test_what_a_person_types_is_read_exactly_or_refused(self, text: str, amount: str | None) -> None:
        """Each usual spelling is its amount to the last micro-dollar; what is none, or could be two, is refused."""
        if amount is None:
            assert refusal_of(text)
        else:
            assert parse_amount(text) == to_micro(Decimal(amount))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1,000", "two ways. Write `1000` or `1.00`."),
            ("1.000", "two ways. Write `1000` or `1.00`."),
            ("12.500", "two ways. Write `12500` or `12.50`."),
            ("10,005", "two ways. Write `10005` or `10.0050`."),
            ("-5", "below zero"),
            ("1000000001", "over a billion"),
            ("1.0000001", "like 10 or 12.50"),
            ("ten", "“ten” isn't an amount of dollars"),
            ("\N{EURO SIGN}5", "isn't an amount of dollars"),
        ],
    )
    def test_the_refusal_says_what_to_write_instead(self, text: str, words: str) -> None:
        """What is wrong is named, and how it could be written."""
        assert words in refusal_of(text)

    @given(st.text("0123456789.,-+$eEUSDusd _x\n\0€٣") | st.text() | st.from_regex(r"\$?\d{1,9}([.,]\d{0,7}){0,3}"))
    @example("5 u\u017fd")
    @example("\ud83e")
    def test_any_text_is_an_amount_or_one_sentence(self, text: str) -> None:
        """Whatever is typed gives an amount within the bounds, or a refusal of one line that ends in a full stop."""
        try:
            amount_u = parse_amount(text)
        except BadAmount:
            assert refusal_of(text)
        else:
            assert 0 <= amount_u <= AMOUNT_MAX_U

    @given(AMOUNTS)
    @example(AMOUNT_MAX_U)
    @example(1_000_000_000)
    def test_an_amount_is_read_in_each_of_its_spellings(self, amount_u: int) -> None:
        """As it is shown, with thousands grouped, and with the comma for the point, it is the same amount."""
        whole, decimals = divmod(amount_u, USD_U)
        american = f"{whole:,}.{decimals:06d}"
        european = american.replace(",", "_").replace(".", ",").replace("_", ".")
        for text in (american, f"${american} USD", european, f"{european} $"):
            assert parse_amount(text) == amount_u
        if not re.fullmatch(r"\d{1,3}\.\d{3}", plain_usd(amount_u)):
            assert parse_amount(plain_usd(amount_u)) == parse_amount(usd(amount_u)) == amount_u

    @given(thousands=st.integers(0, 999), rest=st.integers(0, 999), separator=st.sampled_from(",."))
    def test_what_could_be_two_amounts_is_never_guessed(self, thousands: int, rest: int, separator: str) -> None:
        """A comma or point before three last digits is a thousand or a decimal: both readings are offered."""
        told = refusal_of(f"{thousands}{separator}{rest:03d}")
        written = told.partition("Write ")[2].replace("`", "").removesuffix(".").split(" or ")
        assert [parse_amount(each) for each in written] == [
            (thousands * 1000 + rest) * USD_U,
            thousands * USD_U + rest * 1000,
        ]


def refusal_of(text: str) -> str:
    """The one sentence with which a text is refused as an amount."""
    with pytest.raises(BadAmount) as caught:
        parse_amount(text)
    told = said(caught.value)
    assert told.endswith(".")
    assert "\n" not in told
    assert told.encode()
    assert len(told) <= 500
    return told


class TestPeriods:
    @pytest.mark.parametrize(
        ("moment", "kind", "zone", "key", "starts", "resets"),
        [
            ("2026-11-22T16:00+00:00", "month", "UTC", "2026-11", "2026-11-01T00:00+00:00", "2026-12-01T00:00+00:00"),
            ("2026-12-31T23:59+00:00", "month", "UTC", "2026-12", "2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"),
            (
                "2026-11-30T23:30+00:00",
                "month",
                "Europe/Berlin",
                "2026-12",
                "2026-12-01T00:00+01:00",
                "2027-01-01T00:00+01:00",
            ),
            ("2028-02-29T12:00+00:00", "month", "UTC", "2028-02", "2028-02-01T00:00+00:00", "2028-03-01T00:00+00:00"),
            ("2026-11-22T16:00+00:00", "week", "UTC", "2026-W47", "2026-11-16T00:00+00:00", "2026-11-23T00:00+00:00"),
            ("2026-11-23T00:00+00:00", "week", "UTC", "2026-W48", "2026-11-23T00:00+00:00", "2026-11-30T00:00+00:00"),
            ("2027-01-01T12:00+00:00", "week", "UTC", "2026-W53", "2026-12-28T00:00+00:00", "2027-01-04T00:00+00:00"),
            (
                "2026-03-29T12:00+00:00",
                "day",
                "Europe/Berlin",
                "2026-03-29",
                "2026-03-29T00:00+01:00",
                "2026-03-30T00:00+02:00",
            ),
            (
                "2026-10-25T12:00+00:00",
                "day",
                "Europe/Berlin",
                "2026-10-25",
                "2026-10-25T00:00+02:00",
                "2026-10-26T00:00+01:00",
            ),
            (
                "2018-11-03T12:00+00:00",
                "day",
                "America/Sao_Paulo",
                "2018-11-03",
                "2018-11-03T00:00-03:00",
                "2018-11-04T01:00-02:00",
            ),
            (
                "2026-10-31T23:30-04:00",
                "day",
                "America/Havana",
                "2026-10-31",
                "2026-10-31T00:00-04:00",
                "2026-11-01T00:00-04:00",
            ),
            (
                "2011-12-29T12:00-10:00",
                "day",
                "Pacific/Apia",
                "2011-12-29",
                "2011-12-29T00:00-10:00",
                "2011-12-31T00:00+14:00",
            ),
            (
                "2018-11-04T12:00-02:00",
                "day",
                "America/Sao_Paulo",
                "2018-11-04",
                "2018-11-04T01:00-02:00",
                "2018-11-05T00:00-02:00",
            ),
            (
                "2011-12-31T12:00+14:00",
                "day",
                "Pacific/Apia",
                "2011-12-31",
                "2011-12-31T00:00+14:00",
                "2012-01-01T00:00+14:00",
            ),
        ],
    )
    def test_periods_are_those_of_the_calendar(
        self, moment: str, kind: PeriodKind, zone: str, key: str, starts: str, resets: str
    ) -> None:
        """Known dates: ends of month and year, ISO weeks, days of 23, 25 and 48 hours, a midnight that never was."""
        period = period_at(datetime.fromisoformat(moment).timestamp(), kind, ZoneInfo(zone))
        starts_at, resets_at = (datetime.fromisoformat(each).timestamp() for each in (starts, resets))
        assert period == Period(kind=kind, key=key, starts_at=starts_at, resets_at=resets_at)

    @given(now=INSTANTS, kind=st.sampled_from(KINDS), zone=st.sampled_from(ZONES))
    @example(now=1_325_239_200.0 - 1, kind="day", zone=ZoneInfo("Pacific/Apia"))
    def test_a_reset_is_the_first_instant_of_the_next_period(
        self, now: float, kind: PeriodKind, zone: ZoneInfo
    ) -> None:
        """Up to the reset it is this period, from it on another one, whose key sorts behind."""
        period = period_at(now, kind, zone)
        following = period_at(period.resets_at, kind, zone)
        assert now < period.resets_at < following.resets_at
        assert period_at(period.resets_at - 0.001, kind, zone) == period
        assert following.key > period.key

    @given(now=INSTANTS, kind=st.sampled_from(KINDS), zone=st.sampled_from(ZONES))
    @example(now=1_325_239_200.0, kind="day", zone=ZoneInfo("Pacific/Apia"))
    @example(now=2_524_607_999.999_999_5, kind="day", zone=ZoneInfo("UTC"))  # no datetime is so near to midnight
    def test_a_period_starts_where_the_one_before_it_ends(self, now: float, kind: PeriodKind, zone: ZoneInfo) -> None:
        """It has begun by now, its first instant is its own, and up to that instant it is the period before."""
        period = period_at(now, kind, zone)
        before = period_at(period.starts_at - 0.001, kind, zone)
        assert period.starts_at <= now < period.resets_at
        assert period_at(period.starts_at, kind, zone) == period
        assert before.resets_at == period.starts_at
        assert before.key < period.key

    @given(first=INSTANTS, second=INSTANTS, kind=st.sampled_from(KINDS), zone=st.sampled_from(ZONES))
    def test_every_instant_belongs_to_exactly_one_period(
        self, first: float, second: float, kind: PeriodKind, zone: ZoneInfo
    ) -> None:
        """Two instants share key and reset together or not at all, and keys sort as time does."""
        early, late = sorted((first, second))
        before, after = period_at(early, kind, zone), period_at(late, kind, zone)
        assert (before.key == after.key) == (before.resets_at == after.resets_at) == (late < before.resets_at)
        assert before.key <= after.key

    @given(zone=st.sampled_from(ZONES), year=st.integers(2012, 2040), kind=st.sampled_from(KINDS))
    def test_changes_of_the_clock_lose_no_hour(self, zone: ZoneInfo, year: int, kind: PeriodKind) -> None:
        """Around each change of a zone's offset the periods follow one another without gap or overlap."""
        start = datetime(year, 1, 1, tzinfo=UTC)
        days = [start + timedelta(days=day) for day in range(366)]
        for day, next_day in pairwise(days):
            if day.astimezone(zone).utcoffset() != next_day.astimezone(zone).utcoffset():
                hours = [period_at(day.timestamp() + 1800 * half, kind, zone) for half in range(-48, 97)]
                assert all(
                    early == late or (early.key < late.key and early.resets_at < late.resets_at)
                    for early, late in pairwise(hours)
                )

    @given(now=INSTANTS, zone=st.sampled_from(ZONES))
    def test_days_lie_within_weeks_and_months(self, now: float, zone: ZoneInfo) -> None:
        """A week or a month never starts or ends inside a day, and a day's key names its month."""
        day, week, month = (period_at(now, kind, zone) for kind in KINDS)
        assert day.starts_at >= max(week.starts_at, month.starts_at)
        assert day.resets_at <= min(week.resets_at, month.resets_at)
        assert day.key.startswith(month.key)
        assert datetime.fromisoformat(day.key).strftime("%G-W%V") == week.key


class TestSettlement:
    @given(hold_u=st.integers(1, AMOUNT_MAX_U), cost_u=st.none() | AMOUNTS, succeeded=st.booleans())
    @example(hold_u=1, cost_u=0, succeeded=True)
    def test_the_cost_is_followed_exactly(self, hold_u: int, cost_u: int | None, succeeded: bool) -> None:
        """Post and adjust add up to the cost, or to the estimate without one; the post never exceeds its hold."""
        done = settle(hold_u=hold_u, cost_u=cost_u, succeeded=succeeded)
        expected_u = cost_u if cost_u is not None else hold_u if succeeded else 0
        assert done.posted_u + done.adjust_u == expected_u
        assert 0 <= done.posted_u <= hold_u
        assert done.adjust_u == max(0, expected_u - hold_u)

    @given(hold_u=st.integers(1, AMOUNT_MAX_U), cost_u=st.none() | AMOUNTS, succeeded=st.booleans())
    def test_a_void_means_that_nothing_is_charged(self, hold_u: int, cost_u: int | None, succeeded: bool) -> None:
        """A hold is given back exactly where a run that did not succeed has no cost or a cost of zero."""
        done = settle(hold_u=hold_u, cost_u=cost_u, succeeded=succeeded)
        assert (done.kind == Kind.VOID) == (not succeeded and not cost_u)
        assert done.kind == Kind.POST or done.posted_u == done.adjust_u == 0

    @pytest.mark.parametrize(
        ("cost_u", "succeeded", "kind", "posted_u", "adjust_u"),
        [
            (None, True, Kind.POST, 100, 0),
            (None, False, Kind.VOID, 0, 0),
            (0, True, Kind.POST, 0, 0),
            (0, False, Kind.VOID, 0, 0),
            (70, True, Kind.POST, 70, 0),
            (70, False, Kind.POST, 70, 0),
            (100, True, Kind.POST, 100, 0),
            (130, True, Kind.POST, 100, 30),
            (130, False, Kind.POST, 100, 30),
        ],
    )
    def test_each_case_of_the_table(
        self, cost_u: int | None, succeeded: bool, kind: Kind, posted_u: int, adjust_u: int
    ) -> None:
        """A hold of 100 against no cost, none at all, less, the same and more, ended well and badly."""
        done = settle(hold_u=100, cost_u=cost_u, succeeded=succeeded)
        assert (done.kind, done.posted_u, done.adjust_u) == (kind, posted_u, adjust_u)
