"""The counter: odd for what is sent, even for what comes in, rising, and never given twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from mail_desk import desk, held, send, take

from broker.areas.mail.numbers import BLOCK


async def test_a_mailbox_numbers_what_it_sends_odd_and_what_it_gets_even(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        seqs = []
        for _ in range(3):
            (sent,) = await send(ann, ["bob", "ann"], 1)
            mine, its = await take(ann), await take(bob)
            assert sent["seq"] % 2 == 1
            assert mine["seq"] % 2 == its["seq"] % 2 == 0
            seqs += [sent["seq"], mine["seq"]]
        assert seqs == sorted(set(seqs))


async def test_the_same_delivery_keeps_its_seq(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        first = await take(bob)
        await bob.ask("mail.nack", **held(first), delay_ms=0)
        second = await take(bob)
        assert second["seq"] == first["seq"]
        assert second["claim"] != first["claim"]


async def test_numbers_go_on_behind_all_that_were_reserved_after_a_crash(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=0)
        (first,) = await send(bob, "bob", 1)
        for _ in range(2):
            await r.restart()
            bob = await r.join("bob", role="service", capacity=0)
            (second,) = await send(bob, "bob", 1)
            assert first["seq"] < second["seq"] <= first["seq"] + 2 * BLOCK
            first = second


async def test_a_refused_request_does_not_forget_to_reserve(tmp_path: Path) -> None:
    """The first output crosses the mark, the second is refused, then the broker is killed."""
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=1)
        await send(bob, "bob", 1)
        mail = await take(bob)
        r.broker.house.next_number = r.broker.house.number_mark
        outputs = [{"to": "bob", "body": 1}, {"to": "nobody", "body": 2}]
        await bob.refused("unknown_recipient", "mail.ack", **held(mail), outputs=outputs)
        (last,) = await send(bob, "bob", 2)
        ((mark,),) = r.rows("SELECT value FROM marks WHERE name = 'number'")
        assert mark > last["seq"]
        await r.restart()
        bob = await r.join("bob", role="service")
        (new,) = await send(bob, "bob", 3)
        assert new["seq"] > last["seq"]


@pytest.mark.parametrize("table", ["messages", "deliveries"])
async def test_the_parity_is_held_by_a_constraint(tmp_path: Path, table: str) -> None:
    async with desk(tmp_path) as r:
        ((sql,),) = r.rows("SELECT sql FROM sqlite_master WHERE name = ?", table)
        assert "PRIMARY KEY CHECK" in sql
        assert "% 2 = " in sql
