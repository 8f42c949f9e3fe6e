"""What the broker remembers, written down: to compare two of them, and to hold it to the disk.

Owns: the canonical form of a house, the content of all tables, and what must agree between the two.
Order counts where the broker relies on it, and nowhere else.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from rig import Rig

from broker.core.house import Claim, House, Mailbox, Member, Mesh, Presence

Plain = dict[str, Any]


def remembered(house: House) -> Plain:
    """All of the house as plain values."""
    return {
        "meshes": {name: _mesh(mesh) for name, mesh in house.meshes.items()},
        "boxes": {id: _box(box) for id, box in house.boxes.items()},
        "presences": {id: _presence(presence) for id, presence in house.presences.items()},
        "claims": {name: _claim(claim) for name, claim in house.claims.items()},
        "tokens": {
            id: (token.member.id, token.secret, token.roles, token.expires_at, token.parent)
            for id, token in house.tokens.items()
        },
        "waiters": {
            id: (one.request_id, [box.id for box in one.boxes], one.most, one.lease_ms, one.until)
            for id, one in house.waiters.items()
        },
        "numbers": (house.next_number, house.number_mark),
        "node": (house.node, house.incarnation, house.started_at),
    }


def _mesh(mesh: Mesh) -> Plain:
    return {
        "id": (mesh.id, mesh.created_at),
        "members": {name: _member(member) for name, member in mesh.members.items()},
        "groups": {
            name: {box.id: label for box, label in inside.items()}
            for name, inside in mesh.groups.items()
        },
        "watchers": sorted(mesh.watchers),
    }


def _member(member: Member) -> Plain:
    return {
        "id": (member.id, member.mesh.id, member.name, member.created_at),
        "is": (member.access, member.agent_types, member.note, member.removed),
        "box": member.box.id,
        "sessions": {label: box.id for label, box in member.sessions.items()},
        "presences": sorted(member.presences),
        "labels": {label: presence.id for label, presence in member.labels.items()},
        "takers": {
            role: sorted(presence.id for presence in takers)
            for role, takers in member.takers.items()
            if takers
        },
    }


def _box(box: Mailbox) -> Plain:
    return {
        "is": (box.address, box.member.id, box.chosen, box.closed, box.vacant_at),
        "numbers": (box.ended_through, box.stretch),
        "unfinished": box.unfinished,
        "ready": (box.queue.ready, dict(sorted(box.queue.counts.items()))),
        "drainers": sorted(presence.id for presence in box.drainers),
        "waiters": [waiter.caller.id for waiter in box.waiters],
        "groups": dict(box.groups),
    }


def _presence(presence: Presence) -> Plain:
    conversation = presence.conversation
    return {
        "is": (presence.name, presence.member.id, presence.box.id, presence.role, presence.token),
        "says": (presence.status, presence.takes_from, presence.summary, presence.capacity),
        "label": (presence.session, presence.observe),
        "client": (presence.host, presence.client_name, presence.client_version),
        "resume": (presence.resume, presence.previous),
        "times": (presence.connected_at, presence.last_seen_at, presence.leaves_at),
        "connected": conversation is not None and conversation.presence is presence,
        "waits": None if conversation is None else conversation.waits,
        "held": sorted(presence.held),
        "drains": [box.id for box in presence.drains],
        "watches": None if presence.watches is None else sorted(presence.watches),
    }


def _claim(claim: Claim) -> Plain:
    holder = claim.presence
    return {
        "is": (claim.seq, claim.delivery, claim.number, claim.id, claim.message),
        "of": (claim.box.id, claim.member.id, None if holder is None else holder.id),
        "until": claim.expires_at,
        "plain": (claim.plain, claim.restored),
    }


def stored(r: Rig) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with closing(sqlite3.connect(r.directory / "postroom.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)
            for (name,) in tables.fetchall()
        }


def agree(r: Rig) -> None:
    """Memory and disk say the same, and memory what it promises to itself."""
    house = r.broker.house
    _mail_agrees(r, house)
    _people_agree(r, house)
    ((mark,),) = r.rows("SELECT max(value) FROM marks WHERE name = 'number'") or ((1,),)
    assert (mark or 1) >= house.number_mark >= house.next_number, "numbers could be given twice"
    usual = [claim.expires_at for claim in house.claims.values() if not claim.long]
    assert usual == sorted(usual), "the usual leases end in their order"
    reminders = set(house.leases)
    for claim in house.claims.values():
        entry = (claim.expires_at, claim.seq, claim.number)
        assert not claim.long or entry in reminders, f"nobody ends the lease of {claim.delivery}"
    for box in house.boxes.values():
        assert box.drainers == tuple(one for one in box.drainers if box in one.drains)
    for presence in house.presences.values():
        assert all(presence in box.drainers for box in presence.drains)


def _mail_agrees(r: Rig, house: House) -> None:
    open_boxes = tuple(house.boxes)
    rows = r.rows(
        "SELECT mailbox_id, seq, state, priority, due_at, claim_id FROM deliveries"
        " WHERE state IN ('queued', 'claimed') ORDER BY mailbox_id, priority DESC, seq"
    )
    live = [row for row in rows if row[0] in open_boxes]
    live = [row for row in live if row[1] > house.boxes[row[0]].ended_through]
    for box in house.boxes.values():
        own = [row for row in live if row[0] == box.id]
        ready = [(-row[3], row[1]) for row in own if row[2] == "queued" and row[4] is None]
        counts: dict[int, int] = {}
        for priority, _ in ready:
            counts[-priority] = counts.get(-priority, 0) + 1
        assert box.unfinished == len(own), f"{box.address} holds {len(own)} unfinished"
        assert (box.queue.ready, box.queue.counts) == (len(ready), counts), box.address
        window = [(priority, seq) for priority, seq, _ in box.queue.window]
        assert window == ready[: len(window)], f"the window of {box.address} is its head"
    claimed = {f"d{row[1]}": row[5] for row in live if row[2] == "claimed"}
    assert claimed == {name: claim.number for name, claim in house.claims.items()}
    for presence in house.presences.values():
        own_claims = {n for n, claim in house.claims.items() if claim.presence is presence}
        assert presence.held.keys() == own_claims


def _people_agree(r: Rig, house: House) -> None:
    assert {
        (p.id, p.member.id, p.box.id, p.role, p.session, p.status, p.capacity, p.resume, p.previous)
        for p in house.presences.values()
    } == set(
        r.rows(
            "SELECT id, member_id, mailbox_id, role, session, status, capacity, resume_sha256,"
            " previous_sha256 FROM presences"
        )
    )
    members = [member for mesh in house.meshes.values() for member in mesh.members.values()]
    assert {(one.id, one.mesh.id, one.name, one.access) for one in members} == set(
        r.rows("SELECT id, mesh_id, name, access FROM members WHERE removed_at IS NULL")
    )
    assert {(one.id, one.member.id, one.session) for one in house.boxes.values()} == set(
        r.rows("SELECT id, member_id, session FROM mailboxes WHERE closed_at IS NULL")
    )
    assert house.tokens.keys() == {id for (id,) in r.rows("SELECT id FROM tokens")}
    assert {
        (box.id, group, label)
        for box in house.boxes.values()
        for group, label in box.groups.items()
    } == set(r.rows("SELECT mailbox_id, name, label FROM memberships"))
