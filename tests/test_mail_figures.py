"""Counting mail costs what there is to tell, not what there is."""

from __future__ import annotations

from pathlib import Path

from rig import rig

from broker.areas.mail import figures


async def test_ages_are_looked_up_not_searched(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        for sql in (figures.OLDEST, figures.SENT_AT):
            bound = sql.replace("?", "1")
            plan = "\n".join(row[3] for row in r.rows(f"EXPLAIN QUERY PLAN {bound}"))
            assert "SEARCH" in plan
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan


async def test_all_is_counted_by_indexes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        for sql, index in (
            (figures.QUEUED, "deliveries_expiring"),
            (figures.DEAD, "deliveries_dead"),
            (figures.GONE, "deliveries_gone"),
        ):
            (step,) = r.rows(f"EXPLAIN QUERY PLAN {sql}")
            assert f"INDEX {index}" in step[3]


async def test_claims_of_other_mailboxes_are_passed_by(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await r.join("owner", role="service")
        await r.join("alice", role="service")
        await r.join("bob", role="service", capacity=0)
        for to in ("bob", "alice", "alice", "bob"):
            await owner.ask("mail.send", to=to, body=1)
        house = r.broker.house
        deep = figures.deepest(house, house.meshes["default"])
        alice, bob = sorted(deep, key=lambda one: one.address)
        assert (alice.depth, alice.priorities) == (2, ())
        assert alice.oldest_held is not None
        assert (bob.depth, bob.priorities, bob.oldest_held) == (2, (50,), None)
