"""The start: what the database knows of meshes, members, mailboxes and presences, into memory.

Owns: reading the directory and presence tables whole. After a start every presence is away, with a
fresh lease. Mail reads its own part.
"""

from __future__ import annotations

import msgspec

from broker.core.house import TAKES_FROM, House, Mailbox, Member, Mesh, Presence, Token
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
MESHES = sql.take("meshes")
MEMBERS = sql.take("members")
TOKENS = sql.take("tokens")
BOXES = sql.take("boxes")
MEMBERSHIPS = sql.take("memberships")
PRESENCES = sql.take("presences")
MARKS = sql.take("marks")
NODE = sql.take("node")
SET_NODE = sql.take("set_node")
sql.close()


def load(turn: Turn) -> None:
    """Fill an empty house from the database, and begin a new incarnation of this node."""
    house = turn.house
    marks = dict(turn.all(MARKS))
    house.next_number = house.number_mark = marks.get("number", 1)
    node = turn.one(NODE)
    house.node = node[0] if node else turn.chance.label()
    house.incarnation = node[1] + 1 if node else 1
    house.started_at = turn.now
    turn.run(SET_NODE, (house.node, house.incarnation, turn.now))
    members = _members(turn, house)
    _boxes(turn, house, members)
    for row in turn.all(TOKENS):
        if row[1] in members:
            roles = None if row[3] is None else frozenset(msgspec.json.decode(row[3]))
            house.tokens[row[0]] = Token(row[0], members[row[1]], row[2], roles, row[4], row[5])
            if row[4] is not None:
                turn.wake_at(row[4])
    _presences(turn, house, members)


def _members(turn: Turn, house: House) -> dict[int, Member]:
    meshes = {row[0]: Mesh(*row) for row in turn.all(MESHES)}
    house.meshes = {mesh.name: mesh for mesh in meshes.values()}
    members: dict[int, Member] = {}
    for id, mesh_id, name, access, agent_types, note, created_at in turn.all(MEMBERS):
        types = frozenset(msgspec.json.decode(agent_types))
        member = Member(id, meshes[mesh_id], name, access, types, note, created_at)
        members[id] = meshes[mesh_id].members[name] = member
    return members


def _boxes(turn: Turn, house: House, members: dict[int, Member]) -> None:
    for id, member_id, session, chosen, vacant_at, ended_through in turn.all(BOXES):
        member = members[member_id]
        box = Mailbox(id, member, session, chosen=bool(chosen))
        box.vacant_at, box.ended_through = vacant_at, ended_through
        house.boxes[id] = box
        if session is None:
            member.box = box
        else:
            member.sessions[session] = box
        if vacant_at is not None:
            turn.wake_at(vacant_at + turn.settings.mail.retention_ms)
    for mailbox_id, name, label in turn.all(MEMBERSHIPS):
        if mailbox_id in house.boxes:
            box = house.boxes[mailbox_id]
            box.groups[name] = label
            box.member.mesh.groups.setdefault(name, {})[box] = label


def _presences(turn: Turn, house: House, members: dict[int, Member]) -> None:
    leaves_at = turn.now + turn.settings.presence.lease_ms
    for row in turn.all(PRESENCES):
        id, member_id, mailbox_id, role, session, observe, status = row[:7]
        member = members[member_id]
        presence = Presence(id, member, house.boxes[mailbox_id], role, row[12])
        presence.session, presence.observe, presence.status = session, bool(observe), status
        presence.takes_from = TAKES_FROM[status]
        presence.summary, presence.capacity, presence.host = row[7:10]
        presence.client_name, presence.client_version = row[10:12]
        presence.resume, presence.previous = row[13:15]
        presence.connected_at, presence.last_seen_at = row[15:17]
        presence.leaves_at = leaves_at
        member.presences[id] = house.presences[id] = presence
        turn.wake_at(leaves_at)
