"""How a delivery ends other than by its ack, and who hears of any end.

Owns: `dead`, `expired` and `cancelled`, receipts, and the hook of a kind. One transaction with what
caused it.
"""

from __future__ import annotations

import msgspec

from broker.areas.directory.boxes import address_of
from broker.areas.mail.letters import post
from broker.areas.mail.records import Facts, facts, open_box, write_history
from broker.core.house import Mailbox
from broker.core.turn import Turn
from broker.store.queries import Queries

sql = Queries(__file__)
END = sql.take("end")
REFUSED = sql.take("refused")
sql.close()


def end(turn: Turn, found: Facts, state: str, reason: str | None) -> None:
    """End a delivery that nobody holds (any more). `found` says how it stood."""
    turn.later(END, (state, turn.now, reason if state == "expired" else None, found.seq))
    write_history(turn, found.seq, state, turn.now, reason=reason)
    if found.state != "dead":
        box = open_box(turn, found)
        if box is not None:
            uncount(turn, found, box)
        tell(turn, found, state, reason)


def uncount(turn: Turn, found: Facts, box: Mailbox) -> None:
    """An unfinished delivery is finished; if it was ready, it waits no more."""
    turn.put(box, "unfinished", box.unfinished - 1)
    if found.state == "queued" and found.due_at is None:
        unready(turn, found, box)


def unready(turn: Turn, found: Facts, box: Mailbox) -> None:
    """A ready delivery is ready no more."""
    turn.undo(box.queue.recount, found.priority, 1)
    box.queue.count(found.priority, -1)
    box.queue.drop(found.seq)


def tell(turn: Turn, found: Facts, state: str, reason: str | None) -> None:
    """A delivery has ended: its sender's receipt, and the noun that its kind belongs to."""
    hook = turn.hooks.get(found.kind)
    if hook is not None:
        hook.on_ended(turn, found.message, state, reason)
    if not found.receipt or found.sender_id is None:
        return
    to = _sender_box(turn, found)
    if to is None:
        return
    body = {
        "message": f"m{found.message}",
        "delivery": f"d{found.seq}",
        "to": _address(turn, found),
        "state": state,
        "reason": reason,
    }
    post(turn, to, "receipt", msgspec.json.encode(body))


def tell_refused(turn: Turn, message: int, total: int) -> None:
    """The copies for mailboxes that were full have ended as the message was accepted."""
    for (seq,) in turn.all(REFUSED, (message, total)):
        found = facts(turn, seq)
        if found is not None:
            tell(turn, found, "expired", "mailbox_full")


def _sender_box(turn: Turn, found: Facts) -> Mailbox | None:
    """Where the sender hears of it: the mailbox it sent from, else its member's."""
    box = turn.house.boxes.get(found.from_mailbox or 0)
    if box is not None:
        return box
    for mesh in turn.house.meshes.values():
        if mesh.id == found.mesh_id:
            for member in mesh.members.values():
                if member.id == found.sender_id:
                    return member.box
    return None


def _address(turn: Turn, found: Facts) -> str:
    box = turn.house.boxes.get(found.mailbox_id)
    return address_of(turn, found.mailbox_id) if box is None else box.address
