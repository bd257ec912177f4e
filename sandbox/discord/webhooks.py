"""The routes that respond to interactions: the callback, and the webhook that belongs to the interaction's token.

They don't need the bot token (docs: Receiving and Responding). An expired interaction token is refused before
anything else is checked.
"""

from sandbox.clock import Clock
from sandbox.discord import modals
from sandbox.discord.api import Call, Reply, Route
from sandbox.discord.commands import CHAT_INPUT, CHOICES_MAX, check_choice
from sandbox.discord.content import EPHEMERAL, Body
from sandbox.discord.errors import ApiError, JsonObject, Problems, invalid
from sandbox.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT, Interaction, Interactions
from sandbox.discord.messages import COMMAND_RESPONSE, DEFAULT, MENU_RESPONSE, Message, Messages
from sandbox.discord.permissions import USE_EXTERNAL_APPS
from sandbox.discord.switches import Switches

MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
ALLOWED = {
    COMMAND: (MESSAGE, DEFER, MODAL),
    COMPONENT: (MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL),
    AUTOCOMPLETE: (CHOICES,),
    MODAL_SUBMIT: (MESSAGE, DEFER, DEFER_UPDATE, UPDATE),
}
USER_INSTALL_FOLLOWUPS_MAX = 5
TRUE = ("1", "true", "True")


class InteractionRoutes:
    """Handles these routes; ``routes()`` lists them."""

    def __init__(
        self, *, clock: Clock, switches: Switches, messages: Messages, interactions: Interactions, application_id: str
    ) -> None:
        self._clock = clock
        self._switches = switches
        self._messages = messages
        self._interactions = interactions
        self._application_id = application_id

    def routes(self) -> list[Route]:
        """The routes. A literal path comes before the templates that would match it too."""
        hook = "/webhooks/{webhook_id}/{webhook_token}"
        table = [
            ("POST", "/interactions/{interaction_id}/{interaction_token}/callback", self._callback),
            ("POST", hook, self._follow_up),
            ("GET", f"{hook}/messages/@original", self._read),
            ("PATCH", f"{hook}/messages/@original", self._edit),
            ("DELETE", f"{hook}/messages/@original", self._delete),
            ("GET", hook + "/messages/{message_id}", self._read),
            ("PATCH", hook + "/messages/{message_id}", self._edit),
            ("DELETE", hook + "/messages/{message_id}", self._delete),
        ]
        return [
            Route(method=method, template=template, handler=handler, with_token=False, bucket="webhook")
            for method, template, handler in table
        ]

    @property
    def _limit(self) -> int:
        own = self._switches.interaction_upload_limit
        return self._switches.upload_limit if own is None else own

    def _callback(self, call: Call) -> Reply:
        interaction = self._interactions.by_token(call.params["interaction_token"], call.params["interaction_id"])
        if interaction is None:
            raise ApiError(404, 10062)
        if interaction.acknowledged_after_s is not None:
            raise ApiError(400, 40060)
        late_at = interaction.created_at + self._switches.acknowledge_within_s
        if interaction.expired or self._clock.now() > late_at:
            raise ApiError(404, 10062)
        kind = call.body.fields().get("type")
        updates = interaction.source is not None
        allowed = [each for each in ALLOWED[interaction.kind] if updates or each not in (DEFER_UPDATE, UPDATE)]
        if kind not in allowed:
            raise invalid(("type",), "BASE_TYPE_CHOICES", f"Value must be one of {tuple(allowed)}.")
        try:
            self._respond(interaction, kind, call.body.inner("data"))
        except ApiError as error:
            if "errors" in error.body:
                error.body["errors"] = {"data": error.body["errors"]}
            raise
        self._interactions.acknowledge(interaction, kind)
        if call.query.get("with_response") not in TRUE:
            return Reply(status=204)
        return Reply(payload=self._callback_reply(interaction, kind))

    def _respond(self, interaction: Interaction, kind: int, data: Body) -> None:
        source = interaction.source
        match kind:
            case 4 | 5:
                self._create_original(interaction, data, loading=kind == DEFER)
            case 6:
                interaction.original = source
            case 7:
                assert source
                if source.deleted:
                    raise ApiError(404, 10008)
                interaction.seen_before = len(source.versions)
                if data.fields():
                    self._messages.edit(source, data, limit=self._limit)
                interaction.original = source
                interaction.ephemeral = source.viewer is not None
            case 8:
                interaction.choices = _choices(data.fields(), interaction.asked)
            case 9:
                interaction.modal = modals.read(data.fields())

    def _create_original(self, interaction: Interaction, data: Body, *, loading: bool) -> None:
        flags = data.fields().get("flags") or 0
        if loading and (flags & ~EPHEMERAL if isinstance(flags, int) else True):
            raise invalid(("flags",), "BITFIELD_INVALID", "A deferred response can only have the flag EPHEMERAL")
        interaction.ephemeral = _is_hidden(interaction, flags)
        interaction.original = self._messages.create(
            interaction.channel,
            data,
            limit=self._limit,
            kind=_message_kind(interaction),
            by_interaction=self._interactions.metadata(interaction),
            command=interaction.command_name,
            viewer=interaction.member.id if interaction.ephemeral else None,
            loading=loading,
        )

    def _callback_reply(self, interaction: Interaction, kind: int) -> JsonObject:
        answered: JsonObject = {"id": interaction.id, "type": interaction.kind}
        message = interaction.original
        if message and kind != DEFER_UPDATE:
            answered |= {
                "response_message_id": message.id,
                "response_message_loading": message.loading,
                "response_message_ephemeral": message.viewer is not None,
            }
        reply: JsonObject = {"interaction": answered}
        if message and kind in (MESSAGE, UPDATE):
            reply["resource"] = {"type": kind, "message": self._messages.form(message)}
        return reply

    def _by_token(self, call: Call) -> Interaction:
        """The acknowledged interaction with this token; 404/10015 if there is none, 401/50027 if it has expired."""
        found = self._interactions.by_token(call.params["webhook_token"])
        if found is None or call.params["webhook_id"] != self._application_id:
            raise ApiError(404, 10015)
        if self._clock.now() > found.created_at + self._switches.token_life_s:
            raise ApiError(401, 50027)
        if found.acknowledged_after_s is None or self._switches.early_dead_tokens:
            raise ApiError(404, 10015)
        return found

    def _message(self, call: Call, interaction: Interaction) -> Message:
        wanted = call.params.get("message_id")
        original = interaction.original
        if wanted is None or (original and wanted == original.id):
            if original is None or original.deleted:
                raise ApiError(404, 10008)
            return original
        message = self._messages.get(wanted)
        if (message.by_interaction or {}).get("id") != interaction.id:
            raise ApiError(404, 10008)
        return message

    def _follow_up(self, call: Call) -> Reply:
        interaction = self._by_token(call)
        fields = call.body.fields()
        refused = [key for key in ("username", "avatar_url", "thread_name") if fields.get(key)]
        if refused or "thread_id" in call.query:
            raise invalid((*refused, "thread_id")[:1], "BASE_TYPE_CHOICES", "An interaction's webhook can't set this")
        original = interaction.original
        if interaction.callback_type == DEFER and original and original.loading and not original.deleted:
            return self._form(self._messages.edit(original, call.body, limit=self._limit))
        if interaction.by_user_install and interaction.followups >= USER_INSTALL_FOLLOWUPS_MAX:
            raise ApiError(400, 40094)
        message = self._messages.create(
            interaction.channel,
            call.body,
            limit=self._limit,
            by_interaction=self._interactions.metadata(interaction),
            command=interaction.command_name,
            viewer=interaction.member.id if _is_hidden(interaction, fields.get("flags")) else None,
        )
        interaction.followups += 1
        return self._form(message)

    def _read(self, call: Call) -> Reply:
        return self._form(self._message(call, self._by_token(call)))

    def _edit(self, call: Call) -> Reply:
        message = self._message(call, self._by_token(call))
        return self._form(self._messages.edit(message, call.body, limit=self._limit))

    def _delete(self, call: Call) -> Reply:
        self._messages.delete(self._message(call, self._by_token(call)))
        return Reply(status=204)

    def _form(self, message: Message) -> Reply:
        return Reply(payload=self._messages.form(message))


def _is_hidden(interaction: Interaction, flags: object) -> bool:
    """Whether a response is ephemeral: by its flag, or because the member may not use apps of their own there."""
    bits = int((interaction.payload.get("member") or {"permissions": "0"})["permissions"])
    forced = interaction.by_user_install and interaction.channel.server and not bits & USE_EXTERNAL_APPS
    return bool(forced or (isinstance(flags, int) and flags & EPHEMERAL))


def _message_kind(interaction: Interaction) -> int:
    if interaction.kind != COMMAND:
        return DEFAULT
    return COMMAND_RESPONSE if interaction.payload["data"]["type"] == CHAT_INPUT else MENU_RESPONSE


def _choices(data: JsonObject, kind: int) -> list[JsonObject]:
    """Check and return the choices for an option of this kind: 25 at most (docs: Interactions, Autocomplete)."""
    choices = data.get("choices")
    if not isinstance(choices, list) or len(choices) > CHOICES_MAX:
        raise invalid(("choices",), "BASE_TYPE_BAD_LENGTH", f"Must be between 0 and {CHOICES_MAX} in length.")
    problems = Problems()
    for index, choice in enumerate(choices):
        check_choice(choice, kind, ("choices", index), problems)
    problems.raise_if_any()
    return choices
