"""A presence that is taken up again is pushed what it holds: the same claim and attempt."""

from __future__ import annotations

from pathlib import Path

from mail_desk import bodies, desk, held, send, take
from rig import Peer, Rig


async def resume(r: Rig, peer: Peer, member: str = "bob", **hello: object) -> Peer:
    """The same presence on a new connection."""
    again = await r.join(member, resume=peer.welcome["resume"], **hello)
    assert again.welcome["resumed"] is True
    return again


async def test_what_is_held_is_pushed_again_nothing_counted(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service", groups=["@team"])
        bob = await r.join("bob", session="s1", groups=["@team"], capacity=3)
        await send(ann, ["@team", "bob"], {"a": 1}, meta={"m": 1}, kind="job")
        await send(ann, "bob", "x" * 30_000)
        first = bob.mail()
        await r.advance(10_000)
        before = r.rows("SELECT * FROM deliveries")
        await bob.lose()
        bob = await resume(r, bob, session="s1")
        again = bob.mail()
        assert again == [{**mail, "lease_ms": 20_000} for mail in first]
        assert r.rows("SELECT * FROM deliveries") == before
        for mail in again:
            await bob.ask("mail.ack", **held(mail))


async def test_it_comes_before_what_is_new(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=3)
        await send(ann, "bob", 1, 2)
        bob.mail()
        await bob.lose()
        await send(ann, "bob", 3, 4)
        bob = await resume(r, bob, role="service")
        assert bodies(bob.mail()) == [1, 2, 3]


async def test_what_was_acked_or_lapsed_meanwhile_is_not_pushed(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=10_000, mail__backoff_ms=60_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        other = await r.join("bob", observe=True)
        await send(ann, "bob", 1, 2, 3)
        one, two, _ = bob.mail()
        await other.ask("mail.extend", **held(one), lease_ms=60_000)
        await other.ask("mail.ack", **held(two))
        await bob.lose()
        await r.advance(10_000)
        bob = await resume(r, bob, role="service")
        assert bodies(bob.mail()) == [1]


async def test_what_was_pulled_is_pushed_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        await r.join("bob", role="service", capacity=0)
        ann = await r.join("ann", role="service")
        await send(ann, "bob", 1)
        eye = await r.join("bob", observe=True)
        (mail,) = (await eye.ask("mail.claim"))["deliveries"]
        await eye.lose()
        eye = await resume(r, eye, observe=True)
        assert (await take(eye))["claim"] == mail["claim"]


async def test_only_critical_mail_beyond_capacity_is_marked_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", "a", "b")
        await send(ann, "bob", "urgent", priority="critical")
        first = bob.mail()
        await bob.lose()
        bob = await resume(r, bob, role="service", capacity=2)
        again = bob.mail()
        assert [mail["preempt"] for mail in again] == [mail["preempt"] for mail in first]
        assert [mail["preempt"] for mail in again] == [False, False, True]
        await bob.lose()
        bob = await resume(r, bob, role="service", capacity=1)
        assert [mail["preempt"] for mail in bob.mail()] == [False, False, True]


async def test_a_normal_hello_gets_nothing_of_what_the_away_presence_holds(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        await bob.lose()
        other = await r.join("bob", role="service", resume="nonsense")
        assert other.welcome["resumed"] is False
        assert other.mail() == []


async def test_a_resume_after_a_restart_keeps_the_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=50)
        await send(ann, "bob", *range(30))
        first = bob.mail()
        await r.restart()
        bob = await resume(r, bob, role="service")
        assert [mail["claim"] for mail in bob.mail()] == [mail["claim"] for mail in first]


async def test_the_order_is_that_of_the_claims_whatever_was_tried_meanwhile(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1, 2)
        await bob.ask("presence.update", capacity=2)
        first = bob.mail()
        output = {"to": "nobody", "body": 1}
        await bob.refused("unknown_recipient", "mail.ack", **held(first[0]), outputs=[output])
        bob = await resume(r, bob, role="service")
        assert [mail["claim"] for mail in bob.mail()] == [mail["claim"] for mail in first]
