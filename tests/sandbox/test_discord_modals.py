"""The sandbox Discord checks forms and menus, and submits them as real clients do."""

from typing import Any

import pytest

from sandbox.discord import CommandRefused, Interaction
from tests.sandbox.discord_client import BUTTON, DESCRIPTION, Raw, row

Json = dict[str, Any]


def options(number: int, *default: int, **more: object) -> list[Json]:
    return [{"label": f"L{n}", "value": f"v{n}", "default": n in default, **more} for n in range(number)]


def label(component: object, **more: object) -> Json:
    return {"type": 18, "label": "Label", "component": component, **more}


def text(**more: object) -> Json:
    return label({"type": 4, "custom_id": "t", "style": 1, **more})


def menu(number: int = 3, kind: int = 3, **more: object) -> Json:
    return label({"type": kind, "custom_id": "m", "options": options(number), **more})


def modal(*parts: object, **more: object) -> Json:
    return {"title": "Form", "custom_id": "form", "components": list(parts), **more}


async def opened(raw: Raw, *parts: object) -> Interaction:
    """A command that the bot answered with a form of these parts."""
    used = await raw.invoke()
    assert (await raw.callback(used, 9, modal(*parts))).status == 204
    return used


INSIDE = "components/0/component"
REFUSED = [
    (modal(text(), title="x" * 46), "title"),
    (modal(text(), title=""), "title"),
    (modal(text(), custom_id="x" * 101), "custom_id"),
    (modal(), "components"),
    (modal(*[{"type": 10, "content": "x"}] * 6), "components"),
    (modal(row({"type": 4, "custom_id": "t", "style": 1})), "components/0/components/0/label"),
    (modal({"type": 17, "components": []}), "components/0/type"),
    (modal({"type": 10, "content": ""}), "components/0/content"),
    (modal(text() | {"label": "x" * 46}), "components/0/label"),
    (modal(text() | {"description": "x" * 101}), "components/0/description"),
    (modal(label(BUTTON)), f"{INSIDE}/type"),
    (modal(label(None)), f"{INSIDE}/type"),
    (modal(text(style=3)), f"{INSIDE}/style"),
    (modal(text(custom_id="")), f"{INSIDE}/custom_id"),
    (modal(text(value="x" * 4001)), f"{INSIDE}/value"),
    (modal(text(value="xxx", max_length=2)), f"{INSIDE}/value"),
    (modal(text(value="x", min_length=2)), f"{INSIDE}/value"),
    (modal(text(placeholder="x" * 101)), f"{INSIDE}/placeholder"),
    (modal(text(max_length=4001)), f"{INSIDE}/max_length"),
    (modal(text(min_length=-1)), f"{INSIDE}/min_length"),
    (modal(text(min_length=9, max_length=8)), f"{INSIDE}/min_length"),
    (modal(text(required="no")), f"{INSIDE}/required"),
    (modal(text(), text()), "components/1/component/custom_id"),
    (modal(text() | {"id": 7}, menu(id=7)), "components/1/component/id"),
    (modal(menu(26)), f"{INSIDE}/options"),
    (modal(menu(0)), f"{INSIDE}/options"),
    (modal(menu(disabled=True)), f"{INSIDE}/disabled"),
    (modal(menu(placeholder="x" * 151)), f"{INSIDE}/placeholder"),
    (modal(menu(max_values=26)), f"{INSIDE}/max_values"),
    (modal(menu(max_values=4)), f"{INSIDE}/options"),
    (modal(menu(min_values=3, max_values=2)), f"{INSIDE}/min_values"),
    (modal(menu(min_values=0)), f"{INSIDE}/min_values"),
    (modal(menu(options=options(2, 0, 1))), f"{INSIDE}/options"),
    (modal(menu(options=options(1, label="x" * 101))), f"{INSIDE}/options/0/label"),
    (modal(menu(options=options(1, value=""))), f"{INSIDE}/options/0/value"),
    (modal(menu(options=options(1, description="x" * 101))), f"{INSIDE}/options/0/description"),
    (modal(menu(options=options(2, value="same"))), f"{INSIDE}/options/1/value"),
    (modal(menu(1, kind=21)), f"{INSIDE}/options"),
    (modal(menu(11, kind=21)), f"{INSIDE}/options"),
    (modal(menu(kind=21, options=options(3, 0, 1))), f"{INSIDE}/options"),
    (modal(menu(11, kind=22)), f"{INSIDE}/options"),
    (modal(menu(kind=22, max_values=11)), f"{INSIDE}/max_values"),
    (modal(label({"type": 23, "custom_id": "c", "default": "yes"})), f"{INSIDE}/default"),
    (modal(label({"type": 19, "custom_id": "f", "max_values": 11})), f"{INSIDE}/max_values"),
    (modal(label({"type": 5, "custom_id": "u", "default_values": [{"id": "1", "type": "user"}] * 2})),
     f"{INSIDE}/default_values"),
]  # fmt: skip


async def test_a_form_over_a_limit_is_refused_at_its_field(raw: Raw) -> None:
    """It gets 400/50035 with the field's path, and the interaction can still be answered."""
    await raw.register()
    used = await raw.invoke()
    raw.sandbox.switches.buckets["webhook"] = (1000, 1)
    for form, path in REFUSED:
        answer = await raw.callback(used, 9, form)
        assert answer.refusal == (400, 50035), path
        # With an API description that comes first, and may name the field of another kind of part.
        assert DESCRIPTION or answer.leaf("data", *path.split("/")), path
        assert used.acknowledged_after_s is None
    assert (await raw.callback(used, 9, modal(text()))).status == 204


def everything() -> list[Json]:
    """The five parts with every kind of preset, and the ids that they get."""
    legacy = {"type": 1, "components": [{"type": 4, "custom_id": "old", "style": 2, "label": "Old", "required": False}]}
    return [
        {"type": 10, "content": "Hi"},
        text(value="a fox", max_length=9),
        label({"type": 3, "custom_id": "m", "options": options(3, 1, 2), "max_values": 2}),
        label({"type": 21, "custom_id": "r", "options": options(2, 1), "required": False}),
        legacy,
    ]


async def test_a_form_is_submitted_with_what_was_set_beforehand(raw: Raw) -> None:
    """Fields without a value keep their presets; answers have type, id, custom_id and value, but nothing else."""
    await raw.register()
    sandbox = raw.sandbox
    used = await opened(raw, *everything())
    first = (await sandbox.submit(used, {})).payload
    assert first["data"] == {
        "custom_id": "form",
        "components": [
            {"type": 10, "id": 1},
            {"type": 18, "id": 2, "component": {"type": 4, "id": 3, "custom_id": "t", "value": "a fox"}},
            {"type": 18, "id": 4, "component": {"type": 3, "id": 5, "custom_id": "m", "values": ["v1", "v2"]}},
            {"type": 18, "id": 6, "component": {"type": 21, "id": 7, "custom_id": "r", "value": "v1"}},
            {"type": 1, "id": 8, "components": [{"type": 4, "id": 9, "custom_id": "old", "value": ""}]},
        ],
    }
    assert "message" not in first
    body = {"interaction": used.id, "values": {"t": "a cat", "m": "v0", "r": None}}
    sent = (await raw.control("POST", "modals", body)).json
    data = sandbox.interaction(sent["id"]).payload["data"]
    answers = [part.get("component") for part in data["components"]]
    assert [each.get("value", each.get("values")) for each in answers if each] == ["a cat", ["v0"], None]
    # Pressed twice before the bot answered the first: only its answer closes the form.
    assert (await raw.callback(sandbox.interaction(sent["id"]), 4, {"content": "x"}, "?with_response=1")).status == 200
    assert (await raw.control("POST", "modals", body)).status == 400


async def test_boxes_and_pickers_are_submitted_as_their_kinds(raw: Raw) -> None:
    """A checkbox has a bool, a group a list, a picker ids that are resolved, an upload without files an empty list."""
    await raw.register()
    world = raw.sandbox.world
    bo, editors = world.member("Bo").id, world.member("Cem").roles[0].id
    used = await opened(
        raw,
        label({"type": 23, "custom_id": "c", "default": True}),
        label({"type": 22, "custom_id": "g", "options": options(3, 0)}),
        label({"type": 5, "custom_id": "u", "default_values": [{"id": bo, "type": "user"}]}),
        label({"type": 6, "custom_id": "r", "required": False}),
        label({"type": 19, "custom_id": "f", "required": False, "min_values": 0}),
    )
    for values, expected in (({}, [True, ["v0"], [bo], [], []]), (
        {"c": False, "g": ["v0", "v1", "v2"], "u": bo, "r": editors},
        [False, ["v0", "v1", "v2"], [bo], [editors], []],
    )):  # fmt: skip
        data = (await raw.sandbox.submit(used, values)).payload["data"]
        answers = [part["component"] for part in data["components"]]
        assert [each.get("value", each.get("values")) for each in answers] == expected
        assert data["resolved"]["users"].keys() == {bo}
        assert data["resolved"].get("roles", {}).keys() == ({editors} if values else set())


@pytest.mark.parametrize(
    ("part", "given"),
    [
        (text(), None),
        (text(), ""),
        (text(value="x"), ""),
        (text(max_length=3), "xxxx"),
        (text(min_length=3, required=False), "xx"),
        (text(), 5),
        (menu(), None),
        (menu(), "v9"),
        (menu(), ["v0", "v1"]),
        (menu(max_values=2), ["v0", "v0"]),
        (menu(min_values=2, max_values=2, required=False), ["v0"]),
        (menu(kind=21), None),
        (menu(kind=21), ["v0", "v1"]),
        (menu(kind=22), None),
        (menu(kind=22), ["v9"]),
        (label({"type": 23, "custom_id": "c"}), "yes"),
        (label({"type": 19, "custom_id": "f"}), None),
        (label({"type": 6, "custom_id": "r"}), ["1"]),
    ],
)
async def test_a_member_cannot_submit_what_a_client_would_not(raw: Raw, part: Json, given: object) -> None:
    """Required and empty, too long, not offered, too many or too few: the form stays open, the bot hears nothing."""
    await raw.register()
    used = await opened(raw, part)
    name = part["component"]["custom_id"]
    values = {} if given is None else {name: given}
    answer = await raw.control("POST", "modals", {"interaction": used.id, "values": values})
    assert (answer.status, answer.json["option"]) == (400, name)
    assert used.modal is not None
    assert len(raw.sandbox.interaction_tokens) == 1


async def test_a_form_is_the_first_answer_and_never_answers_a_form(raw: Raw) -> None:
    """After a deferral 40060; from a button the submit carries its message, can update it, and opens no other form."""
    await raw.register()
    sandbox, bo = raw.sandbox, raw.sandbox.world.member("Bo")
    used = await raw.invoke()
    assert (await raw.callback(used, 5)).status == 204
    assert (await raw.callback(used, 9, modal(text()))).refusal == (400, 40060)
    card = (await raw.post({"content": "?", "components": [row(BUTTON)]})).json
    pressed = await sandbox.press(bo, card["id"], "go")
    assert (await raw.callback(pressed, 9, modal(text()))).status == 204
    with pytest.raises(CommandRefused):
        await sandbox.submit(pressed, {"other": "x"})
    sent = await sandbox.submit(pressed, {"t": "why"})
    assert sent.payload["message"]["id"] == card["id"]
    assert (await raw.callback(sent, 9, modal(text()))).refusal == (400, 50035)
    reply = (await raw.callback(sent, 4, {"content": "thanks"}, "?with_response=1")).json["resource"]["message"]
    trigger = reply["interaction_metadata"]["triggering_interaction_metadata"]
    assert (trigger["type"], trigger["id"], trigger["interacted_message_id"]) == (3, pressed.id, card["id"])
    again = await sandbox.press(bo, card["id"], "go")
    assert (await raw.callback(again, 9, modal(text()))).status == 204
    assert (await raw.callback(await sandbox.submit(again, {"t": "x"}), 7, {"content": "changed"})).status == 204
    assert [each["content"] for each in sandbox.messages(sandbox.world.channel("general"))] == ["", "changed", "thanks"]
    assert [each for each in sandbox.violations if "callback: {" not in each] == []


async def test_a_menu_sends_what_was_picked(raw: Raw) -> None:
    """The values picked in a message's menu arrive as sent; values that don't fit the menu are not sent."""
    await raw.register()
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo = world.member("Bo")
    picker = {"type": 3, "custom_id": "m", "options": options(3), "min_values": 0, "max_values": 2}
    people = {"type": 5, "custom_id": "u"}
    card = (await raw.post({"content": "?", "components": [row(picker), row(people)]})).json
    press = {"member": bo.id, "message": card["id"], "custom_id": "m"}
    for values in (["v2", "v0"], []):
        sent = (await raw.control("POST", "components", press | {"values": values})).json
        data = sandbox.interaction(sent["id"]).payload["data"]
        assert data == {"custom_id": "m", "component_type": 3, "id": 2, "values": values}
    for values in (["v9"], ["v0", "v1", "v2"], ["v0", "v0"]):
        assert (await raw.control("POST", "components", press | {"values": values})).json["option"] == "m"
    with pytest.raises(CommandRefused):
        await sandbox.press(bo, card["id"], "u")
    picked = await sandbox.press(bo, card["id"], "u", [bo.id])
    assert picked.payload["data"]["resolved"]["users"].keys() == {bo.id}
    assert sandbox.violations == []


MENUS = [{"name": "Use as prompt", "type": 3}, {"name": "Use as prompt", "type": 2}]


async def test_a_context_menu_sends_its_target(raw: Raw) -> None:
    """A message arrives whole, although the bot may not read it elsewhere; a user also as a member."""
    await raw.register(*MENUS)
    sandbox, world = raw.sandbox, raw.sandbox.world
    bo, general = world.member("Bo"), world.channel("general")
    said = sandbox.say(world.member("Cem"), general, "a red fox")
    body = {"member": bo.id, "channel": general.id, "command": "Use as prompt"}
    sent = (await raw.control("POST", "menus", body | {"target": said["id"]})).json
    data = sandbox.interaction(sent["id"]).payload["data"]
    assert (data["type"], data["name"], data["target_id"]) == (3, "Use as prompt", said["id"])
    assert data["resolved"]["messages"][said["id"]]["content"] == "a red fox"
    on_user = (await sandbox.use_menu(bo, general, "Use as prompt", world.member("Cem").id)).payload["data"]
    assert (on_user["type"], on_user["target_id"]) == (2, world.member("Cem").id)
    assert on_user["id"] != data["id"]
    assert on_user["resolved"]["users"].keys() == on_user["resolved"]["members"].keys() == {world.member("Cem").id}
    for wrong in ({"target": "1"}, {"target": said["id"], "command": "veo"}, {"target": said["id"], "member": "Eli"}):
        assert (await raw.control("POST", "menus", body | wrong)).status == 400
    assert (await raw.register(*MENUS, MENUS[0] | {"name": "x", "description": "y"})).leaf("2", "description")
    assert (await raw.register(*[{"name": f"n{n}", "type": 3} for n in range(16)])).refusal == (400, 30032)


async def test_suggestions_are_asked_for_and_checked(raw: Raw) -> None:
    """The option being typed is marked, even if empty; the answer has up to 25 choices that fit, within 3 seconds."""
    await raw.register()
    sandbox, bo = raw.sandbox, raw.sandbox.world.member("Bo")
    general = raw.sandbox.world.channel("general")
    sandbox.switches.buckets["webhook"] = (1000, 1)
    empty = await sandbox.autocomplete(bo, general, "veo", {"prompt": "fox"}, "style")
    assert empty.payload["type"] == 4
    assert empty.payload["data"]["options"] == [
        {"name": "prompt", "type": 3, "value": "fox"},
        {"name": "style", "type": 3, "value": "", "focused": True},
    ]
    with pytest.raises(CommandRefused):
        await sandbox.autocomplete(bo, general, "veo", {}, "duration")
    good = {"name": "n" * 100, "value": "v" * 100}
    for kind, data in (
        (4, {"content": "x"}), (5, None), (9, modal(text())), (8, {"choices": [good] * 26}),
        (8, {"choices": [good | {"name": ""}]}), (8, {"choices": [good | {"name": "n" * 101}]}),
        (8, {"choices": [good | {"value": "v" * 101}]}), (8, {"choices": [good | {"value": 5}]}),
    ):  # fmt: skip
        assert (await raw.callback(empty, kind, data)).refusal == (400, 50035)
    late = await sandbox.autocomplete(bo, general, "veo", {}, "style")
    assert (await raw.callback(empty, 8, {"choices": [good] * 25})).status == 204
    assert empty.choices == [good] * 25
    sandbox.clock.advance(3.1)
    assert (await raw.callback(late, 8, {"choices": []})).refusal == (404, 10062)
    assert bool(sandbox.violations) is bool(DESCRIPTION)  # the description knows the limits of choices too
