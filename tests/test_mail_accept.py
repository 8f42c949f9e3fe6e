"""Accepting a send: what is taken, what is refused, and what its answer says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from mail_desk import bodies, copies, desk, held, send, take


async def test_a_send_to_somebody_with_room_is_claimed_at_birth(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", session="s1")
        sent = await ann.ask("mail.send", to="bob", body={"a": 1})
        mail = await take(bob)
        assert sent == {
            "message": mail["message"],
            "seq": sent["seq"],
            "total": 1,
            "deliveries": [
                {
                    "delivery": mail["delivery"],
                    "to": "bob",
                    "state": "claimed",
                    "queued": False,
                    "depth": 0,
                    "transport": "online",
                }
            ],
            "duplicate": False,
        }
        assert mail == {
            "ev": "mail.deliver",
            "delivery": mail["delivery"],
            "claim": mail["claim"],
            "message": sent["message"],
            "seq": mail["seq"],
            "from": "ann/s1",
            "to": "bob",
            "mailbox": "bob",
            "kind": "message",
            "priority": 50,
            "body": {"a": 1},
            "meta": None,
            "reply_to": None,
            "sent_at": r.clock.now(),
            "attempt": 1,
            "claims": 1,
            "max_attempts": 5,
            "lease_ms": 30_000,
            "claim_expires_at": r.clock.now() + 30_000,
            "preempt": False,
        }


async def test_what_nobody_takes_is_queued_and_says_how_many_stand_before_it(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        sent = [
            (await ann.ask("mail.send", to="bob", body=1, priority=priority))["deliveries"][0]
            for priority in ("task", "task", "info", "critical", 51, "info", "task")
        ]
        assert [one["depth"] for one in sent] == [0, 1, 2, 0, 1, 5, 4]
        assert all(one["queued"] and one["state"] == "queued" for one in sent)


async def test_the_answer_says_claimed_when_only_lesser_mail_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1", status="working")
        await send(ann, "bob", "news", priority="info")
        await send(ann, "bob/s1", "news", priority="info")
        for to in ("bob", "bob/s1"):
            (sent,) = await send(ann, to, to)
            assert copies(sent)[to]["state"] == "claimed"
            assert copies(sent)[to]["queued"] is False
        assert bodies(bob.mail()) == ["bob", "bob/s1"]


async def test_priorities_have_names_and_are_shown_as_numbers(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        named: tuple[Any, ...] = ("critical", "task", "info", 0, 255)
        for priority in named:
            await ann.ask("mail.send", to="bob", body=1, priority=priority)
        await ann.ask("mail.send", to="bob", body=1)
        assert [mail["priority"] for mail in bob.mail()] == [100, 50, 10, 0, 255, 50]
        wrong: tuple[Any, ...] = (-1, 256, "urgent", 1.5, None)
        for priority in wrong:
            error = await ann.refused(
                "bad_request", "mail.send", to="bob", body=1, priority=priority
            )
            assert "priority" in error["message"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ttl_ms": 0}, "ttl_ms"),
        ({"ttl_ms": 30 * 86_400_000 + 1}, "ttl_ms"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"delay_ms": 30 * 86_400_000 + 1}, "delay_ms"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"key": "k" * 129}, "key"),
        ({"kind": "k" * 65}, "kind"),
        ({"meta": [1]}, "meta"),
        ({"meta": "x"}, "meta"),
        ({"dedupe": "always"}, "dedupe"),
        ({"receipt": 1}, "receipt"),
        ({"reply_to": 7}, "reply_to"),
        ({"colour": "red"}, "colour"),
        ({"to": 7}, "to"),
    ],
)
async def test_fields_out_of_bounds_are_named(
    tmp_path: Path, fields: dict[str, Any], named: str
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service")
        error = await ann.refused("bad_request", "mail.send", **{"to": "bob", "body": 1, **fields})
        assert named in error["message"]
        assert r.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_bodies_and_meta_arrive_byte_by_byte(tmp_path: Path) -> None:
    body = rb'{"a" : 1.0e2, "a":[  ], "\u0041":"\ud83d\ude00", "n":123456789012345678901234567890}'
    meta = rb'{ "trace" :"x" }'
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        ann.write(b'{"op":"mail.send","id":1,"to":"bob","body":' + body + b',"meta":' + meta + b"}")
        await r.settle()
        frame = next(raw for raw in bob.line.raw if b"mail.deliver" in raw)
        assert body in frame
        assert meta in frame
        await bob.ask("bye")
        eye = await r.join("bob", observe=True)
        await eye.ask("mail.claim")
        assert body in eye.line.raw[-1]
        assert meta in eye.line.raw[-1]


async def test_any_json_is_a_body_and_null_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        values: list[Any] = [None, False, 0, "", [], {}, "\u00e9\u4e16"]
        await send(ann, "bob", *values)
        assert bodies(bob.mail()) == values
        await ann.refused("bad_request", "mail.send", to="bob")


async def test_body_and_meta_have_their_limits(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__body=1_000) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        await send(ann, "bob", "x" * 998)
        await ann.refused("too_large", "mail.send", to="bob", body="x" * 999)
        await send(ann, "bob", 1, meta={"m": "x" * 4_088})
        await ann.refused("too_large", "mail.send", to="bob", body=1, meta={"m": "x" * 4_089})
        await send(ann, "bob", 1, meta={})
        await send(ann, "bob", 1, meta=None)
        assert [len(msgspec.json.encode(mail["meta"])) for mail in bob.mail()] == [4, 4_096, 2, 4]


async def test_a_body_of_the_limit_goes_through_the_queue(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        big = ["x" * 262_142, "y" * 20_000, "z" * 16_382, "z" * 16_383]
        await send(ann, "bob", *big)
        bob = await r.join("bob", role="service", capacity=2)
        first = bob.mail()
        assert bodies(first) == big[:2]
        for mail in first:
            await bob.ask("mail.ack", **held(mail))
        assert bodies(bob.mail()) == big[2:]


@pytest.mark.parametrize(
    "kind", ["receipt", "system.x", "system.", "dispatch.ready", "delegation.task"]
)
async def test_the_brokers_own_kinds_are_forbidden(tmp_path: Path, kind: str) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        await ann.refused("forbidden", "mail.send", to="bob", body=1, kind=kind)
        await send(ann, "ann", 1)
        error = await ann.refused(
            "forbidden",
            "mail.ack",
            **held(await take(ann)),
            outputs=[{"to": "bob", "body": 1, "kind": kind}],
        )
        assert error["detail"]["output"] == 0
        assert bob.mail() == []


async def test_other_kinds_are_the_clients(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        kinds = ["receipts", "systems", "dispatcher.x", "x.system", "k" * 64, "\u00e9"]
        for kind in kinds:
            await send(ann, "bob", 1, kind=kind)
        assert [mail["kind"] for mail in bob.mail()] == kinds


async def test_reply_to_is_a_message_that_the_sender_sent_or_received(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        eve = await r.join("eve", role="service")
        (sent,) = await send(ann, "bob/s1", "question")
        question = await take(bob)
        await send(bob, "ann", "answer", reply_to=question["message"])
        await send(ann, "bob/s1", "more", reply_to=sent["message"])
        assert (await take(ann))["reply_to"] == sent["message"]
        assert (await take(bob))["reply_to"] == sent["message"]
        other = await r.join("bob", session="s2")
        await send(other, "ann", "I heard of it", reply_to=sent["message"])
        for strange in (sent["message"], "m0", "m999999", "nonsense", "d2", "m" + "9" * 60):
            await eve.refused("not_found", "mail.send", to="ann", body=1, reply_to=strange)


async def test_a_mailbox_holds_so_many_unfinished_deliveries(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=2) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        cat = await r.join("cat", role="service")
        await send(ann, "bob", 1, 2)
        error = await ann.refused("mailbox_full", "mail.send", to=["cat", "bob"], body=3)
        assert error["retryable"] is True
        assert error["detail"] == {"mailbox": "bob"}
        assert error["retry_after_ms"] > 0
        assert cat.mail() == []
        await bob.ask("mail.ack", **held(await take(bob)))
        await send(ann, "bob", 3)
        await ann.refused("mailbox_full", "mail.send", to="bob", body=4, delay_ms=1_000)


@pytest.mark.parametrize("capacity", [0, 1, 32])
async def test_a_full_mailbox_of_a_group_gets_an_expired_copy(
    tmp_path: Path, capacity: int
) -> None:
    async with desk(tmp_path, mail__max_depth=2) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=capacity, groups=["@team"])
        cat = await r.join("cat", role="service", groups=["@team"])
        await send(ann, "bob", 1, 2)
        for to in ("@team", "*", ["@team", "cat"]):
            (sent,) = await send(ann, to, to)
            assert sent["total"] == 2
            assert copies(sent)["bob"]["state"] == "expired"
            assert copies(sent)["bob"]["queued"] is False
            trace = await ann.ask("mail.trace", message=sent["message"])
            (gone,) = [one for one in trace["deliveries"] if one["mailbox"] == "bob"]
            assert (gone["state"], gone["last_error"]) == ("expired", "mailbox_full")
            assert [(step["event"], step.get("reason")) for step in gone["history"]] == [
                ("accepted", None),
                ("expired", "mailbox_full"),
            ]
            await cat.ask("mail.ack", **held(await take(cat)))
        await ann.refused("mailbox_full", "mail.send", to=["@team", "bob"], body=1)


async def test_a_copy_that_is_born_expired_has_its_receipt(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", groups=["@team"])
        await send(ann, "bob", 1)
        (sent,) = await send(ann, "@team", 2, receipt=True)
        receipt = await take(ann)
        assert receipt["kind"] == "receipt"
        assert receipt["body"] == {
            "message": sent["message"],
            "delivery": sent["deliveries"][0]["delivery"],
            "to": "bob",
            "state": "expired",
            "reason": "mailbox_full",
        }


async def test_at_most_a_hundred_deliveries_are_listed(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        for number in range(103):
            await r.join("bob", session=f"s{number}", groups=["@team"])
        (sent,) = await send(ann, "@team", 1)
        assert sent["total"] == 103
        assert len(sent["deliveries"]) == 100


async def test_the_allowance_is_a_rate_with_a_burst_of_five_seconds(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=2) as r:
        bob = await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        await send(ann, "bob", *range(10))
        error = await ann.refused("rate_limited", "mail.send", to="bob", body=10)
        assert error["retryable"] is True
        assert 0 < error["retry_after_ms"] <= 501
        await r.advance(error["retry_after_ms"])
        await send(ann, "bob", 10)
        await ann.refused("rate_limited", "mail.send", to="bob", body=11)
        await send(bob, "ann", "others have their own")


async def test_the_burst_is_no_larger_for_who_has_spared_some(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=2) as r:
        await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        await send(ann, "bob", 1)
        await r.advance(60_000)
        await send(ann, "bob", *range(10))
        await ann.refused("rate_limited", "mail.send", to="bob", body=11)


async def test_a_duplicate_costs_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=1) as r:
        await r.join("bob", role="service")
        ann = await r.join("ann", role="service")
        for _ in range(20):
            await send(ann, "bob", 1, key="k")
        await send(ann, "bob", *range(4))
        await ann.refused("rate_limited", "mail.send", to="bob", body=1)


async def test_outputs_count_as_sends(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        await send(bob, "ann", 1)
        outputs = [{"to": "ann", "body": number} for number in range(5)]
        error = await bob.refused("rate_limited", "mail.ack", **held(mail), outputs=outputs)
        assert error["detail"] == {"output": 4}
        await r.advance(1_000)
        await bob.ask("mail.ack", **held(mail), outputs=outputs)
        await bob.refused("rate_limited", "mail.send", to="ann", body=1)


async def test_more_outputs_than_a_burst_wait_for_a_whole_one_and_are_owed(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=1) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        outputs = [{"to": "bob", "body": number} for number in range(7)]
        error = await bob.refused("rate_limited", "mail.ack", **held(mail), outputs=outputs)
        await r.advance(error["retry_after_ms"])
        await bob.ask("mail.ack", **held(mail), outputs=outputs)
        error = await bob.refused("rate_limited", "mail.send", to="bob", body=1)
        assert error["retry_after_ms"] > 2_000


async def test_no_rate_is_no_limit(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=0) as r:
        ann = await r.join("ann", role="service")
        await send(ann, "ann", *range(50))
        assert len(ann.mail()) == 32


async def test_a_refused_send_leaves_nothing_behind(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        before = [r.rows(f"SELECT * FROM {table}") for table in ("messages", "deliveries")]
        await ann.refused("mailbox_full", "mail.send", to=["ann", "bob"], body=1, key="k")
        await ann.refused("unknown_recipient", "mail.send", to=["ann", "eve"], body=1, key="k")
        assert before == [r.rows(f"SELECT * FROM {table}") for table in ("messages", "deliveries")]
        assert r.rows("SELECT count(*) FROM message_keys") == [(0,)]
        await bob.ask("mail.ack", **held(await take(bob)))
        (sent,) = await send(ann, ["ann", "bob"], 1, key="k")
        assert sent["duplicate"] is False


async def test_each_send_of_a_batch_sees_those_before_it(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=2) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        asked = [ann.post("mail.send", to="bob", body=number) for number in range(3)]
        await r.settle()
        answers = [ann.reply(id) for id in asked]
        assert [answer.get("error", {}).get("code") for answer in answers] == [
            None,
            None,
            "mailbox_full",
        ]
        assert [answer["ok"]["deliveries"][0]["depth"] for answer in answers[:2]] == [0, 1]
