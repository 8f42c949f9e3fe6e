"""What the broker remembers: meshes, members, mailboxes, presences and the claims they hold.

Owns: the shapes and the look-ups. The executor is the only one that lets them change, through the
areas, and each change says how to take it back. Big things (messages, deliveries) are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappush
from typing import Final

from broker.core.deadlines import Deadlines
from broker.core.holders import TAKES_FROM, Claim, Mailbox, Presence, Waiter
from broker.wire.fields import Access, Role

__all__ = [
    "DEFAULT_MESH",
    "SYSTEM",
    "TAKES_FROM",
    "Claim",
    "House",
    "Mailbox",
    "Member",
    "Mesh",
    "Presence",
    "Token",
    "Waiter",
]

DEFAULT_MESH: Final = "default"
SYSTEM: Final = "postroom"
SETTLED_LEASES: Final = 1_000
"""Reminders of what is settled by now; some more than there are claims are worth no tidying."""


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
        "labels",
        "mesh",
        "name",
        "note",
        "presences",
        "removed",
        "sessions",
        "takers",
    )

    box: Mailbox

    def __init__(
        self,
        id: int,
        mesh: Mesh,
        name: str,
        access: Access,
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
        self.labels: dict[str, Presence] = {}
        """Presences by their session label, of whatever role."""
        self.takers: dict[Role, dict[Presence, None]] = {}
        """By role who is online and takes pushes."""
        self.allowance = -1.0
        self.allowed_at = 0

    @property
    def steers(self) -> bool:
        """Whether this is an owner or an admin of the mesh."""
        return self.access != "member"


class Token:
    """What proves who a connection is."""

    __slots__ = ("expires_at", "id", "member", "parent", "roles", "secret")

    def __init__(
        self,
        id: str,
        member: Member,
        secret: bytes,
        roles: frozenset[Role] | None,
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


class House:
    """Everything that is remembered, and the counter that numbers what passes."""

    __slots__ = (
        "absence_ends",
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
        "token_ends",
        "tokens",
        "unused_at",
        "unused_to",
        "vacancy_ends",
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
        self.token_ends: Deadlines[str] = Deadlines()
        self.vacancy_ends: Deadlines[int] = Deadlines()
        """When session mailboxes without a presence are closed."""
        self.absence_ends: Deadlines[int] = Deadlines()
        """When presences whose connection is lost have left."""
        self.next_number = 1
        self.number_mark = 1
        """Numbers under this are reserved on disk."""
        self.unused_at = 0
        self.unused_to = 0
        """How far the walk along closed mailboxes has come, and when it goes on."""
        self.purge_at = 0
        self.purged_to = 0
        """How far the walk that removes old finished mail has come, and when it goes on."""
        self.node = ""
        self.incarnation = 0
        self.started_at = 0

    def remind_of(self, claim: Claim) -> None:
        """Its lease ends out of the order of claims: it is looked for by itself from now on."""
        leases, held = self.leases, self.claims
        if len(leases) > 2 * len(held) + SETTLED_LEASES:
            leases[:] = [(one.expires_at, one.seq, one.number) for one in held.values() if one.long]
            heapify(leases)
        claim.long = True
        heappush(leases, (claim.expires_at, claim.seq, claim.number))
