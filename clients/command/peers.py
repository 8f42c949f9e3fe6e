"""`postroom peer list`: who is there, now or from now on.

Owns: which roles are shown and the words for nobody. Knows nothing of other nouns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast, get_args

import msgspec

from broker.wire.fields import Role
from broker.wire.presence import (
    ListPeers,
    Peer,
    PeerChanged,
    PeerJoined,
    PeerLeft,
    Peers,
    PeerSynced,
    WatchPeers,
)
from clients import Client, Reconnected
from clients.command.commands import PAGE, Command, Given, option
from clients.command.durations import written
from clients.command.fields import fields_of
from clients.command.parameters import arguments
from clients.command.session import Session, call
from clients.command.show import document
from clients.command.texts import cell
from clients.command.values import request_of

ROLES: Final[tuple[Role, ...]] = get_args(Role)
HEADS: Final = ("address", "role", "status", "transport", "held", "since", "summary")


async def list_peers(session: Session, given: Given) -> None:
    """Show who is there."""
    if given.pop("all", False):
        given.setdefault("roles", list(ROLES))
    watch = given.pop("watch", False)
    request = cast("ListPeers", request_of(ListPeers, fields_of(ListPeers), given))
    if watch:
        async with session.connected(reconnect=True) as me:
            await _watch(me, request, json=session.json)
        return
    one_page = not given.keys().isdisjoint(PAGE)
    peers = cast("Peers", await session.ask(request, one_page=one_page))
    if session.json:
        document(peers)
        return
    print_peers(peers.peers)
    for line in hidden(peers.hidden):
        print(line)


def print_peers(peers: Iterable[Peer]) -> None:
    """A table of peers, or that there is none."""
    rows = [row(peer) for peer in peers]
    if not rows:
        print("Nobody is online.")
        return
    from clients.command.tables import print_table

    print_table(HEADS, rows)
    sys.stdout.flush()


def row(peer: Peer) -> list[str]:
    """A peer in a table."""
    since = max(int(time.time() * 1000) - peer.connected_at, 0)
    return [
        cell("", peer.address) + " (you)" * peer.self_,
        peer.role,
        peer.status,
        peer.transport,
        f"{peer.in_flight}/{peer.capacity}",
        written(since),
        cell("", peer.summary) if peer.summary else "",
    ]


def hidden(counts: Mapping[Role, int]) -> list[str]:
    """The last line: who is there and not shown."""
    said = [f"{count} {role}" for role, count in counts.items() if count]
    return [f"{' and '.join(said)} hidden: --all shows them"] if said else []


async def _watch(me: Client, request: ListPeers, *, json: bool) -> None:
    """Every change, from the first list on, until the reader has seen enough."""
    shown = request.roles or [role for role in ROLES if role != "control-plane"]
    roles = list(shown)
    kinds = (PeerJoined, PeerLeft, PeerChanged, PeerSynced, Reconnected)
    reader = me.events(*kinds)
    watch = WatchPeers(on=True, roles=cast("Any", roles))
    await call(me, watch)
    there: set[str] = set()
    synced = False
    async for event in reader:
        if isinstance(event, Reconnected):
            if not event.welcome.resumed:
                await call(me, watch)
            continue
        if isinstance(event, PeerSynced):
            if json:
                document(event)
            elif not synced and not there:
                print("Nobody is online.", flush=True)
            synced = True
            continue
        assert isinstance(event, PeerJoined | PeerLeft | PeerChanged)
        peer = event.peer
        if not _wanted(peer, request):
            continue
        there.discard(peer.presence) if isinstance(event, PeerLeft) else there.add(peer.presence)
        if json:
            document(event)
        else:
            what = "left" if isinstance(event, PeerLeft) else "is there" if not synced else "joined"
            what = "changed" if isinstance(event, PeerChanged) else what
            address, role, status, transport, held, _, summary = row(peer)
            line = f"{address} {what}  {role}  {status}  {transport}  {held}  {summary}"
            print(line.rstrip(), flush=True)
            if isinstance(event, PeerLeft) and not there:
                print("Nobody is online.", flush=True)


def _wanted(peer: Peer, request: ListPeers) -> bool:
    if request.member is not None and peer.member != request.member:
        return False
    group = request.group
    return group is None or any(one == group or one.startswith(f"{group}/") for one in peer.groups)


LIST: Final = Command(
    (ListPeers.__doc__ or "").strip(),
    [
        *(
            one.replace(kind=one.KEYWORD_ONLY)
            for one in arguments(fields_of(ListPeers), frozenset())
        ),
        option("all", bool, "every role, control planes too"),
        option("watch", bool, "go on and tell every change; with --json a document for each"),
    ],
    list_peers,
)

assert issubclass(ListPeers, msgspec.Struct)
