"""Leasing and renewing: this worker, this piece of work, and until when."""

from __future__ import annotations

from pathlib import Path

import pytest
from dispatch_desk import FIELDS, KEY, PROMPT, PROMPT_SHA256, create, holding, lease, worker
from rig import START, RefusedByBroker, rig

WHOLE = {**FIELDS, "prompt_sha256": PROMPT_SHA256}


async def test_what_a_worker_gets(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r, session="s1", role="session")
        made = await create(alice, context=[1])
        leased = await lease(bob)
        token = leased.pop("lease_token")
        assert leased == {
            "dispatch": made["dispatch"],
            "dispatch_key": KEY,
            "prompt": PROMPT,
            "prompt_sha256": PROMPT_SHA256,
            "context": [1],
            "attempt": 1,
            "lease_ms": 60_000,
            "lease_expires_at": START + 60_000,
        }
        assert r.rows(
            "SELECT status, call_id, lease_owner, lease_token, lease_expires_at FROM dispatch_queue"
        ) == [("leased", "call", "worker/s1", token, START + 60_000)]
        assert r.rows("SELECT status, lease_owner, leased_at FROM dispatch_attempts") == [
            ("leased", "worker/s1", START)
        ]


async def test_without_a_context_it_is_null(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, context=None)
        assert (await lease(bob))["context"] is None


async def test_by_the_four_fields(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        leased = await bob.ask("dispatch.lease", **WHOLE, call_id="call")
        assert leased["dispatch_key"] == KEY
        assert await lease(bob) == leased


@pytest.mark.parametrize("missing", [*WHOLE])
async def test_three_fields_are_not_enough(tmp_path: Path, missing: str) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        some = {field: value for field, value in WHOLE.items() if field != missing}
        error = await bob.refused("bad_request", "dispatch.lease", **some, call_id="call")
        assert missing in error["message"]
        await bob.refused("bad_request", "dispatch.lease", agent_type="Super-Admin", call_id="call")


@pytest.mark.parametrize("field", [*WHOLE])
async def test_key_and_fields_must_agree(tmp_path: Path, field: str) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        for named in ({field: "x"}, {**WHOLE, field: "x"}):
            await bob.refused(
                "identity_mismatch", "dispatch.lease", dispatch_key=KEY, call_id="c", **named
            )
        await lease(bob, **{field: WHOLE[field]})


async def test_every_miss_has_its_answer(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await worker(r, "carol")
        for name in ({"dispatch_key": KEY}, {"dispatch_key": "x"}, WHOLE):
            await bob.refused("not_found", "dispatch.lease", **name, call_id="c")
        await create(alice)
        wrong = {"dispatch_key": KEY.upper(), "call_id": "c"}
        await bob.refused("not_found", "dispatch.lease", **wrong)
        held = holding(await lease(bob))
        for peer, call_id in ((carol, "call"), (bob, "other")):
            asked = {"dispatch_key": KEY, "call_id": call_id}
            await peer.refused("already_leased", "dispatch.lease", **asked)
        await bob.ask("dispatch.consume", **held)
        asked = {"dispatch_key": KEY, "call_id": "call"}
        await bob.refused("already_consumed", "dispatch.lease", **asked)


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
async def test_an_ended_one_says_how(tmp_path: Path, status: str) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, ttl_ms=1_000)
        if status == "failed":
            await bob.ask("dispatch.fail", **holding(await lease(bob)), reason="no")
        elif status == "cancelled":
            await alice.ask("dispatch.cancel", dispatch="w1")
        else:
            await r.advance(1_000)
        asked = {"dispatch_key": KEY, "call_id": "c"}
        error = await bob.refused("dispatch_failed", "dispatch.lease", **asked)
        assert error["detail"] == {"status": status}


async def test_only_a_member_that_was_given_the_type(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, owner = await r.join("alice"), await r.join("bob"), await r.join("owner")
        await create(alice)
        await create(alice, dag_task_id="TASK-2")
        asked = {"dispatch_key": KEY, "call_id": "c"}
        for types in ([], ["super-admin"], ["Super-Admin "]):
            await owner.ask("member.update", member="bob", agent_types=types)
            await bob.refused("forbidden", "dispatch.lease", **asked)
        await owner.ask("member.update", member="bob", agent_types=["Super-Admin"])
        assert (await bob.ask("dispatch.lease", **asked))["prompt"] == PROMPT
        key = (await create(alice, dag_task_id="TASK-2"))["dispatch_key"]
        assert (await lease(owner, dispatch_key=key))["prompt"] == PROMPT


async def test_the_same_call_gets_the_same_lease(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r, session="one")
        await create(alice)
        leased = await lease(bob)
        await r.advance(10_000)
        again = await lease(bob, lease_ms=5_000)
        assert again == {**leased, "lease_ms": 50_000}, "what is left of it, and no more"
        assert r.rows("SELECT count(*) FROM dispatch_attempts") == [(1,)]
        await bob.lose()
        labelled = await r.join("worker", role="service", session="one")
        assert await lease(labelled) == again
        for hello in ({"session": "two"}, {}, {"observe": True}):
            other = await r.join("worker", role="service", **hello)
            asked = {"dispatch_key": KEY, "call_id": "call"}
            await other.refused("already_leased", "dispatch.lease", **asked)


async def test_without_a_label_it_is_the_presence(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        leased = await lease(bob)
        other = await r.join("worker", role="service")
        asked = {"dispatch_key": KEY, "call_id": "call"}
        await other.refused("already_leased", "dispatch.lease", **asked)
        await bob.lose()
        again = await r.join("worker", role="service", resume=bob.welcome["resume"])
        assert again.welcome["resumed"]
        assert await lease(again) == leased
        await r.restart()
        after = await r.join("worker", role="service", resume=again.welcome["resume"])
        assert await lease(after) == leased


async def test_a_removed_member_of_the_same_name_is_another(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r, session="one")
        await create(alice)
        held = holding(await lease(bob))
        owner = await r.join("owner")
        await owner.ask("member.remove", member="worker")
        del r.tokens["worker"]
        same = await worker(r, session="one")
        asked = {"dispatch_key": KEY, "call_id": "call"}
        await same.refused("already_leased", "dispatch.lease", **asked)
        await same.refused("forbidden", "dispatch.consume", **held)


async def test_bounds(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        for lease_ms in (0, 999, 3_600_001):
            asked = {"dispatch_key": KEY, "call_id": "c", "lease_ms": lease_ms}
            error = await bob.refused("bad_request", "dispatch.lease", **asked)
            assert "lease_ms" in error["message"]
        for call_id in ("", "x" * 129, "a\0b", "\x85"):
            asked = {"dispatch_key": KEY, "call_id": call_id}
            error = await bob.refused("bad_request", "dispatch.lease", **asked)
            assert "call_id" in error["message"]
        leased = await lease(bob, lease_ms=3_600_000)
        held = holding(leased)
        error = await bob.refused("bad_request", "dispatch.renew", **held, lease_ms=999)
        assert "lease_ms" in error["message"]


async def test_a_short_setting_is_the_least(tmp_path: Path) -> None:
    async with rig(tmp_path, dispatch__lease_ms=200) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        asked = {"dispatch_key": KEY, "call_id": "c", "lease_ms": 199}
        await bob.refused("bad_request", "dispatch.lease", **asked)
        assert (await lease(bob, lease_ms=200))["lease_ms"] == 200


async def test_renewing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        held = holding(await lease(bob, lease_ms=10_000))
        for lease_ms in (None, 2_000, 30_000):
            await r.advance(1_000)
            renewed = await bob.ask("dispatch.renew", **held, lease_ms=lease_ms)
            expected = lease_ms or 60_000
            assert renewed == {
                "lease_ms": expected,
                "lease_expires_at": r.clock.time + expected,
            }
        await r.advance(29_999)
        await bob.ask("dispatch.renew", **held, lease_ms=1_000)
        await r.advance(1_000)
        await bob.refused("lease_expired", "dispatch.renew", **held)


async def test_renewing_what_is_over(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await worker(r, "carol")
        await create(alice)
        error = {"dispatch": "w1", "lease_token": "made up"}
        await bob.refused("stale_lease", "dispatch.renew", **error)
        await bob.refused("not_found", "dispatch.renew", dispatch="w2", lease_token="t")
        old = holding(await lease(bob))
        await carol.refused("forbidden", "dispatch.renew", **old)
        await bob.ask("dispatch.fail", **old, reason="later", retryable=True)
        await bob.refused("already_finished", "dispatch.renew", **old)
        new = holding(await lease(carol))
        await bob.refused("stale_lease", "dispatch.renew", **old)
        await bob.refused("forbidden", "dispatch.renew", **new)
        await carol.ask("dispatch.renew", **new)
        await carol.ask("dispatch.consume", **new)
        await carol.refused("already_finished", "dispatch.renew", **new)


async def test_bye_ends_no_lease(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        held = holding(await lease(bob))
        await bob.ask("bye", final=True)
        await r.advance(59_999)
        again = await r.join("worker", role="service")
        finished = await again.ask("dispatch.consume", **held)
        assert finished == {"status": "consumed", "duplicate": False}


async def test_the_older_one_of_the_type_is_never_taken(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for task in ("OLD", "TASK-1", "NEW"):
            await create(alice, dag_task_id=task)
        leased = await lease(bob)
        assert (leased["dispatch"], leased["dispatch_key"]) == ("w2", KEY)
        with pytest.raises(RefusedByBroker, match="already_leased"):
            await lease(bob, "another")
        await bob.ask("dispatch.consume", **holding(leased))
        with pytest.raises(RefusedByBroker, match="already_consumed"):
            await lease(bob, "another")
        assert r.rows("SELECT status FROM dispatch_queue ORDER BY id") == [
            ("pending",),
            ("consumed",),
            ("pending",),
        ]
