"""What each thing costs: rows and statements, pinned, so that the next feature can't double them.

Nothing is timed. Rows and statements are what the writer counts; what SQLite itself was given to
run is traced beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from failing_storage import FailingStorage
from rig import Peer, Rig, rig

from broker.areas.mail.deliver import STRETCH_BITS
from broker.areas.mail.numbers import BLOCK
from broker.core.executor import BATCH_REQUESTS
from broker.core.queue import WINDOW
from broker.store.rows import AT_ONCE

MESSAGES: Final = 1_000
MOST_STATEMENTS: Final = 12
READING: Final = ("SELECT", "WITH")


class Costs:
    """Two members with room for everything, and what each of their requests costs."""

    def __init__(self, r: Rig, storage: FailingStorage, alice: Peer, bob: Peer) -> None:
        self.rig = r
        self.storage = storage
        self.alice = alice
        self.bob = bob

    async def of(self, peer: Peer, op: str, **fields: Any) -> tuple[int, int]:
        """Rows and statements of a request that is done."""
        writer = self.rig.broker.store.writer
        self.storage.watch()
        rows, statements = writer.rows, writer.statements
        await peer.ask(op, **fields)
        return writer.rows - rows, writer.statements - statements

    async def held(self, **content: Any) -> dict[str, Any]:
        """A delivery that bob was handed, and may ack."""
        await self.alice.ask("mail.send", to="bob", body=1, **content)
        mail = self.bob.mail()[-1]
        return {"delivery": mail["delivery"], "claim": mail["claim"]}


@pytest.fixture
async def costs(tmp_path: Path) -> AsyncIterator[Costs]:
    """Costs, once what is paid by the thousand was paid."""
    storage = FailingStorage()
    async with rig(tmp_path, storage, limits__send_rate=0) as r:
        alice = await r.join("alice", role="service", capacity=10_000)
        bob = await r.join("bob", role="service", capacity=10_000)
        costs = Costs(r, storage, alice, bob)
        for sender, recipient in ((alice, "bob"), (bob, "alice")):
            await sender.ask("mail.send", to=recipient, body=0)
        bob.mail()
        yield costs


def started(statements: list[str]) -> dict[str, int]:
    """How often each kind of statement ran."""
    counts: dict[str, int] = {}
    for statement in statements:
        kind = statement.lstrip().split("(")[0].split("SET")[0].strip()
        counts[kind] = counts.get(kind, 0) + 1
    return counts


async def test_a_message_is_two_rows_and_one_change(costs: Costs) -> None:
    r, storage, alice, bob = costs.rig, costs.storage, costs.alice, costs.bob
    writer = r.broker.store.writer
    rows, statements, batches = writer.rows, writer.statements, r.broker.executor.batches
    storage.watch()
    for number in range(MESSAGES):
        alice.post("mail.send", to="bob", body=number)
    await r.settle()
    for mail in bob.mail():
        bob.post("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
    await r.settle()

    # A row says now and then which stretch of the counter holds mail of a mailbox, and how far
    # numbers are reserved.
    numbers = 2 * MESSAGES
    seldom = numbers // (1 << STRETCH_BITS) + 1 + numbers // BLOCK + 1
    assert 3 * MESSAGES <= writer.rows - rows <= 3 * MESSAGES + seldom
    ran = started(storage.stepped)
    steps = MESSAGES // AT_ONCE + MESSAGES % AT_ONCE
    assert ran.pop("INSERT INTO messages") == ran.pop("INSERT INTO deliveries") == steps
    assert ran.pop("UPDATE deliveries") == -(-MESSAGES // BATCH_REQUESTS)
    taken = 2 * -(-MESSAGES // BATCH_REQUESTS)
    assert ran.pop("BEGIN IMMEDIATE") == ran.pop("COMMIT") == taken
    assert r.broker.executor.batches - batches == taken
    assert sum(ran.values()) <= seldom, "nothing else ran, and nothing was read"
    assert writer.statements - statements <= 2 * taken + seldom
    assert r.rows("SELECT count(*) FROM deliveries WHERE state = 'acked'") == [(MESSAGES,)]


async def test_what_is_paid_by_the_thousand(costs: Costs) -> None:
    r = costs.rig
    assert BLOCK >= 1 << 16, "a mark is written for 32,768 messages"
    assert STRETCH_BITS >= 14, "a mailbox has one row for 8,192 messages"
    house = r.broker.house
    house.next_number = (5 << STRETCH_BITS) - 1  # the last number of one stretch, an odd one
    house.number_mark = house.next_number + 2
    costs.storage.watch()
    for _ in range(3):
        await costs.alice.ask("mail.send", to="bob", body=1)
    ran = started(costs.storage.stepped)
    assert ran["INSERT INTO delivery_stretches"] == ran["INSERT INTO marks"] == 1


async def test_a_mixed_batch_has_few_statements(costs: Costs) -> None:
    r, writer = costs.rig, costs.rig.broker.store.writer
    await costs.alice.ask("presence.update", capacity=10_000)
    for _ in range(4):
        statements, batches = writer.statements, r.broker.executor.batches
        for mail in costs.bob.mail():
            costs.bob.post("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        for number in range(200):
            more = {"meta": {"n": number}} if number % 2 else {}
            costs.alice.post("mail.send", to="bob", body=number, **more)
            costs.alice.post("mail.send", to=["bob", "alice"], body=number)
            costs.alice.post("mail.send", to="bob", body=number, delay_ms=1_000)
        await r.settle()
        taken = r.broker.executor.batches - batches
        assert writer.statements - statements <= MOST_STATEMENTS * taken


async def test_a_backlog_costs_one_read_for_each_window(costs: Costs) -> None:
    """Bob has room for 100, so that what comes waits, and each ack makes room for the oldest."""
    r, writer = costs.rig, costs.rig.broker.store.writer
    await costs.bob.ask("presence.update", capacity=100)
    for _ in range(5):
        statements, batches = writer.statements, r.broker.executor.batches
        costs.storage.watch()
        acked = 0
        for mail in costs.bob.mail():
            costs.bob.post("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
            acked += 1
        for number in range(200):
            costs.alice.post("mail.send", to="bob", body=number)
        await r.settle()
        taken = r.broker.executor.batches - batches
        reads = [sql for sql in costs.storage.ran if sql.startswith(READING)]
        assert len(reads) <= acked // WINDOW + 1
        assert writer.statements - statements <= MOST_STATEMENTS * taken + 6 * len(reads)


async def test_nothing_is_read_to_push(costs: Costs) -> None:
    for content in ({}, {"meta": {"a": 1}}, {"priority": "critical"}):
        for to in ("bob", ["bob", "alice"], "*"):
            assert await costs.of(costs.alice, "mail.send", to=to, body=1, **content)
            assert not [sql for sql in costs.storage.ran if sql.startswith(READING)]
    for mail in (*costs.bob.mail(), *costs.alice.mail()):
        if "a" in (mail["meta"] or {}):
            peer = costs.bob if mail["mailbox"] == "bob" else costs.alice
            await costs.of(peer, "mail.ack", delivery=mail["delivery"], claim=mail["claim"])
            assert not [sql for sql in costs.storage.ran if sql.startswith(READING)]


SENDS: Final[dict[str, tuple[dict[str, Any], tuple[int, int]]]] = {
    "plain": ({}, (2, 2)),
    "key": ({"key": "k"}, (3, 4)),
    "meta": ({"meta": {"a": 1}}, (2, 2)),
    "receipt": ({"receipt": True}, (2, 2)),
    "receipts": ({"receipt": True, "to": "*"}, (2, 3)),  # a full mailbox is told at once
    "reply_to": ({"reply_to": "m1"}, (2, 4)),
    "delay": ({"delay_ms": 1_000}, (2, 2)),
}


@pytest.mark.parametrize("what", SENDS)
async def test_a_send_costs(costs: Costs, what: str) -> None:
    content, cost = SENDS[what]
    assert await costs.of(costs.alice, "mail.send", **{"to": "bob", "body": 1, **content}) == cost


async def test_a_repeated_key_costs_no_row(costs: Costs) -> None:
    await costs.alice.ask("mail.send", to="bob", body=1, key="k")
    assert await costs.of(costs.alice, "mail.send", to="bob", body=1, key="k") == (0, 3)


async def test_a_queued_message_costs_as_much_and_a_pull_one_change(costs: Costs) -> None:
    await costs.bob.ask("presence.update", capacity=0)
    assert await costs.of(costs.alice, "mail.send", to="bob", body=1) == (2, 2)
    assert await costs.of(costs.bob, "mail.claim") == (1, 4)


async def test_a_queue_is_read_by_the_window(costs: Costs) -> None:
    await costs.bob.ask("presence.update", capacity=0)
    for number in range(200):
        costs.alice.post("mail.send", to="bob", body=number)
    await costs.rig.settle()
    rows, statements = await costs.of(costs.bob, "presence.update", capacity=10_000)
    assert rows == 201
    assert len(costs.bob.mail()) == 200
    reads = [sql for sql in costs.storage.ran if sql.startswith(READING)]
    assert len(reads) <= 200 // WINDOW + 1
    assert statements <= 3 + 2 * len(reads)


@pytest.mark.parametrize("copies", [1, 50, 500])
async def test_a_fan_out_costs_one_row_for_each_copy(tmp_path: Path, copies: int) -> None:
    storage = FailingStorage()
    async with rig(tmp_path, storage) as r:
        alice = await r.join("alice", role="service")
        for number in range(copies):
            alice.rig.tokens.setdefault(f"m{number}", "")
            await r.join("alice", session=f"s{number}", groups=["@all"])
        await alice.ask("mail.send", to="@all", body=0)
        costs = Costs(r, storage, alice, alice)
        rows, statements = await costs.of(alice, "mail.send", to="@all", body=1)
        assert (rows, statements) == (copies + 1, 2)


async def test_an_end_costs(costs: Costs) -> None:
    of, bob = costs.of, costs.bob
    assert await of(bob, "mail.ack", **await costs.held()) == (1, 1)
    assert await of(bob, "mail.ack", **await costs.held(receipt=True)) == (3, 6)
    outputs = [{"to": "alice", "body": 1}, {"to": "alice", "body": 2}]
    assert await of(bob, "mail.ack", **await costs.held(), outputs=outputs[:1]) == (3, 6)
    assert await of(bob, "mail.ack", **await costs.held(), outputs=outputs) == (5, 6)
    assert await of(bob, "mail.extend", **await costs.held()) == (1, 3)
    assert await of(bob, "mail.extend", **await costs.held(), note="half") == (2, 5)
    assert await of(bob, "mail.nack", **await costs.held(), delay_ms=5_000) == (3, 5)


async def test_people_cost(costs: Costs) -> None:
    of, r = costs.of, costs.rig
    hello = {"member": "alice", "token": r.tokens["alice"]}
    assert await of(r.connect(), "hello", **hello, role="service") == (2, 4)
    assert await of(r.connect(), "hello", **hello, session="s1") == (3, 6)
    assert await of(r.connect(), "hello", **hello, observe=True) == (2, 4)
    assert await of(costs.alice, "presence.update") == (0, 0)
    assert await of(costs.alice, "presence.update", status="dnd") == (1, 3)
    assert await of(costs.alice, "group.join", group="@team") == (1, 3)
    assert await of(costs.alice, "peer.list") == (0, 0)
