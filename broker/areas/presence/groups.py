"""Groups and topics: which mailboxes a name reaches.

Owns: joining and leaving. A session joins with its own mailbox, the other roles with the member's;
a membership lasts until it is left or the mailbox is closed.
"""

from __future__ import annotations

from typing import Final

from broker.areas.presence import show
from broker.core.house import Mailbox, Presence
from broker.core.operations import Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.frames import Answer
from broker.wire.presence import Group, Groups, JoinGroup, LeaveGroup, ListGroups

sql = Queries(__file__)
JOIN = sql.take("join")
LEAVE = sql.take("leave")
LEAVE_ALL = sql.take("leave_all")
sql.close()

operations = Operations()

MOST_NAMES_BYTES: Final = 32 * 1_024
"""Of a mailbox's groups together: every peer is shown with all of its groups, within one frame."""


def join(turn: Turn, presence: Presence, group: str, label: str | None) -> bool:
    """Put the presence's mailbox into a group; whether it was not in it before."""
    box = presence.box
    new = group not in box.groups
    if not new and (label is None or box.groups[group] == label):
        return False
    if new and sum(map(len, box.groups)) + 3 * len(box.groups) + len(group) > MOST_NAMES_BYTES:
        raise Refused(
            "too_large", f"group: the names of one's groups fill {MOST_NAMES_BYTES} bytes"
        )
    turn.run(JOIN, (box.id, group, label, turn.now))
    groups = presence.mesh.groups
    if group not in groups:
        turn.enter(groups, group, {})
    turn.enter(groups[group], box, label)
    turn.enter(box.groups, group, label)
    return new


def changed(turn: Turn, caller: Presence, *, but: Presence | None = None) -> None:
    """The groups of all presences with this mailbox are different now."""
    if not caller.mesh.watchers:
        return
    member, box = caller.member, caller.box
    for presence in member.presences.values() if box is member.box else (caller,):
        if presence.box is box and presence is not but:
            show.changed(turn, presence)


@operations.handle(JoinGroup)
def join_group(turn: Turn, caller: Presence, request: JoinGroup) -> Answer:
    """Join a group or subscribe to a topic."""
    if join(turn, caller, request.group, request.label):
        changed(turn, caller)
    return Answer()


@operations.handle(LeaveGroup)
def leave_group(turn: Turn, caller: Presence, request: LeaveGroup) -> Answer:
    """Leave a group or topic."""
    if request.group not in caller.box.groups:
        raise Refused("not_found", f"group: not in {request.group!r}")
    turn.run(LEAVE, (caller.box.id, request.group))
    _forget(turn, caller.box, request.group)
    changed(turn, caller)
    return Answer()


@operations.handle(ListGroups, drains=True)
def list_groups(turn: Turn, caller: Presence, request: ListGroups) -> Groups:
    """List the groups and topics that the caller is in."""
    after = position("group", request.after)
    own, inside = caller.box.groups, caller.mesh.groups
    groups, more = page(
        "group",
        (
            (name, Group(group=name, label=own[name], members=len(inside[name])))
            for name in sorted(own)
            if name > after
        ),
        request.limit,
        turn.settings.limits.frame,
    )
    return Groups(groups=groups, next=more)


@operations.on("mailbox.closed")
def leave_all(turn: Turn, box: Mailbox, reason: str) -> None:
    """A closed mailbox is in no group."""
    if box.groups:
        turn.run(LEAVE_ALL, (box.id,))
        for group in tuple(box.groups):
            _forget(turn, box, group)


def _forget(turn: Turn, box: Mailbox, group: str) -> None:
    groups = box.member.mesh.groups
    inside = groups[group]
    turn.strike(inside, box)
    turn.strike(box.groups, group)
    if not inside:
        turn.strike(groups, group)
