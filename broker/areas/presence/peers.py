"""Who is there: the list of peers, and the watch on it.

Owns: `peer.list` and `peer.watch`. Both read memory only. A watch belongs to a connection: whoever
comes back asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from broker.areas.presence.show import show
from broker.core.house import Member, Mesh, Presence
from broker.core.operations import LATER, Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.wire.errors import Refused
from broker.wire.fields import Role
from broker.wire.frames import Answer
from broker.wire.presence import ListPeers, PeerJoined, Peers, PeerSynced, WatchPeers

operations = Operations()

ROLES: Final = frozenset[Role](get_args(Role))
HIDDEN: Final = frozenset[Role]({"control-plane"})
"""Daemons are on every host: they are counted, and listed only for those who ask for them."""


@operations.handle(ListPeers, drains=True)
def list_peers(turn: Turn, caller: Presence, request: ListPeers) -> Peers:
    """List who is there; without roles the control planes are counted, not listed."""
    after = _after(request)
    roles = ROLES - HIDDEN if request.roles is None else frozenset[Role](request.roles)
    hidden: dict[Role, int] = {}
    found: list[Presence] = []
    for presence in _there(caller.mesh, request.member, request.group):
        if presence.role in roles:
            if presence.id > after:
                found.append(presence)
        elif request.roles is None:
            hidden[presence.role] = hidden.get(presence.role, 0) + 1
    found.sort(key=lambda one: one.id)
    peers, more = page(
        "peer",
        ((str(one.id), show(turn, one, caller)) for one in found),
        request.limit,
        turn.settings.limits.frame,
    )
    return Peers(peers=peers, hidden=hidden, next=more)


def _after(request: ListPeers) -> int:
    place = position("peer", request.after) or "0"
    if not (place.isascii() and place.isdecimal() and len(place) < 19):
        raise Refused("bad_request", f"after: {place[:100]!r} is no cursor of this list")
    return int(place)


def _there(mesh: Mesh, name: str | None, group: str | None) -> Iterator[Presence]:
    """Who is in a mesh and not only observing, of one member or in one group if so wished."""
    members: list[Member] = list(mesh.members.values())
    if name is not None:
        members = [mesh.members[name]] if name in mesh.members else []
    for member in members:
        for presence in member.presences.values():
            if not presence.observe and (group is None or _inside(presence, group)):
                yield presence


def _inside(presence: Presence, group: str) -> bool:
    """Whether a send to this group reaches the presence's mailbox; subgroups belong to theirs."""
    groups = presence.box.groups
    if group in groups:
        return True
    return group[0] == "@" and any(name.startswith(f"{group}/") for name in groups)


@operations.handle(WatchPeers)
def watch_peers(turn: Turn, caller: Presence, request: WatchPeers) -> object:
    """Be told, or no longer be told, of every presence that joins, leaves or changes."""
    conversation = turn.conversation
    assert conversation is not None
    watchers = caller.mesh.watchers
    if not request.on:
        turn.put(caller, "watches", None)
        turn.strike(watchers, caller.id)
        return Answer()
    roles = ROLES if request.roles is None else frozenset[Role](request.roles)
    turn.put(caller, "watches", roles)
    turn.enter(watchers, caller.id, caller)
    turn.answer(conversation, turn.request_id, Answer())  # what follows, follows the answer
    for presence in _there(caller.mesh, None, None):
        if presence is not caller and presence.role in roles:
            turn.event(caller, PeerJoined(peer=show(turn, presence)))
    turn.event(caller, PeerSynced())
    return LATER
