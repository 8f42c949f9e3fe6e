"""Idempotency: the same key with the same content is the same message, for as long as it lasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mail_desk import copies, desk, held, send, take

from broker.areas.mail import keys

DAY = 86_400_000


async def test_the_same_again_is_the_first_answer_with_todays_states(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (first,) = await send(ann, "bob", 1, key="k")
        (again,) = await send(ann, "bob", 1, key="k")
        assert again == {**first, "duplicate": True}
        await bob.ask("mail.ack", **held(await take(bob)))
        (again,) = await send(ann, "bob", 1, key="k")
        assert (again["message"], again["seq"], again["duplicate"]) == (
            first["message"],
            first["seq"],
            True,
        )
        assert copies(again)["bob"]["state"] == "acked"
        assert copies(again)["bob"]["queued"] is False
        assert bob.mail() == []
        assert r.rows("SELECT count(*) FROM messages") == [(1,)]


async def test_todays_depth_is_told_for_what_waits(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1, 2)
        (first,) = await send(ann, "bob", 3, key="k")
        assert copies(first)["bob"]["depth"] == 2
        await send(ann, "bob", 4, priority="critical")
        await send(ann, "bob", 5)
        (again,) = await send(ann, "bob", 3, key="k")
        assert (copies(again)["bob"]["depth"], copies(again)["bob"]["queued"]) == (3, True)


@pytest.mark.parametrize(
    "other",
    [
        {"body": 2},
        {"to": "ann"},
        {"to": ["bob"]},
        {"kind": "other"},
        {"priority": 51},
        {"ttl_ms": 1_000},
        {"delay_ms": 1},
        {"receipt": True},
        {"max_attempts": 4},
        {"meta": {}},
        {"reply_to": "m1"},
    ],
)
async def test_another_content_under_the_key_is_a_conflict(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, key="k")
        await take(bob)
        await ann.refused(
            "key_conflict", "mail.send", **{"to": "bob", "body": 1, "key": "k"} | other
        )
        assert bob.mail() == []


@pytest.mark.parametrize(
    "same",
    [
        {"kind": "message"},
        {"priority": "task"},
        {"priority": 50},
        {"ttl_ms": 7 * DAY},
        {"delay_ms": 0},
        {"receipt": False},
        {"max_attempts": 5},
        {"meta": None},
        {"reply_to": None},
        {"dedupe": "active"},
        {"dedupe": "window"},
    ],
)
async def test_a_default_that_is_written_out_is_the_same_content(
    tmp_path: Path, same: dict[str, Any]
) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service")
        (first,) = await send(ann, "bob", 1, key="k")
        (again,) = await send(ann, "bob", 1, key="k", **same)
        assert (again["message"], again["duplicate"]) == (first["message"], True)


async def test_the_default_lifetime_of_news_is_its_own(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service")
        await send(ann, "bob", 1, key="k", priority="info")
        (again,) = await send(ann, "bob", 1, key="k", priority=10, ttl_ms=3_600_000)
        assert again["duplicate"] is True


async def test_the_bytes_of_body_and_meta_are_compared(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service")
        for number, body in enumerate((b'{"a":1}', b'{"a": 1}', b'{"a":1}')):
            ann.write(
                b'{"op":"mail.send","id":"x%d","to":"bob","key":"k","body":%b}' % (number, body)
            )
        await r.settle()
        found = {frame.get("re"): frame for frame in ann.line.frames}
        assert found["x1"]["error"]["code"] == "key_conflict"
        assert found["x2"]["ok"]["duplicate"] is True


async def test_who_is_in_the_group_is_no_content(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", groups=["@team"])
        (first,) = await send(ann, "@team", 1, key="k")
        cat = await r.join("cat", role="service", groups=["@team"])
        (again,) = await send(ann, "@team", 1, key="k")
        assert again == {**first, "duplicate": True}
        assert cat.mail() == []


async def test_two_senders_and_two_sessions(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        other = await r.join("ann", session="s2")
        bob = await r.join("bob", role="service")
        (first,) = await send(ann, "bob", 1, key="k")
        (second,) = await send(bob, "bob", 1, key="k")
        assert second["duplicate"] is False
        (third,) = await send(other, "bob", 1, key="k")  # the key is the member's
        assert (third["message"], third["duplicate"]) == (first["message"], True)


async def test_a_key_is_known_whoever_is_gone_or_full(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_depth=1) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service")
        (first,) = await send(ann, "bob", 1, key="k")
        (again,) = await send(ann, "bob", 1, key="k")
        assert again["duplicate"] is True
        owner = await r.join("owner", observe=True)
        await owner.ask("member.remove", member="bob")
        (again,) = await send(ann, "bob", 1, key="k")
        assert (again["message"], again["duplicate"]) == (first["message"], True)
        assert again["deliveries"][0]["to"] == "bob"
        assert again["deliveries"][0]["state"] == "expired"


async def test_a_key_lasts_for_the_window_and_over_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__dedupe_ms=10_000) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        (first,) = await send(ann, "bob", 1, key="k")
        await r.advance(9_999)
        await r.restart()
        ann = await r.join("ann", role="service")
        (again,) = await send(ann, "bob", 1, key="k")
        assert (again["message"], again["duplicate"]) == (first["message"], True)
        await r.advance(1)
        (new,) = await send(ann, "bob", 1, key="k")
        assert new["duplicate"] is False
        assert new["message"] != first["message"]
        (again,) = await send(ann, "bob", 1, key="k")
        assert (again["message"], again["duplicate"]) == (new["message"], True)


async def test_a_key_that_is_over_takes_another_content(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__dedupe_ms=10_000) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        await send(ann, "bob", 1, key="k")
        await r.advance(10_000)
        (new,) = await send(ann, "bob", 2, key="k")
        assert new["duplicate"] is False


async def test_old_keys_are_removed(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__dedupe_ms=10_000, mail__retention_ms=16_000) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)
        for number in range(3):
            await send(ann, "bob", 1, key=f"k{number}")
        await r.advance(5_000)
        await send(ann, "bob", 1, key="k3")
        await r.advance(7_500)
        assert r.rows("SELECT key FROM message_keys") == [("k3",)]


async def test_an_active_key_is_free_when_all_deliveries_have_ended(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        cat = await r.join("cat", role="service")
        (first,) = await send(ann, ["bob", "cat"], 1, key="k", dedupe="active")
        await bob.ask("mail.ack", **held(await take(bob)))
        (again,) = await send(ann, ["bob", "cat"], 1, key="k", dedupe="active")
        assert (again["message"], again["duplicate"]) == (first["message"], True)
        await ann.refused("key_conflict", "mail.send", to="bob", body=2, key="k", dedupe="active")
        await cat.ask("mail.nack", **held(await take(cat)), dead=True)
        (new,) = await send(ann, ["bob", "cat"], 2, key="k", dedupe="active")
        assert new["duplicate"] is False


async def test_an_active_key_of_nobody_is_free_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        (first,) = await send(ann, "@nobody", 1, key="k", dedupe="active")
        (second,) = await send(ann, "@nobody", 2, key="k", dedupe="active")
        assert second["duplicate"] is False
        (third,) = await send(ann, "@none", 1, key="w")
        (again,) = await send(ann, "@none", 1, key="w")
        assert again == {**third, "duplicate": True}
        assert first["total"] == 0


async def test_the_retry_of_what_died_in_the_window_tells_that_it_is_dead(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1, key="k")
        await bob.ask("mail.nack", **held(await take(bob)), dead=True)
        (again,) = await send(ann, "bob", 1, key="k")
        assert copies(again)["bob"]["state"] == "dead"


async def test_the_same_key_twice_in_one_batch_is_one_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", session="s1")
        other = await r.join("ann", session="s2")
        bob = await r.join("bob", role="service")
        asked = [(peer, peer.post("mail.send", to="bob", body=1, key="k")) for peer in (ann, other)]
        await r.settle()
        answers = [peer.reply(id)["ok"] for peer, id in asked]
        assert sorted(answer["duplicate"] for answer in answers) == [False, True]
        assert len({answer["message"] for answer in answers}) == 1
        assert len(bob.mail()) == 1


async def test_an_output_has_a_key_like_a_send(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service", capacity=2)
        await send(ann, "bob", 1, 2, 3)
        (first,) = await send(bob, "ann", "done", key="k")
        one, two = bob.mail()
        acked = await bob.ask(
            "mail.ack", **held(one), outputs=[{"to": "ann", "body": "done", "key": "k"}]
        )
        assert acked["outputs"] == [{**first, "duplicate": True}]
        await bob.refused(
            "key_conflict",
            "mail.ack",
            **held(two),
            outputs=[{"to": "ann", "body": "other", "key": "k"}],
        )
        assert len(ann.mail()) == 1


async def test_a_repeated_send_counts_what_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COUNTED", 5)
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        await r.join("bob", role="service", capacity=0)

        async def depth(key: str, **fields: Any) -> int:
            answer = await ann.ask("mail.send", to="bob", body=1, key=key, **fields)
            return int(answer["deliveries"][0]["depth"])

        await send(ann, "bob", 1, 2)
        assert (await depth("mine"), await depth("mine")) == (2, 2)
        await send(ann, "bob", 3, 4)
        assert await depth("mine") == 2, "what came later goes behind it"
        await send(ann, "bob", 5, priority="critical")
        assert await depth("mine") == 3
        await send(ann, "bob", *range(4), priority="critical")
        assert await depth("mine") == 5, "no more than a few are counted"
