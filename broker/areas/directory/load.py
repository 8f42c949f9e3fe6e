"""The start: what the database knows of meshes, members, tokens and mailboxes, into memory.

Owns: reading the directory's tables whole, and this node's name and incarnation. Presence and mail
read their own parts after it.
"""

from __future__ import annotations

import msgspec

from broker.core.house import House, Mailbox, Member, Mesh, Token
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
MESHES = sql.take("meshes")
MEMBERS = sql.take("members")
TOKENS = sql.take("tokens")
BOXES = sql.take("boxes")
NODE = sql.take("node")
SET_NODE = sql.take("set_node")
LAST_START = sql.take("last_start")
sql.close()


def last_start(turn: Turn) -> int:
    """The instant of the last start."""
    row = turn.one(LAST_START)
    return row[0] if row and row[0] else 0


def load(turn: Turn) -> None:
    """Fill an empty house from the database, and begin a new incarnation of this node."""
    house = turn.house
    node = turn.one(NODE)
    house.node = node[0] if node else turn.chance.label()
    house.incarnation = node[1] + 1 if node else 1
    house.started_at = turn.now
    turn.run(SET_NODE, (house.node, house.incarnation, turn.now))
    members = _members(turn, house)
    _tokens(turn, house, members)
    _boxes(turn, house, members)


def _members(turn: Turn, house: House) -> dict[int, Member]:
    meshes = {row[0]: Mesh(*row) for row in turn.all(MESHES)}
    house.meshes = {mesh.name: mesh for mesh in meshes.values()}
    members: dict[int, Member] = {}
    for id, mesh_id, name, access, agent_types, note, created_at in turn.all(MEMBERS):
        types = frozenset(msgspec.json.decode(agent_types))
        member = Member(id, meshes[mesh_id], name, access, types, note, created_at)
        members[id] = meshes[mesh_id].members[name] = member
    return members


def _tokens(turn: Turn, house: House, members: dict[int, Member]) -> None:
    for id, member_id, secret, roles, expires_at, parent in turn.all(TOKENS):
        allowed = None if roles is None else frozenset(msgspec.json.decode(roles))
        house.tokens[id] = Token(id, members[member_id], secret, allowed, expires_at, parent)
        if expires_at is not None:
            house.token_ends.remind(turn, expires_at, id)


def _boxes(turn: Turn, house: House, members: dict[int, Member]) -> None:
    retention = turn.settings.mail.retention_ms
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
            box.reminded = True
            house.vacancy_ends.remind(turn, vacant_at + retention, id)
