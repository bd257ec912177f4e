"""The control plane for the chat page and for scripts: JSON below ``/sandbox/api``, no token.

| method and path | body or query | answer |
|---|---|---|
| GET ``state`` | | ``application``, ``servers``, ``direct``, ``commands``, ``connected``... |
| GET ``channels/{id}/messages`` | ``viewer``, ``limit``, ``before`` (an id) | the newest ``limit`` (all) messages, \
oldest first, with the ephemeral ones of ``viewer`` |
| POST ``interactions`` | ``member``, ``channel``, ``command``, ``options`` | the interaction |
| POST ``autocomplete`` | the same and ``focused`` | the interaction with ``choices``, once the bot answers |
| POST ``components`` | ``member``, ``message``, ``custom_id``, for a menu ``values`` | the interaction |
| POST ``menus`` | ``member``, ``channel``, ``command``, ``target`` (id of a message or user) | the interaction |
| POST ``modals`` | ``interaction`` (its ``modal`` is open), ``values`` by ``custom_id`` | the interaction |
| POST ``switches`` | any of the switches | all switches |
| POST ``faults`` | ``method``, ``path_pattern`` and more, as ``DiscordSandbox.fault`` | ``{}`` |
| POST ``clock/advance`` | ``seconds`` | ``{"now": ...}`` |
| POST ``gateway`` | ``close`` (code or null), or ``op`` 7 or 9 with ``resumable`` | ``{}`` |
| DELETE ``messages/{id}`` | | ``{}`` |
| POST ``channels/{id}`` | ``allow``, ``deny`` (bits for the bot), or ``archived``, ``locked`` | the channel |
| POST ``channels`` | ``name``; ``server``, ``kind``, or ``parent``, ``private``, ``people``, or ``people`` | it |
| POST ``reactions`` | ``member``, ``message``, ``emoji``; ``add`` false takes it back | ``{}`` |
| POST ``members/{id}`` | ``locale``, ``installed``, ``direct`` (as in ``User``) | ``{}`` |
| POST ``servers/{id}`` | ``locale`` | ``{}`` |
| GET ``requests`` | | every request to the API |
| GET ``events`` | ``viewer`` | a stream of server-sent events; private events only for their viewer |

A refused request gets 400 (404 if something doesn't exist) with ``message`` and, for a command, ``option``. Members
and channels are given by id. All paths other than those of the API, the gateway and files serve the page's folder.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sandbox.discord.cdn import content_type
from sandbox.discord.commands import CommandRefused, Commands
from sandbox.discord.entities import Channel, Member, Server, User
from sandbox.discord.errors import ApiError, JsonObject
from sandbox.discord.events import Events
from sandbox.discord.messages import Messages
from sandbox.discord.permissions import is_inside

if TYPE_CHECKING:
    from sandbox.discord.server import DiscordSandbox

PAGE = Path(__file__).parent / "page"
KEEPALIVE_S = 15.0
DIRECT = ("open", "closed", "no mutual server")
Handler = Callable[[web.Request, JsonObject], Awaitable[Any]]


class Control:
    """Handles the routes in the table of this module."""

    def __init__(self, sandbox: "DiscordSandbox", *, messages: Messages, commands: Commands, events: Events) -> None:
        self._sandbox = sandbox
        self._messages = messages
        self._commands = commands
        self._events = events

    def mount(self, app: web.Application) -> None:
        """Add the routes; every other path serves a file of the page."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "state", self._state),
            ("GET", "channels/{id}/messages", self._list_messages),
            ("POST", "channels/{id}", self._change_channel),
            ("POST", "channels", self._add_channel),
            ("POST", "reactions", self._react),
            ("POST", "interactions", self._invoke),
            ("POST", "autocomplete", self._autocomplete),
            ("POST", "components", self._press),
            ("POST", "menus", self._use_menu),
            ("POST", "modals", self._submit),
            ("POST", "switches", self._switch),
            ("POST", "faults", self._fault),
            ("POST", "clock/advance", self._advance),
            ("POST", "gateway", self._disturb_gateway),
            ("DELETE", "messages/{id}", self._delete),
            ("POST", "members/{id}", self._change_member),
            ("POST", "servers/{id}", self._change_server),
            ("GET", "requests", self._requests),
        ]
        for method, path, handler in table:
            app.router.add_route(method, f"/sandbox/api/{path}", partial(self._answer, handler))
        app.router.add_get("/sandbox/api/events", self._stream)
        app.router.add_route("*", "/sandbox/{tail:.*}", partial(self._answer, _unknown))
        app.router.add_get("/{path:.*}", self._page)

    async def _answer(self, handler: Handler, request: web.Request) -> web.Response:
        try:
            body = await request.json() if request.can_read_body else {}
            if not isinstance(body, dict):
                raise TypeError("The body must be a JSON object.")
            return _json(await handler(request, body))
        except CommandRefused as error:
            return _json({"message": str(error), "option": error.option}, status=400)
        except ApiError as error:
            return _json(error.body, status=error.status)
        except KeyError as error:
            return _json({"message": f"There's no {error}."}, status=404)
        except (TypeError, ValueError) as error:
            return _json({"message": str(error)}, status=400)

    async def _state(self, request: web.Request, body: JsonObject) -> JsonObject:
        world = self._sandbox.world
        return {
            "application": {"id": world.application_id, "name": world.bot.name, "owner_id": world.owner.id},
            "bot": world.bot.to_json() | {"colour": world.bot.colour},
            "servers": [self._server(server) for server in world.servers],
            "direct": [channel.to_json() for channel in world.direct.values()],
            "groups": [channel.to_json() for channel in world.groups],
            "commands": list(self._commands.all()),
            "connected": self._sandbox.connected,
            "switches": asdict(self._sandbox.switches),
            "now": self._sandbox.clock.now(),
        }

    def _server(self, server: Server) -> JsonObject:
        return {
            "id": server.id,
            "name": server.name,
            "owner_id": server.owner.id,
            "locale": server.locale,
            "roles": [role.to_json() for role in server.roles],
            "channels": [channel.to_json() for channel in server.channels],
            "members": [self._member(member) for member in server.members],
            "command_permissions": {name: sorted(given) for name, given in server.command_permissions.items()},
        }

    def _member(self, member: Member) -> JsonObject:
        bits = {each.id: self._sandbox.world.permissions(member, each) for each in member.server.channels}
        visible = [each.id for each in member.server.channels if is_inside(member.user, each, bits[each.id])]
        return {
            "id": member.id,
            "name": member.name,
            "bot": member.user.bot,
            "colour": member.user.colour,
            "locale": member.user.locale,
            "roles": [role.id for role in member.roles],
            "channels": visible,
        }

    async def _list_messages(self, request: web.Request, body: JsonObject) -> list[JsonObject]:
        channel = self._sandbox.world.channel(request.match_info["id"])
        found = self._messages.in_channel(channel, request.query.get("viewer"))
        if before := request.query.get("before"):
            found = [each for each in found if int(each.id) < int(before)]
        limit = int(request.query.get("limit", len(found)))
        return [self._messages.form(each) for each in found[-limit:]]

    async def _change_channel(self, request: web.Request, body: JsonObject) -> JsonObject:
        channel = self._sandbox.world.channel(request.match_info["id"])
        if "archived" in body:
            locked = bool(body.get("locked", True))
            self._sandbox.archive_thread(channel, archived=bool(body["archived"]), locked=locked)
        else:
            allow, deny = int(body.get("allow", 0)), int(body.get("deny", 0))
            self._sandbox.set_permissions(channel, allow=allow, deny=deny)
        return channel.to_json()

    async def _change_member(self, request: web.Request, body: JsonObject) -> JsonObject:
        member = self._sandbox.world.member(request.match_info["id"])
        if "locale" in body:
            self._sandbox.set_locale(member, str(body["locale"]))
        if body.get("direct", "open") not in DIRECT:
            raise ValueError(f"direct is one of: {', '.join(DIRECT)}.")
        member.user.direct = body.get("direct", member.user.direct)
        member.user.installed = bool(body.get("installed", member.user.installed))
        return {}

    async def _change_server(self, request: web.Request, body: JsonObject) -> JsonObject:
        self._sandbox.set_locale(self._sandbox.world.server(request.match_info["id"]), str(body["locale"]))
        return {}

    async def _add_channel(self, request: web.Request, body: JsonObject) -> JsonObject:
        world, name = self._sandbox.world, str(body["name"])
        people = [_person(world.user(str(each)), str(each)) for each in body.get("people", [])]
        if "parent" in body:
            private = bool(body.get("private"))
            added = self._sandbox.add_thread(world.channel(str(body["parent"])), name, *people, private=private)
        elif "server" in body:
            server = world.server(str(body["server"]))
            added = self._sandbox.add_channel(server, name, str(body.get("kind", "text")))
        else:
            added = self._sandbox.add_group(name, *people)
        return added.to_json()

    async def _react(self, request: web.Request, body: JsonObject) -> JsonObject:
        member, message = self._sandbox.world.member(str(body["member"])), str(body["message"])
        self._sandbox.react(member, message, str(body["emoji"]), add=bool(body.get("add", True)))
        return {}

    async def _invoke(self, request: web.Request, body: JsonObject) -> JsonObject:
        member, channel = self._member_and_channel(body)
        options = body.get("options") or {}
        return (await self._sandbox.invoke(member, channel, body["command"], options)).to_json()

    async def _autocomplete(self, request: web.Request, body: JsonObject) -> JsonObject:
        member, channel = self._member_and_channel(body)
        options, focused = body.get("options") or {}, body["focused"]
        asked = await self._sandbox.autocomplete(member, channel, body["command"], options, focused)
        await asked.settled()
        return asked.to_json()

    async def _press(self, request: web.Request, body: JsonObject) -> JsonObject:
        member = self._sandbox.world.member(str(body["member"]))
        message, custom_id = str(body["message"]), str(body["custom_id"])
        return (await self._sandbox.press(member, message, custom_id, body.get("values") or ())).to_json()

    async def _use_menu(self, request: web.Request, body: JsonObject) -> JsonObject:
        member, channel = self._member_and_channel(body)
        return (await self._sandbox.use_menu(member, channel, body["command"], str(body["target"]))).to_json()

    async def _submit(self, request: web.Request, body: JsonObject) -> JsonObject:
        opened = self._sandbox.interaction(str(body["interaction"]))
        return (await self._sandbox.submit(opened, body.get("values") or {})).to_json()

    def _member_and_channel(self, body: JsonObject) -> tuple[Member, Channel]:
        world = self._sandbox.world
        return world.member(str(body["member"])), world.channel(str(body["channel"]))

    async def _switch(self, request: web.Request, body: JsonObject) -> JsonObject:
        self._sandbox.switches.update(body)
        return asdict(self._sandbox.switches)

    async def _fault(self, request: web.Request, body: JsonObject) -> JsonObject:
        self._sandbox.fault(**body)
        return {}

    async def _advance(self, request: web.Request, body: JsonObject) -> JsonObject:
        self._sandbox.clock.advance(float(body["seconds"]))
        return {"now": self._sandbox.clock.now()}

    async def _disturb_gateway(self, request: web.Request, body: JsonObject) -> JsonObject:
        if body.get("op") == 7:
            self._sandbox.reconnect_gateway()
        elif body.get("op") == 9:
            self._sandbox.invalidate_session(resumable=bool(body.get("resumable")))
        else:
            await self._sandbox.drop_gateway(body["close"])
        return {}

    async def _delete(self, request: web.Request, body: JsonObject) -> JsonObject:
        self._sandbox.delete_message(request.match_info["id"])
        return {}

    async def _requests(self, request: web.Request, body: JsonObject) -> list[JsonObject]:
        return [each.to_json() for each in self._sandbox.requests]

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send events as ``data: {...}`` lines, and comments in between so that a closed connection is noticed."""
        subscription = self._events.subscribe(request.query.get("viewer"), everything=False)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        try:
            await response.prepare(request)
            await response.write(b": hello\n\n")
            while True:
                try:
                    async with asyncio.timeout(KEEPALIVE_S):
                        event = await anext(subscription)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                await response.write(f"data: {json.dumps(event)}\n\n".encode())
        except (StopAsyncIteration, ConnectionError):
            pass
        finally:
            subscription.close()
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        """Serve a file in the page's folder, never one outside it."""
        path = (PAGE / (request.match_info["path"] or "index.html")).resolve()
        if not path.is_relative_to(PAGE) or not path.is_file():
            return _json({"message": "404: Not Found", "code": 0}, status=404)
        kind = content_type(path.name)
        charset = "; charset=utf-8" if kind.startswith("text/") else ""
        headers = {"Content-Type": kind + charset, "Cache-Control": "no-cache"}
        return web.FileResponse(path, headers=headers)


def _person(user: User | None, key: str) -> User:
    if user is None:
        raise KeyError(key)
    return user


async def _unknown(request: web.Request, body: JsonObject) -> Any:
    raise KeyError(request.path)


def _json(payload: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(payload).encode(), content_type="application/json")
