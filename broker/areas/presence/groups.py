"""Groups and topics: which mailboxes a name reaches.

Owns: joining and leaving. A session joins with its own mailbox, the other roles with the member's.
"""

from __future__ import annotations

from broker.areas.directory import boxes
from broker.areas.presence import show
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.frames import Answer
from broker.wire.presence import Group, Groups, JoinGroup, LeaveGroup, ListGroups

sql = Queries(__file__)
JOIN = sql.take("join")
LEAVE = sql.take("leave")
sql.close()

operations = Operations()


def join(turn: Turn, presence: Presence, group: str, label: str | None) -> bool:
    """Put the presence's mailbox into a group; whether that changes what peers see."""
    box = presence.box
    new = group not in box.groups
    if not new and (label is None or box.groups[group] == label):
        return False
    turn.run(JOIN, (box.id, group, label, turn.now))
    groups = presence.mesh.groups
    if group not in groups:
        turn.enter(groups, group, {})
    turn.enter(groups[group], box, label)
    turn.enter(box.groups, group, label)
    return new


@operations.handle(JoinGroup)
def join_group(turn: Turn, caller: Presence, request: JoinGroup) -> Answer:
    """Join a group or subscribe to a topic."""
    if join(turn, caller, request.group, request.label):
        _changed(turn, caller)
    return Answer()


@operations.handle(LeaveGroup)
def leave_group(turn: Turn, caller: Presence, request: LeaveGroup) -> Answer:
    """Leave a group or topic."""
    if request.group not in caller.box.groups:
        raise Refused("not_found", f"group: not in {request.group!r}")
    turn.run(LEAVE, (caller.box.id, request.group))
    boxes.leave(turn, caller.box, request.group)
    _changed(turn, caller)
    return Answer()


@operations.handle(ListGroups, drains=True)
def list_groups(turn: Turn, caller: Presence, request: ListGroups) -> Groups:
    """List the groups and topics that the caller is in."""
    names = sorted(name for name in caller.box.groups if name > (request.after or ""))
    page = names[: request.limit]
    inside = caller.mesh.groups
    return Groups(
        groups=[
            Group(group=name, label=caller.box.groups[name], members=len(inside[name]))
            for name in page
        ],
        next=page[-1] if len(names) > len(page) else None,
    )


def _changed(turn: Turn, caller: Presence) -> None:
    """The groups of all presences with this mailbox are different now."""
    for presence in caller.member.presences.values():
        if presence.box is caller.box:
            show.changed(turn, presence)
