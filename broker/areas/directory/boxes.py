"""Mailboxes as things that open and close; what is in them is mail's.

Owns: their rows, and who is in which group through them.

    from      event                                                        to
    -         first hello of a session, member added                       open
    open      final bye, retention over without presence, broker's label
              left, member removed                                         closed
    closed    hello with the same label                                    open, numbers go on
"""

from __future__ import annotations

from broker.core.house import Mailbox, Member
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look

sql = Queries(__file__)
INSERT = sql.take("insert")
FIND = sql.take("find")
REOPEN = sql.take("reopen")
OCCUPY = sql.take("occupy")
VACATE = sql.take("vacate")
CLOSE = sql.take("close")
LEAVE_GROUPS = sql.take("leave_groups")
OWNER = sql.take("owner")
ADDRESS = sql.take("address")
ALL_OF = sql.take("all_of")
sql.close()


def open_member_box(turn: Turn, member: Member) -> Mailbox:
    """The mailbox of a new member."""
    id = turn.insert(INSERT, (member.id, None, True, turn.now))
    box = Mailbox(id, member, None, chosen=True)
    turn.enter(turn.house.boxes, id, box)
    return box


def open_session_box(turn: Turn, member: Member, label: str, *, chosen: bool) -> Mailbox:
    """The mailbox of a session: the open one, the closed one again, or a new one."""
    box = member.sessions.get(label)
    if box is not None:
        if box.vacant_at is not None or (chosen and not box.chosen):
            turn.run(OCCUPY, (chosen, box.id))
            turn.put(box, "vacant_at", None)
            turn.put(box, "chosen", box.chosen or chosen)
        return box
    row = turn.one(FIND, (member.id, label))
    if row is None:
        id = turn.insert(INSERT, (member.id, label, chosen, turn.now))
        box = Mailbox(id, member, label, chosen=chosen)
    else:
        turn.run(REOPEN, (chosen, turn.now, row[0]))
        box = Mailbox(row[0], member, label, chosen=chosen)
        box.ended_through = row[1]
    turn.enter(turn.house.boxes, box.id, box)
    turn.enter(member.sessions, label, box)
    return box


def vacate(turn: Turn, box: Mailbox) -> None:
    """The last presence of a session mailbox has left; it waits for the next one."""
    turn.run(VACATE, (turn.now, box.id))
    turn.put(box, "vacant_at", turn.now)


def close(turn: Turn, box: Mailbox, reason: str) -> None:
    """Close a mailbox: what is in it has ended as of now; the rows follow in chunks."""
    through = turn.house.next_number
    turn.run(CLOSE, (turn.now, through, reason, box.id))
    turn.run(LEAVE_GROUPS, (box.id,))
    turn.put(box, "closed", True)
    turn.put(box, "ended_through", through)
    for group in tuple(box.groups):
        leave(turn, box, group)
    if box.session is not None:
        turn.strike(box.member.sessions, box.session)
    turn.strike(turn.house.boxes, box.id)
    turn.tell("mailbox.closed", box, reason)


def leave(turn: Turn, box: Mailbox, group: str) -> None:
    """Take a mailbox out of a group in memory."""
    groups = box.member.mesh.groups
    inside = groups[group]
    turn.strike(inside, box)
    turn.strike(box.groups, group)
    if not inside:
        turn.strike(groups, group)


def owner_of(turn: Turn | Look, mailbox_id: int) -> int | None:
    """The member of a mailbox, open or closed."""
    row = turn.one(OWNER, (mailbox_id,))
    return None if row is None else row[0]


def address_of(turn: Turn | Look, mailbox_id: int) -> str:
    """The address of a mailbox, open or closed."""
    row = turn.one(ADDRESS, (mailbox_id,))
    if row is None:
        return "?"
    return row[0] if row[1] is None else f"{row[0]}/{row[1]}"


def boxes_of(turn: Turn | Look, member: Member) -> list[int]:
    """All mailboxes that a member has or had."""
    return [row[0] for row in turn.all(ALL_OF, (member.id,))]
