"""What the tests of mail share: a rig that is looked over at its end, and words for a claim.

`desk` is the rig; when the test is done, what the broker remembers must be what stands in its
database, nothing deliverable may wait, and nothing may be due that nobody will wake up for.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

from rig import START, Peer, Rig, rig

from broker.areas.mail.handover import takes
from broker.core.house import House
from broker.data import DATABASE
from broker.store.migrate import Migrations
from broker.store.sqlite import connect

Frame = dict[str, Any]

UNFINISHED = """
    SELECT seq, mailbox_id, state, priority, due_at, expires_at, claim_id, claimed_by,
        claim_expires_at
    FROM deliveries WHERE state IN ('queued', 'claimed')
    ORDER BY mailbox_id, priority DESC, seq
"""


class _Faults(logging.Handler):
    """Keeps what the broker logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@cache
def _migrated() -> bytes:
    """An empty database with all migrations: made once, for they cost more than most tests."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / DATABASE
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            Migrations.discover().up(connection, START)
        return path.read_bytes()


@asynccontextmanager
async def desk(
    directory: Path, connector: Any = connect, *, faulty: bool = False, **settings: Any
) -> AsyncIterator[Rig]:
    """A rig whose memory and database must agree at the end, and which must not log a fault."""
    (directory / DATABASE).write_bytes(_migrated())
    settings.setdefault("store__synchronous", "normal")  # no power is lost here
    faults = _Faults()
    logging.getLogger("broker").addHandler(faults)
    try:
        async with rig(directory, connector, **settings) as r:
            yield r
            await r.settle()
            look_over(r)
    finally:
        logging.getLogger("broker").removeHandler(faults)
    assert faulty or not faults.texts, "\n".join(faults.texts)


def look_over(r: Rig) -> None:
    """Memory against database, what is deliverable, and what is due."""
    house, rows = r.broker.house, r.rows(UNFINISHED)
    _counts(house, rows)
    _claims(house, rows)
    _nothing_waits_in_vain(r, rows)
    _somebody_wakes_up(r, rows)


def _counts(house: House, rows: list[tuple[Any, ...]]) -> None:
    for box in house.boxes.values():
        own = [row for row in rows if row[1] == box.id and row[0] > box.ended_through]
        assert box.unfinished == len(own), (box.address, box.unfinished, own)
        ready = [row for row in own if row[2] == "queued" and row[4] is None]
        assert box.queue.counts == Counter(row[3] for row in ready), (box.address, ready)
        assert box.queue.ready == len(ready), box.address
        window = [seq for _, seq, _ in box.queue.window]
        assert window == [row[0] for row in ready][: len(window)], (box.address, window, ready)


def _claims(house: House, rows: list[tuple[Any, ...]]) -> None:
    stored = {row[0]: row for row in rows if row[2] == "claimed"}
    assert {claim.seq for claim in house.claims.values()} == set(stored)
    for claim in house.claims.values():
        _, mailbox, _, _, _, _, number, holder, expires_at = stored[claim.seq]
        assert (claim.box.id, claim.number) == (mailbox, number)
        assert claim.expires_at == expires_at or (claim.restored and claim.expires_at > expires_at)
        if claim.presence is None:
            assert holder not in house.presences
        else:
            assert claim.presence.id == holder
            assert claim.presence.held[claim.delivery] is claim
    for presence in house.presences.values():
        assert all(house.claims.get(key) is claim for key, claim in presence.held.items())


def _nothing_waits_in_vain(r: Rig, rows: list[tuple[Any, ...]]) -> None:
    for seq, mailbox, state, priority, due_at, expires_at, *_ in rows:
        box = r.broker.house.boxes.get(mailbox)
        if box is None or seq <= box.ended_through or state != "queued" or due_at is not None:
            continue
        assert expires_at > r.clock.now(), f"{box.address}: over, and nobody has ended it"
        able = [one.name for one in box.drainers if takes(one, priority)]
        assert not able, f"{box.address}: {able} could take what waits"
        waiting = [one for one in box.waiters if priority >= one.caller.takes_from]
        assert not waiting, f"{box.address}: somebody waits for what is there"


def _somebody_wakes_up(r: Rig, rows: list[tuple[Any, ...]]) -> None:
    house = r.broker.house
    instants = [claim.expires_at for claim in house.claims.values()]
    for _, _, state, _, due_at, expires_at, *_ in rows:
        if state == "queued":
            instants += [expires_at] if due_at is None else [due_at, expires_at]
    instants += [waiter.until for waiter in house.waiters.values()]
    if instants:
        assert r.broker.executor.due() <= min(instants), "something is due, and nobody wakes up"


def held(delivery: Frame) -> dict[str, str]:
    """What names a claim in the requests that end or prolong it."""
    return {"delivery": delivery["delivery"], "claim": delivery["claim"]}


def bodies(deliveries: list[Frame]) -> list[Any]:
    """What a few deliveries say."""
    return [delivery["body"] for delivery in deliveries]


def copies(sent: Frame) -> dict[str, Frame]:
    """The deliveries of a send's answer by their mailbox."""
    return {copy["to"]: copy for copy in sent["deliveries"]}


async def send(peer: Peer, to: Any, *values: Any, **fields: Any) -> list[Frame]:
    """Send one mail for each body."""
    return [await peer.ask("mail.send", to=to, body=value, **fields) for value in values]


async def take(peer: Peer) -> Frame:
    """The one delivery that has come since the last look."""
    (delivery,) = peer.mail()
    return delivery


async def traced(peer: Peer, message: str) -> Frame:
    """The one delivery of a message, as its trace shows it."""
    (delivery,) = (await peer.ask("mail.trace", message=message))["deliveries"]
    one: Frame = delivery
    return one


def steps(delivery: Frame) -> list[str]:
    """The events of a traced delivery's life."""
    return [step["event"] for step in delivery["history"]]


async def receipts(peer: Peer) -> list[tuple[str, str | None]]:
    """State and reason of each receipt that has come since the last look; they are acked."""
    told = []
    for mail in peer.mail():
        assert mail["kind"] == "receipt"
        assert mail["from"] == "postroom"
        told.append((mail["body"]["state"], mail["body"]["reason"]))
        await peer.ask("mail.ack", **held(mail))
    return told


async def fail(peer: Peer, times: int, wait: Callable[[], Any] | None = None) -> None:
    """Give back what comes, so many times, as a worker does that cannot do it."""
    for _ in range(times):
        await peer.ask("mail.nack", **held(await take(peer)), delay_ms=0)


__all__ = [
    "Frame",
    "bodies",
    "copies",
    "desk",
    "fail",
    "held",
    "look_over",
    "receipts",
    "send",
    "steps",
    "take",
    "traced",
]
