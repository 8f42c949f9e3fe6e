"""What the broker remembers: meshes, members, mailboxes, presences and the claims they hold.

Owns: the shapes and the look-ups. The executor is the only one that lets them change, through the
areas, and each change says how to take it back. Big things (messages, deliveries) are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from broker.core.queue import Queue

if TYPE_CHECKING:
    from broker.core.conversation import Conversation

DEFAULT_MESH: Final = "default"
SYSTEM: Final = "postroom"

TAKES_FROM: Final = {"idle": 0, "working": 50, "dnd": 100}
"""The lowest priority that each status takes."""


class Mesh:
    """An isolated world of members."""

    __slots__ = ("created_at", "groups", "id", "members", "name", "watchers")

    def __init__(self, id: int, name: str, created_at: int) -> None:
        self.id = id
        self.name = name
        self.created_at = created_at
        self.members: dict[str, Member] = {}
        self.groups: dict[str, dict[Mailbox, str | None]] = {}
        """Group or topic -> who is in exactly that one, with the label of each."""
        self.watchers: dict[int, Presence] = {}

    def presences(self) -> Iterator[Presence]:
        """Everybody here, away and observing included."""
        for member in self.members.values():
            yield from member.presences.values()


class Member:
    """A durable identity in a mesh."""

    __slots__ = (
        "access",
        "agent_types",
        "allowance",
        "allowed_at",
        "box",
        "created_at",
        "id",
        "mesh",
        "name",
        "note",
        "presences",
        "removed",
        "sessions",
    )

    box: Mailbox

    def __init__(
        self,
        id: int,
        mesh: Mesh,
        name: str,
        access: str,
        agent_types: frozenset[str],
        note: str | None,
        created_at: int,
    ) -> None:
        self.id = id
        self.mesh = mesh
        self.name = name
        self.access = access
        self.agent_types = agent_types
        self.note = note
        self.created_at = created_at
        self.removed = False
        self.sessions: dict[str, Mailbox] = {}
        """Open session mailboxes by label."""
        self.presences: dict[int, Presence] = {}
        self.allowance = -1.0
        self.allowed_at = 0

    @property
    def steers(self) -> bool:
        """Whether this is an owner or an admin of the mesh."""
        return self.access != "member"


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
        "watches",
    )

    def __init__(self, id: int, member: Member, box: Mailbox, role: str, token: str) -> None:
        self.id = id
        self.name = f"p{id}"
        self.member = member
        self.box = box
        self.role = role
        self.token = token
        self.session: str | None = None
        self.observe = False
        self.status = "idle"
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

    @property
    def mesh(self) -> Mesh:
        return self.member.mesh

    @property
    def transport(self) -> str:
        """Whether the connection is there, as peers see it."""
        return "away" if self.conversation is None else "online"


class Claim:
    """A delivery in somebody's hands: phase one is done, phase two is open."""

    __slots__ = (
        "box",
        "delivery",
        "expires_at",
        "id",
        "long",
        "member",
        "message",
        "number",
        "plain",
        "presence",
        "restored",
        "seq",
    )

    def __init__(
        self,
        seq: int,
        number: int,
        box: Mailbox,
        presence: Presence | None,
        message: int,
        expires_at: int,
        plain: bool,
    ) -> None:
        self.seq = seq
        self.delivery = f"d{seq}"
        self.number = number
        self.id = f"c{number}"
        self.box = box
        self.presence = presence
        """Who holds it; None once that presence has left and the lease runs on."""
        self.member = box.member
        self.message = message
        self.expires_at = expires_at
        self.plain = plain
        """Whether nobody but the two wants to know how it ends."""
        self.restored = False
        """Whether it came through a restart: its end then counts no failure."""
        self.long = False
        """Whether its lease differs from the usual one, and stands in the heap of those."""


class Token:
    """What proves who a connection is."""

    __slots__ = ("expires_at", "id", "member", "parent", "roles", "secret")

    def __init__(
        self,
        id: str,
        member: Member,
        secret: bytes,
        roles: frozenset[str] | None,
        expires_at: int | None,
        parent: str | None,
    ) -> None:
        self.id = id
        self.member = member
        self.secret = secret
        self.roles = roles
        """The roles that it allows; None for all."""
        self.expires_at = expires_at
        self.parent = parent


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


class House:
    """Everything that is remembered, and the counter that numbers what passes."""

    __slots__ = (
        "boxes",
        "claims",
        "incarnation",
        "leases",
        "meshes",
        "next_number",
        "node",
        "number_mark",
        "presences",
        "purge_at",
        "purged_to",
        "started_at",
        "tokens",
        "waiters",
    )

    def __init__(self) -> None:
        self.meshes: dict[str, Mesh] = {}
        self.boxes: dict[int, Mailbox] = {}
        self.presences: dict[int, Presence] = {}
        self.tokens: dict[str, Token] = {}
        self.claims: dict[str, Claim] = {}
        """Every claim by its delivery, oldest first: the usual leases end in this order."""
        self.leases: list[tuple[int, int, int]] = []
        """A heap of (end, seq, claim number) for claims with another lease than the usual."""
        self.waiters: dict[int, Waiter] = {}
        """Pull claims that wait, by presence."""
        self.next_number = 1
        self.number_mark = 1
        """Numbers under this are reserved on disk."""
        self.purge_at = 0
        self.purged_to = 0
        """How far the walk that removes old finished mail has come, and when it goes on."""
        self.node = ""
        self.incarnation = 0
        self.started_at = 0
