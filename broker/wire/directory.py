"""The directory on the wire: members, tokens and meshes, and the broker's figures.

Owns: the requests and answers of the directory. Knows nothing of who may do what.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from broker.wire.delegations import DelegationStatus
from broker.wire.dispatch import DispatchStatus
from broker.wire.fields import (
    Access,
    Cursor,
    Identifier,
    Identity,
    Limit,
    Name,
    Role,
    Text,
    check_texts,
)
from broker.wire.frames import Answer, Request
from broker.wire.mail import DeliveryState

# A token may live for ever, so a century is no promise; it keeps instants within 2^53.
MAX_TOKEN_LIFE_MS = 100 * 366 * 86_400_000
TokenLifeMs = Annotated[int, Meta(ge=1, le=MAX_TOKEN_LIFE_MS)]
Roles = Annotated[list[Role], Meta(min_length=1)]


class MemberAdded(Answer):
    """The new member's first token, which is shown this once."""

    member: str
    token: str
    token_id: str


class AddMember(Request, tag="member.add"):
    """Make a member and its first token."""

    Answer: ClassVar[type[Answer]] = MemberAdded

    member: Name
    access: Access = "member"
    agent_types: list[Identity] = field(default_factory=list)
    note: Text | None = None

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(note=self.note)


class UpdateMember(Request, tag="member.update"):
    """Change a member's access, agent types or note."""

    member: Identifier
    access: Access | UnsetType = UNSET
    agent_types: list[Identity] | UnsetType = UNSET
    note: Text | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(note=self.note)


class Member(Struct, kw_only=True, gc=False):
    """A member as lists show it."""

    member: str
    access: Access
    agent_types: list[str]
    note: str | None
    created_at: int
    present: bool


class Members(Answer):
    """A page of members."""

    members: list[Member]
    next: str | None = None


class ListMembers(Request, tag="member.list"):
    """List the members of the mesh."""

    Answer: ClassVar[type[Answer]] = Members

    limit: Limit = 200
    after: Cursor | None = None


class RemoveMember(Request, tag="member.remove"):
    """Remove a member: its connections close, its unfinished mail ends."""

    member: Identifier


class TokenCreated(Answer):
    """A token, which is shown this once."""

    token: str
    token_id: str
    expires_at: int | None


class CreateToken(Request, tag="token.create"):
    """Make a token for oneself, or as an admin for another member."""

    Answer: ClassVar[type[Answer]] = TokenCreated

    member: Identifier | None = None
    roles: Roles | None = None
    ttl_ms: TokenLifeMs | None = None


class Token(Struct, kw_only=True, gc=False):
    """A token as lists show it, without its secret. `parent` is the token that it came from."""

    token_id: str
    member: str
    roles: list[Role]
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    parent: str | None


class Tokens(Answer):
    """A page of tokens."""

    tokens: list[Token]
    next: str | None = None


class ListTokens(Request, tag="token.list"):
    """List tokens, without their secrets."""

    Answer: ClassVar[type[Answer]] = Tokens

    limit: Limit = 200
    after: Cursor | None = None


class RevokeToken(Request, tag="token.revoke"):
    """End a token, those made from it, and their connections."""

    token_id: Identifier


class MeshCreated(Answer, kw_only=True):
    """The new mesh's owner and its first token, which is shown this once."""

    mesh: str
    member: Literal["owner"] = "owner"
    token: str
    token_id: str


class CreateMesh(Request, tag="mesh.create"):
    """Make a mesh and its owner."""

    Answer: ClassVar[type[Answer]] = MeshCreated

    mesh: Name


class Mesh(Struct, kw_only=True, gc=False):
    """A mesh as lists show it. `members` counts them."""

    mesh: str
    created_at: int
    members: int


class Meshes(Answer):
    """A page of meshes."""

    meshes: list[Mesh]
    next: str | None = None


class ListMeshes(Request, tag="mesh.list"):
    """List the meshes of this broker."""

    Answer: ClassVar[type[Answer]] = Meshes

    limit: Limit = 200
    after: Cursor | None = None


class DeepMailbox(Struct, kw_only=True, gc=False):
    """A mailbox with much waiting in it."""

    mailbox: str
    depth: int
    oldest_ms: int | None


class MailboxStats(Struct, kw_only=True, gc=False):
    """The mailboxes of the mesh."""

    open: int
    deepest: list[DeepMailbox]


class StorageStats(Struct, kw_only=True, gc=False):
    """The size of the database and of its write-ahead log."""

    bytes: int
    wal_bytes: int


class BrokerStats(Answer):
    """The broker's figures for the caller's mesh."""

    version: str
    uptime_ms: int
    presences: dict[Role, int]
    deliveries: dict[DeliveryState, int]
    mailboxes: MailboxStats
    delegations: dict[DelegationStatus, int]
    dispatches: dict[DispatchStatus, int]
    storage: StorageStats


class GetBrokerStats(Request, tag="broker.stats"):
    """Show the broker's figures for the caller's mesh."""

    Answer: ClassVar[type[Answer]] = BrokerStats
