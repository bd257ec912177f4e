"""The sandbox Discord checks, stores and returns messages as the docs say."""

import random
from typing import Any

import aiohttp
import pytest

from sandbox.discord import DiscordSandbox, Overwrite, Role, Switches, World
from tests.sandbox.discord_client import BUTTON, TEXT, V2, VEO, Raw, row, v2

GALLERY = {"type": 12, "items": [{"media": {"url": "https://example.com/a.mp4"}}] * 11}


@pytest.mark.parametrize(
    ("body", "code", "leaf"),
    [
        ({"content": "x" * 2001}, 50035, ("content", "BASE_TYPE_MAX_LENGTH")),
        ({}, 50006, None),
        ({"content": "  "}, 50006, None),
        ({"content": "x", "nonce": "n" * 26}, 50035, ("nonce", None)),
        ({"embeds": [{"title": "x"}] * 11}, 50035, ("embeds", "BASE_TYPE_MAX_LENGTH")),
        ({"embeds": [{"title": "x" * 257}]}, 50035, ("embeds/0/title", "BASE_TYPE_MAX_LENGTH")),
        ({"embeds": [{"description": "x" * 4000}] * 2}, 50035, ("embeds", None)),
        ({"content": "x", "attachments": [{"id": 0, "filename": "a.mp4"}]}, 50146, None),
        (v2(TEXT, content="x"), 50035, ("content", None)),
        (v2(TEXT, embeds=[{"title": "x"}]), 50035, ("embeds", None)),
        (v2({"type": 10, "content": "x" * 4001}), 50035, ("components/0/content", None)),
        (v2(*[{"type": 10, "content": "x" * 2001}] * 2), 50035, ("components", None)),
        (v2(*[TEXT] * 41), 50035, ("components", None)),
        (v2({"type": 17, "components": [TEXT] * 40}), 50035, ("components", None)),
        (v2(GALLERY), 50035, ("components/0/items", None)),
        (v2({"type": 13, "file": {"url": "attachment://no.mp4"}}), 50035, ("components/0/file/url", None)),
        ({"components": [TEXT]}, 50035, ("components/0/type", None)),
        ({"components": [row(BUTTON | {"label": "x" * 81})]}, 50035, ("components/0/components/0/label", None)),
        ({"components": [row(BUTTON, BUTTON)]}, 50035, ("components/0/components/1/custom_id", None)),
        ({"components": [row(BUTTON | {"custom_id": ""})]}, 50035, ("components/0/components/0/custom_id", None)),
        ({"components": [row(*[BUTTON] * 6)]}, 50035, ("components/0/components", None)),
        ({"components": [row({"type": 2, "style": 5, "label": "x"})]}, 50035, ("components/0/components/0/url", None)),
        ({"components": [row(BUTTON | {"custom_id": str(n)}) for n in range(6)]}, 50035, ("components", None)),
    ],
)
async def test_a_message_over_a_limit_is_refused_at_its_field(
    raw: Raw, body: object, code: int, leaf: tuple[str, str | None] | None
) -> None:
    """A message over a documented limit gets 400 with its code; 50035 names the field."""
    answer = await raw.post(body)
    assert answer.refusal == (400, code)
    if leaf:
        codes = answer.leaf(*leaf[0].split("/"))
        assert leaf[1] is None or codes == [leaf[1]]
    assert raw.sandbox.messages(raw.sandbox.world.channel("general")) == []


async def test_no_body_causes_a_server_error() -> None:
    """Valid bodies with one part replaced by nonsense get 200 or 400, never 500."""
    chance = random.Random(7)
    nonsense: tuple[Any, ...] = (
        None,
        -1,
        2**70,
        1.5,
        True,
        "",
        "x",
        [],
        [None],
        [[]],
        {},
        {"type": 1},
        {"x": None},
        [{"type": 99}],
    )
    picture = {"media": {"url": "https://example.com/a.png"}, "description": "x"}
    section = {"type": 9, "components": [TEXT], "accessory": {"type": 11, **picture}}
    select = {"type": 3, "custom_id": "s", "options": [{"label": "x", "value": "y"}], "placeholder": "p"}
    embed = {"title": "x", "footer": {"text": "f"}, "fields": [{"name": "n", "value": "v"}], "image": {"url": "x"}}
    messages = [
        v2({"type": 17, "components": [TEXT, section, {"type": 12, "items": [picture]}, {"type": 14}]}),
        {"components": [row(BUTTON), row(select)], "nonce": "n", "attachments": []},
        {"content": "x", "embeds": [embed], "allowed_mentions": {"parse": ["users"], "users": [], "roles": ["1"]}},
    ]

    def broken(part: Any) -> Any:
        if not part or not isinstance(part, dict | list) or chance.random() < 0.2:
            return chance.choice(nonsense)
        key = chance.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if isinstance(part, dict):
            return part | {key: broken(part[key])}
        return [broken(each) if n == key else each for n, each in enumerate(part)]

    switches = Switches()
    switches.update({"buckets": dict.fromkeys(("channel_post", "global", "default"), (10_000, 1))})
    async with DiscordSandbox(switches=switches) as sandbox, aiohttp.ClientSession() as session:
        raw = Raw(sandbox, session)
        statuses = set()
        for n in range(600):
            body = broken(messages[n % 3])
            answer = await raw.post(body)
            assert answer.status in (200, 400), body
            statuses.add(answer.status)
            command = broken(VEO)
            assert (await raw.register(command)).status in (200, 400), command
        assert statuses == {200, 400}
        await raw.register(VEO)


@pytest.mark.parametrize(
    ("channel", "deny", "refusal"),
    [
        ("read-only", 0, (403, 50013)),
        ("no-files", 0, (403, 50013)),
        ("general", 1 << 10, (403, 50001)),
        ("takes", 1 << 38, (403, 50013)),
    ],
)
async def test_a_file_needs_permission_to_view_send_and_attach(
    raw: Raw, channel: str, deny: int, refusal: tuple[int, int]
) -> None:
    """Without permission to view the channel a file gets 50001; without the others, 50013."""
    if deny:
        raw.sandbox.set_permissions(raw.sandbox.world.channel(channel), deny=deny)
    answer = await raw.upload(("a.mp4", b"x"), channel=channel)
    assert answer.refusal == refusal
    assert raw.sandbox.violations == []


async def test_permissions_follow_the_docs() -> None:
    """Members override roles, roles override @everyone, allow beats deny, and files need SEND_MESSAGES."""
    world = World()
    send, attach, view = 1 << 11, 1 << 15, 1 << 10
    general, bo, cem = world.channel("general"), world.member("Bo"), world.member("Cem")
    bot = world.me(world.server("Aurora Studio"))
    everyone, editors = bo.server.roles[0], cem.roles[0]
    muted = Role(id="1", name="Muted", permissions=0, position=3)
    cem.roles.append(muted)
    general.overwrites = {
        everyone.id: Overwrite(id=everyone.id, kind=0, deny=send),
        muted.id: Overwrite(id=muted.id, kind=0, deny=send),
        editors.id: Overwrite(id=editors.id, kind=0, allow=send),
        bot.id: Overwrite(id=bot.id, kind=1, deny=view),
    }
    assert world.permissions(world.member("Ada"), general) & send
    assert world.permissions(bo, general) & (send | attach | view) == view
    assert world.permissions(cem, general) & (send | attach | view) == send | attach | view
    assert world.permissions(bot, general) == 0


async def test_a_nonce_posts_once_within_its_window(raw: Raw) -> None:
    """The same nonce returns the earlier message, 10008 once that is deleted, and posts again after the window."""
    body = {"content": "hi", "nonce": "run-1", "enforce_nonce": True}
    first = await raw.post(body)
    again = await raw.post(body | {"content": "other"}, channel="video-lab")
    assert (again.status, again.json["id"], again.json["content"]) == (200, first.json["id"], "hi")
    assert first.json["nonce"] == "run-1"
    assert (await raw("DELETE", f"/channels/{first.json['channel_id']}/messages/{first.json['id']}")).status == 204
    assert (await raw.post(body)).refusal == (404, 10008)
    raw.sandbox.clock.advance(301)
    assert (await raw.post(body)).status == 200
    assert raw.sandbox.violations == []


async def test_history_pages_by_id(raw: Raw) -> None:
    """GET messages returns the newest first; before, after, around and limit work as in the docs."""
    path = f"/channels/{raw.sandbox.world.channel('general').id}/messages"
    ids = [(await raw.post({"content": str(n)})).json["id"] for n in range(5)]

    async def page(query: str) -> list[int]:
        return [ids.index(each["id"]) for each in (await raw("GET", f"{path}?{query}")).json]

    assert await page("") == [4, 3, 2, 1, 0]
    assert await page("limit=2") == [4, 3]
    assert await page(f"before={ids[3]}&limit=2") == [2, 1]
    assert await page(f"after={ids[1]}&limit=2") == [3, 2]
    assert await page(f"around={ids[2]}&limit=3") == [3, 2, 1]
    assert (await raw("GET", f"{path}?limit=101")).refusal == (400, 50035)
    raw.sandbox.set_permissions(raw.sandbox.world.channel("general"), deny=1 << 16)
    assert (await raw("GET", path)).json == []


async def test_a_reply_refers_to_its_message(raw: Raw) -> None:
    """A reply has the type 19 and its reference; a reply to an unknown message is refused unless that may fail."""
    first = (await raw.post({"content": "?"})).json
    answer = (await raw.post({"content": "!", "message_reference": {"message_id": first["id"]}})).json
    assert (answer["type"], answer["message_reference"]["message_id"]) == (19, first["id"])
    lost = {"message_id": "1"}
    assert (await raw.post({"content": "!", "message_reference": lost})).refusal == (400, 50035)
    plain = (await raw.post({"content": "!", "message_reference": lost | {"fail_if_not_exists": False}})).json
    assert plain["type"] == 0
    assert raw.sandbox.violations == []


async def test_only_allowed_mentions_notify(raw: Raw) -> None:
    """allowed_mentions limits who is notified; by default an interaction's response only notifies users."""
    world = raw.sandbox.world
    bo, cem = world.member("Bo"), world.member("Cem")
    text = f"<@{bo.id}> <@{cem.id}> <@&{cem.roles[0].id}> @everyone"
    loud = (await raw.post({"content": text})).json
    quiet = (await raw.post({"content": text, "allowed_mentions": {"parse": [], "users": [bo.id]}})).json
    assert ([each["id"] for each in loud["mentions"]], loud["mention_everyone"]) == ([bo.id, cem.id], True)
    assert loud["mention_roles"] == [cem.roles[0].id]
    assert ([each["id"] for each in quiet["mentions"]], quiet["mention_roles"]) == ([bo.id], [])
    assert quiet["mention_everyone"] is False
    await raw.register()
    interaction = await raw.invoke()
    await raw.callback(interaction, 4, {"content": text})
    answered = interaction.message
    assert answered is not None
    assert (len(answered["mentions"]), answered["mention_everyone"]) == (2, False)


async def test_unknown_places_and_people_are_not_found(raw: Raw) -> None:
    """Unknown channels, messages, servers, users and routes get 404 with their codes, a missing token 401."""
    general = raw.sandbox.world.channel("general").id
    assert (await raw("GET", "/channels/1")).refusal == (404, 10003)
    assert (await raw("GET", f"/channels/{general}/messages/1")).refusal == (404, 10008)
    assert (await raw("GET", "/guilds/1")).refusal == (404, 10004)
    assert (await raw("GET", "/users/1")).refusal == (404, 10013)
    assert (await raw("GET", "/nothing/here")).refusal == (404, 0)
    assert raw.sandbox.requests[-1].path == "/nothing/here"
    wrong = await raw("GET", "/users/@me", token=False)
    assert (wrong.refusal, wrong.json["message"]) == ((401, 0), "401: Unauthorized")
    assert (await raw("GET", "/users/@me", skip_auto_headers=["User-Agent"])).refusal == (403, 40333)


async def test_every_reply_is_exact_json_with_limits_and_via(raw: Raw) -> None:
    """Successes and errors have exactly ``application/json``, the rate limit headers and Via."""
    for path in ("/users/@me", "/channels/1"):
        headers = (await raw("GET", path)).headers
        assert headers["Content-Type"] == "application/json"
        assert headers["Via"]
        assert int(headers["X-RateLimit-Remaining"]) < int(headers["X-RateLimit-Limit"])
        assert float(headers["X-RateLimit-Reset-After"]) > 0
        assert headers["X-RateLimit-Bucket"]
    raw.sandbox.switches.with_via = False
    assert "Via" not in (await raw("GET", "/users/@me")).headers


async def test_an_empty_bucket_answers_429_until_its_window_ends(raw: Raw) -> None:
    """The sixth post within five seconds is refused; other channels aren't, and the next window accepts posts again."""
    statuses = [(await raw.post({"content": str(n)})).status for n in range(6)]
    assert statuses == [200] * 5 + [429]
    refused = await raw.post({"content": "x"})
    assert 0 < refused.json["retry_after"] <= 5
    assert refused.json["global"] is False
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert (await raw.post({"content": "x"}, channel="video-lab")).status == 200
    raw.sandbox.clock.advance(5)
    assert (await raw.post({"content": "x"})).status == 200
    assert raw.sandbox.violations == []


async def test_fifty_requests_a_second_are_the_bots_global_limit(raw: Raw) -> None:
    """The 51st request with the token is refused globally, while interaction routes keep working."""
    raw.sandbox.switches.buckets["default"] = (1000, 1)
    raw.sandbox.switches.buckets["global"] = (50, 60)
    await raw.register()
    interaction = await raw.invoke()
    answers = [await raw("GET", "/users/@me") for _ in range(50)]
    assert [each.status for each in answers[-2:]] == [200, 429]
    assert answers[-1].json["global"] is True
    assert answers[-1].headers["X-RateLimit-Global"] == "true"
    assert (await raw.callback(interaction, 5)).status == 204


async def test_invalid_json_and_unknown_content_types_are_refused(raw: Raw) -> None:
    """Invalid JSON gets 50109, an unknown Content-Type 50035."""
    broken = await raw.post(data=b"{", headers={"Content-Type": "application/json"})
    foreign = await raw.post(data=b"x", headers={"Content-Type": "text/plain"})
    assert (broken.refusal, foreign.refusal) == ((400, 50109), (400, 50035))


async def test_edits_of_an_old_message_are_limited(raw: Raw) -> None:
    """A message older than an hour allows a few edits, then 429 with 30046; a newer one has no such limit."""
    made = (await raw.post({"content": "x"})).json
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    assert {(await raw("PATCH", path, {"content": str(n)})).status for n in range(9)} == {200}
    raw.sandbox.clock.advance(3601)
    answers = [await raw("PATCH", path, {"content": str(n)}) for n in range(9)]
    assert answers[0].status == 200
    assert answers[-1].refusal == (429, 30046)


async def test_archived_threads_automod_and_closed_direct_messages_refuse(raw: Raw) -> None:
    """They get 50083, 200000 and 50007."""
    sandbox = raw.sandbox
    sandbox.archive_thread(sandbox.world.channel("takes"))
    assert (await raw.post({"content": "x"}, channel="takes")).refusal == (400, 50083)
    sandbox.switches.blocked_words = ["forbidden"]
    assert (await raw.post({"content": "a Forbidden word"})).refusal == (400, 200000)
    bo = sandbox.world.member("Bo")
    direct = (await raw("POST", "/users/@me/channels", {"recipient_id": bo.id})).json
    path = f"/channels/{direct['id']}/messages"
    assert (await raw("POST", path, {"content": "hello"})).status == 200
    sandbox.switches.dm_closed = True
    assert (await raw("POST", path, {"content": "hello"})).refusal == (403, 50007)
    assert sandbox.violations == []


async def test_an_edit_changes_only_the_fields_it_names(raw: Raw) -> None:
    """Files stay unless ``attachments`` leaves them out; V2 requires empty old fields, and its flag stays."""
    made = (await raw.upload(("a.mp4", b"one"), ("b.mp4", b"two"), body={"content": "hi"})).json
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    kept = (await raw("PATCH", path, {"content": "new"})).json
    assert [each["filename"] for each in kept["attachments"]] == ["a.mp4", "b.mp4"]
    assert kept["edited_timestamp"] is not None
    fewer = (await raw("PATCH", path, {"attachments": [{"id": made["attachments"][1]["id"]}]})).json
    assert [each["filename"] for each in fewer["attachments"]] == ["b.mp4"]
    async with raw.session.get(kept["attachments"][0]["url"]) as gone:
        assert gone.status == 404
    assert (await raw("PATCH", path, v2(TEXT))).refusal == (400, 50035)
    card = (await raw("PATCH", path, v2(TEXT, content=None, embeds=[]))).json
    assert card["flags"] & V2
    assert (await raw("PATCH", path, {"content": "back"})).refusal == (400, 50035)
    assert raw.sandbox.violations == []
