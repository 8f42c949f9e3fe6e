"""Members: added, changed, listed, removed.

Owns: who may make whom what, and that an owner is always left. A removed name is free again, for a
new member that knows nothing of the old.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

from broker.areas.directory import boxes
from broker.areas.directory.access import FORBIDDEN, steering
from broker.areas.directory.tokens import end_all, issue
from broker.core.house import SYSTEM, Member, Mesh, Presence
from broker.core.operations import Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.directory import (
    AddMember,
    ListMembers,
    MemberAdded,
    Members,
    RemoveMember,
    UpdateMember,
)
from broker.wire.directory import Member as ShownMember
from broker.wire.errors import Refused
from broker.wire.fields import Access
from broker.wire.frames import Answer

sql = Queries(__file__)
INSERT = sql.take("insert")
UPDATE = sql.take("update")
REMOVE = sql.take("remove")
sql.close()

operations = Operations()

MOST_TYPES_BYTES: Final = 24 * 1_024
"""Of a member's agent types together: a list must be able to show every member in one frame."""


def make(
    turn: Turn,
    mesh: Mesh,
    name: str,
    access: Access,
    agent_types: frozenset[str] = frozenset(),
    note: str | None = None,
) -> Member:
    """A new member with its mailbox."""
    id = turn.insert(INSERT, (mesh.id, name, access, _stored(agent_types), note, turn.now))
    member = Member(id, mesh, name, access, agent_types, note, turn.now)
    member.box = boxes.open_member_box(turn, member)
    turn.enter(mesh.members, name, member)
    return member


@operations.handle(AddMember)
def add_member(turn: Turn, caller: Presence, request: AddMember) -> MemberAdded:
    """Make a member and its first token."""
    mesh = steering(caller).mesh
    _may_make(caller, request.access)
    if request.member == SYSTEM:
        raise Refused("bad_request", f"member: {SYSTEM!r} is the broker's own name")
    if request.member in mesh.members:
        raise Refused("key_conflict", f"member: {request.member!r} is a member already")
    types = frozenset(request.agent_types)
    member = make(turn, mesh, request.member, request.access, types, request.note)
    id, token = issue(turn, member)
    return MemberAdded(member=member.name, token=token, token_id=id)


@operations.handle(UpdateMember)
def update_member(turn: Turn, caller: Presence, request: UpdateMember) -> Answer:
    """Change a member's access, agent types or note."""
    member = _member(caller, request.member)
    access = member.access if request.access is UNSET else request.access
    if access != member.access:
        _may_make(caller, access)
        _may_unmake(caller, member)
    types = member.agent_types
    if request.agent_types is not UNSET:
        types = frozenset(request.agent_types)
    note = member.note if request.note is UNSET else request.note
    turn.run(UPDATE, (access, _stored(types), note, member.id))
    turn.put(member, "access", access)
    turn.put(member, "agent_types", types)
    turn.put(member, "note", note)
    return Answer()


@operations.handle(ListMembers, drains=True)
def list_members(turn: Turn, caller: Presence, request: ListMembers) -> Members:
    """List the members of the mesh."""
    members = steering(caller).mesh.members
    after = position("member", request.after)
    names = sorted(name for name in members if name > after)
    shown, more = page(
        "member",
        ((name, _shown(members[name])) for name in names),
        request.limit,
        turn.settings.limits.frame,
    )
    return Members(members=shown, next=more)


@operations.handle(RemoveMember)
def remove_member(turn: Turn, caller: Presence, request: RemoveMember) -> Answer:
    """Remove a member: its connections close, its unfinished mail ends."""
    member = _member(caller, request.member)
    _may_unmake(caller, member)
    turn.put(member, "removed", True)
    end_all(turn, member, FORBIDDEN, "member removed")
    for box in (*member.sessions.values(), member.box):
        boxes.close(turn, box, "member_removed")
    turn.run(REMOVE, (turn.now, member.id))
    turn.strike(member.mesh.members, member.name)
    turn.tell("member.removed", member)
    return Answer()


def _shown(member: Member) -> ShownMember:
    return ShownMember(
        member=member.name,
        access=member.access,
        agent_types=sorted(member.agent_types),
        note=member.note,
        created_at=member.created_at,
        present=any(not presence.observe for presence in member.presences.values()),
    )


def _stored(agent_types: frozenset[str]) -> str:
    stored = msgspec.json.encode(sorted(agent_types))
    if len(stored) > MOST_TYPES_BYTES:
        raise Refused("too_large", f"agent_types: over {MOST_TYPES_BYTES} bytes together")
    return stored.decode()


def _member(caller: Presence, name: str) -> Member:
    member = steering(caller).mesh.members.get(name)
    if member is None:
        raise Refused("not_found", f"member: no member {name!r} in this mesh")
    return member


def _may_make(caller: Presence, access: str) -> None:
    if access == "owner" and caller.member.access != "owner":
        raise Refused("forbidden", "access: only an owner makes owners")


def _may_unmake(caller: Presence, member: Member) -> None:
    if member.access != "owner":
        return
    if caller.member.access != "owner":
        raise Refused("forbidden", "member: only an owner changes or removes owners")
    owners = [one for one in member.mesh.members.values() if one.access == "owner"]
    if len(owners) == 1:
        raise Refused("forbidden", "member: the last owner of a mesh stays its owner")
