"""Finished mail goes after its time, in chunks; unfinished mail stays, however old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import bodies, desk, held, send, take
from rig import Rig

DAY = 86_400_000
SETTINGS: dict[str, Any] = {"mail__retention_ms": DAY, "mail__dedupe_ms": DAY}
TABLES = ("messages", "deliveries", "delivery_history", "delivery_stretches", "message_keys")


def counts(r: Rig) -> list[int]:
    """How many rows there are of each kind."""
    return [r.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


async def test_finished_mail_is_kept_for_the_retention_and_then_gone(tmp_path: Path) -> None:
    async with desk(tmp_path, **SETTINGS) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1, key="k")
        await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)
        await bob.ask("mail.ack", **held(await take(bob)))
        await r.advance(DAY - 1)
        assert (await ann.ask("mail.trace", message=sent["message"]))["total"] == 1
        await r.advance(DAY // 4)
        await ann.refused("not_found", "mail.trace", message=sent["message"])
        await ann.refused("not_found", "mail.send", to="bob", body=1, reply_to=sent["message"])
        assert counts(r)[:3] == [0, 0, 0]
        assert counts(r)[4] == 0


async def test_unfinished_mail_is_passed_by_and_holds_its_message(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__ttl_ms=30 * DAY, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", role="service")
        await r.join("cat", role="service", capacity=0)
        for number in range(5):
            await send(ann, ["bob", "cat"], number)
        for mail in bob.mail():
            await bob.ask("mail.ack", **held(mail))
        await r.advance(3 * DAY)
        assert counts(r)[:2] == [5, 5]
        cat = await r.join("cat", role="service")
        assert bodies(cat.mail()) == list(range(5))


async def test_what_ends_late_is_kept_from_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__ttl_ms=30 * DAY, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1)
        await r.advance(3 * DAY)
        await bob.ask("presence.update", capacity=1)
        await bob.ask("mail.ack", **held(await take(bob)))
        await r.advance(DAY - 1)
        assert (await ann.ask("mail.trace", message=sent["message"]))["total"] == 1
        await r.advance(DAY // 4)
        assert counts(r)[:2] == [0, 0]


@pytest.mark.parametrize("copies", [0, 1, 3])
async def test_the_walk_takes_all_and_a_message_with_its_last_copy(
    tmp_path: Path, copies: int
) -> None:
    """More than a chunk, with messages whose copies lie in two chunks, and some with none."""
    async with desk(tmp_path, limits__send_rate=0, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        for number in range(copies):
            await r.join("bob", session=f"s{number}", capacity=0, groups=["@team"])
        for number in range(700):
            (sent,) = await send(ann, "@team", number)
            await ann.ask("mail.cancel", message=sent["message"])
        await send(ann, "@nobody", "last")
        await r.advance(DAY + DAY // 4)
        assert counts(r)[:3] == [0, 0, 0]


async def test_a_message_with_more_copies_than_a_chunk_goes_as_well(tmp_path: Path) -> None:
    async with desk(tmp_path, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        for number in range(620):
            await r.join("bob", session=f"s{number}", groups=["@team"], capacity=0)
        (sent,) = await send(ann, "@team", 1)
        await ann.ask("mail.cancel", message=sent["message"])
        await r.advance(DAY + DAY // 4)
        assert counts(r)[:3] == [0, 0, 0]


async def test_it_goes_chunk_by_chunk_and_lets_others_between(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=0, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", *range(1_300), ttl_ms=1_000)
        await r.advance(1_000)
        await r.advance(DAY - 1_000)
        left = [counts(r)[1]]
        for _ in range(100):
            await r.advance(r.broker.executor.due() - r.clock.now())
            if counts(r)[1] != left[-1]:
                left.append(counts(r)[1])
        assert left == [1_300, 800, 300, 0]


async def test_stretches_without_deliveries_are_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", role="service", capacity=0)
        for _ in range(3):
            await send(ann, "bob", 1, ttl_ms=1)
            r.broker.house.next_number += 1 << 14
        await r.advance(DAY + DAY // 4)
        await send(ann, "bob", 2)
        await r.advance(DAY // 4)
        assert len((await bob.ask("mail.list"))["deliveries"]) == 1
        assert counts(r)[3] <= 2


async def test_the_purge_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path, **SETTINGS) as r:
        ann = await r.join("ann", role="service", capacity=0)
        await send(ann, "ann", 1, ttl_ms=1)
        await r.advance(DAY)
        await r.restart()
        await r.advance(DAY // 4)
        assert counts(r)[:3] == [0, 0, 0]
