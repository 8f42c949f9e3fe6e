"""Creating dispatches: one row for one identity, and an answer of its own for each misfit."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dispatch_desk import (
    FIELDS,
    KEY,
    PROMPT,
    PROMPT_SHA256,
    counts,
    create,
    holding,
    lease,
    results,
    worker,
)
from rig import rig

DAY = 86_400_000


async def test_what_is_made(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        made = await create(alice, context={"why": "because"})
        assert made == {
            "dispatch": "w1",
            "dispatch_key": KEY,
            "prompt_sha256": PROMPT_SHA256,
            "status": "pending",
            "attempt": 1,
            "created": True,
        }
        assert r.rows("SELECT sha256, content FROM dispatch_prompt_refs") == [
            (PROMPT_SHA256, PROMPT.encode())
        ]
        assert r.rows(
            "SELECT parent_session_id, target_agent, dag_task_id, domain, context"
            " FROM dispatch_context"
        ) == [("ses_parent", "Super-Admin", "TASK-1", "default", b'{"why":"because"}')]
        assert r.rows("SELECT dispatch_id, attempt_number, status FROM dispatch_attempts") == [
            (1, 1, "pending")
        ]


async def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        made = await create(alice, context=1)
        again = await create(
            bob, context=2, max_attempts=9, ttl_ms=5, retry=True, notify="bob", prompt_sha256=None
        )
        assert again == {**made, "created": False}
        assert counts(r) == [1, 1, 1, 1]
        assert r.rows("SELECT context FROM dispatch_context") == [(b"1",)]
        assert r.rows("SELECT max_attempts, expires_at FROM dispatch_queue") == [(5, None)]
        assert bob.mail() == []


async def test_many_at_once_make_one(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        peers = [await r.join(name) for name in ("alice", "bob", "carol")]
        asked = [
            (peer, peer.post("dispatch.create", **FIELDS, prompt=PROMPT, context=n))
            for n in range(10)
            for peer in peers
        ]
        await r.settle()
        answers = [peer.reply(id)["ok"] for peer, id in asked]
        assert sorted(answer["created"] for answer in answers) == [False] * 29 + [True]
        assert {answer["dispatch"] for answer in answers} == {"w1"}
        assert counts(r) == [1, 1, 1, 1]


async def test_a_consumed_one_returns_its_outcome(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        await bob.ask("dispatch.consume", **holding(await lease(bob)), outcome={"n": 1})
        for retry in (False, True):
            again = await create(alice, retry=retry)
            assert (again["status"], again["created"]) == ("consumed", False)
            assert again["outcome"] == {"n": 1}


async def test_no_outcome_is_not_null(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        await create(alice, dag_task_id="TASK-2")
        await bob.ask("dispatch.consume", **holding(await lease(bob)))
        second = (await create(alice, dag_task_id="TASK-2"))["dispatch_key"]
        held = holding(await lease(bob, dispatch_key=second))
        await bob.ask("dispatch.consume", **held, outcome=None)
        assert "outcome" not in await create(alice)
        assert (await create(alice, dag_task_id="TASK-2"))["outcome"] is None


async def test_another_prompt_for_the_task(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await r.join("bob")
        await create(alice)
        error = await bob.refused("dag_task_id_reuse", "dispatch.create", **FIELDS, prompt="x")
        assert error["detail"] == {"dispatch": "w1", "dispatch_key": KEY}
        for field in FIELDS:
            assert (await create(alice, **{field: "another"}, prompt="x"))["created"]
        assert counts(r) == [2, 4, 4, 4]


async def test_a_hash_that_does_not_fit(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        for wrong in ("0" * 64, PROMPT_SHA256.upper(), "hello"):
            await alice.refused(
                "prompt_hash_mismatch",
                "dispatch.create",
                **FIELDS,
                prompt=PROMPT,
                prompt_sha256=wrong,
            )
        assert counts(r) == [0, 0, 0, 0]
        assert (await create(alice, prompt_sha256=PROMPT_SHA256))["created"]


HOSTILE: list[tuple[str, str]] = [
    (field, value)
    for field in FIELDS
    for value in ("", "a\0b", "\x1f", "a\n", "\x7f", "\x85", "\x9f", "x" * 129)
]


@pytest.mark.parametrize(("field", "value"), [*HOSTILE, ("prompt", "")])
async def test_hostile_fields(tmp_path: Path, field: str, value: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        fields = {**FIELDS, "prompt": PROMPT, field: value}
        error = await alice.refused("bad_request", "dispatch.create", **fields)
        assert field in error["message"]
        assert counts(r) == [0, 0, 0, 0]


@pytest.mark.parametrize("field", [*FIELDS, "prompt", "context"])
async def test_half_a_surrogate_pair(tmp_path: Path, field: str) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        fields = {**FIELDS, "prompt": PROMPT, field: "@"}
        frame = msgspec.json.encode({"op": "dispatch.create", "id": 99, **fields})
        alice.write(frame.replace(b'"@"', b'"\\ud83d"'))
        await r.settle()
        error = alice.reply(99)["error"]
        assert (error["code"], field in error["message"]) == ("bad_request", True)
        assert counts(r) == [0, 0, 0, 0]


async def test_nothing_is_folded(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        likes = [
            unicodedata.normalize("NFC", "é"),
            unicodedata.normalize("NFD", "é"),
            "e",
            "E",
            "e ",
            " e",
            "\uff45",
            "e\u200b",
            "😀" * 128,
        ]
        for field in (*FIELDS, "prompt"):
            for like in likes:
                task = {"dag_task_id": f"{field} {like}"[:128]} if field == "prompt" else {}
                assert (await create(alice, **task, **{field: like}))["created"], like
        assert counts(r)[1] == 4 * len(likes)


async def test_any_prompt_comes_back_as_it_was(tmp_path: Path) -> None:
    prompts = ["\0\x01\x1f\x7f\x85", " a ", "\r\n", "é", "e\u0301", '\\"', "😀", "\u2028\ufeff"]
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for number, prompt in enumerate(prompts):
            made = await create(alice, prompt=prompt, dag_task_id=str(number))
            leased = await lease(bob, dispatch_key=made["dispatch_key"])
            assert leased["prompt"] == prompt


async def test_the_context_keeps_its_bytes(tmp_path: Path) -> None:
    context = b'{"a": 1.0,  "a":[1E5, "\\u00e9"]}'
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        frame = msgspec.json.encode(
            {"op": "dispatch.create", "id": 99, **FIELDS, "prompt": PROMPT, "context": "@"}
        )
        alice.write(frame.replace(b'"@"', context))
        await r.settle()
        await lease(bob)
        assert any(context in raw for raw in bob.line.raw)


async def test_sizes(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=1_000, limits__frame=70_000) as r:
        alice = await r.join("alice")
        await create(alice, prompt="é" * 500, context="c" * 998)
        for field, value in (("prompt", "é" * 500 + "x"), ("context", "c" * 999)):
            fields = {**FIELDS, "prompt": PROMPT, "dag_task_id": "2", field: value}
            error = await alice.refused("too_large", "dispatch.create", **fields)
            assert error["message"].startswith(field)
        assert counts(r) == [1, 1, 1, 1]


async def test_a_prompt_whose_escapes_fill_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=60_000, limits__frame=190_000) as r:
        alice, bob = await r.join("alice"), await worker(r)
        prompt = "\x01" * 31_300
        fields = {**FIELDS, "prompt": prompt + "\x01" * 100}
        error = await alice.refused("too_large", "dispatch.create", **fields)
        assert error["message"].startswith("prompt")
        await create(alice, prompt=prompt)
        await lease(bob, dispatch_key=(await create(alice, prompt=prompt))["dispatch_key"])
        assert max(map(len, bob.line.raw)) <= 190_000


async def test_notify(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await r.join("bob", session="s1")
        await create(alice, notify="bob/s1")
        (mail,) = bob.mail()
        assert (mail["kind"], mail["from"], mail["to"]) == ("dispatch.ready", "postroom", "bob/s1")
        assert mail["body"] == {
            "dispatch": "w1",
            "dispatch_key": KEY,
            "prompt_sha256": PROMPT_SHA256,
            **FIELDS,
        }


@pytest.mark.parametrize(
    ("notify", "code"),
    [
        ("nobody", "unknown_recipient"),
        ("bob/closed", "unknown_recipient"),
        ("postroom", "unknown_recipient"),
        ("@team", "bad_request"),
        ("#topic", "bad_request"),
        ("*", "bad_request"),
        ("Bob", "bad_request"),
    ],
)
async def test_nobody_to_notify(tmp_path: Path, notify: str, code: str) -> None:
    async with rig(tmp_path) as r:
        alice, _ = await r.join("alice"), await r.join("bob")
        await alice.refused(code, "dispatch.create", **FIELDS, prompt=PROMPT, notify=notify)
        assert counts(r) == [0, 0, 0, 0]
        await create(alice)
        if code == "unknown_recipient":
            again = await create(alice, notify=notify)
            assert not again["created"], "what changes nothing tells nobody"


async def end(r: Any, status: str, alice: Any, bob: Any) -> None:
    """Bring the dispatch to one of its ends."""
    if status == "failed":
        held = holding(await lease(bob))
        await bob.ask("dispatch.fail", **held, reason="broken", error="it broke")
    elif status == "expired":
        await r.advance(1_000)
    else:
        await alice.ask("dispatch.cancel", dispatch="w1")


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled"])
async def test_retry_reopens(tmp_path: Path, status: str) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await r.join("carol")
        await create(alice, max_attempts=1, ttl_ms=1_000, context="kept")
        await end(r, status, alice, bob)
        again = await create(carol)
        assert (again["status"], again["attempt"], again["created"]) == (status, 1, False)
        reopened = await create(carol, retry=True, context="new", notify="carol")
        assert (reopened["status"], reopened["attempt"], reopened["created"]) == (
            "pending",
            2,
            False,
        )
        assert [mail["kind"] for mail in carol.mail()] == ["dispatch.ready"]
        await r.advance(DAY)
        leased = await lease(bob, "second")
        assert (leased["attempt"], leased["context"]) == (2, "kept")
        assert [result["status"] for result in results(alice)] == [status]
        failed = await bob.ask("dispatch.fail", **holding(leased), reason="again", retryable=True)
        assert failed == {"status": "failed", "duplicate": False}
        assert [result["attempt"] for result in results(alice)] == [2], "whose it is stays"


async def test_a_retry_may_ask_for_more(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, max_attempts=1)
        await end(r, "failed", alice, bob)
        await create(alice, retry=True, max_attempts=4, ttl_ms=5_000)
        assert r.rows("SELECT attempt, max_attempts, expires_at FROM dispatch_queue") == [
            (2, 4, r.clock.time + 5_000)
        ]


async def test_who_reopens_what_is_nobodys_gets_the_result(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await r.join("carol")
        await create(alice)
        owner = await r.join("owner")
        await owner.ask("member.remove", member="alice")
        await end(r, "failed", alice, bob)
        await create(carol, retry=True)
        await carol.ask("dispatch.cancel", dispatch="w1")
        assert [result["status"] for result in results(carol)] == ["cancelled"]


async def test_meshes_do_not_meet(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        made = await create(alice)
        owner = await r.join("owner")
        other = await owner.ask("mesh.create", mesh="other")
        stranger = r.connect()
        hello = {"mesh": "other", "member": "owner", "token": other["token"]}
        await stranger.ask("hello", **hello)
        for name in ({"dispatch": made["dispatch"]}, {"dispatch_key": KEY}):
            await stranger.refused("not_found", "dispatch.get", **name)
        await stranger.refused("not_found", "dispatch.cancel", dispatch=made["dispatch"])
        await stranger.refused("not_found", "dispatch.lease", dispatch_key=KEY, call_id="c")
        assert await stranger.ask("dispatch.list") == {"dispatches": [], "next": None}
        theirs = await create(stranger)
        assert (theirs["created"], theirs["dispatch_key"]) == (True, KEY)
        assert counts(r) == [1, 2, 2, 2]
