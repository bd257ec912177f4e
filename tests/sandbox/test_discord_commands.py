"""The sandbox Discord registers commands within the documented limits."""

import pytest

from tests.sandbox.discord_client import VEO, Raw


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
    ],
)
async def test_a_command_over_a_limit_is_not_registered(raw: Raw, commands: list[object], path: str) -> None:
    """A command that exceeds a documented limit gets 400/50035 at its field, and nothing is registered."""
    answer = await raw.register(*commands)
    assert answer.refusal == (400, 50035)
    assert answer.leaf(*path.split("/"))
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
