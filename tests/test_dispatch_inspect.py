"""Looking at dispatches: what is shown, what never is, and pages that fit into a frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from dispatch_desk import FIELDS, KEY, PROMPT_SHA256, create, holding, lease, worker
from rig import START, rig

from broker.areas.dispatch import figures, inspect
from broker.areas.dispatch.inspect import SHOWN_ATTEMPTS
from broker.store.sqlite import Look, connect


async def test_what_is_shown(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await r.join("carol")
        await create(alice, context={"a": 1})
        await r.advance(1_000)
        held = holding(await lease(bob))
        await bob.ask("dispatch.fail", **held, reason="no disk", error="full", retryable=True)
        await r.advance(1_000)
        held = holding(await lease(bob))
        await r.advance(1_000)
        await bob.ask("dispatch.consume", **held, outcome="done")
        by_id = await carol.ask("dispatch.get", dispatch="w1")
        assert by_id == await carol.ask("dispatch.get", dispatch_key=KEY)
        assert by_id == {
            "dispatch": "w1",
            "dispatch_key": KEY,
            "prompt_sha256": PROMPT_SHA256,
            **FIELDS,
            "status": "consumed",
            "context": {"a": 1},
            "outcome": "done",
            "created_at": START,
            "finished_at": START + 3_000,
            "attempts": [
                {
                    "attempt": 1,
                    "status": "failed",
                    "lease_owner": "worker",
                    "created_at": START,
                    "leased_at": START + 1_000,
                    "finished_at": START + 1_000,
                    "reason": "no disk",
                    "error": "full",
                },
                {
                    "attempt": 2,
                    "status": "consumed",
                    "lease_owner": "worker",
                    "created_at": START + 1_000,
                    "leased_at": START + 2_000,
                    "finished_at": START + 3_000,
                },
            ],
        }
        assert await carol.ask("dispatch.list") == {"dispatches": [by_id], "next": None}


async def test_neither_prompt_nor_token(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob, carol = await r.join("alice"), await worker(r), await r.join("carol")
        made = await create(alice, prompt="a secret prompt", notify="carol")
        leased = await lease(bob, "secret-call", dispatch_key=made["dispatch_key"])
        await bob.ask("dispatch.renew", **holding(leased))
        await carol.ask("dispatch.get", dispatch="w1")
        await carol.ask("dispatch.list")
        await bob.ask("dispatch.consume", **holding(leased))
        await carol.ask("dispatch.get", dispatch="w1")
        await create(alice, prompt="a secret prompt")
        shown = b"".join(alice.line.raw[1:] + carol.line.raw[1:])
        for hidden in (b"a secret prompt", leased["lease_token"].encode(), b"secret-call"):
            assert hidden not in shown


async def test_what_is_not_there(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        for id in ("w1", "w" + "9" * 18, "w" + "9" * 40, "1", "é\0", "w1 "):
            await alice.refused("not_found", "dispatch.get", dispatch=id)
        for key in (KEY, "x", KEY.upper()):
            await alice.refused("not_found", "dispatch.get", dispatch_key=key)
        await alice.refused("bad_request", "dispatch.get")
        await alice.refused("bad_request", "dispatch.get", dispatch="w1", dispatch_key=KEY)


async def test_filters(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        for agent_type in ("a", "b"):
            for task in ("1", "2"):
                await create(alice, agent_type=agent_type, dag_task_id=task)
        await alice.ask("dispatch.cancel", dispatch="w1")
        for filters, expected in (
            ({}, ["w1", "w2", "w3", "w4"]),
            ({"status": "pending"}, ["w2", "w3", "w4"]),
            ({"status": "cancelled"}, ["w1"]),
            ({"status": "leased"}, []),
            ({"agent_type": "b"}, ["w3", "w4"]),
            ({"agent_type": "B"}, []),
            ({"dag_task_id": "1"}, ["w1", "w3"]),
            ({"dag_task_id": "1", "status": "pending"}, ["w3"]),
            ({"agent_type": "a", "status": "pending"}, ["w2"]),
            ({"agent_type": "a", "dag_task_id": "2", "status": "pending"}, ["w2"]),
        ):
            page = await alice.ask("dispatch.list", **filters)
            assert [one["dispatch"] for one in page["dispatches"]] == expected, filters


async def test_pages(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice = await r.join("alice")
        for task in range(7):
            await create(alice, dag_task_id=str(task))
        seen, after = [], None
        while True:
            page = await alice.ask("dispatch.list", limit=3, after=after)
            assert len(page["dispatches"]) <= 3
            seen += [one["dispatch"] for one in page["dispatches"]]
            after = page["next"]
            if after is None:
                break
        assert seen == [f"w{number}" for number in range(1, 8)]
        assert (await alice.ask("dispatch.list", limit=7))["next"] is None
        for broken in ("", "7", "w", "x7", "w-1"):
            error = await alice.refused("bad_request", "dispatch.list", after=broken)
            assert "after" in error["message"]


async def test_a_page_fits_into_a_frame(tmp_path: Path) -> None:
    async with rig(tmp_path, limits__body=60_000, limits__frame=190_000) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for task in range(8):
            made = await create(alice, dag_task_id=str(task), context="c" * 59_000)
            held = holding(await lease(bob, dispatch_key=made["dispatch_key"]))
            if task % 2:
                await bob.ask("dispatch.consume", **held, outcome="o" * 59_000)
        seen, after = [], None
        while True:
            page = await alice.ask("dispatch.list", after=after)
            assert page["dispatches"]
            seen += [one["dispatch"] for one in page["dispatches"]]
            after = page["next"]
            if after is None:
                break
        assert seen == [f"w{number}" for number in range(1, 9)]
        assert 150_000 < max(map(len, alice.line.raw)) <= 190_000


async def test_one_with_a_long_story_fits_into_a_frame(tmp_path: Path) -> None:
    body, attempts = 2_000, SHOWN_ATTEMPTS + 5
    frame = 2 * body + 65_536
    async with rig(
        tmp_path, limits__body=body, limits__frame=frame, store__synchronous="normal"
    ) as r:
        alice, bob = await r.join("alice"), await worker(r, session="s" * 64)
        fields = dict.fromkeys(FIELDS, "\\" * 64 + "😀" * 64)
        owner = await r.join("owner")
        await owner.ask("member.update", member="worker", agent_types=[fields["agent_type"]])
        made = await create(alice, **fields, context="c" * (body - 2), max_attempts=100)
        for number in range(attempts):
            if number == 99:
                await create(alice, **fields, retry=True, max_attempts=100)
            if number >= 99:
                await create(alice, **fields, retry=True)
            leased = await lease(bob, str(number), dispatch_key=made["dispatch_key"])
            assert leased["attempt"] == number + 1
            if number < attempts - 1:
                await bob.ask(
                    "dispatch.fail",
                    **holding(leased),
                    reason=f"{number} " + "\x01" * 2_000,
                    error="é" * 2_048,
                    retryable=True,
                )
        await bob.ask("dispatch.consume", **holding(leased), outcome="o" * (body - 2))
        shown = await alice.ask("dispatch.get", dispatch="w1")
        assert len(shown["attempts"]) == SHOWN_ATTEMPTS
        assert shown["attempts"][-1]["attempt"] == attempts
        assert shown["attempts"][-2]["reason"] == f"{attempts - 2} " + "\x01" * 2_000
        assert shown["attempts"][0]["reason"] == "…"
        assert await alice.ask("dispatch.list") == {"dispatches": [shown], "next": None}
        assert max(map(len, alice.line.raw)) <= frame


async def test_figures(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        alice, bob = await r.join("alice"), await worker(r)
        for task in range(3):
            await create(alice, dag_task_id=str(task))
        made = await create(alice, dag_task_id="3")
        await lease(bob, dispatch_key=made["dispatch_key"])
        await alice.ask("dispatch.cancel", dispatch="w1")
        connection = connect(f"file:{tmp_path}/postroom.db?mode=ro")
        look = Look(connection)
        empty = dict.fromkeys(inspect.STATUSES, 0)
        assert figures(look, 1) == {**empty, "pending": 2, "leased": 1, "cancelled": 1}
        assert figures(look, 2) == empty
        assert list(figures(look, 2)) == [
            "pending",
            "leased",
            "consumed",
            "failed",
            "expired",
            "cancelled",
        ]
        connection.close()


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (inspect.LIST, "dispatch_queue_mesh"),
        (inspect.LIST_STATUS, "dispatch_queue_status"),
        (inspect.LIST_AGENT_TYPE, "dispatch_queue_agent_type"),
        (inspect.LIST_DAG_TASK, "dispatch_queue_dag_task"),
    ],
)
async def test_a_list_goes_along_an_index(tmp_path: Path, statement: str, index: str) -> None:
    async with rig(tmp_path) as r:
        values = (1, 0, "pending", "a", "t", 10)
        plan = [row[3] for row in r.rows(f"EXPLAIN QUERY PLAN {statement}", *values)]
        assert len(plan) == 1, "nothing is sorted"
        assert index in plan[0]
