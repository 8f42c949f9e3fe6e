"""Session mailboxes: when they open and close, and that what was never used leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rig import Peer, Rig, rig

SESSIONS = "SELECT session FROM mailboxes WHERE session IS NOT NULL ORDER BY id"


async def retaining(r: Rig) -> Peer:
    """An owner who sends; mail and mailboxes are kept for a minute."""
    return await r.join("owner", role="service")


SHORT: Any = {"mail__retention_ms": 60_000, "mail__dedupe_ms": 1_000}


async def test_one_without_a_presence_closes_after_the_retention(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await retaining(r)
        alice = await r.join("alice", session="s1")
        await r.advance(200_000)
        await alice.ask("bye")
        await r.advance(59_999)
        sent = await owner.ask("mail.send", to="alice/s1", body=1)
        await r.advance(1)
        await owner.refused("unknown_recipient", "mail.send", to="alice/s1", body=1)
        trace = await owner.ask("mail.trace", message=sent["message"])
        assert trace["deliveries"][0]["state"] == "expired"
        assert trace["deliveries"][0]["history"][-1]["reason"] == "session_closed"


async def test_who_comes_back_in_time_keeps_it(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await retaining(r)
        await (await r.join("alice", session="s1")).ask("bye")
        await r.advance(59_999)
        alice = await r.join("alice", session="s1")
        await r.advance(100_000)
        await owner.ask("mail.send", to="alice/s1", body=1)
        assert len(alice.mail()) == 1
        await alice.ask("bye")
        await r.advance(59_999)
        await owner.ask("mail.send", to="alice/s1", body=1)


async def test_who_comes_and_goes_a_lot_is_remembered_once(tmp_path: Path) -> None:
    async with rig(tmp_path, **SHORT) as r:
        owner = await retaining(r)
        for _ in range(30):
            await (await r.join("alice", session="s1")).ask("bye")
            await r.advance(5_000)
        assert len(r.broker.house.vacancy_ends) == 1
        await r.advance(54_999)
        await owner.ask("mail.send", to="alice/s1", body=1)
        await r.advance(1)
        await owner.refused("unknown_recipient", "mail.send", to="alice/s1", body=1)


async def test_a_presence_that_is_away_keeps_it(tmp_path: Path) -> None:
    async with rig(tmp_path, presence__lease_ms=200_000, **SHORT) as r:
        owner = await retaining(r)
        alice = await r.join("alice", session="s1")
        await alice.lose()
        await r.advance(199_999)
        await owner.ask("mail.send", to="alice/s1", body=1)
        await r.advance(60_000)
        await owner.ask("mail.send", to="alice/s1", body=1)
        await r.advance(1)
        await owner.refused("unknown_recipient", "mail.send", to="alice/s1", body=1)


async def test_the_same_label_opens_it_again_and_its_numbers_go_on(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await retaining(r)
        alice = await r.join("alice", session="s1")
        await owner.ask("mail.send", to="alice/s1", body="done")
        (done,) = alice.mail()
        await alice.ask("mail.ack", delivery=done["delivery"], claim=done["claim"])
        await alice.ask("presence.update", capacity=0)
        await owner.ask("mail.send", to="alice/s1", body="lost")
        await alice.ask("bye", final=True)
        for _ in range(2):
            again = await r.join("alice", session="s1")
            assert again.mail() == []
            sent = await owner.ask("mail.send", to="alice/s1", body="new")
            assert sent["deliveries"][0]["depth"] == 0
            (mail,) = again.mail()
            assert mail["seq"] > done["seq"]
            listed = (await again.ask("mail.list", mailbox="alice/s1"))["deliveries"]
            states = [one["state"] for one in listed]
            assert states[:2] == ["acked", "expired"]
            await again.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
            await again.ask("bye", final=True)
            await r.restart()
            owner = await retaining(r)


async def test_one_that_never_held_a_delivery_leaves_no_row(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await retaining(r)
        for hello in ({}, {"session": "s1"}):
            alice = await r.join("alice", **hello)
            await alice.ask("mail.send", to="owner", body=1, receipt=True)
            await alice.ask("group.join", group="@team")
            await alice.ask("bye", final=True)
            assert r.rows(SESSIONS) == []
        for mail in owner.mail():  # the receipts go to the member then
            await owner.ask("mail.ack", delivery=mail["delivery"], claim=mail["claim"])
        alice = await r.join("alice", role="service")
        assert [mail["kind"] for mail in alice.mail()] == ["receipt", "receipt"]


async def test_those_who_come_and_go_leave_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        owner = await retaining(r)
        await r.join("alice", role="service")
        counts = f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in TABLES)}"
        before = r.rows(counts)
        things = len(r.broker.house.boxes), len(r.broker.house.presences)
        for turn in range(3):
            peers = [await r.join("alice") for _ in range(60)]
            for number, peer in enumerate(peers):
                if number % 2:
                    await peer.ask("bye", final=number % 4 == 1)
                peer.conversation.lost()
            await r.settle()
            if turn == 1:
                await r.restart()
            await r.advance(90_000)
        if turn:
            owner = await retaining(r)
            await r.join("alice", role="service")
        assert r.rows(counts) == before
        house = r.broker.house
        assert (len(house.boxes), len(house.presences)) == things
        alice = house.meshes["default"].members["alice"]
        assert len(alice.sessions) == len(alice.labels) == 0
        assert len(alice.box.drainers) == len(alice.presences) == 1
        assert owner.line.closed is None


TABLES = ("mailboxes", "presences", "memberships", "tokens", "members", "deliveries", "messages")
