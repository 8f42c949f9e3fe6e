"""Who drains which mailbox: the precedence of roles among those who are online and take pushes.

Owns: the two-way link between mailboxes and the presences that may be handed their mail. It follows
from the presences alone; a presence that comes or goes changes its own links, and those of others
only when another role is the first from then on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from broker.core.house import Mailbox, Member, Presence
from broker.core.turn import Turn
from broker.wire.fields import Role

PRECEDENCE: Final[tuple[Role, ...]] = ("control-plane", "service", "session")


def redrain(turn: Turn, presence: Presence) -> None:
    """A presence has come, gone, or changed its capacity or status."""
    taking = presence.conversation is not None and presence.capacity > 0 and not presence.observe
    member, role = presence.member, presence.role
    if role not in member.takers:
        turn.enter(member.takers, role, {})
    takers = member.takers[role]
    if taking != (presence in takers):
        before = _first_role(member)
        if taking:
            turn.enter(takers, presence, None)
        else:
            turn.strike(takers, presence)
        _relink(turn, presence, taking=taking, before=before)
    turn.stirred.extend(presence.drains)


def _first_role(member: Member) -> Role | None:
    """The role whose presences drain the member's own mailbox."""
    return next((role for role in PRECEDENCE if member.takers.get(role)), None)


def _takers(member: Member, role: Role | None) -> Iterable[Presence]:
    return () if role is None else member.takers.get(role, ())


def _relink(turn: Turn, presence: Presence, *, taking: bool, before: Role | None) -> None:
    member, role = presence.member, presence.role
    first = _first_role(member)
    if presence.box is not member.box:
        _link(turn, presence.box, (presence,) if taking else ())
    if first != before:
        for passed in _takers(member, before):
            turn.put(passed, "drains", _own(passed))
        for one in _takers(member, first):
            turn.put(one, "drains", (*_own(one), member.box))
    if not taking:
        turn.put(presence, "drains", ())
    elif role == first:
        turn.put(presence, "drains", (*_own(presence), member.box))
    else:
        turn.put(presence, "drains", _own(presence))
    if role in (before, first):
        _link(turn, member.box, tuple(_takers(member, first)))
        turn.stirred.append(member.box)


def _own(presence: Presence) -> tuple[Mailbox, ...]:
    return () if presence.box is presence.member.box else (presence.box,)


def _link(turn: Turn, box: Mailbox, drainers: tuple[Presence, ...]) -> None:
    """A mailbox that nobody drained kept no window on its queue, and one from before is stale."""
    if not (box.drainers and drainers):
        turn.undo(box.queue.window.clear)
        box.queue.window.clear()
    turn.put(box, "drainers", drainers)
