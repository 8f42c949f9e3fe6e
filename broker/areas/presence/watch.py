"""The watch on who is there: first everybody, a piece at a time, then every change.

Owns: `peer.watch` and how a watch begins. Who has not been told of yet is told of as it is when its
turn comes, so what happens to it before is no event: the watcher knows each peer from one
`peer.joined` on, however many there are. A watch belongs to a connection: whoever comes back asks
again.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, get_args

from broker.areas.presence.show import show
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import FAR, Turn
from broker.wire.fields import Role
from broker.wire.frames import Answer
from broker.wire.presence import PeerJoined, PeerSynced, WatchPeers

operations = Operations()

ROLES: Final = frozenset[Role](get_args(Role))
CHUNK: Final = 250
"""Peers told in one batch: two milliseconds, then others have their turn."""


@operations.handle(WatchPeers)
def watch_peers(turn: Turn, caller: Presence, request: WatchPeers) -> Answer:
    """Be told, or no longer be told, of every presence that joins, leaves or changes."""
    watchers = caller.mesh.watchers
    if not request.on:
        turn.put(caller, "watches", None)
        turn.strike(watchers, caller.id)
        return Answer()
    watch = frozenset[str](ROLES if request.roles is None else request.roles)
    turn.put(caller, "watches", watch)
    turn.put(caller, "untold", (0, FAR))
    turn.enter(watchers, caller.id, caller)
    # In the next batch, and so behind the answer; of many requests in one, only the last counts.
    turn.again.append(lambda later: _begin(later, caller, watch))
    return Answer()


def _begin(turn: Turn, watcher: Presence, watch: frozenset[str]) -> None:
    """Whoever comes from here on is an event."""
    if watcher.watches is watch:
        peers = [one for one in watcher.mesh.presences() if one is not watcher and not one.observe]
        peers.sort(key=_number)
        turn.put(watcher, "untold", (0, peers[-1].id if peers else 0))
        _go_on(turn, watcher, watch, peers)


def _number(presence: Presence) -> int:
    return presence.id


def _go_on(turn: Turn, watcher: Presence, watch: frozenset[str], peers: list[Presence]) -> None:
    """Tell of the next few, as long as it is still the same watch."""
    if watcher.watches is not watch:
        return
    told, last = watcher.untold
    first = bisect_right(peers, told, key=_number)
    chunk = peers[first : first + CHUNK]
    present = turn.house.presences
    for peer in chunk:
        if peer.role in watch and present.get(peer.id) is peer:
            turn.event(watcher, PeerJoined(peer=show(turn, peer)))
    if first + CHUNK < len(peers):
        turn.put(watcher, "untold", (chunk[-1].id, last))
        turn.again.append(lambda later: _go_on(later, watcher, watch, peers))
    else:
        turn.put(watcher, "untold", (0, 0))
        turn.event(watcher, PeerSynced())
