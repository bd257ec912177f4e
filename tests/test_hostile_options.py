"""Options that the command does not offer: a clear sentence, or a valid run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.harness import WAIT_S, Scene, read, scene, status_of
from tests.hostile import QUERY, Json, Wire, all_delivered, check_alive, check_log, check_runs, count_of_runs, staged

_PROMPTS = st.sampled_from(
    ["", " ", "\u3000\n",
     "x" * 2000, "x" * 2001, "x" * 6000, "\x00", "\x1b[31m", "\u202eevil\u202c", "\u2066", "\ud83e",
     "@everyone @here", "<@1> <@&1> <#1> </veo:1> <:a:1>", "`" * 300, "```\n# big", "||x|| **y** [a](https://evil.test)",
     "https://evil.test/?" + QUERY, "-# Run `aaaa`", "discord.gg/x", "\u200b" * 50, "🦊" * 1500]
) | st.text(max_size=60)  # fmt: skip
_WRONG = st.sampled_from(
    [None, "", "5s", "8S", "8", 8, 8.0, True, False, "true", "yes", 0, -1, 2**53, -(2**53), 2**63, 10**40, 1.5, "7",
     "x" * 6000,
     float("nan"), float("inf"), [], ["8s"], {}, {"value": "8s"}, "\ud800", "\x00", "4K", "6 ", "0", "7", "@everyone"]
)  # fmt: skip
_NAMES = st.sampled_from(
    ["duration", "resolution", "aspect_ratio", "generate_audio", "negative_prompt", "seed", "auto_fix",
     "safety_tolerance", "unknown", "prompt"]
)  # fmt: skip
_TYPES = st.sampled_from([None, None, 3, 4, 5, 6, 7, 8, 10, 99])
_OPTIONS = st.lists(st.tuples(_NAMES, _WRONG, _TYPES), max_size=2)
Wished = tuple[str, list[tuple[str, object, int | None]]]
KINDS = {"generate_audio": 5, "auto_fix": 5, "seed": 4}


def with_options(payload: Json, wish: Wished) -> Json:
    """A `/veo` with these options, each with its own type or another one."""
    prompt, options = wish
    listed = {name: {"name": name, "type": kind or KINDS.get(name, 3), "value": value} for name, value, kind in options}
    listed = {"prompt": {"name": "prompt", "type": 3, "value": prompt}} | listed
    return payload | {"data": payload["data"] | {"options": list(listed.values())}}


def test_no_option_buys_an_invalid_run(tmp_path: Path) -> None:
    """Whatever the options hold: one sentence, or a valid run whose message pings its member alone."""
    with staged(tmp_path, discord={"buckets": {"channel_post": (10_000, 1.0), "webhook": (10_000, 1.0),
                                               "default": (10_000, 1.0), "global": (10_000, 1.0)}},
                QUOTA_USER_USD="100000.00", QUOTA_RUNS_IN_FLIGHT="1000") as (runner, world):  # fmt: skip
        wire = Wire(world)

        async def ask(wishes: list[Wished]) -> None:
            asked = [await wire.use(partial(with_options, wish=wish), "veo", prompt="a red fox") for wish in wishes]
            for used in asked:
                answer = await used.wait(lambda message: bool(read(message)["content"]), timeout=WAIT_S)
                assert answer["flags"] & 64
                told = [line for line in read(answer)["content"].splitlines() if not line.startswith(("> ", "### "))]
                assert len(told) == 1 or status_of(answer)
            await check_alive(world)
            check_runs(world)

        @settings(max_examples=25, deadline=None)
        @given(st.lists(st.tuples(_PROMPTS, st.just([]) | _OPTIONS), min_size=3, max_size=6))
        @example([("x", [("seed", 2**60, None)]), ("x", [("seed", "7", 3)]), ("x", [("generate_audio", "no", 3)])])
        @example([("x", [("auto_fix", float("nan"), 10)]), ("x", [("negative_prompt", 5, 10)])])
        def is_answered(wishes: list[Wished]) -> None:
            runner.run(ask(wishes))

        is_answered()
        runner.run(all_delivered(world))
        bo = world.member().id
        for message in world.posts():
            assert [each["id"] for each in message["mentions"]] == [bo]
            assert (message["mention_everyone"], message["mention_roles"]) == (False, [])
        check_log(world, traces=True)


async def test_a_prompt_above_the_limit_is_refused_from_any_client(tmp_path: Path) -> None:
    """A client with an older registration may send more than is accepted now."""
    async with scene(tmp_path, PROMPT_MAX_CHARS="50") as world:
        for name in ("prompt", "negative_prompt"):
            change = partial(with_options, wish=("x" * 51 if name == "prompt" else "x", [(name, "x" * 51, None)]))
            used = await Wire(world).use(change, "veo", prompt="a red fox")
            answer = await world.answer_to(used)
            assert f"Your `{name}` has 51 characters; the most is 50." in answer["content"]
        assert count_of_runs(world) == 0


REFUSED: list[tuple[Callable[[Json], Json], str]] = [
    (lambda payload: payload | {"channel": {"id": "5", "type": 77}}, "this kind of channel"),
    (lambda payload: {key: payload[key] for key in payload.keys() - {"guild_id", "guild"}}, "only works in servers"),
    (lambda payload: payload | {"data": payload["data"] | {"name": "veo-old"}}, "Reload Discord"),
    (lambda payload: payload | {"data": payload["data"] | {"options": [{"type": 3}]}}, "Reload Discord"),
    (lambda payload: payload | {"data": payload["data"] | {"type": 9}}, "Reload Discord"),
]


async def test_what_is_not_possible_here_is_refused_and_not_bought(tmp_path: Path) -> None:
    """A new kind of channel, no server, an older registration: one sentence, and nothing is held or ordered."""
    async with scene(tmp_path, DISCORD_SERVERS="*") as world:
        for change, sentence in REFUSED:

            def changed_so(payload: Json, change: Callable[[Json], Json] = change) -> Json:
                return change(payload | {"user": payload["member"]["user"]})

            used = await Wire(world).use(changed_so, "veo", prompt="a red fox")
            answer = await world.answer_to(used)
            assert sentence in answer["content"]
            assert answer["flags"] & 64
        assert (world.rows("SELECT 1 FROM run"), world.runflow.runs) == ([], {})


async def test_an_invalid_upload_limit_delays_no_video(world: Scene) -> None:
    """Whatever Discord says about the size of files, the finished video is posted."""
    limits: list[object] = [None, -1, 2**70, [], True]  # one more would wait for the channel's rate limit
    for limit in limits:

        def limited(payload: Json, limit: object = limit) -> Json:
            return payload | {"attachment_size_limit": limit}

        assert (await world.end_of(await Wire(world).use(limited, "veo", prompt="a red fox")))["attachments"]
