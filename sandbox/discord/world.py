"""The people, servers and channels that exist before the first message.

Their ids are fixed, so a sandbox that restarts is the same place. Nothing changes by itself.
"""

from collections.abc import Iterator
from typing import NoReturn

from sandbox.discord.entities import (
    ANNOUNCEMENT,
    ANNOUNCEMENT_THREAD,
    DM,
    GROUP_DM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    SERVER_KINDS,
    TEXT,
    Channel,
    Member,
    Overwrite,
    Role,
    Server,
    Team,
    TeamMember,
    User,
)
from sandbox.discord.permissions import ATTACH_FILES, DEFAULT_PERMISSIONS, SEND_MESSAGES, permissions_in


class World:
    """Everything that exists before the first message.

    There are two servers, and the bot is in both: "Aurora Studio", owned by Ada, who also owns the application, and
    "Elsewhere", owned by Dana.
    """

    def __init__(self) -> None:
        self._serial = 0
        self.team: Team | None = None  # if set, it owns the application instead of `owner`
        self.bot = User(id=self._id(), name="Veo Bot", bot=True)
        self.owner = self._person("Ada", 0xE67E22)
        bo, cem = self._person("Bo", 0x3498DB), self._person("Cem", 0x2ECC71)
        dana = self._person("Dana", 0x9B59B6)
        self.direct: dict[str, Channel] = {}  # by the recipient's id
        self.groups: list[Channel] = []

        aurora = self._server("Aurora Studio", self.owner)
        editors = Role(id=self._id(), name="Editors", permissions=0, position=2, colour=0x2ECC71)
        aurora.roles.append(editors)
        aurora.members += [Member(user=each, server=aurora) for each in (self.owner, bo)]
        aurora.members += [Member(user=cem, server=aurora, roles=[editors]), Member(user=dana, server=aurora)]
        self._channel(aurora, "general")
        lab = self._channel(aurora, "video-lab")
        self._channel(aurora, "read-only", deny=SEND_MESSAGES)
        self._channel(aurora, "no-files", deny=ATTACH_FILES)
        self.add_thread(lab, "takes")

        elsewhere = self._server("Elsewhere", dana)
        elsewhere.members += [Member(user=each, server=elsewhere) for each in (dana, self._person("Eli", 0xF1C40F))]
        self._channel(elsewhere, "lobby")
        self.servers = [aurora, elsewhere]

    @property
    def application_id(self) -> str:
        """The application's id, which is also the bot's user id."""
        return self.bot.id

    def make_team(self, **roles: str) -> Team:
        """Make a team of the owner and these members (name=role) the owner of the application."""
        members = [TeamMember(user=self.member(name).user, role=role) for name, role in roles.items()]
        owner = TeamMember(user=self.owner, role="admin")
        self.team = Team(id=self._id(), owner=self.owner, members=[owner, *members])
        return self.team

    def join(self, name: str, server: Server, *, permissions: int = 0) -> Member:
        """Add a new person to ``server``; extra ``permissions`` come with a role of their own."""
        member = Member(user=self._person(name, 0x95A5A6), server=server)
        if permissions:
            role = Role(id=self._id(), name=f"{name}'s", permissions=permissions, position=3)
            server.roles.append(role)
            member.roles.append(role)
        server.members.append(member)
        return member

    def channels(self) -> Iterator[Channel]:
        """Every channel, thread, group and open direct-message channel."""
        for server in self.servers:
            yield from server.channels
        yield from self.direct.values()
        yield from self.groups

    def add_channel(self, server: Server, name: str, kind: str = "text") -> Channel:
        """Add a channel of a kind in ``SERVER_KINDS``; KeyError if there is no such kind."""
        return self._channel(server, name, kind=SERVER_KINDS[kind])

    def add_thread(self, parent: Channel, name: str, *people: User, private: bool = False) -> Channel:
        """Add a thread, or a post to a forum. A private one is only for ``people``, which may include the bot."""
        assert parent.server
        public = ANNOUNCEMENT_THREAD if parent.kind == ANNOUNCEMENT else PUBLIC_THREAD
        thread = self._channel(parent.server, name, parent=parent, kind=PRIVATE_THREAD if private else public)
        thread.people += people
        return thread

    def add_group(self, name: str, *people: User) -> Channel:
        """Add a group of people; the bot can't be in one, but its commands can be used there."""
        group = Channel(id=self._id(), name=name, kind=GROUP_DM, people=list(people))
        self.groups.append(group)
        return group

    def server(self, key: str) -> Server:
        """The server with this id or name; KeyError if there is none."""
        return next((each for each in self.servers if key in (each.id, each.name)), None) or _missing(key)

    def channel(self, key: str) -> Channel:
        """The channel with this id or name (with or without ``#``); KeyError if there is none."""
        named = key.removeprefix("#")
        return next((each for each in self.channels() if named in (each.id, each.name)), None) or _missing(key)

    def member(self, key: str, server: Server | None = None) -> Member:
        """The member with this id or name, in ``server`` or the first server with one; KeyError if there is none."""
        places = [server] if server else self.servers
        everyone = (member for place in places for member in place.members)
        return next((each for each in everyone if key in (each.id, each.name)), None) or _missing(key)

    def find_member(self, user: User, server: Server) -> Member | None:
        """The user's membership in ``server``, or None."""
        return next((each for each in server.members if each.user is user), None)

    def user(self, user_id: str) -> User | None:
        """The user with this id, or None."""
        everyone = (member.user for server in self.servers for member in server.members)
        return next((each for each in everyone if each.id == user_id), None)

    def me(self, server: Server) -> Member:
        """The bot's membership in ``server``."""
        return self.member(self.bot.id, server)

    def direct_channel(self, user: User, new_id: str) -> Channel:
        """The bot's direct-message channel with ``user``; the first call creates it with the id ``new_id``."""
        if user.id not in self.direct:
            self.direct[user.id] = Channel(id=new_id, name=f"@{user.name}", kind=DM, recipient=user, people=[user])
        return self.direct[user.id]

    def permissions(self, member: Member, channel: Channel) -> int:
        """The permission bits of ``member`` in ``channel``."""
        return permissions_in(member, channel)

    def _id(self) -> str:
        """The next snowflake of January 1, 2024, one millisecond after the last (docs: Reference, Snowflakes)."""
        self._serial += 1
        return str((1_704_067_200_000 - 1_420_070_400_000 + self._serial) << 22)

    def _person(self, name: str, colour: int) -> User:
        return User(id=self._id(), name=name, colour=colour)

    def _server(self, name: str, owner: User) -> Server:
        server = Server(id=self._id(), name=name, owner=owner)
        everyone = Role(id=server.id, name="@everyone", permissions=DEFAULT_PERMISSIONS, position=0)
        bot_role = Role(
            id=self._id(), name=self.bot.name, permissions=DEFAULT_PERMISSIONS, position=1, bot_id=self.bot.id
        )
        server.roles += [everyone, bot_role]
        server.members.append(Member(user=self.bot, server=server, roles=[bot_role]))
        return server

    def _channel(
        self, server: Server, name: str, *, deny: int = 0, parent: Channel | None = None, kind: int = TEXT
    ) -> Channel:
        channel = Channel(
            id=self._id(),
            name=name,
            server=server,
            parent=parent,
            kind=kind,
            position=len(server.channels),
        )
        if deny:
            bot_role = self.me(server).roles[0]
            channel.overwrites[bot_role.id] = Overwrite(id=bot_role.id, kind=0, deny=deny)
        server.channels.append(channel)
        return channel


def _missing(key: str) -> NoReturn:
    raise KeyError(key)
