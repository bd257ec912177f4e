"""Every error, as a code with its figures; `bot.texts` has the words for those that people read.

    VeoError
    ├── InvariantError        nobody: a fault of this program was about to be booked; nothing was written
    ├── StartError            an operator: the program cannot start or go on; exit code 2
    │   ├── SettingsError     a setting or an argument is wrong
    │   ├── DatabaseError     the database cannot be opened, or is not ours to use
    │   ├── MediaError        the folder for clips cannot be used
    │   └── PortError         an address to listen on is taken
    └── Refusal               a member or an admin: what they asked for was not done, and nothing was charged
        ├── BadRequest        the options cannot be used as they are
        │   └── BadAmount     a text is not an amount of dollars, or could be two
        ├── NotAllowed        paused, blocked, or not among those who may
        ├── OfferGone         a question that was answered already, has expired, or was put to somebody else
        ├── AskLater          the admins have just said no
        ├── OverQuota         the price does not fit into what is left
        ├── TooManyRuns       too many videos are in the works
        └── StoreDown         the database cannot be reached, so nothing is sold

No fact of an error is ever a secret.
"""

from __future__ import annotations

from bot.facts import Fact, Moment, Text


class VeoError(Exception):
    """The base of all: `text` says what is wrong, what was expected and what to do next, once it is put into words."""

    def __init__(self, code: str, /, **facts: Fact) -> None:
        self.text = Text(code, facts)
        super().__init__(code, facts)

    def __str__(self) -> str:
        """For logs: the code and its figures."""
        return " ".join([self.text.key, *(f"{name}={fact}" for name, fact in self.text.facts.items())])


class InvariantError(AssertionError):
    """What the books never take: a move that is not allowed, a hold that is resolved twice. Also under `python -O`."""


def require(holds: object, otherwise: str) -> None:
    """Raise InvariantError with this message unless `holds` is true; unlike `assert`, also under `python -O`."""
    if not holds:
        raise InvariantError(otherwise)


class StartError(VeoError):
    """The program cannot start as configured."""


class SettingsError(StartError):
    """A setting or an argument is missing or wrong."""


class DatabaseError(StartError):
    """The database cannot be opened, is newer than this program, is foreign, or has another writer."""


class MediaError(StartError):
    """The folder for clips cannot be used."""


class PortError(StartError):
    """The web server cannot listen where it was told to."""


class Refusal(VeoError):
    """What somebody asked for was not done; nothing was bought, held or charged."""


class BadRequest(Refusal):
    """The options cannot be used as they are."""


class BadAmount(BadRequest):
    """A text is not an amount of dollars, or could be read as two."""


class NotAllowed(Refusal):
    """Those who rule here do not let this member do this, here or now."""


class OfferGone(Refusal):
    """A question that was answered already, has expired, or was put to somebody else."""


class AskLater(Refusal):
    """The admins denied a request of this member's a while ago."""

    def __init__(self, until: float) -> None:
        self.until = until  # unix seconds
        super().__init__("request.denied_recently", until=Moment(until))


class OverQuota(Refusal):
    """The price does not fit into what is left of a limit."""


class TooManyRuns(Refusal):
    """As many videos are in the works as a limit allows."""


class StoreDown(Refusal):
    """The database does not take the booking right now."""

    def __init__(self) -> None:
        super().__init__("store.down")


# What a call to the outside came to; the engine decides what follows, and no person reads it.


class Unreadable(Exception):
    """Runflow could not be read this time; nothing is known. `wait_s`: how long it asked to be left alone."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ClipUnavailable(Exception):
    """The clip could not be had whole and sound this time. `wait_s`: how long its host asked to be left alone."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class ClipTooBig(ClipUnavailable):
    """The clip is larger than the operator lets pass through; only a link to it can be given."""


class ClipTooSlow(ClipUnavailable):
    """The clip arrives too slowly to be posted; a link to it can be given."""


class ClipNotKept(ClipUnavailable):
    """Our own disk does not take the clip; it is to be had, so a link to it can be given."""


class TooLarge(Exception):
    """The channel does not take a file of this size."""


class PlaceGone(Exception):
    """There is no such channel any more, or no such member."""


class PlaceClosed(Exception):
    """Nothing was posted: the place is there, but does not take our messages as things stand."""


class PostRefused(Exception):
    """Nothing was posted, and the same message will never be: the place objects to what it says or brings."""


class HistoryClosed(Exception):
    """The place does not show what was posted there, so whether the notice stands cannot be seen."""


class PostFailed(Exception):
    """The post may or may not have happened; it is looked for before it is repeated."""
