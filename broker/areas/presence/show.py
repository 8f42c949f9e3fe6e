"""A presence as its peers see it, and telling those who watch.

Owns: the shape of a peer on the wire and the rule of one event per change. Observers are seen by
nobody.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET

from broker.config import SECOND
from broker.core.house import Presence
from broker.core.turn import Turn
from broker.wire.frames import Event
from broker.wire.presence import ClientInfo, Peer, PeerChanged, PeerJoined, PeerLeft


def show(turn: Turn, presence: Presence, asking: Presence | None = None) -> Peer:
    """A presence as it stands now."""
    client = None
    if presence.client_name is not None:
        client = ClientInfo(name=presence.client_name, version=presence.client_version)
    return Peer(
        presence=presence.name,
        member=presence.member.name,
        session=presence.session,
        address=presence.box.address,
        role=presence.role,
        status=presence.status,
        summary=presence.summary,
        groups=sorted(presence.box.groups),
        transport=presence.transport,
        host=presence.host,
        client=client,
        capacity=presence.capacity,
        in_flight=len(presence.held),
        connected_at=presence.connected_at,
        last_seen_at=last_seen(turn, presence),
        self_=presence is asking,
    )


def last_seen(turn: Turn, presence: Presence) -> int:
    """When anything last came from it: a request, or only its socket's answer to a ping."""
    conversation = presence.conversation
    if conversation is None:
        return presence.last_seen_at
    return max(presence.last_seen_at, turn.now - int(conversation.silence() * SECOND))


def seen(presence: Presence) -> tuple[object, ...]:
    """What is a change if it differs: all that peers see but `in_flight` and `last_seen_at`."""
    return (
        presence.name,
        presence.status,
        presence.summary,
        sorted(presence.box.groups),
        presence.transport,
        presence.host,
        presence.client_name,
        presence.client_version,
        presence.capacity,
    )


def joined(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that somebody has come."""
    _tell(turn, presence, lambda peer: PeerJoined(peer=peer))


def left(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that somebody has left."""
    _tell(turn, presence, lambda peer: PeerLeft(peer=peer))


def changed(turn: Turn, presence: Presence, *, instead_of: Presence | None = None) -> None:
    """Tell the watchers that something about somebody is different, or who stands in its place."""
    replaced = UNSET if instead_of is None else instead_of.name
    _tell(turn, presence, lambda peer: PeerChanged(peer=peer, replaced=replaced))


def _tell(turn: Turn, presence: Presence, event: Callable[[Peer], Event]) -> None:
    if presence.observe:
        return
    told = [
        watcher
        for watcher in presence.mesh.watchers.values()
        if watcher is not presence and presence.role in (watcher.watches or ())
    ]
    if told:
        same = event(show(turn, presence))
        for watcher in told:
            turn.event(watcher, same)
