"""What a message costs the storage: rows and statements, counted and never timed.

The usual way of a message (sent, claimed at birth, acked) is the product's throughput, so that a
row or a statement more on it must be decided, not happen. `Writer` counts what the program asked,
`FailingStorage` sees what SQLite was really given; both must say the same.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from failing_storage import FailingStorage
from mail_desk import Frame, desk, held, take
from rig import Peer, Rig

from broker.areas.mail.deliver import STRETCH_BITS
from broker.areas.mail.numbers import BLOCK
from broker.core.executor import SHARE

MOST_STATEMENTS: Final = 12
"""In a batch of the usual way, however many messages it has."""
TRANSACTION: Final = frozenset({"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK"})


def verbs(statements: list[str]) -> list[str]:
    """What each statement does, and to which table if it writes."""
    words = [statement.split() for statement in statements]
    names = {"INSERT": 2, "UPDATE": 1, "DELETE": 2}
    return [
        " ".join([one[0], one[names[one[0]]]]) if one[0] in names else one[0]
        for one in words
        if one[0] not in TRANSACTION
    ]


class Count:
    """Rows and statements from here on."""

    def __init__(self, r: Rig, storage: FailingStorage) -> None:
        self._writer = r.broker.store.writer
        self._executor = r.broker.executor
        self._start = self._writer.rows, self._writer.statements, self._executor.batches
        self._storage = storage
        storage.watch()

    @property
    def rows(self) -> int:
        return self._writer.rows - self._start[0]

    @property
    def statements(self) -> int:
        return self._writer.statements - self._start[1]

    @property
    def batches(self) -> int:
        return self._executor.batches - self._start[2]

    @property
    def asked(self) -> list[str]:
        """The statements of the program; an `executemany` is one."""
        return verbs(self._storage.ran)

    @property
    def written(self) -> Counter[str]:
        """What SQLite carried out; each row of an `executemany` is one."""
        return Counter(verbs(self._storage.stepped))

    def begun(self) -> int:
        """Transactions."""
        return sum(statement.startswith("BEGIN") for statement in self._storage.ran)


def ack(peer: Peer, deliveries: list[Frame]) -> None:
    """Ask for the end of each, all in one go."""
    for delivery in deliveries:
        peer.post("mail.ack", **held(delivery))


async def warm(sender: Peer, recipient: Peer, **fields: Any) -> None:
    """A first message, which writes what is written once in many thousand."""
    await sender.ask("mail.send", to="bob", body=0, **fields)
    await recipient.ask("mail.ack", **held(await take(recipient)))


@pytest.mark.parametrize("count", [1, SHARE, 5 * SHARE])
async def test_a_message_is_two_rows_inserted_and_one_updated(tmp_path: Path, count: int) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob", capacity=count)
        await warm(alice, bob)
        counted = Count(r, storage)
        for body in range(count):
            alice.post("mail.send", to="bob", body=body)
        r.broker.executor.run()
        await r.settle()
        assert counted.batches == counted.begun() == 1
        assert counted.asked == ["INSERT messages", "INSERT deliveries"]
        assert counted.written == {"INSERT messages": count, "INSERT deliveries": count}
        assert (counted.rows, counted.statements) == (2 * count, 2)

        deliveries = bob.mail()
        assert len(deliveries) == count
        counted = Count(r, storage)
        ack(bob, deliveries)
        await r.settle()
        assert counted.batches == counted.begun() == 1
        assert counted.asked == ["UPDATE deliveries"]
        assert counted.written == {"UPDATE deliveries": count}
        assert (counted.rows, counted.statements) == (count, 1)


async def test_sends_and_acks_of_many_share_the_statements_of_a_batch(tmp_path: Path) -> None:
    """Several senders and recipients, half of it sent while the other half is acked."""
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        pairs = [
            (await r.join(f"a{number}"), await r.join(f"b{number}", capacity=2 * SHARE))
            for number in range(4)
        ]
        for round_number in range(3):
            counted = Count(r, storage)
            held_now = 0
            for number, (sender, recipient) in enumerate(pairs):
                deliveries = recipient.mail()
                held_now += len(deliveries)
                ack(recipient, deliveries)
                for body in range(SHARE):
                    sender.post("mail.send", to=f"b{number}", body=body)
            await r.settle()
            assert counted.batches == 1
            assert counted.statements == len(counted.asked) <= MOST_STATEMENTS
            assert "SELECT" not in counted.asked
            if round_number:
                assert held_now == len(pairs) * SHARE
                assert counted.rows == 3 * held_now
                assert sum(counted.written.values()) == counted.rows


async def test_marks_and_stretches_are_written_once_in_many_thousand(tmp_path: Path) -> None:
    """At most one row for `BLOCK` numbers, and one for each mailbox in a stretch of numbers."""
    assert BLOCK >= 2 * 30_000
    assert 1 << STRETCH_BITS >= 2 * 8_000
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await warm(alice, bob)
        house = r.broker.house
        stretch = 1 << STRETCH_BITS

        house.next_number = (house.next_number // stretch + 1) * stretch - 1
        counted = Count(r, storage)
        await warm(alice, bob)
        await warm(alice, bob)
        assert counted.written["INSERT delivery_stretches"] == 1
        assert counted.written["INSERT marks"] == 0
        assert counted.rows == 2 * 3 + 1

        house.next_number = house.number_mark
        counted = Count(r, storage)
        await warm(alice, bob)
        await warm(alice, bob)
        assert counted.written["INSERT marks"] == 1
        assert counted.rows == 2 * 3 + 1 + counted.written["INSERT delivery_stretches"]
        assert counted.written["INSERT delivery_stretches"] <= 1


async def test_a_key_costs_one_row_and_one_look(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await warm(alice, bob)
        counted = Count(r, storage)
        await alice.ask("mail.send", to="bob", body=1, key="k")
        assert counted.asked == [
            "SELECT",
            "INSERT messages",
            "INSERT deliveries",
            "INSERT message_keys",
        ]
        assert (counted.rows, counted.statements) == (3, 4)
        again = Count(r, storage)
        await alice.ask("mail.send", to="bob", body=1, key="k")
        assert set(again.asked) == {"SELECT"}
        assert again.rows == 0
        assert again.statements <= 4
        ended = Count(r, storage)
        await bob.ask("mail.ack", **held(await take(bob)))
        assert ended.asked == ["UPDATE deliveries"]


async def test_a_receipt_costs_a_message_more(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await warm(alice, bob, receipt=True)
        await alice.ask("mail.ack", **held(await take(alice)))
        counted = Count(r, storage)
        await alice.ask("mail.send", to="bob", body=1, receipt=True)
        assert (counted.rows, counted.asked) == (2, ["INSERT messages", "INSERT deliveries"])
        counted = Count(r, storage)
        await bob.ask("mail.ack", **held(await take(bob)))
        assert counted.written == {
            "SELECT": 1,
            "INSERT messages": 1,
            "INSERT deliveries": 1,
            "UPDATE deliveries": 1,
        }
        assert counted.rows == 3
        assert counted.statements == 4 + 2  # the savepoint's
        counted = Count(r, storage)
        await alice.ask("mail.ack", **held(await take(alice)))
        assert counted.rows == counted.statements == 1


async def test_an_output_costs_its_rows_and_one_look(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await warm(bob, bob)
        await alice.ask("mail.send", to="alice", body=0)
        await alice.ask("mail.ack", **held(await take(alice)))
        await alice.ask("mail.send", to="bob", body=1)
        counted = Count(r, storage)
        output = {"to": "alice", "body": 2}
        await bob.ask("mail.ack", **held(await take(bob)), outputs=[output])
        assert counted.asked == [
            "SELECT",
            "INSERT messages",
            "INSERT deliveries",
            "UPDATE deliveries",
        ]
        assert counted.rows == 3
        assert counted.statements == 4 + 2  # the savepoint's


async def test_a_fan_out_costs_one_message_and_a_row_for_each(tmp_path: Path) -> None:
    storage = FailingStorage()
    async with desk(tmp_path, storage) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await warm(alice, bob)
        team = [await r.join("bob", session=f"s{number}") for number in range(50)]
        for one in team:
            await one.ask("group.join", group="@team")
        for first in (True, False):
            counted = Count(r, storage)
            sent = await alice.ask("mail.send", to="@team", body=1)
            assert sent["total"] == len(team)
            assert counted.rows == 1 + len(team) * (2 if first else 1)
            assert counted.statements == (3 if first else 2)
            counted = Count(r, storage)
            for one in team:
                ack(one, one.mail())
            await r.settle()
            assert counted.batches == 1
            assert (counted.rows, counted.asked) == (len(team), ["UPDATE deliveries"])
