"""Who drains which mailbox: the precedence of roles among those who are online.

Owns: the two-way link between mailboxes and the presences that may be handed their mail. It follows
from the presences alone, and is worked out anew for a member whenever one of them changes.
"""

from __future__ import annotations

from typing import Final

from broker.core.house import Mailbox, Member, Presence
from broker.core.turn import Turn

PRECEDENCE: Final = ("control-plane", "service", "session")


def redrain(turn: Turn, member: Member) -> None:
    """A presence of this member has come, gone or changed its capacity or status."""
    turn.undo(work_out, member)
    work_out(member)
    turn.stirred.append(member.box)
    turn.stirred.extend(member.sessions.values())


def before_redrain(turn: Turn, member: Member) -> None:
    """Say this before the change itself, so that taking it back ends with the old links."""
    turn.undo(work_out, member)


def work_out(member: Member) -> None:
    """Link the mailboxes of a member with their drainers."""
    takers = [
        one
        for one in member.presences.values()
        if one.conversation is not None and one.capacity and not one.observe
    ]
    first: list[Presence] = []
    for role in PRECEDENCE:
        first = [one for one in takers if one.role == role]
        if first:
            break
    _link(member.box, tuple(first))
    for box in member.sessions.values():
        _link(box, tuple(one for one in takers if one.box is box))
    for one in member.presences.values():
        one.drains = ()
    for one in takers:
        own = () if one.box is member.box else (one.box,)
        one.drains = (*own, member.box) if one in first else own


def _link(box: Mailbox, drainers: tuple[Presence, ...]) -> None:
    box.drainers = drainers
    if not drainers:
        box.queue.window.clear()
