"""The sandbox Discord forwards, reacts to and deletes messages as the docs say."""

from typing import Any

import pytest

from tests.sandbox.discord_client import BUTTON, TEXT, Raw, row, v2

MANAGE_MESSAGES, HISTORY, VIEW, REACT = 1 << 13, 1 << 16, 1 << 10, 1 << 6


def forward(message: dict[str, Any], **more: object) -> dict[str, object]:
    return {"message_reference": {"type": 1, "channel_id": message["channel_id"], "message_id": message["id"]}, **more}


async def test_a_forward_keeps_the_message_as_it_was(raw: Raw) -> None:
    """It has no text of its own but a snapshot, with working files even after the original is gone; nobody edits it."""
    made = (await raw.upload(("a.mp4", b"clip"), body={"content": "red fox", "components": [row(BUTTON)]})).json
    posted = (await raw.post(forward(made), channel="video-lab")).json
    assert (posted["content"], posted["attachments"], posted["flags"]) == ("", [], 1 << 14)
    assert (posted["message_reference"]["type"], posted["message_reference"]["message_id"]) == (1, made["id"])
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    await raw("PATCH", path, {"content": "changed"})
    assert (await raw("DELETE", path)).status == 204
    place = f"/channels/{posted['channel_id']}/messages/{posted['id']}"
    [snapshot] = (await raw("GET", place)).json["message_snapshots"]
    assert set(snapshot["message"]) >= {"content", "attachments", "embeds", "timestamp", "flags", "type"}
    assert snapshot["message"]["content"] == "red fox"
    [file] = snapshot["message"]["attachments"]
    async with raw.session.get(file["url"]) as reply:
        assert await reply.read() == b"clip"
    assert (await raw("PATCH", place, {"content": "x"})).status == 400
    assert (await raw("DELETE", place)).status == 204
    async with raw.session.get(file["url"]) as reply:
        assert reply.status == 404
    assert raw.sandbox.violations == []


async def test_what_may_not_be_forwarded_is_refused(raw: Raw) -> None:
    """Unreadable texts of others and hidden places get 160014, no history 160009, anything beside it 160011."""
    sandbox, world = raw.sandbox, raw.sandbox.world
    sandbox.switches.buckets["channel_post"] = (100, 1)
    bo, general = world.member("Bo"), world.channel("general")
    own = (await raw.post({"content": "mine"})).json
    said = sandbox.say(bo, general, "theirs")
    to_bot = sandbox.say(bo, general, f"<@{world.bot.id}> look")
    direct = sandbox.say(bo, sandbox.direct_channel(bo), "for you")

    async def code(body: object) -> int | None:
        found: int | None = (await raw.post(body, channel="video-lab")).json.get("code")
        return found

    assert [await code(forward(each)) for each in (own, said, to_bot, direct)] == [None, 160014, None, None]
    sandbox.switches.privileged_intents = True
    assert await code(forward(said)) is None
    for more in ({"content": "x"}, {"embeds": [{"title": "x"}]}, v2(TEXT)):
        assert await code(forward(own) | more) == 160011
    assert await code(forward(own | {"id": "1"})) == 50035
    assert await code(forward(own | {"channel_id": world.channel("video-lab").id})) == 50035
    sandbox.set_permissions(general, deny=HISTORY)
    assert await code(forward(own)) == 160009
    sandbox.set_permissions(general, deny=VIEW)
    assert await code(forward(own)) == 160014
    assert sandbox.violations == []


async def test_reactions_are_counted_by_emoji(raw: Raw) -> None:
    """Each person counts once an emoji; ``me`` is the bot; a new emoji needs ADD_REACTIONS, a known one does not."""
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    made = (await raw.post({"content": "x"})).json
    path = f"/channels/{general.id}/messages/{made['id']}"

    async def counts() -> dict[str, tuple[int, bool]]:
        form = (await raw("GET", path)).json
        return {each["emoji"]["name"]: (each["count"], each["me"]) for each in form.get("reactions", [])}

    for _ in range(2):
        assert (await raw("PUT", f"{path}/reactions/👍/@me")).status == 204
        body = {"member": bo.id, "message": made["id"], "emoji": "👍"}
        assert (await raw.control("POST", "reactions", body)).status == 200
    assert await counts() == {"👍": (2, True)}
    users = (await raw("GET", f"{path}/reactions/👍")).json
    assert [each["id"] for each in users] == [world.bot.id, bo.id]
    assert (await raw("PUT", f"{path}/reactions/thumb/@me")).refusal == (400, 10014)
    assert (await raw("PUT", f"{path}/reactions/thumb:123/@me")).refusal == (400, 10014)
    assert (await raw("PUT", f"/channels/{general.id}/messages/1/reactions/👍/@me")).refusal == (404, 10008)
    assert (await raw("DELETE", f"{path}/reactions/👍/@me")).status == 204
    assert await counts() == {"👍": (1, False)}
    sandbox.set_permissions(general, deny=REACT)
    assert (await raw("PUT", f"{path}/reactions/🎬/@me")).refusal == (403, 50013)
    assert (await raw("PUT", f"{path}/reactions/👍/@me")).status == 204
    sandbox.set_permissions(general, deny=HISTORY)
    assert (await raw("PUT", f"{path}/reactions/👍/@me")).refusal == (403, 50013)
    sandbox.set_permissions(general)
    await raw("DELETE", f"{path}/reactions/👍/@me")
    await raw.control("POST", "reactions", body | {"add": False})
    assert await counts() == {}
    assert sandbox.violations == []


@pytest.mark.parametrize(
    ("whose", "allow", "refusal"),
    [("bot", 0, None), ("Bo", 0, (403, 50013)), ("Bo", MANAGE_MESSAGES, None), ("nobody", 0, (404, 10008))],
)
async def test_the_bot_deletes_its_own_messages_and_others_by_permission(
    raw: Raw, whose: str, allow: int, refusal: tuple[int, int] | None
) -> None:
    """Its own always, those of others with MANAGE_MESSAGES, none twice."""
    sandbox, world = raw.sandbox, raw.sandbox.world
    general = world.channel("general")
    sandbox.set_permissions(general, allow=allow)
    own = (await raw.post({"content": "x"})).json["id"]
    ids = {"bot": own, "nobody": "1", "Bo": sandbox.say(world.member("Bo"), general, "x")["id"]}
    path = f"/channels/{general.id}/messages/{ids[whose]}"
    answer = await raw("DELETE", path)
    assert answer.refusal == refusal if refusal else answer.status == 204
    assert (await raw("DELETE", path)).refusal == (refusal or (404, 10008))
    assert sandbox.violations == []
