"""A storage that fails at any step: `unavailable`, nothing left behind, and the repeat is good."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from dispatch_desk import FIELDS, KEY, PROMPT, TABLES, create, holding, lease, results, worker
from rig import Peer, Rig, rig

EVERYTHING = (*TABLES, "messages", "deliveries")


class Failing:
    """A connector for the rig. A statement that begins with `at` is carried out, then fails."""

    def __init__(self) -> None:
        self.at: str | None = None
        self.failed = 0

    def __call__(self, uri: str) -> sqlite3.Connection:
        failing = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql == "COMMIT":
                    failing.check(sql)
                cursor = super().execute(sql, *values)
                if sql != "COMMIT":
                    failing.check(sql)
                return cursor

            def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
                cursor = super().executemany(sql, *values)
                failing.check(sql)
                return cursor

        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, factory=Connection
        )

    def check(self, sql: str) -> None:
        if self.at is not None and sql.startswith(self.at):
            self.failed += 1
            raise sqlite3.OperationalError("disk I/O error, made up")


def everything(r: Rig) -> list[list[tuple[Any, ...]]]:
    return [r.rows(f"SELECT * FROM {table}") for table in EVERYTHING]


async def unavailable(
    r: Rig, failing: Failing, at: str, peer: Peer, op: str, **fields: Any
) -> None:
    """Ask while the storage fails there: the answer says so, and nothing has changed."""
    before = everything(r)
    failing.at, failing.failed = at, 0
    error = await peer.refused("unavailable", op, **fields)
    assert error["retryable"]
    assert failing.failed, f"{op} has no {at}"
    failing.at = None
    assert everything(r) == before
    await r.advance(1_000)


ADDRESSED = {**FIELDS, "prompt": PROMPT, "notify": "carol", "ttl_ms": 1_000_000}
INSERTS = [f"INSERT INTO {table}" for table in EVERYTHING]


@pytest.mark.parametrize("at", [*INSERTS, "SELECT", "SAVEPOINT", "RELEASE", "COMMIT"])
async def test_creating(tmp_path: Path, at: str) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice, carol = await r.join("alice"), await r.join("carol")
        await unavailable(r, failing, at, alice, "dispatch.create", **ADDRESSED)
        assert all(rows == [] for rows in everything(r))
        made = await alice.ask("dispatch.create", **ADDRESSED)
        assert made["created"]
        assert [mail["kind"] for mail in carol.mail()] == ["dispatch.ready"]
        assert await alice.ask("dispatch.create", **ADDRESSED) == {**made, "created": False}


@pytest.mark.parametrize("at", ["SELECT", "UPDATE dispatch_queue", "UPDATE dispatch_attempts"])
async def test_leasing(tmp_path: Path, at: str) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice, bob = await r.join("alice"), await worker(r)
        asked = {"dispatch_key": KEY, "call_id": "call"}
        if at == "SELECT":
            await unavailable(r, failing, at, bob, "dispatch.lease", **asked)
        await create(alice)
        await create(alice, dag_task_id="OLD")
        for step in (at, "COMMIT"):
            await unavailable(r, failing, step, bob, "dispatch.lease", **asked)
        leased = await lease(bob)
        assert leased["attempt"] == 1
        held = holding(leased)
        await unavailable(r, failing, "COMMIT", bob, "dispatch.renew", **held, lease_ms=5_000)
        await unavailable(r, failing, at[:6], bob, "dispatch.renew", **held, lease_ms=5_000)


ENDINGS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "dispatch.consume",
        {"outcome": 1},
        ["UPDATE dispatch_attempts", "UPDATE dispatch_queue", *INSERTS[-2:], "COMMIT", "SELECT"],
    ),
    (
        "dispatch.fail",
        {"reason": "x"},
        ["UPDATE dispatch_attempts", "UPDATE dispatch_queue", *INSERTS[-2:], "COMMIT"],
    ),
    (
        "dispatch.fail",
        {"reason": "x", "retryable": True},
        ["UPDATE dispatch_attempts", "UPDATE dispatch_queue", INSERTS[3], "COMMIT"],
    ),
]


@pytest.mark.parametrize(("op", "fields", "steps"), ENDINGS)
async def test_finishing(tmp_path: Path, op: str, fields: dict[str, Any], steps: list[str]) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice)
        held = holding(await lease(bob))
        for step in steps:
            await unavailable(r, failing, step, bob, op, **held, **fields)
            assert results(alice) == []
        finished = await bob.ask(op, **held, **fields)
        assert not finished["duplicate"]
        assert len(results(alice)) == (finished["status"] != "pending")
        assert (await bob.ask(op, **held, **fields))["duplicate"]


@pytest.mark.parametrize("step", ["UPDATE dispatch_attempts", *INSERTS[-2:], "COMMIT"])
async def test_cancelling(tmp_path: Path, step: str) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice = await r.join("alice")
        await create(alice)
        await unavailable(r, failing, step, alice, "dispatch.cancel", dispatch="w1")
        assert results(alice) == []
        await alice.ask("dispatch.cancel", dispatch="w1")
        assert len(results(alice)) == 1


@pytest.mark.parametrize(
    "step", ["UPDATE dispatch", "INSERT INTO dispatch", *INSERTS[-2:], "COMMIT"]
)
async def test_what_time_does_is_tried_again(tmp_path: Path, step: str) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice, bob = await r.join("alice"), await worker(r)
        await create(alice, ttl_ms=5_000)
        await create(alice, dag_task_id="2")
        second = (await create(alice, dag_task_id="2"))["dispatch_key"]
        await lease(bob, dispatch_key=second, lease_ms=5_000)
        before = everything(r)
        failing.at = step
        await r.advance(7_000)
        assert failing.failed > 1, "tried again and again"
        assert everything(r) == before
        failing.at = None
        await r.advance(1_000)
        assert r.rows("SELECT status, attempt FROM dispatch_queue ORDER BY id") == [
            ("expired", 1),
            ("pending", 2),
        ]
        assert [one["status"] for one in results(alice)] == ["expired"]


async def test_looking(tmp_path: Path) -> None:
    failing = Failing()
    async with rig(tmp_path, failing) as r:
        alice = await r.join("alice")
        failing.at = "SELECT"
        await alice.refused("unavailable", "dispatch.get", dispatch="w1")
        await alice.refused("unavailable", "dispatch.get", dispatch_key=KEY)
        await alice.refused("unavailable", "dispatch.list")
        failing.at = None
        await alice.refused("not_found", "dispatch.get", dispatch="w1")
        assert (await alice.ask("dispatch.list"))["dispatches"] == []
