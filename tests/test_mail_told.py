"""The push that is written by hand, held to the struct on the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from mail_desk import desk, held, send
from rig import Peer

from broker.wire.mail import Deliver

read = msgspec.json.Decoder(Deliver).decode


def pushed(peer: Peer) -> list[bytes]:
    """The pushes as they stand on the wire."""
    return [raw for raw in peer.line.raw if b'"mail.deliver"' in raw]


async def test_a_push_has_the_fields_of_its_struct_and_no_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", role="service", groups=["@team/backend"], capacity=2)
        odd = 'quote " backslash \\ \u0001 \u00e9 \U0001f600'
        await send(ann, "bob", odd, kind=odd, meta={"m": odd})
        await send(ann, ["@team", "*"], None)
        await send(ann, "@team/backend", {"a": [1.5, True]}, priority="critical")
        frames = pushed(bob)
        assert len(frames) == 3
        names = set(Deliver.__struct_encode_fields__) | {"ev"}
        for frame in frames:
            shown = msgspec.json.decode(frame)
            assert set(shown) == names
            assert msgspec.json.decode(msgspec.json.encode(read(frame))) == shown
        first, second, third = (read(frame) for frame in frames)
        assert (first.kind, msgspec.json.decode(first.body)) == (odd, odd)
        assert msgspec.json.decode(first.meta) == {"m": odd}
        assert (second.to, second.mailbox, second.from_) == ("@team", "bob", "ann/s1")
        assert (third.to, third.preempt) == ("@team/backend", True)


async def test_copies_of_one_message_differ_only_in_what_is_theirs(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        peers = [await r.join("bob", session=f"s{number}") for number in range(3)]
        await send(ann, "*", {"big": "x" * 20_000}, meta={"m": 1})
        frames = [msgspec.json.decode(pushed(peer)[0]) for peer in peers]
        assert len({frame["delivery"] for frame in frames}) == 3
        own = {"delivery": "", "claim": "", "seq": 0, "mailbox": ""}
        shown = [frame | own for frame in frames]
        assert shown[0] == shown[1] == shown[2]


async def test_what_waited_is_told_like_what_was_born_claimed(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        for _ in range(2):
            await send(ann, ["bob"], {"same": True}, kind="job", meta={"m": 1})
        await bob.ask("mail.ack", **held(bob.mail()[0]))
        first, second = (msgspec.json.decode(frame) for frame in pushed(bob))
        own = {"delivery", "claim", "seq", "message"}
        assert {k: v for k, v in first.items() if k not in own} == {
            k: v for k, v in second.items() if k not in own
        }


async def test_each_of_a_batch_is_told_its_own_terms(tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"kind": "job"},
        {"priority": "info"},
        {"max_attempts": 9},
        {"priority": "critical"},
        {"kind": "job", "priority": 51},
        {},
    ]
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=len(ways) + 1)
        for way in ways:
            ann.post("mail.send", to="bob", body=way, **way)
        batches = r.broker.executor.batches
        await r.settle()
        assert r.broker.executor.batches == batches + 1
        ranks = {"critical": 100, "info": 10}
        mails = bob.mail()
        told = [(one["kind"], one["priority"], one["max_attempts"]) for one in mails]
        assert told == [
            (
                way.get("kind", "message"),
                ranks.get(way.get("priority", 50), way.get("priority", 50)),
                way.get("max_attempts", 5),
            )
            for way in ways
        ]
        await r.advance(10)
        await send(ann, "bob", "later")
        first, last = mails[0], bob.mail()[0]
        assert last["sent_at"] == first["sent_at"] + 10
        assert last["claim_expires_at"] == first["claim_expires_at"] + 10
