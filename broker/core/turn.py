"""A turn: what a handler may do to memory, storage and the wire, all of it or nothing.

Owns: the journal that takes memory back, and the effects that leave after the commit. One turn is
one batch; a mark in it is one request. Knows no operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import ErrorEvent, Event, Failure, Reply

if TYPE_CHECKING:
    from broker.clock import Chance
    from broker.config import Settings
    from broker.core.conversation import Conversation
    from broker.core.house import House, Mailbox, Presence
    from broker.core.operations import Hook, Looking, Operations
    from broker.store.sqlite import Writer

FAR: int = 2**62
"""An instant that never comes."""

Mark = tuple[int, int, int, int, int, int]
"""How much there was of the journal and of each kind of effect."""


def failure(
    request_id: int | str | UnsetType, error: ErrorBody, op: str | None
) -> Failure | ErrorEvent:
    """A refusal as a frame; without an id it is an event."""
    if request_id is UNSET:
        return ErrorEvent(error=error, op=op)
    return Failure(request_id, error)


class Turn:
    """The argument of every handler. All changes of memory go through `undo`'s journal."""

    __slots__ = (
        "_listeners",
        "again",
        "alike",
        "all",
        "answered",
        "chance",
        "closing",
        "control",
        "conversation",
        "draining",
        "first_number",
        "gather",
        "hooks",
        "house",
        "insert",
        "journal",
        "later",
        "lookings",
        "now",
        "one",
        "part",
        "pushes",
        "request_id",
        "run",
        "settings",
        "stirred",
        "wake",
        "writer",
    )

    def __init__(
        self,
        writer: Writer,
        house: House,
        settings: Settings,
        chance: Chance,
        operations: Operations,
    ) -> None:
        self._listeners = operations.listeners
        self.hooks: Mapping[str, Hook] = operations.hooks
        """Who wants to know what becomes of mail of a kind."""
        self.writer = writer
        self.house = house
        self.settings = settings
        self.chance = chance
        self.one = writer.one
        self.all = writer.all
        self.run = writer.run
        self.insert = writer.insert
        self.later = writer.later
        self.gather = writer.gather
        self.now = 0
        self.first_number = 0
        """Numbers from this one on were given in this batch: nobody was told of them yet."""
        self.conversation: Conversation | None = None
        """Whose request this is; None for what the broker does by itself."""
        self.part: list[Any] = []
        """The requests of that conversation that are decided together."""
        self.request_id: int | str | UnsetType = UNSET
        self.wake = FAR
        self.journal: list[tuple[Any, ...]] = []
        """Calls (function, then values) that take memory back, the newest last; see `undo`."""
        self.control: list[tuple[Conversation, Any]] = []
        self.pushes: list[tuple[Conversation, Any]] = []
        self.closing: list[tuple[Conversation, int, str]] = []
        self.lookings: list[tuple[Conversation, Looking]] = []
        self.stirred: list[Mailbox] = []
        """Mailboxes in which something may have become deliverable."""
        self.answered: list[tuple[Conversation, int | str]] = []
        """Requests that waited and have their answer now."""
        self.alike: dict[tuple[Any, ...], str] = {}
        """What several frames of this batch say in the same words, by what the words depend on."""
        self.draining = False
        self.again: list[Callable[[Turn], None]] = []
        """What is left to do in a later batch."""

    def start(self, now: int) -> None:
        """Begin a batch: nothing is changed yet."""
        self.now = now
        self.first_number = self.house.next_number
        self.journal.clear()
        self.control = []
        self.pushes = []
        self.closing = []
        self.lookings = []
        self.answered = []
        self.stirred.clear()
        self.alike.clear()
        self.again = []

    def undo(self, *entry: Any) -> None:
        """Write down the call (function, then values) that takes back the change made now."""
        self.journal.append(entry)

    def put(self, thing: object, name: str, value: Any) -> None:
        """Set an attribute of a remembered thing."""
        self.journal.append((setattr, thing, name, getattr(thing, name)))
        setattr(thing, name, value)

    def enter(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Put an entry into a remembered table."""
        if key in table:
            self.journal.append((table.__setitem__, key, table[key]))
        else:
            self.journal.append((table.__delitem__, key))
        table[key] = value

    def strike(self, table: dict[Any, Any], key: Any) -> None:
        """Take an entry out of a remembered table, if it is there."""
        if key in table:
            self.journal.append((table.__setitem__, key, table.pop(key)))

    def mark(self) -> Mark:
        """Where this request begins."""
        return (
            len(self.journal),
            len(self.control),
            len(self.pushes),
            len(self.closing),
            len(self.again),
            len(self.answered),
        )

    def back(self, mark: Mark) -> None:
        """Take back all that has happened to memory, and all effects, since the mark."""
        journal, control, pushes, closing, again, answered = mark
        while len(self.journal) > journal:
            function, *values = self.journal.pop()
            function(*values)
        del self.control[control:]
        del self.pushes[pushes:]
        del self.closing[closing:]
        del self.again[again:]
        del self.answered[answered:]
        self.stirred.clear()

    def tell(self, occasion: str, *values: Any) -> None:
        """Let later nouns do their part of an occasion, in the same transaction."""
        for listener in self._listeners.get(occasion, ()):
            listener(self, *values)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All of what follows, or, if it is refused, nothing: on disk, in memory, on the wire."""
        mark, house = self.mark(), self.house
        numbers = house.next_number, house.number_mark
        self.writer.savepoint()
        try:
            yield
        except Refused:
            self.writer.back()
            self.back(mark)
            house.next_number, house.number_mark = numbers
            raise
        self.writer.release()

    def wake_at(self, when: int) -> None:
        """Ask for a sweep at this instant or before it."""
        if when < self.wake:
            self.wake = when

    def answer(
        self, conversation: Conversation, request_id: int | str | UnsetType, ok: Any
    ) -> None:
        """Answer a request after the commit. Without an id there is nothing to say."""
        if request_id is not UNSET:
            self.control.append((conversation, Reply(request_id, ok)))

    def refuse(
        self,
        conversation: Conversation,
        request_id: int | str | UnsetType,
        error: ErrorBody,
        op: str | None = None,
    ) -> None:
        """Refuse a request after the commit of its batch."""
        self.control.append((conversation, failure(request_id, error, op)))

    def event(self, presence: Presence, event: Event) -> None:
        """Tell a presence something, if its connection is there."""
        if presence.conversation is not None:
            self.control.append((presence.conversation, event))

    def close(self, conversation: Conversation, code: int, reason: str) -> None:
        """Close a connection after what stands before has left."""
        self.closing.append((conversation, code, reason))
