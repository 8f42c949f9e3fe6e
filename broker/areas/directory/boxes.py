"""Mailboxes as things that open and close; what is in them is mail's, who is in groups presence's.

Owns: their rows, and how long one without a presence stays open.

    from      event                                                        to
    -         first hello of a session, member added                       open
    open      final bye, retention over without presence, broker's label
              left, member removed                                         closed
    closed    it never held a delivery, or none of them is left            -
    closed    hello with the same label                                    open
"""

from __future__ import annotations

from typing import Final

from broker.core.house import Mailbox, Member
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look

sql = Queries(__file__)
INSERT = sql.take("insert")
FIND = sql.take("find")
REOPEN = sql.take("reopen")
CHOOSE = sql.take("choose")
OCCUPY = sql.take("occupy")
VACATE = sql.take("vacate")
CLOSE = sql.take("close")
REACH_BACK = sql.take("reach_back")
CLOSED_BEFORE = sql.take("closed_before")
FORGET = sql.take("forget")
OWNER = sql.take("owner")
ADDRESS = sql.take("address")
ALL_OF = sql.take("all_of")
sql.close()

operations = Operations()

NEVER_HELD: Final = -1
MAY_HAVE_HELD: Final = -2


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
        if chosen:
            choose(turn, box)
        if box.vacant_at is not None:
            turn.run(OCCUPY, (box.id,))
            turn.put(box, "vacant_at", None)
        return box
    row = turn.one(FIND, (member.id, label))
    if row is None:
        id = turn.insert(INSERT, (member.id, label, chosen, turn.now))
        box = Mailbox(id, member, label, chosen=chosen)
    else:
        turn.run(REOPEN, (chosen, turn.now, row[0]))
        box = Mailbox(row[0], member, label, chosen=chosen)
        box.ended_through = row[1]
        box.stretch = MAY_HAVE_HELD
    turn.enter(turn.house.boxes, box.id, box)
    turn.enter(member.sessions, label, box)
    return box


def choose(turn: Turn, box: Mailbox) -> None:
    """A client has sent this session's label: it is its own now, whoever made it."""
    if not box.chosen:
        turn.run(CHOOSE, (box.id,))
        turn.put(box, "chosen", True)


def vacate(turn: Turn, box: Mailbox) -> None:
    """The presence of a session mailbox has left; it waits for the next one."""
    turn.run(VACATE, (turn.now, box.id))
    turn.put(box, "vacant_at", turn.now)
    if not box.reminded:  # one for each mailbox, however often its presence comes and goes
        turn.put(box, "reminded", True)
        turn.house.vacancy_ends.remind(turn, turn.now + turn.settings.mail.retention_ms, box.id)


def close(turn: Turn, box: Mailbox, reason: str) -> None:
    """Close a mailbox: what is in it has ended as of now; the rows follow in chunks."""
    through = turn.house.next_number
    turn.run(CLOSE, (turn.now, through, reason, box.id))
    turn.put(box, "closed", True)
    turn.put(box, "ended_through", through)
    if box.session is not None:
        turn.strike(box.member.sessions, box.session)
    turn.strike(turn.house.boxes, box.id)
    turn.tell("mailbox.closed", box, reason)
    if box.stretch == NEVER_HELD:
        forget(turn, box.id)


def reach_back(turn: Turn, box: Mailbox) -> None:
    """All that stood in it when it was closed has ended: it counts from its beginning again."""
    turn.run(REACH_BACK, (box.id,))
    turn.put(box, "ended_through", 0)


@operations.sweep
def end_vacancies(turn: Turn) -> None:
    """A session that did not come back for as long as mail is kept has no mailbox any more."""
    retention = turn.settings.mail.retention_ms
    for id in turn.house.vacancy_ends.due(turn):
        box = turn.house.boxes.get(id)
        if box is None:
            continue
        turn.put(box, "reminded", False)
        if box.vacant_at is None:
            continue
        if box.vacant_at + retention <= turn.now:
            close(turn, box, "session_closed")
        else:
            turn.put(box, "reminded", True)
            turn.house.vacancy_ends.remind(turn, box.vacant_at + retention, id)


def closed_before(view: Turn | Look, when: int, after: int, limit: int) -> list[int]:
    """Some of the mailboxes that were closed by then, in the order of their ids."""
    return [row[0] for row in view.all(CLOSED_BEFORE, (when, after, limit))]


def forget(turn: Turn, mailbox_id: int) -> None:
    """Nothing is known of this closed mailbox any more: its label starts anew."""
    turn.run(FORGET, (mailbox_id,))


def owner_of(view: Turn | Look, mailbox_id: int) -> int | None:
    """The member of a mailbox, open or closed."""
    row = view.one(OWNER, (mailbox_id,))
    return None if row is None else row[0]


def address_of(view: Turn | Look, mailbox_id: int) -> str:
    """The address of a mailbox, open or closed."""
    row = view.one(ADDRESS, (mailbox_id,))
    if row is None:
        return "?"
    return row[0] if row[1] is None else f"{row[0]}/{row[1]}"


def boxes_of(view: Turn | Look, member: Member) -> list[int]:
    """All mailboxes that a member has or had."""
    return [row[0] for row in view.all(ALL_OF, (member.id,))]
