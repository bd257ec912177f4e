"""The sandbox Discord stores uploads and serves them as the docs say."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.discord_client import TEXT, Raw, form, mp4, v2

Json = dict[str, Any]


async def test_files_are_served_by_signed_links_that_expire(raw: Raw) -> None:
    """A URL works for a day, also for ranges; a changed or unsigned one never does; reading the message signs again."""
    content = bytes(range(256)) * 4000
    made = (await raw.upload(("my clip.mp4", mp4(1280, 720) + content))).json
    attachment = made["attachments"][0]
    assert (attachment["filename"], attachment["content_type"]) == ("my_clip.mp4", "video/mp4")
    assert (attachment["width"], attachment["height"]) == (1280, 720)
    url = attachment["url"]
    async with raw.session.get(url) as whole:
        assert await whole.read() == mp4(1280, 720) + content
        assert whole.headers["Content-Type"] == "video/mp4"
    async with raw.session.get(url, headers={"Range": "bytes=-100"}) as part:
        assert (part.status, await part.read()) == (206, content[-100:])
    bare, changed = url.split("?")[0], url.replace("ex=", "ex=f")
    raw.sandbox.clock.advance(86_400)
    for bad in (bare, changed, url):
        async with raw.session.get(bad) as refused:
            assert refused.status == 404
    fresh = (await raw("GET", f"/channels/{made['channel_id']}/messages/{made['id']}")).json
    async with raw.session.get(fresh["attachments"][0]["url"]) as again:
        assert again.status == 200


async def test_uploads_over_a_limit_are_refused(raw: Raw) -> None:
    """A file over the limit gets 413/40005, eleven files get 50035, an unknown file gets 50146."""
    raw.sandbox.switches.upload_limit = 1000
    assert (await raw.upload(("a.mp4", b"x" * 1000))).status == 200
    assert (await raw.upload(("a.mp4", b"x" * 300_000))).refusal == (413, 40005)
    assert (await raw.upload(*[("a.mp4", b"x")] * 11)).refusal == (400, 50035)
    missing = {"attachments": [{"id": "0"}, {"id": "1"}]}
    assert (await raw.upload(("a.mp4", b"x"), body=missing)).refusal == (400, 50146)
    assert raw.sandbox.requests[1].files == [("a.mp4", 300_000)]


async def test_an_interaction_can_have_a_higher_upload_limit_than_the_channel(raw: Raw) -> None:
    """Each has its own limit, and the interaction reports its own; a 413 can also be an HTML page."""
    raw.sandbox.switches.update({"upload_limit": 1000, "interaction_upload_limit": 5000})
    await raw.register()
    interaction = await raw.invoke()
    assert interaction.payload["attachment_size_limit"] == 5000
    await raw.callback(interaction, 5)
    path = f"/webhooks/{raw.sandbox.world.application_id}/{interaction.token}/messages/@original"
    assert (await raw("PATCH", path, data=form(("a.mp4", b"x" * 5000)))).status == 200
    assert (await raw.upload(("a.mp4", b"x" * 5000))).refusal == (413, 40005)
    raw.sandbox.switches.too_large_as_html = True
    page = await raw.upload(("a.mp4", b"x" * 5000))
    assert (page.status, page.headers["Content-Type"]) == (413, "text/html")


VIDEO = {"url": "attachment://a.mp4"}
SHOWN = [
    (v2({"type": 12, "items": [{"media": VIDEO}]}), lambda form: form["components"][0]["items"][0]["media"]),
    (v2({"type": 13, "file": VIDEO}), lambda form: form["components"][0]["file"]),
    (v2({"type": 9, "components": [TEXT], "accessory": {"type": 11, "media": VIDEO}}),
     lambda form: form["components"][0]["accessory"]["media"]),
    (v2({"type": 17, "components": [{"type": 12, "items": [{"media": VIDEO}]}]}),
     lambda form: form["components"][0]["components"][0]["items"][0]["media"]),
    ({"embeds": [{"image": VIDEO}]}, lambda form: form["embeds"][0]["image"]),
    ({"embeds": [{"thumbnail": VIDEO}]}, lambda form: form["embeds"][0]["thumbnail"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "where"), SHOWN)
async def test_a_file_that_is_shown_elsewhere_is_no_attachment(
    raw: Raw, body: Json, where: Callable[[Json], Json]
) -> None:
    """It is left out of ``attachments`` in every reply; its place has its links, type, size and attachment id."""
    made = (await raw.upload(("a.mp4", mp4(720, 1280)), ("b.mp4", b"x"), body=body)).json
    path = f"/channels/{made['channel_id']}/messages/{made['id']}"
    again = (await raw("GET", path)).json
    [listed] = (await raw("GET", f"/channels/{made['channel_id']}/messages")).json
    for read in (made, again, listed):
        assert [each["filename"] for each in read["attachments"]] == ["b.mp4"]
        media = where(read)
        assert (media["width"], media["height"], media["content_type"]) == (720, 1280, "video/mp4")
        assert media["url"].startswith(f"{raw.sandbox.url}/attachments/{made['channel_id']}/")
        assert media["proxy_url"]
        async with raw.session.get(media["url"]) as reply:
            assert reply.status == 200
    if "components" in body:
        kept = [{"id": where(made)["attachment_id"]}]
        edited = (await raw("PATCH", path, {"attachments": kept})).json
        assert (edited["attachments"], where(edited)["attachment_id"]) == ([], kept[0]["id"])
    else:
        bare = (await raw("PATCH", path, {"content": "x", "embeds": []})).json
        assert [each["filename"] for each in bare["attachments"]] == ["a.mp4", "b.mp4"]
    assert raw.sandbox.violations == []
