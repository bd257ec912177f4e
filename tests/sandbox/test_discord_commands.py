"""The sandbox Discord registers commands within the documented limits."""

import json

import pytest

from sandbox.discord.entities import LOCALES
from tests.sandbox.discord_client import DESCRIPTION, VEO, Raw


def option(**more: object) -> dict[str, object]:
    return VEO | {"options": [{"type": 3, "name": "a", "description": "x", **more}]}


@pytest.mark.parametrize(
    ("commands", "path"),
    [
        ([VEO | {"description": "x" * 101}], "0/description"),
        ([VEO | {"description": ""}], "0/description"),
        ([VEO | {"name": "Veo"}], "0/name"),
        ([VEO | {"name": "x" * 33}], "0/name"),
        ([option(choices=[{"name": str(n), "value": str(n)} for n in range(26)])], "0/options/0/choices"),
        ([option(type=4, max_value=2**53)], "0/options/0/max_value"),
        ([option(max_length=6001)], "0/options/0/max_length"),
        ([option(autocomplete=True, choices=[{"name": "x", "value": "x"}])], "0/options/0/autocomplete"),
        ([VEO | {"options": [{"type": 3, "name": f"o{n}", "description": "x"} for n in range(26)]}], "0/options"),
        ([VEO | {"options": VEO["options"][1:] + VEO["options"][:1]}], "0/options/5/required"),  # type: ignore[index] # the options are a list
        ([VEO, VEO], "1/name"),
        ([VEO | {"description_localizations": {"de": "x" * 101}}], "0/description_localizations/de"),
        ([VEO | {"description_localizations": {"de": ""}}], "0/description_localizations/de"),
        ([VEO | {"description_localizations": {"de-AT": "x"}}], "0/description_localizations/de-AT"),
        ([VEO | {"name_localizations": {"fr": "Vidéo"}}], "0/name_localizations/fr"),
        ([VEO | {"name_localizations": {"fr": "x" * 33}}], "0/name_localizations/fr"),
        ([option(description_localizations={"ja": "x" * 101})], "0/options/0/description_localizations/ja"),
        (
            [option(choices=[{"name": "x", "name_localizations": {"ja": "x" * 101}, "value": "x"}])],
            "0/options/0/choices/0/name_localizations/ja",
        ),
        (
            [
                VEO
                | {
                    "options": [
                        {"type": 3, "name": "a", "name_localizations": {"de": "b"}, "description": "x"},
                        {"type": 3, "name": "b", "description": "x"},
                    ]
                }
            ],
            "0/options/0/name_localizations/de",
        ),
    ],
)
async def test_a_command_over_a_limit_is_not_registered(raw: Raw, commands: list[object], path: str) -> None:
    """A command that exceeds a documented limit gets 400/50035 at its field, and nothing is registered."""
    answer = await raw.register(*commands)
    assert answer.refusal == (400, 50035)
    # With an API description that comes first, and may name the field of another kind of option.
    assert DESCRIPTION or answer.leaf(*path.split("/"))
    assert (await raw("GET", f"/applications/{raw.sandbox.world.application_id}/commands")).json == []


async def test_a_scope_holds_a_hundred_commands_and_two_hundred_creations_a_day(raw: Raw) -> None:
    """101 commands get 30032, the 201st new name in a day 30034, and over 8,000 characters are too large."""

    def many(prefix: str, number: int) -> list[object]:
        return [{"name": f"{prefix}{n}", "description": "x"} for n in range(number)]

    choices = [{"name": f"{n:0100}", "value": f"{n:0100}"} for n in range(25)]
    texts = [{"type": 3, "name": f"o{n}", "description": "x", "choices": choices} for n in range(2)]
    large = await raw.register(VEO | {"options": texts})
    assert (large.refusal, large.leaf("0")) == ((400, 50035), ["APPLICATION_COMMAND_TOO_LARGE"])
    assert (await raw.register(*many("a", 101))).refusal == (400, 30032)
    assert (await raw.register(*many("a", 100))).status == 200
    assert (await raw.register(*many("b", 100))).status == 200
    assert (await raw.register(*many("b", 99), VEO)).refusal == (400, 30034)
    raw.sandbox.clock.advance(86_401)
    assert (await raw.register(*many("b", 99), VEO)).status == 200


async def test_an_unchanged_name_keeps_its_id_and_the_server_comes_first(raw: Raw) -> None:
    """PUT replaces the list but keeps the ids of known names; a server's command hides the global one."""
    first = (await raw.register(VEO, {"name": "other", "description": "x"})).json
    second = (await raw.register(VEO)).json
    assert [each["id"] for each in second] == [first[0]["id"]]
    server = raw.sandbox.world.server("Aurora Studio")
    path = f"/applications/{raw.sandbox.world.application_id}/guilds/{server.id}/commands"
    own = (await raw("PUT", path, [VEO])).json
    assert own[0]["guild_id"] == server.id
    data = (await raw.invoke()).payload["data"]
    assert (data["id"], data["guild_id"]) == (own[0]["id"], server.id)
    assert raw.sandbox.violations == []


async def test_translations_are_kept_apart_and_listed_on_request(raw: Raw) -> None:
    """A list has them only with ``with_localizations``; equal to the default they are dropped; all 32 are known."""
    texts = {locale: f"x-{locale}" for locale in LOCALES}
    choice = {"name": "4 s", "name_localizations": {"de": "4 s", "ja": "4 秒"}, "value": "4s"}
    inner = {
        "type": 3, "name": "length", "name_localizations": {"de": "länge"}, "description": "Length",
        "description_localizations": {"en-GB": "Length", "fr": "Durée"}, "choices": [choice],
    }  # fmt: skip
    whole = VEO | {"description": "x", "description_localizations": texts | {"de": "x"}, "options": [inner]}
    assert len(LOCALES) == 32
    kept = (await raw.register(whole, {"name": "veo", "type": 3})).json
    assert [(each["type"], each["name"]) for each in kept] == [(1, "veo"), (3, "veo")]
    path = f"/applications/{raw.sandbox.world.application_id}/commands"
    full = (await raw("GET", path, params={"with_localizations": "true"})).json
    assert full == kept
    [option_] = full[0]["options"]
    assert full[0]["description_localizations"] == {key: text for key, text in texts.items() if key != "de"}
    assert option_["description_localizations"] == {"fr": "Durée"}
    assert option_["name_localizations"] == {"de": "länge"}
    assert option_["choices"] == [choice | {"name_localizations": {"ja": "4 秒"}}]
    for query in ({}, {"with_localizations": "false"}):
        plain = (await raw("GET", path, params=query)).json
        assert [each["id"] for each in plain] == [each["id"] for each in full]
        assert "_localiz" not in json.dumps(plain)
    # Registered again with the order of the two changed, each keeps its id: type and name tell them apart.
    again = (await raw.register({"name": "veo", "type": 3}, whole)).json
    assert [each["id"] for each in again] == [each["id"] for each in full[::-1]]
    long = {"name": "n" * 90, "value": "v" * 100, "name_localizations": {"de": "n" * 100, "fr": "n" * 99}}
    large = [{"type": 3, "name": f"o{n}", "description": "x" * 90, "choices": [long] * 25} for n in range(2)]
    assert (await raw.register(VEO | {"options": large})).leaf("0") == ["APPLICATION_COMMAND_TOO_LARGE"]
    assert raw.sandbox.violations == []
