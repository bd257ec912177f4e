"""The sandbox Discord creates interactions, and accepts the bot's responses, as the docs say."""

import pytest

from sandbox.discord import CommandRefused, InteractionExpired, Overwrite
from tests.sandbox.discord_client import BUTTON, DESCRIPTION, V2, VEO, Raw, row


async def test_the_bot_must_respond_within_three_seconds(raw: Raw) -> None:
    """A late response or a wrong token gets 404/10062; the member sees that the bot didn't respond."""
    await raw.register()
    late, early = await raw.invoke(), await raw.invoke()
    raw.sandbox.clock.advance(2.5)
    assert (await raw.callback(early, 5)).status == 204
    raw.sandbox.clock.advance(0.6)
    assert (await raw.callback(late, 5)).refusal == (404, 10062)
    with pytest.raises(InteractionExpired):
        await late.acknowledged()
    await early.acknowledged()
    assert early.acknowledged_after_s == pytest.approx(2.5)
    assert (await raw("POST", f"/interactions/{early.id}/wrong/callback", {"type": 5})).refusal == (404, 10062)


async def test_a_token_is_valid_for_fifteen_minutes_after_a_response(raw: Raw) -> None:
    """Before the first response, and for unknown tokens, 404/10015; after it has expired, 401/50027."""
    await raw.register()
    interaction = await raw.invoke()
    assert (await raw.hook("GET", interaction, "/messages/@original")).refusal == (404, 10015)
    assert (await raw.callback(interaction, 5)).status == 204
    assert (await raw.callback(interaction, 5)).refusal == (400, 40060)
    foreign = await raw("GET", f"/webhooks/1/{interaction.token}/messages/@original", token=False)
    assert foreign.refusal == (404, 10015)
    raw.sandbox.clock.advance(899)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).status == 200
    raw.sandbox.switches.early_dead_tokens = True
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (404, 10015)
    raw.sandbox.clock.advance(2)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (401, 50027)
    assert (await raw.hook("POST", interaction, "", {"content": "x"})).refusal == (401, 50027)


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        (6, None, "type"),
        (7, {"content": "x"}, "type"),
        (8, {"choices": []}, "type"),
        (5, {"flags": V2}, "data"),
        (4, {"content": "x" * 2001}, "data"),
    ],
)
async def test_a_command_accepts_only_its_types_of_response(raw: Raw, kind: int, data: object, field: str) -> None:
    """A command can't be answered with an update or choices, and a deferral only takes the flag EPHEMERAL."""
    await raw.register()
    interaction = await raw.invoke()
    answer = await raw.callback(interaction, kind, data)
    assert answer.refusal == (400, 50035)
    assert field in answer.json["errors"]
    assert interaction.acknowledged_after_s is None


async def test_the_callback_returns_its_message_on_request(raw: Raw) -> None:
    """204 without with_response; with it the interaction, and for a message response the message too."""
    await raw.register()
    deferred, answered = await raw.invoke(), await raw.invoke()
    body = (await raw.callback(deferred, 5, {"flags": 64}, "?with_response=1")).json
    assert set(body) == {"interaction"}
    assert body["interaction"]["response_message_ephemeral"] is True
    assert body["interaction"]["response_message_loading"] is True
    body = (await raw.callback(answered, 4, {"content": "x"}, "?with_response=true")).json
    message = body["resource"]["message"]
    assert (body["resource"]["type"], message["type"], message["content"]) == (4, 20, "x")
    assert message["webhook_id"] == message["application_id"] == raw.sandbox.world.application_id
    assert message["interaction_metadata"]["id"] == answered.id
    assert raw.sandbox.violations == []


async def test_a_follow_up_after_a_deferral_fills_the_loading_message(raw: Raw) -> None:
    """It keeps the deferral's visibility; the next one is a new message; after its deletion edits get 10008."""
    await raw.register()
    world = raw.sandbox.world
    interaction = await raw.invoke()
    await raw.callback(interaction, 5, {"flags": 64})
    filled = (await raw.hook("POST", interaction, "", {"content": "one"})).json
    assert filled["flags"] == 64
    second = (await raw.hook("POST", interaction, "", {"content": "two", "flags": 64})).json
    assert second["id"] != filled["id"]
    assert len(raw.sandbox.messages(world.channel("general"), world.member("Bo"))) == 2
    assert raw.sandbox.messages(world.channel("general"), world.member("Cem")) == []
    assert (await raw("GET", f"/channels/{second['channel_id']}/messages/{second['id']}")).refusal == (404, 10008)
    raw.sandbox.delete_message(filled["id"])
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "x"})).refusal == (404, 10008)
    assert interaction.message is None


async def test_user_installed_commands_allow_five_follow_ups(raw: Raw) -> None:
    """The sixth gets 400/40094, edits don't count, channel posts are refused, and responses can be forced private."""
    await raw.register(VEO | {"integration_types": [0, 1]})
    world = raw.sandbox.world
    raw.sandbox.switches.user_install_only = True
    raw.sandbox.switches.buckets["webhook"] = (100, 1)
    interaction = await raw.invoke()
    await raw.callback(interaction, 4, {"content": "x"})
    for _ in range(5):
        assert (await raw.hook("POST", interaction, "", {"content": "x"})).status == 200
    assert (await raw.hook("POST", interaction, "", {"content": "x"})).refusal == (400, 40094)
    assert (await raw.hook("PATCH", interaction, "/messages/@original", {"content": "y"})).status == 200
    assert (await raw.post({"content": "x"})).refusal == (403, 50001)
    everyone = world.server("Aurora Studio").id
    world.channel("general").overwrites[everyone] = Overwrite(id=everyone, kind=0, deny=1 << 50)
    hidden = await raw.invoke()
    await raw.callback(hidden, 4, {"content": "x"})
    assert (interaction.ephemeral, hidden.ephemeral) == (False, True)
    assert (await raw.hook("POST", hidden, "", {"content": "x"})).json["flags"] == 64
    raw.sandbox.switches.user_install_only = False
    world.member("Bo").user.installed = True
    both = await raw.invoke()
    await raw.callback(both, 4, {"content": "x"})
    assert both.payload["authorizing_integration_owners"] == {"0": everyone, "1": world.member("Bo").id}
    assert not both.ephemeral


async def test_an_interaction_has_the_fields_of_real_ones(raw: Raw) -> None:
    """The keys are those of recorded INTERACTION_CREATE events; the permissions are those of member and bot."""
    await raw.register()
    payload = (await raw.invoke("read-only", friend=raw.sandbox.world.member("Cem").id)).payload
    assert {
        "app_permissions", "application_id", "attachment_size_limit", "authorizing_integration_owners", "channel",
        "channel_id", "context", "data", "entitlement_sku_ids", "entitlements", "guild", "guild_id", "guild_locale",
        "id", "locale", "member", "token", "type", "version",
    } == payload.keys()  # fmt: skip
    assert {
        "avatar", "banner", "collectibles", "communication_disabled_until", "deaf", "display_name_styles", "flags",
        "joined_at", "mute", "nick", "pending", "permissions", "premium_since", "roles", "unusual_dm_activity_until",
        "user",
    } == payload["member"].keys()  # fmt: skip
    send = 1 << 11
    assert int(payload["member"]["permissions"]) & send
    assert not int(payload["app_permissions"]) & send
    assert payload["data"]["options"][0] == {"name": "prompt", "type": 3, "value": "a cat"}
    assert [each["username"] for each in payload["data"]["resolved"]["users"].values()] == ["cem"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 21}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"duration": "5s"}, "duration"),
        ({"seed": 10}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
        ({"generate_audio": "yes"}, "generate_audio"),
        ({"friend": "1"}, "friend"),
        ({"other": "x"}, "other"),
    ],
)
async def test_a_member_cannot_send_what_discord_would_not(raw: Raw, options: dict[str, object], option: str) -> None:
    """Required options, types, choices, ranges and lengths are checked before the bot gets the interaction."""
    await raw.register()
    with pytest.raises(CommandRefused) as refused:
        await raw.invoke(**options)
    assert refused.value.option == option


async def test_default_member_permissions_and_contexts_hide_a_command(raw: Raw) -> None:
    """``"0"`` is for administrators only; a server-only command isn't available in direct messages."""
    await raw.register({"name": "admin", "description": "x", "default_member_permissions": 0, "contexts": [0]}, VEO)
    sandbox, world = raw.sandbox, raw.sandbox.world
    general = world.channel("general")
    await sandbox.invoke(world.member("Ada"), general, "admin", {})
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Bo"), general, "admin", {})
    direct = sandbox.direct_channel(world.member("Ada"))
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Ada"), direct, "admin", {})
    used = await sandbox.invoke(world.member("Ada"), direct, "veo", {"prompt": "x"})
    assert ("user" in used.payload, "member" in used.payload, used.payload["context"]) == (True, False, 1)
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Bo"), world.channel("lobby"), "veo", {"prompt": "x"})


async def test_admins_can_allow_a_command_for_members_and_roles(raw: Raw) -> None:
    """What is allowed under Integrations overrides the default permissions, in that server only."""
    await raw.register({"name": "admin", "description": "x", "default_member_permissions": 32})
    sandbox, world = raw.sandbox, raw.sandbox.world
    general, editors = world.channel("general"), world.member("Cem").roles[0]
    for name in ("Bo", "Cem"):
        with pytest.raises(CommandRefused):
            await sandbox.invoke(world.member(name), general, "admin", {})
    world.servers[0].command_permissions["admin"] = {world.member("Bo").id, editors.id}
    for name in ("Bo", "Cem"):
        used = await sandbox.invoke(world.member(name), general, "admin", {})
        assert not int(used.payload["member"]["permissions"]) & 32
    with pytest.raises(CommandRefused):
        await sandbox.invoke(world.member("Eli"), world.channel("lobby"), "admin", {})


async def test_options_accept_only_roles_and_channels_of_the_server(raw: Raw) -> None:
    """Any user is accepted, but resolved as a member only in the server; roles and channels must be the server's."""
    kinds = {"who": 6, "where": 7, "what": 8}
    options = [{"type": kind, "name": name, "description": "x"} for name, kind in kinds.items()]
    await raw.register({"name": "name", "description": "x", "options": options})
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, lobby = world.member("Bo"), world.channel("lobby")
    assert lobby.server is not None
    for foreign in ({"where": lobby.id}, {"what": lobby.server.roles[1].id}):
        with pytest.raises(CommandRefused):
            await sandbox.invoke(bo, world.channel("general"), "name", foreign)
    used = await sandbox.invoke(bo, world.channel("general"), "name", {"who": world.member("Eli").id})
    assert set(used.payload["data"]["resolved"]) == {"users"}
    place = world.channel("read-only").id
    named = (await sandbox.invoke(bo, world.channel("general"), "name", {"where": place})).payload["data"]["resolved"]
    assert not int(named["channels"][place]["app_permissions"]) & 1 << 11  # what the bot itself may do there


async def test_an_application_may_belong_to_a_team(raw: Raw) -> None:
    """The reported owner is then a placeholder; each team member has a role and a state."""
    world = raw.sandbox.world
    team = world.make_team(Bo="admin", Cem="read_only")
    team.members[-1].accepted = False
    application = (await raw("GET", "/oauth2/applications/@me")).json
    members = [
        (each["user"]["username"], each["role"], each["membership_state"]) for each in application["team"]["members"]
    ]
    assert members == [("ada", "admin", 2), ("bo", "admin", 2), ("cem", "read_only", 1)]
    assert (application["owner"]["id"], application["team"]["owner_user_id"]) == (team.id, world.owner.id)
    assert raw.sandbox.violations == []


async def test_subcommands_arrive_nested(raw: Raw) -> None:
    """``name sub`` reaches the bot as an option of type 1 with its own options."""
    number = {"type": 10, "name": "usd", "description": "x", "required": True}
    await raw.register(
        {"name": "admin", "description": "x", "options": [
            {"type": 1, "name": "limit", "description": "x", "options": [number]}
        ]}
    )  # fmt: skip
    world = raw.sandbox.world
    used = await raw.sandbox.invoke(world.member("Ada"), world.channel("general"), "admin limit", {"usd": 2.5})
    inner = [{"name": "usd", "type": 10, "value": 2.5}]
    assert used.payload["data"]["options"] == [{"name": "limit", "type": 1, "options": inner}]


async def test_a_member_can_press_only_visible_enabled_components(raw: Raw) -> None:
    """Unknown, disabled and other members' ephemeral components are refused; updates change the pressed message."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, cem = world.member("Bo"), world.member("Cem")
    interaction = await raw.invoke()
    buttons = row(BUTTON, BUTTON | {"custom_id": "off", "disabled": True})
    await raw.callback(interaction, 4, {"content": "?", "flags": 64, "components": [buttons]})
    assert interaction.message is not None
    message_id = interaction.message["id"]
    for who, custom_id in ((bo, "nothing"), (bo, "off"), (cem, "go")):
        with pytest.raises(CommandRefused):
            await sandbox.press(who, message_id, custom_id)
    deferred, updated = await sandbox.press(bo, message_id, "go"), await sandbox.press(bo, message_id, "go")
    assert deferred.payload["message"]["components"][0]["components"][0]["custom_id"] == "go"
    assert (await raw.callback(deferred, 6)).status == 204
    assert (await raw.hook("PATCH", deferred, "/messages/@original", {"content": "yes"})).json["id"] == message_id
    assert (await raw.callback(updated, 7, {"content": "done", "components": []})).status == 204
    assert updated.message is not None
    assert (updated.message["content"], updated.message["components"]) == ("done", [])
    assert [each["content"] for each in updated.history] == ["done"]
    assert sandbox.violations == []


async def test_autocomplete_and_modals_work(raw: Raw) -> None:
    """Autocomplete accepts up to 25 choices; a submitted modal has the entered values and can't open another one."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    asked = await sandbox.autocomplete(bo, general, "veo", {"style": "w"}, "style")
    assert asked.payload["data"]["options"] == [{"name": "style", "type": 3, "value": "w", "focused": True}]
    choice = {"name": "watercolour", "value": "watercolour"}
    assert (await raw.callback(asked, 8, {"choices": [choice] * 26})).refusal == (400, 50035)
    assert (await raw.callback(asked, 8, {"choices": [choice] * 25})).status == 204
    assert asked.choices == [choice] * 25
    used = await raw.invoke()
    box = {"type": 18, "label": "Why?", "component": {"type": 4, "custom_id": "why", "style": 1}}
    modal = {"title": "Sure?", "custom_id": "sure", "components": [box]}
    assert (await raw.callback(used, 9, modal)).status == 204
    sent = await sandbox.submit(used, {"why": "because"})
    assert sent.payload["data"]["components"][0]["component"]["value"] == "because"
    assert (await raw.callback(sent, 9, modal)).refusal == (400, 50035)
    assert (await raw.callback(sent, 4, {"content": "x"}, "?with_response=1")).status == 200
    breaches = [each for each in sandbox.violations if "choices" in each]
    assert (sandbox.violations, len(breaches)) == (breaches, 1 if DESCRIPTION else 0)


async def test_an_interaction_tells_both_languages(raw: Raw) -> None:
    """``locale`` is the member's and ``guild_locale`` the server's; a direct message has only the member's."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, aurora = world.member("Bo"), world.server("Aurora Studio")

    async def languages() -> tuple[str, str]:
        payload = (await raw.invoke()).payload
        assert payload["guild"]["locale"] == payload["guild_locale"]
        return payload["locale"], payload["guild_locale"]

    assert await languages() == ("en-US", "en-US")
    for member, server in (("de", "ja"), ("pt-BR", "es-419")):
        assert (await raw.control("POST", f"members/{bo.id}", {"locale": member})).status == 200
        assert (await raw.control("POST", f"servers/{aurora.id}", {"locale": server})).status == 200
        assert await languages() == (member, server)
    assert (await raw("GET", f"/guilds/{aurora.id}")).json["preferred_locale"] == "es-419"
    direct = await sandbox.invoke(bo, sandbox.direct_channel(bo), "veo", {"prompt": "x"})
    assert direct.payload["locale"] == "pt-BR"
    assert "guild_locale" not in direct.payload
    assert (await raw.control("POST", f"members/{bo.id}", {"locale": "de-AT"})).status == 400
    state = (await raw.control("GET", "state")).json["servers"][0]
    assert (state["locale"], {each["name"]: each["locale"] for each in state["members"]}["Bo"]) == ("es-419", "pt-BR")
