"""Mailboxes, presences, claims and waiters: what each is from the moment it is made."""

from __future__ import annotations

from typing import Any, get_args

from broker.core.holders import TAKES_FROM, Claim, Mailbox, Presence, Waiter
from broker.core.house import Member, Mesh
from broker.wire.fields import Status


def member(name: str = "ann") -> Member:
    return Member(1, Mesh(1, "default", 0), name, "member", frozenset(), None, 0)


def presence(id: int = 12) -> Presence:
    one = member()
    return Presence(id, one, Mailbox(1, one, None, chosen=False), "service", "t1")


def claim(holder: Presence, delivery: str = "d7") -> Claim:
    return Claim(7, delivery, 9, "c9", holder.box, holder, holder.member, 5, 30_000, True)


def test_the_address_of_a_mailbox() -> None:
    assert Mailbox(1, member(), None, chosen=False).address == "ann"
    assert Mailbox(2, member(), "desk", chosen=True).address == "ann/desk"


def test_a_new_mailbox_is_open_empty_and_nobody_takes_from_it() -> None:
    box = Mailbox(1, member(), "desk", chosen=True)
    assert not box.closed
    assert (box.unfinished, box.queue.ready, box.ended_through) == (0, 0, 0)
    assert (box.drainers, box.waiters, box.vacant_at) == ((), (), None)


def test_mailboxes_share_no_queue_and_no_groups() -> None:
    one, other = (Mailbox(id, member(), None, chosen=False) for id in (1, 2))
    one.queue.count(50, 1)
    one.groups["#news"] = None
    assert (other.queue.ready, other.groups) == (0, {})


def test_a_presence_is_away_until_it_has_a_connection() -> None:
    one = presence()
    connection: Any = object()
    seen: list[str] = [one.transport]
    for there in (connection, None):
        one.conversation = there
        seen.append(one.transport)
    assert seen == ["away", "online", "away"]
    assert one.name == "p12"


def test_a_presence_is_in_the_mesh_of_its_member() -> None:
    one = presence()
    assert one.mesh is one.member.mesh


def test_every_status_says_from_which_priority_it_takes() -> None:
    assert set(TAKES_FROM) == set(get_args(Status))
    assert TAKES_FROM["idle"] < TAKES_FROM["working"] < TAKES_FROM["dnd"]
    one = presence()
    assert one.takes_from == TAKES_FROM[one.status]


def test_claims_are_told_apart_though_they_say_the_same() -> None:
    holder = presence()
    one, other = claim(holder), claim(holder)
    assert one != other
    assert len({one, other}) == 2
    assert (one.long, one.restored) == (False, False)


def test_a_waiter_keeps_what_was_asked() -> None:
    one = presence()
    waiter = Waiter(one, "x", (one.box,), 3, 30_000, 5_000)
    assert (waiter.caller, waiter.request_id, waiter.boxes) == (one, "x", (one.box,))
    assert (waiter.most, waiter.lease_ms, waiter.until) == (3, 30_000, 5_000)
