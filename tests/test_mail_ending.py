"""Receipts: exactly when a delivery ends, and the senders that they go to."""

from __future__ import annotations

from pathlib import Path

from mail_desk import bodies, desk, held, receipts, send, take, traced


async def test_a_receipt_tells_how_a_delivery_ended(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        (sent,) = await send(ann, "bob/s1", 1, receipt=True)
        assert ann.mail() == []
        mail = await take(bob)
        await bob.ask("mail.ack", **held(mail))
        receipt = await take(ann)
        assert receipt["body"] == {
            "message": sent["message"],
            "delivery": mail["delivery"],
            "to": "bob/s1",
            "state": "acked",
            "reason": None,
        }
        assert (receipt["from"], receipt["kind"], receipt["to"]) == ("postroom", "receipt", "ann")
        await bob.ask("mail.ack", **held(mail))
        assert ann.mail() == []


async def test_every_end_has_its_receipt(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__max_claims=2) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")

        await send(ann, "bob", 1, receipt=True)
        await bob.ask("mail.nack", **held(await take(bob)), dead=True, reason="no")
        assert await receipts(ann) == [("dead", "no")]

        await send(ann, "bob", 1, receipt=True)
        await bob.ask("mail.nack", **held(await take(bob)), dead=True)
        assert await receipts(ann) == [("dead", "rejected")]

        await send(ann, "bob", 1, receipt=True, max_attempts=1)
        await bob.ask("mail.nack", **held(await take(bob)), reason="broken")
        assert await receipts(ann) == [("dead", "max_attempts")]

        await send(ann, "bob", 1, receipt=True)
        for _ in range(2):
            await bob.ask("mail.nack", **held(await take(bob)), blame=False)
        assert await receipts(ann) == [("dead", "claims_exhausted")]

        await bob.ask("presence.update", capacity=0)
        await send(ann, "bob", 1, receipt=True, ttl_ms=500)
        await r.advance(500)
        assert await receipts(ann) == [("expired", "ttl")]

        (sent,) = await send(ann, "bob", 1, receipt=True)
        await ann.ask("mail.cancel", message=sent["message"])
        assert await receipts(ann) == [("cancelled", "cancelled")]

        await send(ann, "bob", 1, receipt=True)
        await bob.ask("mail.drop", mailbox="bob", state="queued")
        assert await receipts(ann) == [("cancelled", "dropped")]

        await send(ann, "bob/s1", 1, receipt=True)
        await bob.ask("bye", final=True)
        assert await receipts(ann) == [("expired", "session_closed")]

        await send(ann, "bob", 1, receipt=True)
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="bob")
        assert await receipts(ann) == [("expired", "member_removed")]


async def test_no_end_no_receipt(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        await send(ann, "bob", 1, receipt=True)
        await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)
        await bob.ask("mail.extend", **held(await take(bob)))
        await r.advance(1_002)
        await take(bob)
        await bob.ask("bye")
        await r.restart()
        ann = await r.join("ann", role="service")
        await r.advance(100)
        assert ann.mail() == []


async def test_who_did_not_ask_gets_none(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await send(ann, "ann", 1)
        await ann.ask("mail.ack", **held(await take(ann)))
        assert ann.mail() == []


async def test_receipts_never_have_receipts(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await send(ann, "ann", 1, receipt=True)
        await ann.ask("mail.ack", **held(await take(ann)))
        assert await receipts(ann) == [("acked", None)]
        assert ann.mail() == []
        assert r.rows("SELECT count(*) FROM messages") == [(2,)]


async def test_one_receipt_for_each_copy(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", capacity=100)
        peers = [await r.join("bob", session=f"s{number}") for number in range(3)]
        await send(ann, "*", 1, receipt=True)
        for peer in peers:
            await peer.ask("mail.ack", **held(await take(peer)))
        assert [mail["body"]["to"] for mail in ann.mail()] == ["bob/s0", "bob/s1", "bob/s2"]


async def test_a_redriven_delivery_that_ends_again_gives_another(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, receipt=True)
        mail = await take(bob)
        await bob.ask("mail.nack", **held(mail), dead=True)
        await bob.ask("mail.redrive", delivery=mail["delivery"])
        await bob.ask("mail.ack", **held(await take(bob)))
        assert await receipts(ann) == [("dead", "rejected"), ("acked", None)]


async def test_a_receipt_goes_to_the_mailbox_that_sent(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", 1, 2, receipt=True)
        await ann.ask("bye")
        one, two = bob.mail()
        await bob.ask("mail.ack", **held(one))
        ann = await r.join("ann", session="s1")
        assert (await take(ann))["mailbox"] == "ann/s1"
        await ann.ask("bye", final=True)
        await bob.ask("mail.ack", **held(two))
        service = await r.join("ann", role="service")
        receipt = await take(service)
        assert (receipt["mailbox"], receipt["body"]["state"]) == ("ann", "acked")


async def test_the_receipt_of_a_member_that_is_gone_goes_nowhere(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, receipt=True)
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="ann")
        await bob.ask("mail.ack", **held(await take(bob)))
        assert r.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_a_receipt_comes_whatever_the_depth(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, receipt=True)
        await send(bob, "ann", "fills it")
        await bob.ask("mail.ack", **held(await take(bob)))
        pulled = await ann.ask("mail.claim", max=5)
        assert bodies(pulled["deliveries"])[0] == "fills it"
        assert pulled["deliveries"][1]["kind"] == "receipt"


async def test_a_receipt_is_part_of_the_ack(tmp_path: Path) -> None:
    """Outputs that are refused take the receipt back as well."""
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, receipt=True)
        mail = await take(bob)
        await bob.refused(
            "unknown_recipient", "mail.ack", **held(mail), outputs=[{"to": "nobody", "body": 1}]
        )
        assert ann.mail() == []
        assert r.rows("SELECT count(*) FROM messages") == [(1,)]
        await bob.ask("mail.ack", **held(mail))
        assert await receipts(ann) == [("acked", None)]


async def test_what_ends_is_seen_in_lists_with_its_reason(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        (sent,) = await send(ann, "bob", 1, ttl_ms=1)
        await r.advance(1)
        assert (await traced(ann, sent["message"]))["last_error"] == "ttl"
