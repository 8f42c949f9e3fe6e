"""A presence as its peers see it, and telling those who watch.

Owns: the shape of a peer on the wire and the rule of one event per change.
"""

from __future__ import annotations

from broker.core.house import Presence
from broker.core.turn import Turn
from broker.wire.frames import Event
from broker.wire.presence import ClientInfo, Peer, PeerChanged, PeerJoined, PeerLeft


def show(presence: Presence, asking: Presence | None = None) -> Peer:
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
        last_seen_at=presence.last_seen_at,
        self_=presence is asking,
    )


def joined(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that somebody has come."""
    _tell(turn, presence, PeerJoined)


def left(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that somebody has left."""
    _tell(turn, presence, PeerLeft)


def changed(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that something about somebody is different."""
    _tell(turn, presence, PeerChanged)


def _tell(
    turn: Turn, presence: Presence, kind: type[PeerJoined | PeerLeft | PeerChanged]
) -> None:
    watchers = presence.mesh.watchers
    if presence.observe or not watchers:
        return
    event: Event = kind(peer=show(presence))
    for watcher in watchers.values():
        if watcher is not presence and presence.role in (watcher.watches or ()):
            turn.event(watcher, event)
