"""The sandbox Discord has every kind of place: channels, threads, groups and direct messages, each with its rules."""

import pytest

from sandbox.discord import CommandRefused
from tests.sandbox.discord_client import VEO, Raw

ANYWHERE = VEO | {"integration_types": [0, 1], "contexts": [0, 1, 2]}


async def test_each_kind_of_channel_takes_posts_by_its_rules(raw: Raw) -> None:
    """Text, voice and announcement channels and public threads take posts; a forum only in its posts."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    sandbox.switches.buckets["channel_post"] = (100, 1)
    aurora, bo, lab = world.server("Aurora Studio"), world.member("Bo"), world.channel("video-lab")
    number = {"text": 0, "voice": 2, "announcement": 5, "forum": 15}
    channels = {}
    for kind, type_ in number.items():
        body = {"server": aurora.id, "name": f"a-{kind}", "kind": kind}
        made = (await raw.control("POST", "channels", body)).json
        assert made["type"] == type_
        channels[kind] = world.channel(made["id"])
        assert (await raw("GET", f"/channels/{made['id']}")).json["type"] == type_
        refusal = (await raw.post({"content": "x"}, channel=made["id"])).json.get("code")
        assert refusal == (50008 if kind == "forum" else None)
    threads = {
        10: sandbox.add_thread(channels["announcement"], "news"),
        11: sandbox.add_thread(channels["forum"], "a post"),
        12: sandbox.add_thread(lab, "secret", bo.user, world.bot, private=True),
    }
    for type_, thread in threads.items():
        payload = (await sandbox.invoke(bo, thread, "veo", {"prompt": "x"})).payload
        assert (payload["channel"]["type"], payload["channel"]["parent_id"]) == (
            type_,
            thread.parent and thread.parent.id,
        )
        assert (await raw.post({"content": "x"}, channel=thread.id)).status == 200
    with pytest.raises(CommandRefused):
        await sandbox.invoke(bo, channels["forum"], "veo", {"prompt": "x"})
    assert (await sandbox.invoke(bo, channels["voice"], "veo", {"prompt": "x"})).payload["context"] == 0
    assert (await raw.control("POST", "channels", {"server": aurora.id, "name": "x", "kind": "stage"})).status == 404
    assert sandbox.violations == []


async def test_a_private_thread_is_only_for_those_in_it(raw: Raw) -> None:
    """The bot gets 50001 unless it was added or manages threads; members need the same; commands work without it."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, cem, ada = (world.member(name) for name in ("Bo", "Cem", "Ada"))
    lab = world.channel("video-lab")
    body = {"parent": lab.id, "name": "secret", "private": True, "people": [bo.id]}
    thread = world.channel((await raw.control("POST", "channels", body)).json["id"])
    used = await sandbox.invoke(bo, thread, "veo", {"prompt": "x"})
    assert (await raw.callback(used, 4, {"content": "by its token"})).status == 204
    await sandbox.invoke(ada, thread, "veo", {"prompt": "x"})  # she owns the server
    with pytest.raises(CommandRefused):
        await sandbox.invoke(cem, thread, "veo", {"prompt": "x"})
    assert (await raw.post({"content": "x"}, channel=thread.id)).refusal == (403, 50001)
    assert (await raw("GET", f"/channels/{thread.id}")).refusal == (403, 50001)
    sandbox.set_permissions(thread, allow=1 << 34)
    assert (await raw.post({"content": "x"}, channel=thread.id)).status == 200
    sandbox.set_permissions(thread)
    thread.people.append(world.bot)
    assert (await raw.post({"content": "x"}, channel=thread.id)).status == 200
    assert sandbox.violations == []


async def test_a_post_reopens_an_archived_thread_unless_it_is_locked(raw: Raw) -> None:
    """Posting unarchives it; locked, that takes MANAGE_THREADS; edits and reactions never do."""
    sandbox, thread = raw.sandbox, raw.sandbox.world.channel("takes")
    made = (await raw.post({"content": "x"}, channel="takes")).json
    path = f"/channels/{thread.id}/messages/{made['id']}"
    await raw.control("POST", f"channels/{thread.id}", {"archived": True, "locked": False})
    assert (await raw("PATCH", path, {"content": "y"})).refusal == (400, 50083)
    assert (await raw("PUT", f"{path}/reactions/👍/@me")).refusal == (400, 50083)
    assert (await raw.post({"content": "x"}, channel="takes")).status == 200
    assert not thread.archived
    sandbox.archive_thread(thread)
    assert (await raw.post({"content": "x"}, channel="takes")).refusal == (400, 50083)
    sandbox.set_permissions(thread, allow=1 << 34)
    assert (await raw.post({"content": "x"}, channel="takes")).status == 200
    assert sandbox.violations == []


async def test_in_a_group_only_an_installed_command_and_its_token_work(raw: Raw) -> None:
    """Context 2 and the user's key alone; others and people without the app can't; the bot's token has no access."""
    await raw.register(ANYWHERE, VEO | {"name": "servers"})
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, cem, dana = (world.member(name) for name in ("Bo", "Cem", "Dana"))
    body = {"name": "The crew", "people": [bo.id, cem.id]}
    group = world.channel((await raw.control("POST", "channels", body)).json["id"])
    assert (await raw.control("POST", f"members/{bo.id}", {"installed": True})).status == 200
    dana.user.installed = True
    for who, command in ((cem, "veo"), (dana, "veo"), (bo, "servers")):
        with pytest.raises(CommandRefused):
            await sandbox.invoke(who, group, command, {"prompt": "x"})
    used = await sandbox.invoke(bo, group, "veo", {"prompt": "x"})
    assert (used.payload["context"], used.payload["channel"]["type"]) == (2, 3)
    assert used.payload["authorizing_integration_owners"] == {"1": bo.id}
    assert (used.payload["user"]["id"], "guild_id" in used.payload) == (bo.id, False)
    assert (await raw.callback(used, 4, {"content": "hi"})).status == 204
    assert not used.ephemeral
    assert (await raw.post({"content": "x"}, channel=group.id)).refusal == (403, 50001)
    direct = await sandbox.invoke(bo, sandbox.direct_channel(bo), "veo", {"prompt": "x"})
    assert direct.payload["authorizing_integration_owners"] == {"0": "0", "1": bo.id}
    state = (await raw.control("GET", "state")).json
    assert [[each["id"] for each in found["recipients"]] for found in state["groups"]] == [[bo.id, cem.id]]
    assert sandbox.violations == []


@pytest.mark.parametrize(
    ("direct", "installed", "opened", "posted"),
    [
        ("open", False, None, None),
        ("closed", False, None, 50007),
        ("no mutual server", False, 50278, 50278),
        ("no mutual server", True, None, None),
    ],
)
async def test_direct_messages_can_be_closed(
    raw: Raw, direct: str, installed: bool, opened: int | None, posted: int | None
) -> None:
    """Closed ones get 50007 when posting; without a mutual server also opening gets 50278, unless the app is theirs."""
    bo = raw.sandbox.world.member("Bo")
    channel = (await raw("POST", "/users/@me/channels", {"recipient_id": bo.id})).json["id"]
    await raw.control("POST", f"members/{bo.id}", {"direct": direct, "installed": installed})
    again = await raw("POST", "/users/@me/channels", {"recipient_id": bo.id})
    assert (again.status, again.json.get("code")) == (403 if opened else 200, opened)
    for _ in range(2):
        answer = await raw.post({"content": "x"}, channel=channel)
        assert (answer.status, answer.json.get("code")) == (403 if posted else 200, posted)
    raw.sandbox.switches.dm_missing_access = 2
    codes = [(await raw.post({"content": "x"}, channel=channel)).json.get("code") for _ in range(3)]
    assert codes == [50001, 50001, posted]
    assert (await raw.control("POST", f"members/{bo.id}", {"direct": "ajar"})).status == 400
    assert raw.sandbox.violations == []
