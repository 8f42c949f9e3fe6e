"""Who holds mail and where it waits: mailboxes, presences, claims, and those who wait to pull.

Owns: their shapes. What they are to each other is changed by the areas alone, and each change says
how to take it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from broker.core.queue import Queue

if TYPE_CHECKING:
    from broker.core.conversation import Conversation
    from broker.core.house import Member, Mesh
    from broker.wire.fields import Role, Status

TAKES_FROM: Final = {"idle": 0, "working": 50, "dnd": 100}
"""The lowest priority that each status takes."""


class Mailbox:
    """A durable queue with an address. What waits in it is counted here and stored on disk."""

    __slots__ = (
        "address",
        "chosen",
        "closed",
        "drainers",
        "ended_through",
        "groups",
        "id",
        "member",
        "queue",
        "reminded",
        "session",
        "stretch",
        "unfinished",
        "vacant_at",
        "waiters",
    )

    def __init__(self, id: int, member: Member, session: str | None, *, chosen: bool) -> None:
        self.id = id
        self.member = member
        self.session = session
        self.address = member.name if session is None else f"{member.name}/{session}"
        self.chosen = chosen
        """Whether a client chose the label: such a mailbox outlives its presence."""
        self.closed = False
        self.vacant_at: int | None = None
        self.reminded = False
        """Whether there is a reminder to look how long it has been vacant."""
        self.ended_through = 0
        """What stood in it up to here has ended; the rows follow in chunks."""
        self.unfinished = 0
        self.queue = Queue()
        self.stretch = -1
        """The last stretch of the counter that is recorded as holding deliveries of this box."""
        self.drainers: tuple[Presence, ...] = ()
        """Who may be handed what comes: online, taking pushes, of the first role that is there."""
        self.waiters: tuple[Waiter, ...] = ()
        self.groups: dict[str, str | None] = {}


class Presence:
    """One live connection lease of a member."""

    __slots__ = (
        "box",
        "capacity",
        "client_name",
        "client_version",
        "connected_at",
        "conversation",
        "drains",
        "held",
        "host",
        "id",
        "last_seen_at",
        "leaves_at",
        "member",
        "name",
        "observe",
        "previous",
        "resume",
        "role",
        "session",
        "status",
        "summary",
        "takes_from",
        "token",
        "untold",
        "watches",
    )

    def __init__(self, id: int, member: Member, box: Mailbox, role: Role, token: str) -> None:
        self.id = id
        self.name = f"p{id}"
        self.member = member
        self.box = box
        self.role = role
        self.token = token
        self.session: str | None = None
        self.observe = False
        self.status: Status = "idle"
        self.takes_from = 0
        self.summary: str | None = None
        self.capacity = 0
        self.host: str | None = None
        self.client_name: str | None = None
        self.client_version: str | None = None
        self.resume = b""
        self.previous: bytes | None = None
        self.connected_at = 0
        self.last_seen_at = 0
        self.leaves_at = 0
        self.conversation: Conversation | None = None
        """The open connection; None while the presence is away."""
        self.held: dict[str, Claim] = {}
        self.drains: tuple[Mailbox, ...] = ()
        self.watches: frozenset[str] | None = None
        """The roles that this presence watches; None when it watches nobody."""
        self.untold = (0, 0)
        """Of presences behind the first number, up to the second, a watcher is still to be told."""

    @property
    def mesh(self) -> Mesh:
        return self.member.mesh

    @property
    def transport(self) -> Literal["online", "away"]:
        """Whether the connection is there, as peers see it."""
        return "away" if self.conversation is None else "online"


class Claim(Struct, eq=False):
    """A delivery in somebody's hands: phase one is done, phase two is open."""

    seq: int
    delivery: str
    number: int
    id: str
    box: Mailbox
    presence: Presence | None
    """Who holds it; None once that presence has left and the lease runs on."""
    member: Member
    message: int
    expires_at: int
    plain: bool
    """Whether nobody but the two wants to know how it ends."""
    long: bool = False
    """Whether its lease differs from the usual one, and stands in the heap of those."""
    restored: bool = False
    """Whether it came through a restart: its end then counts no failure."""


class Waiter:
    """A pull claim that waits for mail."""

    __slots__ = ("boxes", "caller", "lease_ms", "most", "request_id", "until")

    def __init__(
        self,
        caller: Presence,
        request_id: int | str,
        boxes: tuple[Mailbox, ...],
        most: int,
        lease_ms: int,
        until: int,
    ) -> None:
        self.caller = caller
        self.request_id = request_id
        self.boxes = boxes
        self.most = most
        self.lease_ms = lease_ms
        self.until = until
