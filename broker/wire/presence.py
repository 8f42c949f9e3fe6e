"""Presence on the wire: the hello, who is there, who joins and leaves, groups and topics.

Owns: the requests, answers and events of presence. Knows nothing of mailboxes or sockets.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from broker.wire.fields import (
    Capacity,
    Cursor,
    GroupName,
    Identifier,
    Label,
    Limit,
    Name,
    Role,
    Status,
    Text,
    check_texts,
)
from broker.wire.frames import Answer, Event, Request

Token = Annotated[str, Meta(max_length=512)]
ResumeValue = Annotated[str, Meta(max_length=512)]
ShortText = Annotated[str, Meta(max_length=256)]


class ClientInfo(Struct, kw_only=True, gc=False):
    """The program at the other end, as it calls itself."""

    name: ShortText
    version: ShortText | None = None


class GivenClient(ClientInfo, forbid_unknown_fields=True):
    """The same as a hello gives it."""


class BrokerInfo(Struct, kw_only=True, gc=False):
    """The broker, as it calls itself."""

    version: str
    node: str


class Welcome(Answer):
    """The presence that a hello made or resumed, and the limits that hold for it."""

    presence: str
    mesh: str
    member: str
    address: str
    session: str | None
    role: Role
    resumed: bool
    resume: str
    lease_ms: int
    limits: dict[str, int]
    broker: BrokerInfo
    now_at: int


class Hello(Request, tag="hello"):
    """Say who connects; must be the first request of a connection."""

    # Names and token are not held to their patterns here: a wrong one is `unauthorized`, all alike.
    # What a resumed presence keeps when it is not given is UNSET, not a default.
    Answer: ClassVar[type[Answer]] = Welcome

    member: Identifier
    token: Token | None = None
    mesh: Identifier = "default"
    role: Role = "session"
    session: Name | None = None
    observe: bool = False
    status: Status | UnsetType = UNSET
    summary: Text | UnsetType | None = UNSET
    groups: list[GroupName] | UnsetType = UNSET
    capacity: Capacity | UnsetType = UNSET
    batch: bool = False
    resume: ResumeValue | None = None
    host: ShortText | UnsetType | None = UNSET
    client: GivenClient | UnsetType | None = UNSET

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(summary=self.summary)


class Bye(Request, tag="bye"):
    """Leave; a final one also closes the session's own mailbox."""

    final: bool = False


class Peer(Struct, kw_only=True, gc=False, rename={"self_": "self"}):
    """A presence as others see it. `self` marks the asking presence."""

    presence: str
    member: str
    session: str | None
    address: str
    role: Role
    status: Status
    summary: str | None
    groups: list[str]
    transport: Literal["online", "away"]
    host: str | None
    client: ClientInfo | None
    capacity: int
    in_flight: int
    connected_at: int
    last_seen_at: int
    self_: bool = False


class Peers(Answer):
    """A page of presences, and how many of which role are not shown."""

    peers: list[Peer]
    hidden: dict[Role, int]
    next: str | None = None


class ListPeers(Request, tag="peer.list"):
    """List who is there; without roles the control planes are counted, not listed."""

    Answer: ClassVar[type[Answer]] = Peers

    roles: list[Role] | None = None
    member: Identifier | None = None
    group: GroupName | None = None
    limit: Limit = 200
    after: Cursor | None = None


class WatchPeers(Request, tag="peer.watch"):
    """Be told, or no longer be told, of every presence that joins, leaves or changes."""

    on: bool
    roles: list[Role] | None = None


class UpdatePresence(Request, tag="presence.update"):
    """Change one's own status, summary or capacity; an empty one is a sign of life."""

    status: Status | UnsetType = UNSET
    summary: Text | UnsetType | None = UNSET
    capacity: Capacity | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Bound the text in bytes."""
        check_texts(summary=self.summary)


class JoinGroup(Request, tag="group.join"):
    """Join a group or subscribe to a topic."""

    group: GroupName
    label: Label | None = None


class LeaveGroup(Request, tag="group.leave"):
    """Leave a group or topic."""

    group: GroupName


class Group(Struct, kw_only=True, gc=False):
    """A group or topic that the caller is in."""

    group: str
    label: str | None
    members: int


class Groups(Answer):
    """A page of groups."""

    groups: list[Group]
    next: str | None = None


class ListGroups(Request, tag="group.list"):
    """List the groups and topics that the caller is in."""

    Answer: ClassVar[type[Answer]] = Groups

    limit: Limit = 200
    after: Cursor | None = None


class PeerJoined(Event, tag="peer.joined"):
    """A presence is there, or has come."""

    peer: Peer


class PeerLeft(Event, tag="peer.left"):
    """A presence has left."""

    peer: Peer


class PeerChanged(Event, tag="peer.changed"):
    """Something about a presence is different, or it stands in the place of the one `replaced`."""

    peer: Peer
    replaced: str | UnsetType = UNSET


class PeerSynced(Event, tag="peer.synced"):
    """All who were there when the watch began have been told."""
