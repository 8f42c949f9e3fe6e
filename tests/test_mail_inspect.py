"""Looking at mail: the trace of a message, the list of a mailbox, its dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import desk, held, send, steps, take, traced

from broker.areas.mail.deliver import STRETCH_BITS


async def test_a_trace_tells_the_whole_life(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=100) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        start = r.clock.now()
        (sent,) = await send(ann, "bob/s1", {"secret": 1}, kind="job", priority=60)
        mail = await take(bob)
        await r.advance(10)
        await bob.ask("mail.nack", **held(mail), delay_ms=0, reason="not yet")
        await take(bob)
        await r.advance(1_200)
        mail = await take(bob)
        await bob.ask("bye")
        bob2 = await r.join("bob", session="s1")
        mail = await take(bob2)
        await r.advance(10)
        await bob2.ask("mail.extend", **held(mail), note="half")
        await r.advance(10)
        await bob2.ask("mail.ack", **held(mail))
        p1, p2 = bob.welcome["presence"], bob2.welcome["presence"]
        trace = await ann.ask("mail.trace", message=sent["message"])
        assert trace == {
            "message": sent["message"],
            "from": "ann",
            "to": "bob/s1",
            "kind": "job",
            "priority": 60,
            "sent_at": start,
            "total": 1,
            "deliveries": [
                {
                    "delivery": mail["delivery"],
                    "mailbox": "bob/s1",
                    "seq": mail["seq"],
                    "state": "acked",
                    "failures": 2,
                    "claims": 4,
                    "last_error": "lease over",
                    "claim_id": mail["claim"],
                    "claimed_at": start + 1_210,
                    "delivered_at": start + 1_230,
                    "history": [
                        {"event": "accepted", "at": start},
                        {"event": "claimed", "at": start, "presence": p1},
                        {"event": "nacked", "at": start + 10, "presence": p1, "reason": "not yet"},
                        {"event": "claimed", "at": start + 10, "presence": p1},
                        {
                            "event": "released",
                            "at": start + 1_010,
                            "presence": p1,
                            "reason": "lease over",
                        },
                        {"event": "claimed", "at": start + 1_210, "presence": p1},
                        {
                            "event": "released",
                            "at": start + 1_210,
                            "presence": p1,
                            "reason": "presence left",
                        },
                        {"event": "claimed", "at": start + 1_210, "presence": p2},
                        {"event": "extended", "at": start + 1_220, "presence": p2, "note": "half"},
                        {"event": "acked", "at": start + 1_230, "presence": p2},
                    ],
                }
            ],
            "next": None,
        }


async def test_every_claim_is_told_even_two_of_one_millisecond(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1)
        await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)
        mail = await take(bob)
        assert steps(await traced(bob, sent["message"])) == [
            "accepted",
            "claimed",
            "nacked",
            "claimed",
        ]
        await bob.ask("mail.ack", **held(mail))
        assert steps(await traced(bob, sent["message"])) == [
            "accepted",
            "claimed",
            "nacked",
            "claimed",
            "acked",
        ]


@pytest.mark.parametrize("end", ["rejected", "nacked", "lapsed"])
async def test_what_a_dead_letter_was_extended_is_told_once(tmp_path: Path, end: str) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1, max_attempts=1)
        mail = await take(bob)
        for _ in range(2):
            await r.advance(10)
            await bob.ask("mail.extend", **held(mail), lease_ms=1_000)
        if end == "lapsed":
            await r.advance(1_010)
        else:
            await bob.ask("mail.nack", **held(mail), dead=end == "rejected")
        life = (await traced(bob, sent["message"]))["history"]
        told = [(step["event"], step.get("count")) for step in life]
        given_back = "released" if end == "lapsed" else "nacked"
        assert told == [
            ("accepted", None),
            ("claimed", None),
            ("extended", 2),
            (given_back, None),
            ("dead", None),
        ]


@pytest.mark.parametrize("wait", [0, 200])
async def test_what_is_redriven_is_claimed_after_that(tmp_path: Path, wait: int) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1)
        mail = await take(bob)
        await bob.ask("mail.nack", **held(mail), dead=True)
        await r.advance(wait)
        await bob.ask("mail.redrive", delivery=mail["delivery"])
        again = await take(bob)
        life = ["accepted", "claimed", "nacked", "dead", "redriven", "claimed"]
        assert steps(await traced(bob, sent["message"])) == life
        await bob.ask("mail.ack", **held(again))
        assert steps(await traced(bob, sent["message"])) == [*life, "acked"]


async def test_a_late_ack_does_not_claim_twice(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1)
        mail = await take(bob)
        await r.advance(1_000)
        await bob.ask("mail.ack", **held(mail))
        assert steps(await traced(bob, sent["message"])) == [
            "accepted",
            "claimed",
            "released",
            "acked",
        ]


async def test_a_trace_is_for_those_who_took_part_and_admins(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        bob = await r.join("bob", session="s1")
        (sent,) = await send(ann, "bob/s1", 1)
        await bob.ask("bye", final=True)
        parties = [
            await r.join("ann", observe=True),
            await r.join("bob", session="s2"),
            await r.join("owner", observe=True),
        ]
        for peer in parties:
            assert (await peer.ask("mail.trace", message=sent["message"]))["total"] == 1
        eve = await r.join("eve", role="service")
        await eve.refused("not_found", "mail.trace", message=sent["message"])
        owner = parties[2]
        for message in ("m999", "m2", "nonsense", "d2"):
            await owner.refused("not_found", "mail.trace", message=message)
        made = await owner.ask("mesh.create", mesh="far")
        far = await r.join("owner", observe=True, mesh="far", token=made["token"])
        await far.refused("not_found", "mail.trace", message=sent["message"])


async def test_a_trace_of_many_comes_in_pages(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        for number in range(7):
            await r.join("bob", session=f"s{number}", groups=["@team"])
        (sent,) = await send(ann, "@team", 1)
        found, after = [], None
        for size in (3, 3, 1):
            page = await ann.ask("mail.trace", message=sent["message"], limit=3, after=after)
            assert len(page["deliveries"]) == size
            assert page["total"] == 7
            found += [one["mailbox"] for one in page["deliveries"]]
            after = page["next"]
        assert after is None
        assert found == [f"bob/s{number}" for number in range(7)]


async def test_a_list_looks_without_claiming(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        start = r.clock.now()
        (one, two, three) = await send(ann, "bob", 1, 2, 3, kind="job", priority=60)
        first, second = bob.mail()
        await r.advance(10)
        await bob.ask("mail.ack", **held(first))
        await bob.ask("presence.update", capacity=0)
        await bob.ask("mail.nack", **held(second), reason="no")
        page = await bob.ask("mail.list")
        assert page["next"] is None
        shown = {entry["message"]: entry for entry in page["deliveries"]}
        assert shown[two["message"]] == {
            "delivery": second["delivery"],
            "message": two["message"],
            "mailbox": "bob",
            "seq": second["seq"],
            "from": "ann",
            "kind": "job",
            "priority": 60,
            "state": "queued",
            "failures": 1,
            "last_error": "no",
            "sent_at": start,
            "ready_at": start + 1_010,
            "claimed_at": start,
            "delivered_at": None,
        }
        assert shown[one["message"]]["state"] == "acked"
        assert shown[one["message"]]["ready_at"] is None
        assert shown[one["message"]]["delivered_at"] == start + 10
        assert shown[three["message"]]["state"] == "claimed"
        before = r.rows("SELECT * FROM deliveries")
        await bob.ask("mail.list", state="queued")
        assert r.rows("SELECT * FROM deliveries") == before


async def test_a_list_by_state(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=3)
        sent = await send(ann, "bob", *range(5))
        one, two, _ = bob.mail()
        await bob.ask("presence.update", capacity=0)
        await bob.ask("mail.ack", **held(one))
        await bob.ask("mail.nack", **held(two), dead=True)
        await ann.ask("mail.cancel", message=sent[4]["message"])
        found = {
            state: len((await bob.ask("mail.list", state=state))["deliveries"])
            for state in ("queued", "claimed", "acked", "dead", "expired", "cancelled")
        }
        assert found == {
            "queued": 1,
            "claimed": 1,
            "acked": 1,
            "dead": 1,
            "expired": 0,
            "cancelled": 1,
        }
        await bob.refused("bad_request", "mail.list", state="lost")
        assert [one["state"] for one in (await bob.ask("mail.dead"))["deliveries"]] == ["dead"]


async def test_a_list_comes_in_pages_over_stretches(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        for number in range(5):
            await send(ann, "bob", number, number)
            r.broker.house.next_number += (1 << STRETCH_BITS) * (1 + number % 2)
        found, after, pages = [], None, 0
        while True:
            page = await bob.ask("mail.list", limit=3, after=after)
            found += [one["seq"] for one in page["deliveries"]]
            after, pages = page["next"], pages + 1
            if after is None:
                break
        assert len(found) == len(set(found)) == 10
        assert found == sorted(found)
        assert pages == 4


async def test_a_list_of_few_among_many_stretches_says_where_to_go_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=0)
        for _ in range(70):
            await send(ann, "bob", 1)
            r.broker.house.next_number += 1 << STRETCH_BITS
        (sent,) = await send(ann, "bob", 2)
        await ann.ask("mail.cancel", message=sent["message"])
        first = await bob.ask("mail.list", state="cancelled")
        assert first["deliveries"] == []
        second = await bob.ask("mail.list", state="cancelled", after=first["next"])
        assert [one["message"] for one in second["deliveries"]] == [sent["message"]]
        assert second["next"] is None


@pytest.mark.parametrize("op", ["mail.list", "mail.dead", "mail.trace"])
@pytest.mark.parametrize(
    "after",
    [
        "",
        "2",
        "x:2",
        "delivery:",
        "delivery:x",
        "delivery:-1",
        "delivery:1.5",
        "delivery:\u0663",
        "delivery:" + "9" * 30,
    ],
)
async def test_a_broken_cursor_is_a_bad_request(tmp_path: Path, op: str, after: str) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        fields = {}
        if op == "mail.trace":
            fields["message"] = (await send(bob, "bob", 1))[0]["message"]
        error = await bob.refused("bad_request", op, after=after, **fields)
        assert "after" in error["message"]
        for limit in (0, 201):
            await bob.refused("bad_request", op, limit=limit, **fields)


@pytest.mark.parametrize("op", ["mail.list", "mail.dead"])
async def test_lists_are_for_the_mailboxs_owner_and_admins(tmp_path: Path, op: str) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        owner = await r.join("owner", observe=True)
        await send(ann, ["bob", "bob/s1"], 1)
        for mail in bob.mail():
            await bob.ask("mail.nack", **held(mail), dead=True)
        assert [one["mailbox"] for one in (await bob.ask(op))["deliveries"]] == ["bob/s1"]
        for peer, mailbox in ((bob, "bob"), (owner, "bob"), (owner, "bob/s1")):
            page = await peer.ask(op, mailbox=mailbox)
            assert [one["mailbox"] for one in page["deliveries"]] == [mailbox]
        await ann.refused("forbidden", op, mailbox="bob")
        await owner.refused("not_found", op, mailbox="nobody")
        eye = await r.join("bob", observe=True)
        assert [one["mailbox"] for one in (await eye.ask(op))["deliveries"]] == ["bob"]


async def test_dead_letters_come_in_pages(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        for number in range(5):
            await send(bob, "bob", number)
            await bob.ask("mail.nack", **held(await take(bob)), dead=True, reason=f"r{number}")
        found, after = [], None
        for _ in range(3):
            page = await bob.ask("mail.dead", limit=2, after=after)
            found += [one["last_error"] for one in page["deliveries"]]
            after = page["next"]
        assert found == [f"r{number}" for number in range(5)]
        assert after is None


async def test_pages_fit_a_frame(tmp_path: Path) -> None:
    """Reasons of 4 KiB that take six times as much when they are written as JSON."""
    settings: dict[str, Any] = {"limits__body": 1_000, "limits__frame": 70_000}
    async with desk(tmp_path, **settings) as r:
        bob = await r.join("bob", role="service", groups=["@team"])
        reason = "\u0001" * 4_000
        message = ""
        for number in range(6):
            await r.join("bob", session=f"s{number}", groups=["@team"], capacity=0)
            (sent,) = await send(bob, "bob", number)
            message = sent["message"]
            await bob.ask("mail.nack", **held(await take(bob)), dead=True, reason=reason)
        for op in ("mail.list", "mail.dead"):
            found, after = 0, None
            while found == 0 or after is not None:
                page = await bob.ask(op, after=after)
                assert len(bob.line.raw[-1]) <= 70_000
                assert page["deliveries"]
                found += len(page["deliveries"])
                after = page["next"]
            assert found == 6
        assert (await bob.ask("mail.trace", message=message))["total"] == 1
        assert len(bob.line.raw[-1]) <= 70_000


async def test_a_long_life_fits_a_frame_its_newest_steps_first(tmp_path: Path) -> None:
    async with desk(tmp_path, limits__body=1_000, limits__frame=70_000) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1)
        mail = await take(bob)
        for number in range(60):
            await r.advance(1_000)
            await bob.ask("mail.extend", **held(mail), note=f"{number} " + "x" * 4_000)
        await bob.ask("mail.ack", **held(mail))
        trace = await traced(bob, sent["message"])
        assert len(bob.line.raw[-1]) <= 70_000
        assert steps(trace)[0] == "accepted"
        assert steps(trace)[-1] == "acked"
        notes = [step["note"] for step in trace["history"] if "note" in step]
        assert notes[-1].startswith("59 ")
