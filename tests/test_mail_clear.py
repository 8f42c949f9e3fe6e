"""Clearing up: cancel, redrive and drop, what each of them does, and who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import bodies, desk, fail, held, receipts, send, steps, take, traced
from rig import Peer


async def dead_letters(ann: Peer, bob: Peer, *values: object, **fields: Any) -> list[str]:
    """Let these die in bob's mailbox; their deliveries."""
    gone = []
    for value in values:
        await send(ann, "bob", value, **fields)
        mail = await take(bob)
        await bob.ask("mail.nack", **held(mail), dead=True)
        gone.append(mail["delivery"])
    return gone


async def test_cancel_stops_what_nobody_holds(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        cat = await r.join("cat", role="service")
        await r.join("dan", role="service", capacity=0)
        eve = await r.join("eve", role="service")
        (sent,) = await send(ann, ["bob", "cat", "dan", "eve"], 1)
        mail = await take(bob)
        await cat.ask("mail.ack", **held(await take(cat)))
        await eve.ask("mail.nack", **held(await take(eve)))  # in backoff: nobody holds it
        assert await ann.ask("mail.cancel", message=sent["message"]) == {
            "cancelled": 2,
            "too_late": 2,
        }
        trace = await ann.ask("mail.trace", message=sent["message"])
        states = {one["mailbox"]: one["state"] for one in trace["deliveries"]}
        assert states == {
            "bob": "claimed",
            "cat": "acked",
            "dan": "cancelled",
            "eve": "cancelled",
        }
        assert await ann.ask("mail.cancel", message=sent["message"]) == {
            "cancelled": 0,
            "too_late": 2,
        }
        await bob.ask("mail.nack", **held(mail), delay_ms=5)
        assert (await ann.ask("mail.cancel", message=sent["message"]))["cancelled"] == 1
        await r.advance(10_000)
        assert bob.mail() == eve.mail() == []


async def test_only_the_sender_cancels(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", role="service", capacity=0)
        owner = await r.join("owner", observe=True)
        (sent,) = await send(ann, "bob", 1)
        for stranger in (bob, owner):
            await stranger.refused("not_found", "mail.cancel", message=sent["message"])
        for message in ("m999", "m2", "nonsense", "d2"):
            await ann.refused("not_found", "mail.cancel", message=message)
        other = await r.join("ann", role="service")
        assert (await other.ask("mail.cancel", message=sent["message"]))["cancelled"] == 1


async def test_what_is_cancelled_makes_room(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1)
        await ann.refused("mailbox_full", "mail.send", to="bob", body=2)
        await ann.ask("mail.cancel", message=sent["message"])
        (new,) = await send(ann, "bob", 2)
        assert new["deliveries"][0]["depth"] == 0


async def test_a_cancelled_head_makes_way(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1)
        (sent,) = await send(ann, "bob", 2)
        await send(ann, "bob", 3)
        await ann.ask("mail.cancel", message=sent["message"])
        await bob.ask("mail.ack", **held(await take(bob)))
        assert bodies(bob.mail()) == [3]


async def test_a_dead_delivery_is_redriven_as_if_new(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1, max_attempts=2)
        await fail(bob, 2)
        before = await traced(ann, sent["message"])
        assert (before["state"], before["failures"], before["claims"]) == ("dead", 2, 2)
        answer = await bob.ask("mail.redrive", delivery=before["delivery"])
        assert answer == {"count": 1, "more": False}
        mail = await take(bob)
        assert (mail["attempt"], mail["claims"], mail["seq"]) == (1, 1, before["seq"])
        await fail_again(bob, mail)
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["failures"]) == ("dead", 2)
        assert steps(gone).count("redriven") == 1
        assert steps(gone).count("dead") == 2
        assert steps(gone).count("claimed") == 4


async def fail_again(bob: Peer, mail: dict[str, Any]) -> None:
    """Fail with this mail and with its next attempt."""
    await bob.ask("mail.nack", **held(mail), delay_ms=0)
    await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)


async def test_a_redriven_delivery_has_its_life_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (gone,) = await dead_letters(ann, bob, 1, ttl_ms=10_000)
        await r.advance(60_000)
        await bob.ask("presence.update", capacity=0)
        await bob.ask("mail.redrive", delivery=gone)
        await r.advance(9_999)
        await bob.ask("presence.update", capacity=1)
        assert bodies(bob.mail()) == [1]


async def test_only_dead_ones_are_redriven(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1, 2)
        mail = await take(bob)
        for _ in range(2):
            answer = await bob.ask("mail.redrive", delivery=mail["delivery"])
            assert answer == {"count": 0, "more": False}
            if not bob.mail():
                await bob.ask("presence.update", capacity=0)
                await bob.ask("mail.ack", **held(mail))


async def test_a_mailbox_is_redriven_bit_by_bit(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await dead_letters(ann, bob, *range(5))
        await bob.ask("presence.update", capacity=0)
        assert await bob.ask("mail.redrive", mailbox="bob", limit=2) == {"count": 2, "more": True}
        assert await bob.ask("mail.redrive", mailbox="bob", limit=3) == {"count": 3, "more": False}
        assert await bob.ask("mail.redrive", mailbox="bob") == {"count": 0, "more": False}
        await bob.ask("presence.update", capacity=9)
        assert bodies(bob.mail()) == list(range(5))


async def test_a_redrive_fills_over_the_depth_and_after_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await dead_letters(ann, bob, 1, 2)
        await r.restart()
        bob = await r.join("bob", role="service")
        await bob.ask("mail.redrive", mailbox="bob")
        assert bodies(bob.mail()) == [1, 2]


async def test_dropped_dead_ones_end_as_cancelled_without_a_second_receipt(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (gone,) = await dead_letters(ann, bob, 1, receipt=True)
        assert await receipts(ann) == [("dead", "rejected")]
        assert await bob.ask("mail.drop", delivery=gone) == {"count": 1, "more": False}
        assert ann.mail() == []
        ((state,),) = r.rows("SELECT state FROM deliveries WHERE seq = ?", int(gone[1:]))
        assert state == "cancelled"
        assert await bob.ask("mail.drop", delivery=gone) == {"count": 0, "more": False}
        assert await bob.ask("mail.redrive", delivery=gone) == {"count": 0, "more": False}
        assert (await bob.ask("mail.dead"))["deliveries"] == []


async def test_dropped_queued_ones_have_their_receipts(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", capacity=10)
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1)
        (two,) = await send(ann, "bob", 2, receipt=True)
        await send(ann, "bob", 3, receipt=True, delay_ms=60_000)
        mail = await take(bob)
        assert await bob.ask("mail.drop", mailbox="bob") == {"count": 0, "more": False}
        assert await bob.ask("mail.drop", delivery=mail["delivery"]) == {"count": 0, "more": False}
        answer = await bob.ask("mail.drop", mailbox="bob", state="queued")
        assert answer == {"count": 2, "more": False}
        assert await receipts(ann) == [("cancelled", "dropped")] * 2
        gone = await traced(ann, two["message"])
        assert (gone["state"], steps(gone)) == ("cancelled", ["accepted", "cancelled"])
        await bob.ask("mail.ack", **held(mail))
        assert bob.mail() == []


async def test_one_delivery_is_dropped_in_the_state_that_is_meant(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1)
        delivery = sent["deliveries"][0]["delivery"]
        assert (await bob.ask("mail.drop", delivery=delivery, state="dead"))["count"] == 0
        assert (await bob.ask("mail.drop", delivery=delivery, state="queued"))["count"] == 1
        (sent,) = await send(ann, "bob", 2)
        delivery = sent["deliveries"][0]["delivery"]
        assert (await bob.ask("mail.drop", delivery=delivery))["count"] == 1


async def test_only_what_is_older_is_dropped(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await dead_letters(ann, bob, 1, 2)
        await r.advance(1_000)
        (young,) = await dead_letters(ann, bob, 3)
        answer = await bob.ask("mail.drop", delivery=young, older_than_ms=1_000)
        assert answer["count"] == 0
        assert await bob.ask("mail.drop", mailbox="bob", older_than_ms=1_000, limit=1) == {
            "count": 1,
            "more": True,
        }
        assert (await bob.ask("mail.drop", mailbox="bob", older_than_ms=1_000))["count"] == 1
        assert (await bob.ask("mail.drop", mailbox="bob", older_than_ms=1_000))["count"] == 0
        assert (await bob.ask("mail.drop", mailbox="bob"))["count"] == 1


async def test_a_queue_is_dropped_bit_by_bit(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(3))
        await send(ann, "bob", *range(3), delay_ms=1_000)
        more = []
        for limit in (2, 1, 1, 2):
            answer = await bob.ask("mail.drop", mailbox="bob", state="queued", limit=limit)
            more.append((answer["count"], answer["more"]))
        assert more == [(2, True), (1, True), (1, True), (2, False)]
        await r.advance(1_000)
        await bob.ask("presence.update", capacity=9)
        assert bob.mail() == []


@pytest.mark.parametrize("op", ["mail.redrive", "mail.drop"])
async def test_the_owner_of_the_mailbox_or_an_admin(tmp_path: Path, op: str) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        owner = await r.join("owner", observe=True)
        other = await r.join("bob", observe=True)
        gone = await dead_letters(ann, bob, 1, 2)
        await bob.ask("presence.update", capacity=0)
        await ann.refused("not_found", op, delivery=gone[0])
        await ann.refused("forbidden", op, mailbox="bob")
        for mailbox in ("nobody", "bob/s9"):
            await owner.refused("not_found", op, mailbox=mailbox)
        for delivery in ("d999", "nonsense"):
            await owner.refused("not_found", op, delivery=delivery)
        assert (await owner.ask(op, delivery=gone[0]))["count"] == 1
        assert (await other.ask(op, mailbox="bob"))["count"] == 1
        assert (await owner.ask(op, mailbox="bob/s1"))["count"] == 0


@pytest.mark.parametrize("op", ["mail.redrive", "mail.drop"])
async def test_one_object_and_its_bounds(tmp_path: Path, op: str) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        for fields in (
            {},
            {"delivery": "d2", "mailbox": "bob"},
            {"mailbox": "bob", "limit": 0},
            {"mailbox": "bob", "limit": 1_001},
        ):
            await bob.refused("bad_request", op, **fields)


async def test_an_admin_of_another_mesh_finds_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (gone,) = await dead_letters(ann, bob, 1)
        owner = await r.join("owner", observe=True)
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", observe=True, mesh="far", token=made["token"])
        for op in ("mail.redrive", "mail.drop"):
            await far.refused("not_found", op, delivery=gone)
            await far.refused("not_found", op, mailbox="bob")
        for op in ("mail.list", "mail.dead"):
            await far.refused("not_found", op, mailbox="bob")


@pytest.mark.parametrize("older", [2**63 - 1, 2**64, 10**400])
async def test_nothing_is_older_than_the_world(tmp_path: Path, older: int) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (gone,) = await dead_letters(ann, bob, 1)
        for which in ({"mailbox": "bob"}, {"mailbox": "bob", "state": "queued"}):
            answer = await bob.ask("mail.drop", **which, older_than_ms=older)
            assert answer == {"count": 0, "more": False}
        assert (await bob.ask("mail.drop", delivery=gone, older_than_ms=older))["count"] == 0


async def test_an_id_is_written_in_one_way(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (gone,) = await dead_letters(ann, bob, 1)
        for alias in (f"d0{gone[1:]}", f"D{gone[1:]}", f"d+{gone[1:]}", gone[1:], "d", "m1"):
            await bob.refused("not_found", "mail.redrive", delivery=alias)
        assert (await bob.ask("mail.redrive", delivery=gone))["count"] == 1


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("crash", [True, False])
async def test_a_dead_letter_outlives_the_end_of_its_session(
    tmp_path: Path, *, one_by_one: bool, crash: bool
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        await send(ann, "bob/s1", "dead")
        mail = await take(bob)
        await bob.ask("mail.nack", **held(mail), dead=True)
        await bob.ask("presence.update", capacity=0)
        (waits,) = await send(ann, "bob/s1", "ends with the session")
        await bob.ask("bye", final=True)
        which = {"delivery": mail["delivery"]} if one_by_one else {"mailbox": "bob/s1"}
        again = await r.join("bob", session="s1")
        if crash:
            await r.restart()
            again = await r.join("bob", session="s1")
        assert again.mail() == []
        assert (await again.ask("mail.redrive", **which))["count"] == 1
        assert bodies(again.mail()) == ["dead"]
        if crash:
            ann = await r.join("ann", role="service")
        assert (await traced(ann, waits["message"]))["state"] == "expired"
        assert (await again.ask("mail.list", state="queued"))["deliveries"] == []
