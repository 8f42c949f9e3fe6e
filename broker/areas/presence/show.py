"""A presence as its peers see it, and telling those who watch.

Owns: the shape of a peer on the wire and the rule of one event per change. Observers are seen by
nobody.
"""

from __future__ import annotations

from collections.abc import Callable

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
    _tell(turn, _watchers(presence), lambda: PeerJoined(peer=show(turn, presence)))


def left(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that somebody has left."""
    _tell(turn, _knowing(presence), lambda: PeerLeft(peer=show(turn, presence)))


def changed(turn: Turn, presence: Presence) -> None:
    """Tell the watchers that something about somebody is different."""
    _tell(turn, _knowing(presence), lambda: PeerChanged(peer=show(turn, presence)))


def replaced(turn: Turn, presence: Presence, earlier: Presence) -> None:
    """Tell the watchers who stands in whose place; for some the new one is all that they know."""
    watchers, knowing = _watchers(presence), _knowing(earlier)
    _tell(
        turn,
        [one for one in watchers if one in knowing],
        lambda: PeerChanged(peer=show(turn, presence), replaced=earlier.name),
    )
    _tell(
        turn,
        [one for one in watchers if one not in knowing],
        lambda: PeerJoined(peer=show(turn, presence)),
    )


def _watchers(presence: Presence) -> list[Presence]:
    """Who watches this role, for another than itself."""
    if presence.observe:
        return []
    return [
        watcher
        for watcher in presence.mesh.watchers.values()
        if watcher is not presence and presence.role in (watcher.watches or ())
    ]


def _knowing(presence: Presence) -> list[Presence]:
    """Those of them who have been told of this presence already."""
    return [
        watcher
        for watcher in _watchers(presence)
        if not watcher.untold[0] < presence.id <= watcher.untold[1]
    ]


def _tell(turn: Turn, watchers: list[Presence], event: Callable[[], Event]) -> None:
    if watchers:
        same = event()
        for watcher in watchers:
            turn.event(watcher, same)
