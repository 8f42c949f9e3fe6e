"""Claims that end without an ack: nacks, blame, waits, and when a delivery is given up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_disk import BrokenDisk
from mail_desk import bodies, desk, held, send, steps, take, traced
from rig import rig

from broker.core.executor import RETRY_MS


async def test_a_nack_puts_it_back_after_a_backoff_that_doubles(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000, mail__backoff_max_ms=3_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        for failures, wait in enumerate((1_000, 2_000, 3_000, 3_000), start=1):
            mail = await take(bob)
            assert (mail["attempt"], mail["claims"]) == (failures, failures)
            assert await bob.ask("mail.nack", **held(mail)) == {
                "state": "queued",
                "failures": failures,
                "ready_at": r.clock.now() + wait,
            }
            await r.advance(wait - 1)
            assert bob.mail() == []
            await r.advance(1)
        assert (await take(bob))["attempt"] == 5


@pytest.mark.parametrize(("jitter", "wait"), [(0.5, 500), (0.75, 750), (1.0, 1_000)])
async def test_the_backoff_has_its_jitter(
    tmp_path: Path, jitter: float, wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000) as r:
        monkeypatch.setattr(r.chance, "jitter", lambda: jitter)
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        answer = await bob.ask("mail.nack", **held(await take(bob)))
        assert answer["ready_at"] == r.clock.now() + wait


async def test_the_limit_is_above_the_jitter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000, mail__backoff_max_ms=1_500) as r:
        monkeypatch.setattr(r.chance, "jitter", lambda: 0.6)
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        waits = []
        for _ in range(3):
            answer = await bob.ask("mail.nack", **held(await take(bob)))
            waits.append(answer["ready_at"] - r.clock.now())
            await r.advance(waits[-1])
        assert waits == [600, 1_200, 1_500]


async def test_a_nack_may_say_how_long_to_wait(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        answer = await bob.ask("mail.nack", **held(await take(bob)), delay_ms=7)
        assert (answer["failures"], answer["ready_at"]) == (1, r.clock.now() + 7)
        await r.advance(7)
        answer = await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)
        assert (answer["failures"], answer["ready_at"]) == (2, r.clock.now())
        assert (await take(bob))["attempt"] == 3
        error = await bob.refused(
            "bad_request", "mail.nack", delivery="d2", claim="c2", delay_ms=30 * 86_400_000 + 1
        )
        assert "delay_ms" in error["message"]


async def test_a_delivery_in_backoff_holds_up_nobody(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service", capacity=1)
        await send(bob, "bob", 1, 2)
        await bob.ask("mail.nack", **held(await take(bob)))
        assert bodies(bob.mail()) == [2]


async def test_at_max_attempts_it_is_dead(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1, max_attempts=2)
        mail = await take(bob)
        assert mail["max_attempts"] == 2
        await bob.ask("mail.nack", **held(mail), delay_ms=0, reason="first")
        assert await bob.ask("mail.nack", **held(await take(bob)), reason="second") == {
            "state": "dead",
            "failures": 2,
            "ready_at": None,
        }
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["failures"], gone["last_error"]) == ("dead", 2, "second")
        assert gone["claim_id"] is None
        await r.advance(1_000_000)
        assert bob.mail() == []


async def test_a_lease_that_ran_out_is_a_failure(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__lease_ms=1_000, mail__backoff_ms=100) as r:
        bob = await r.join("bob", role="service")
        (sent,) = await send(bob, "bob", 1, max_attempts=2)
        await take(bob)
        await r.advance(1_100)
        assert (await take(bob))["attempt"] == 2
        await r.advance(1_000)
        gone = await traced(bob, sent["message"])
        assert (gone["state"], gone["failures"], gone["claims"]) == ("dead", 2, 2)


async def test_a_nack_without_blame_counts_no_failure(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1, max_attempts=1)
        answer = await bob.ask("mail.nack", **held(await take(bob)), blame=False)
        assert answer == {"state": "queued", "failures": 0, "ready_at": r.clock.now()}
        answer = await bob.ask("mail.nack", **held(await take(bob)), blame=False, delay_ms=9)
        assert answer["ready_at"] == r.clock.now() + 9
        await r.advance(9)
        mail = await take(bob)
        assert (mail["attempt"], mail["claims"]) == (1, 3)


async def test_blameless_returns_wait_from_the_third_on(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "mail__backoff_ms": 1_000,
        "mail__backoff_max_ms": 3_000,
        "mail__max_claims": 50,
    }
    async with desk(tmp_path, **settings) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        waits = []
        for number in range(7):
            answer = await bob.ask(
                "mail.nack",
                **held(await take(bob)),
                blame=False,
                delay_ms=5_000 if number == 5 else None,
            )
            waits.append(answer["ready_at"] - r.clock.now())
            await r.advance(waits[-1])
        assert waits == [0, 0, 1_000, 2_000, 3_000, 5_000, 3_000]


async def test_failures_do_not_count_as_blameless_returns(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__backoff_ms=1_000) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        waits = []
        for blame in (True, False, True, False, False):
            answer = await bob.ask("mail.nack", **held(await take(bob)), blame=blame)
            waits.append(answer["ready_at"] - r.clock.now())
            await r.advance(waits[-1])
        assert waits == [1_000, 0, 2_000, 0, 1_000]


async def test_at_max_claims_it_is_dead_whatever_ended_them(tmp_path: Path) -> None:
    async with desk(tmp_path, mail__max_claims=4, mail__lease_ms=1_000) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        (sent,) = await send(ann, "bob/s1", 1, max_attempts=100, receipt=True)
        await bob.ask("mail.nack", **held(await take(bob)), blame=False)
        await bob.ask("bye")
        bob = await r.join("bob", session="s1")
        await bob.ask("mail.nack", **held(await take(bob)), delay_ms=0)
        assert (await take(bob))["claims"] == 4
        await r.advance(1_000)
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["claims"], gone["failures"]) == ("dead", 4, 2)
        assert gone["history"][-1] == {
            "event": "dead",
            "at": r.clock.now(),
            "reason": "claims_exhausted",
        }
        assert gone["last_error"] == "claims_exhausted"
        assert (await take(ann))["body"]["reason"] == "claims_exhausted"


async def test_dead_buries_it_now(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        (sent,) = await send(ann, "bob", 1)
        answer = await bob.ask("mail.nack", **held(await take(bob)), dead=True, reason="no such")
        assert (answer["state"], answer["ready_at"]) == ("dead", None)
        gone = await traced(ann, sent["message"])
        assert (gone["state"], gone["last_error"]) == ("dead", "no such")
        assert steps(gone) == ["accepted", "claimed", "nacked", "dead"]


async def test_a_life_that_is_over_ends_when_it_goes_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        sent = [
            (await send(ann, "bob", 1, ttl_ms=1_000, max_attempts=attempts))[0]["message"]
            for attempts in (1, 2, 2, 2)
        ]
        mail = bob.mail()
        await r.advance(1_000)
        asked: list[dict[str, Any]] = [{}, {}, {"blame": False}, {"dead": True}]
        states = [
            (await bob.ask("mail.nack", **held(one), **how))["state"]
            for one, how in zip(mail, asked, strict=True)
        ]
        assert states == ["dead", "expired", "expired", "dead"]
        assert [(await traced(ann, message))["state"] for message in sent] == states


async def test_what_is_held_past_its_life_can_be_acked(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1, ttl_ms=1_000)
        mail = await take(bob)
        await r.advance(20_000)
        await bob.ask("mail.ack", **held(mail))


async def test_a_bye_gives_back_without_blame_and_in_order(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", session="s1")
        other = await r.join("bob", role="session", session="s2", capacity=0)
        await send(ann, "bob", 1, 2, 3)
        bob.mail()
        await other.ask("presence.update", capacity=10)
        await bob.ask("bye")
        mail = other.mail()
        assert bodies(mail) == [1, 2, 3]
        assert [(one["attempt"], one["claims"]) for one in mail] == [(1, 2)] * 3


async def test_a_replaced_presence_gives_back_without_blame(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        old = await r.join("bob", session="s1")
        await send(ann, ["bob", "bob/s1"], 1)
        first = old.mail()
        new = await r.join("bob", session="s1")
        again = new.mail()
        assert [one["seq"] for one in again] == sorted(one["seq"] for one in again)[::-1]
        assert {one["delivery"] for one in again} == {one["delivery"] for one in first}
        assert [(one["attempt"], one["claims"]) for one in again] == [(1, 2)] * 2
        assert not {one["claim"] for one in again} & {one["claim"] for one in first}


async def test_a_revoked_token_gives_back_without_blame(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        ann = await r.join("ann", role="service")
        owner = await r.join("owner", observe=True)
        token = await owner.ask("token.create", member="ann")
        worker = await r.join("ann", role="control-plane", token=token["token"])
        await send(ann, "ann", 1)
        await take(worker)
        await owner.ask("token.revoke", token_id=token["token_id"])
        mail = await take(ann)
        assert (mail["attempt"], mail["claims"]) == (1, 2)


async def test_a_presence_that_left_by_its_lease_keeps_its_claims_to_their_end(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "presence__lease_ms": 1_000,
        "mail__lease_ms": 5_000,
        "mail__backoff_ms": 1,
    }
    async with desk(tmp_path, **settings) as r:
        ann = await r.join("ann", role="service")
        bob = await r.join("bob", role="service")
        await send(ann, "bob", 1)
        mail = await take(bob)
        await bob.lose()
        await r.advance(1_000)
        other = await r.join("bob", role="service")
        await r.advance(3_999)
        assert other.mail() == []
        await r.advance(2)
        again = await take(other)
        assert (again["attempt"], again["claims"]) == (2, 2)
        await other.refused("stale_claim", "mail.ack", **held(mail))


async def test_reasons_have_their_limit(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", 1)
        mail = await take(bob)
        for reason in ("x" * 4_097, "\u00e9" * 2_049):
            error = await bob.refused("bad_request", "mail.nack", **held(mail), reason=reason)
            assert "reason" in error["message"]
        await bob.ask("mail.nack", **held(mail), reason="\u00e9" * 2_048)


async def test_a_big_body_comes_back_whole(tmp_path: Path) -> None:
    async with desk(tmp_path) as r:
        bob = await r.join("bob", role="service")
        await send(bob, "bob", "x" * 200_000, meta={"a": 1})
        first = await take(bob)
        await bob.ask("mail.nack", **held(first), delay_ms=0)
        second = await take(bob)
        assert {**first, "claim": "", "claims": 0, "attempt": 0} == {
            **second,
            "claim": "",
            "claims": 0,
            "attempt": 0,
        }


async def test_who_leaves_gives_back_in_order_whatever_was_taken_back_before(
    tmp_path: Path,
) -> None:
    """A batch that failed puts a claim back behind the others in memory; nobody is to notice."""
    disk = BrokenDisk()
    async with rig(tmp_path, disk) as r:
        bob = await r.join("bob", role="service")
        for body in range(3):
            await send(bob, "bob", body)
        first, *others = bob.mail()
        disk.full = True
        await bob.refused("unavailable", "mail.ack", **held(first))
        disk.full = False
        await r.advance(RETRY_MS)
        await bob.ask("bye")
        given_back = r.rows("SELECT delivery FROM delivery_history WHERE event = 'released'")
        assert given_back == [(mail["seq"],) for mail in (first, *others)]
