"""Phase two: the ack, what fences it, and its outputs, all of it or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from failing_storage import full
from mail_desk import bodies, copies, desk, held, send, take, traced

from broker.store.faults import StoreFault
from broker.store.writer import Writer


async def test_an_ack_ends_the_delivery(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1)
        await r.advance(10)
        mail = await take(bob)
        assert await bob.ask("mail.ack", **held(mail)) == {
            "state": "acked",
            "outputs": [],
            "duplicate": False,
        }
        trace = await traced(ann, sent["message"])
        assert (trace["state"], trace["delivered_at"]) == ("acked", r.clock.now())
        assert (trace["claim_id"], trace["claimed_at"]) == (mail["claim"], r.clock.now() - 10)
        await r.advance(1_000_000)
        assert bob.mail() == []


async def test_the_same_ack_again_is_ok(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        other = await r.join("bob", session="s1")
        await send(bob, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.ack", **held(mail))
        again = {"state": "acked", "outputs": [], "duplicate": True}
        assert await bob.ask("mail.ack", **held(mail)) == again
        assert await other.ask("mail.ack", **held(mail), outputs=[]) == again
        await r.restart()
        bob = await r.join("bob", role="service")
        assert await bob.ask("mail.ack", **held(mail)) == again
        await bob.refused(
            "key_conflict", "mail.ack", **held(mail), outputs=[{"to": "bob", "body": 1}]
        )


async def test_two_acks_in_one_batch(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        asked = [bob.post("mail.ack", **held(mail)) for _ in range(2)]
        await r.settle()
        assert [bob.reply(id)["ok"]["duplicate"] for id in asked] == [False, True]


async def test_outputs_are_sent_with_the_ack(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        cat = await r.join("cat", role="service", capacity=0)
        (sent,) = await send(ann, "bob", "work")
        mail = await take(bob)
        outputs = [
            {"to": "ann", "body": "done", "reply_to": mail["message"], "kind": "result"},
            {"to": "cat", "body": "next", "priority": "critical", "meta": {"a": 1}},
            {"to": "@nobody", "body": None},
        ]
        acked = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert [one["total"] for one in acked["outputs"]] == [1, 1, 0]
        assert copies(acked["outputs"][1])["cat"]["queued"] is True
        done = await take(ann)
        assert (done["body"], done["from"], done["reply_to"], done["kind"]) == (
            "done",
            "bob",
            sent["message"],
            "result",
        )
        assert done["message"] == acked["outputs"][0]["message"]
        (waiting,) = (await cat.ask("mail.claim"))["deliveries"]
        assert (waiting["priority"], waiting["meta"]) == (100, {"a": 1})


async def test_the_same_ack_with_its_outputs_gets_the_first_answers(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", "work")
        mail = await take(bob)
        outputs = [{"to": "ann", "body": number} for number in range(2)]
        first = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert bodies(ann.mail()) == [0, 1]
        again = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert again == {**first, "duplicate": True}
        await r.restart()
        bob = await r.join("bob", role="service")
        again = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert [one["message"] for one in again["outputs"]] == [
            one["message"] for one in first["outputs"]
        ]
        for other in (
            [],
            outputs[:1],
            outputs[::-1],
            [outputs[0], {"to": "ann", "body": 3}],
            [{**outputs[0], "key": "k"}, outputs[1]],
        ):
            await bob.refused("key_conflict", "mail.ack", **held(mail), outputs=other)
        assert r.rows("SELECT count(*) FROM messages") == [(3,)]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"to": "nobody", "body": 1}, "unknown_recipient"),
        ({"to": "full", "body": 1}, "mailbox_full"),
        ({"to": "ann", "body": "x" * 2_000}, "too_large"),
        ({"to": "ann", "body": 1, "kind": "receipt"}, "forbidden"),
        ({"to": "ann", "body": 1, "reply_to": "m99"}, "not_found"),
        ({"to": "ann", "body": 2, "key": "k"}, "key_conflict"),
        ({"to": ["ann"] * 1_001, "body": 1}, "too_large"),
        ({"to": "ann", "body": 1, "meta": {"m": "x" * 5_000}}, "too_large"),
    ],
)
async def test_an_output_that_is_refused_takes_all_back(
    tmp_path: Path, bad: dict[str, Any], code: str
) -> None:
    async with desk(tmp_path, mail__max_depth=1, limits__body=1_500) as r:
        ann = await r.join("ann", role="service", capacity=0)
        bob = await r.join("bob", role="service")
        await r.join("full", role="service")
        await send(ann, "full", 1)
        await send(bob, "@nobody", 1, key="k")
        await send(ann, "bob", "work")
        mail = await take(bob)
        before = r.rows("SELECT * FROM messages"), r.rows("SELECT * FROM deliveries")
        good = {"to": "@nobody", "body": 1, "key": "new"}
        error = await bob.refused(code, "mail.ack", **held(mail), outputs=[good, bad, good])
        assert error["detail"]["output"] == 1
        assert before == (r.rows("SELECT * FROM messages"), r.rows("SELECT * FROM deliveries"))
        assert r.rows("SELECT key FROM message_keys") == [("k",)]
        acked = await bob.ask("mail.ack", **held(mail), outputs=[good])
        assert acked["outputs"][0]["duplicate"] is False


async def test_a_hundred_outputs_and_no_more(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        outputs = [{"to": "@nobody", "body": number} for number in range(101)]
        error = await bob.refused("too_large", "mail.ack", **held(mail), outputs=outputs)
        assert error["detail"] == {"output": 100}
        acked = await bob.ask("mail.ack", **held(mail), outputs=outputs[:100])
        assert len(acked["outputs"]) == 100


async def test_an_answer_to_the_acked_message_is_taken_whatever_the_depth(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service", capacity=0, groups=["@team"])
        bob = await r.join("bob", role="service")
        await send(bob, "ann", "fills it")
        await send(ann, "bob", "work")
        mail = await take(bob)
        to_group = {"to": "@team", "body": "heard", "reply_to": mail["message"]}
        answer = {"to": "ann", "body": "done", "reply_to": mail["message"]}
        more = {"to": "ann", "body": "by the way"}
        error = await bob.refused("mailbox_full", "mail.ack", **held(mail), outputs=[answer, more])
        assert error["detail"] == {"mailbox": "ann", "output": 1}
        acked = await bob.ask("mail.ack", **held(mail), outputs=[answer, to_group])
        assert [one["deliveries"][0]["state"] for one in acked["outputs"]] == ["queued", "queued"]
        await bob.refused("mailbox_full", "mail.send", to="ann", body=1, reply_to=mail["message"])


async def test_an_output_to_oneself_uses_the_room_that_the_ack_makes(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        bob = await r.join("bob", role="service", capacity=1)
        await send(bob, "bob", "step 1")
        mail = await take(bob)
        acked = await bob.ask("mail.ack", **held(mail), outputs=[{"to": "bob", "body": "step 2"}])
        assert copies(acked["outputs"][0])["bob"]["state"] == "claimed"
        assert (await take(bob))["body"] == "step 2"


async def test_an_ack_after_the_lease_counts_until_somebody_claims_anew(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=5_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (one,) = await send(ann, "bob", 1)
        (two,) = await send(ann, "bob", 2)
        first, second = bob.mail()
        await r.advance(1_000)
        assert (await traced(ann, one["message"]))["state"] == "queued"
        await bob.ask("mail.ack", **held(first), outputs=[{"to": "ann", "body": "late"}])
        assert bodies(ann.mail()) == ["late"]
        assert (await traced(ann, one["message"]))["state"] == "acked"
        assert (await bob.ask("mail.ack", **held(first), outputs=[{"to": "ann", "body": "late"}]))[
            "duplicate"
        ]
        await r.advance(5_000)
        again = await take(bob)
        assert again["message"] == two["message"]
        await bob.refused("stale_claim", "mail.ack", **held(second))
        await bob.ask("mail.ack", **held(again))
        await bob.refused("stale_claim", "mail.ack", **held(second))


async def test_a_late_ack_of_what_is_ready_and_waits_for_room(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=1) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=1)
        await send(ann, "bob", 1, 2)
        mail = await take(bob)
        await bob.ask("presence.update", capacity=0)
        await r.advance(2_000)
        await bob.ask("mail.ack", **held(mail))
        await bob.ask("presence.update", capacity=1)
        assert bodies(bob.mail()) == [2]


@pytest.mark.parametrize("ends", ["nacked", "released", "replaced", "dead", "expired", "redriven"])
async def test_a_claim_that_has_ended_is_stale_and_nothing_changes(
    tmp_path: Path, ends: str
) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        (sent,) = await send(ann, "bob", 1, ttl_ms=1_000 if ends == "expired" else 60_000)
        mail = await take(bob)
        if ends == "nacked":
            await bob.ask("mail.nack", **held(mail), delay_ms=10_000)
        elif ends == "released":
            await bob.ask("bye")
            bob = await r.join("bob", session="s2", capacity=0)
        elif ends == "replaced":
            bob = await r.join("bob", session="s1", capacity=0)
        elif ends == "expired":
            await r.advance(1_000)
        else:
            await bob.ask("mail.nack", **held(mail), dead=True)
        if ends == "redriven":
            await bob.ask("presence.update", capacity=0)
            await bob.ask("mail.redrive", delivery=mail["delivery"])
        before = r.rows("SELECT * FROM deliveries")
        output = [{"to": "bob", "body": 1}]
        await bob.refused("stale_claim", "mail.ack", **held(mail))
        await bob.refused("stale_claim", "mail.ack", **held(mail), outputs=output)
        await bob.refused("stale_claim", "mail.nack", **held(mail))
        await bob.refused("stale_claim", "mail.extend", **held(mail))
        assert r.rows("SELECT * FROM deliveries") == before
        assert (await traced(ann, sent["message"]))["state"] != "acked"


@pytest.mark.parametrize("claim", ["c999", "d2", "nonsense", "c", "c-1", "c" + "9" * 40, "C2"])
async def test_a_claim_that_never_was_is_stale(tmp_path: Path, claim: str) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        for op in ("mail.ack", "mail.nack", "mail.extend"):
            await bob.refused("stale_claim", op, delivery=mail["delivery"], claim=claim)
        await bob.ask("mail.ack", **held(mail))
        await bob.refused("stale_claim", "mail.ack", delivery=mail["delivery"], claim=claim)


@pytest.mark.parametrize("op", ["mail.ack", "mail.nack", "mail.extend"])
async def test_another_members_delivery_is_not_found(tmp_path: Path, op: str) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        owner = await r.join("owner", observe=True)
        await send(ann, "bob", 1)
        mail = await take(bob)
        for stranger in (ann, owner):
            await stranger.refused("not_found", op, **held(mail))
        for delivery in ("d999", "nonsense", "d0", mail["message"], "d" + "9" * 60):
            await bob.refused("not_found", op, delivery=delivery, claim=mail["claim"])
        await bob.ask("mail.ack", **held(mail))
        for stranger in (ann, owner):
            await stranger.refused("not_found", op, **held(mail))


async def test_any_presence_of_the_member_may_ack(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", session="s1")
        other = await r.join("bob", observe=True)
        await send(bob, "bob/s1", 1)
        mail = await take(bob)
        await other.ask("mail.extend", **held(mail))
        await other.ask("mail.ack", **held(mail))


async def test_a_new_member_of_an_old_name_has_nothing_of_the_old(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1)
        mail = await take(bob)
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="bob")
        del r.tokens["bob"]
        bob = await r.join("bob", role="service")
        assert bob.mail() == []
        await bob.refused("not_found", "mail.ack", **held(mail))
        await bob.refused("not_found", "mail.trace", message=sent["message"])
        await bob.refused("not_found", "mail.send", to="ann", body=1, reply_to=sent["message"])


async def test_the_answers_of_many_outputs_fit_a_frame(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__body=16_000, limits__frame=100_000) as r:
        bob = await r.join("bob", role="service", capacity=1)
        for number in range(60):
            label = f"{'session' * 7}-{number}"
            await r.join("cat", session=label, groups=["@team"])
        await send(bob, "bob", 1)
        mail = await take(bob)
        outputs = [{"to": "@team", "body": number} for number in range(100)]
        acked = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert [one["total"] for one in acked["outputs"]] == [60] * 100
        assert len(bob.line.raw[-1]) <= 100_000
        again = await bob.ask("mail.ack", **held(mail), outputs=outputs)
        assert again["outputs"][99]["message"] == acked["outputs"][99]["message"]
        assert len(bob.line.raw[-1]) <= 100_000


async def test_outputs_that_are_refused_spend_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__send_rate=10) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        wrong = [{"to": "ann", "body": 1}] * 20 + [{"to": "nobody", "body": 1}]
        for _ in range(5):
            await bob.refused("unknown_recipient", "mail.ack", **held(mail), outputs=wrong)
        await bob.ask("mail.ack", **held(mail), outputs=wrong[:20])
        assert len(ann.mail()) == 20


async def test_a_batch_that_fails_spends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, faulty=True, limits__send_rate=10) as r:
        ann = await r.join("ann", role="service", capacity=0)
        for _ in range(5):
            with monkeypatch.context() as patch:
                patch.setattr(Writer, "_tried_commit", lambda _: StoreFault(full()))
                ids = [ann.post("mail.send", to="ann", body=1) for _ in range(30)]
                r.broker.executor.run()
            assert {ann.reply(id)["error"]["code"] for id in ids} == {"unavailable"}
        assert len(await send(ann, "ann", *range(40))) == 40
