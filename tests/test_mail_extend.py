"""Still at work: leases that are prolonged, and the notes that the sender hears."""

from __future__ import annotations

from pathlib import Path

import pytest
from failing_storage import full
from mail_desk import desk, held, send, steps, take, traced

from broker.core import house as house_module
from broker.store.faults import StoreFault
from broker.store.writer import Writer


async def test_a_lease_that_keeps_being_extended_does_not_end(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        for _ in range(20):
            await r.advance(999)
            answer = await bob.ask("mail.extend", **held(mail))
            assert answer == {"lease_ms": 1_000, "claim_expires_at": r.clock.now() + 1_000}
        assert bob.mail() == []
        await r.advance(999)
        await bob.ask("mail.ack", **held(mail))


async def test_it_ends_when_it_is_not_extended_any_more(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=1) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.extend", **held(mail), lease_ms=60_000)
        await r.advance(59_999)
        assert bob.mail() == []
        await bob.ask("mail.extend", **held(mail), lease_ms=1_000)
        await r.advance(1_001)
        assert (await take(bob))["attempt"] == 2
        await bob.refused("stale_claim", "mail.extend", **held(mail))


async def test_a_lease_may_be_shortened(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        await bob.ask("mail.extend", **held(await take(bob)), lease_ms=1_000)
        await r.advance(1_001)
        assert (await take(bob))["attempt"] == 2


async def test_an_ended_lease_is_not_extended_even_if_nobody_took_it(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        await r.advance(1_000)
        await bob.refused("stale_claim", "mail.extend", **held(mail))
        await bob.refused("stale_claim", "mail.nack", **held(mail))
        await bob.ask("mail.ack", **held(mail))


async def test_at_the_instant_of_its_end_it_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        r.clock.time += 1_000
        await bob.refused("stale_claim", "mail.extend", **held(mail))


@pytest.mark.parametrize("lease_ms", [0, 999, 3_600_001, -1, "1s"])
async def test_a_lease_has_its_bounds(tmp_path: Path, lease_ms: int) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        error = await bob.refused("bad_request", "mail.extend", **held(mail), lease_ms=lease_ms)
        assert "lease_ms" in error["message"]
        await bob.ask("mail.extend", **held(mail), lease_ms=3_600_000)
        await bob.ask("mail.extend", **held(mail), lease_ms=1_000)


async def test_a_setting_under_a_second_is_the_least_lease(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=100) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.extend", **held(mail), lease_ms=100)
        await bob.refused("bad_request", "mail.extend", **held(mail), lease_ms=99)


async def test_a_note_goes_to_all_connected_presences_of_the_sending_member(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        others = [
            await r.join("ann", role="service"),
            await r.join("ann", observe=True),
            await r.join("ann", session="s2"),
        ]
        eve = await r.join("eve", role="service")
        bob = await r.join("bob", session="s1")
        await others[2].lose()
        (sent,) = await send(ann, "bob/s1", 1)
        mail = await take(bob)
        await bob.ask("mail.extend", **held(mail))
        await bob.ask("mail.extend", **held(mail), note="half way")
        event = {
            "ev": "mail.progress",
            "message": sent["message"],
            "delivery": mail["delivery"],
            "mailbox": "bob/s1",
            "note": "half way",
        }
        for peer in (ann, *others[:2]):
            assert peer.events("mail.progress") == [event]
        for peer in (others[2], eve, bob):
            assert peer.events("mail.progress") == []


async def test_a_note_on_mail_of_the_broker_is_told_to_nobody(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        (sent,) = await send(ann, "ann", 1, receipt=True)
        await ann.ask("mail.ack", **held(await take(ann)))
        receipt = await take(ann)
        await ann.ask("mail.extend", **held(receipt), note="reading")
        assert ann.events("mail.progress") == []
        assert sent["total"] == 1


async def test_notes_have_their_limit(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        for note in ("x" * 4_097, "\u00e9" * 2_049):
            await bob.refused("bad_request", "mail.extend", **held(mail), note=note)
        await bob.ask("mail.extend", **held(mail), note="x" * 4_096)


async def test_plain_extends_are_one_step_of_history_and_notes_one_each(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1)
        mail = await take(bob)
        for note in (None, None, "one", None, "two"):
            await r.advance(10)
            await bob.ask("mail.extend", **held(mail), **({} if note is None else {"note": note}))
        await r.advance(10)
        await bob.ask("mail.ack", **held(mail))
        trace = await traced(bob, sent["message"])
        assert steps(trace).count("extended") == 3
        noted = [step.get("note") for step in trace["history"] if step["event"] == "extended"]
        assert sorted(note for note in noted if note) == ["one", "two"]
        (plain,) = [s for s in trace["history"] if s["event"] == "extended" and "note" not in s]
        assert plain["count"] == 3
        assert steps(trace)[0] == "accepted"
        assert steps(trace)[-1] == "acked"


async def test_a_plain_extend_costs_one_update(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.extend", **held(mail))
        rows = r.broker.store.writer.rows
        await bob.ask("mail.extend", **held(mail))
        assert r.broker.store.writer.rows == rows + 1


async def test_an_extend_that_failed_leaves_the_end_of_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house_module, "SETTLED_LEASES", -1)
    async with desk(tmp_path, faulty=True) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.extend", **held(mail), lease_ms=40_000)
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "_tried_commit", lambda _: StoreFault(full()))
            failed = bob.post("mail.extend", **held(mail), lease_ms=90_000)
            r.broker.executor.run()
        assert bob.reply(failed)["error"]["code"] == "unavailable"
        await r.advance(39_999)
        await bob.ask("mail.extend", **held(mail), lease_ms=1_000)
        await r.advance(1_000)
        await bob.refused("stale_claim", "mail.extend", **held(mail))
