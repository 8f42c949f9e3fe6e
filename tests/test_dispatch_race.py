"""Lease, expiry, reclaim and late consume, in any order and in one batch, against a model."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from dispatch_desk import FIELDS, KEY, PROMPT, create, worker
from dispatch_model import LEASE_MS, MOST, Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Peer, Rig, rig

WORKERS = ("ann", "bob")

leases = st.sampled_from([0, 0, 0, 0, 1, 2])  # so many before the newest
lasting = st.sampled_from([1_000, 1_000, 3_000])
call_ids = st.sampled_from(["one", "two"])
lease = st.tuples(st.just("lease"), call_ids, lasting)
renew = st.tuples(st.just("renew"), leases, lasting)
consume = st.tuples(st.just("consume"), leases, st.sampled_from(["x", "y"]))
fail = st.tuples(st.just("fail"), leases, st.sampled_from([True, True, False]))
reopen = st.tuples(st.just("create"), st.just(True), st.sampled_from([None, 4_000]))
asked_again = st.tuples(st.just("create"), st.just(False), st.none())
cancel = st.tuples(st.just("cancel"))
does = st.one_of(st.none(), lease, lease, renew, consume, fail)
asks = st.one_of(st.none(), st.none(), reopen, reopen, asked_again, cancel)
pauses = st.sampled_from([0, 0, 0, 500, 999, 1_000, 1_000, 2_000, 10_000])
restarts = st.sampled_from([False] * 5 + [True])
rounds = st.tuples(pauses, restarts, does, does, asks)
Round = tuple[int, bool, Any, Any, Any]


class Play:
    """The broker and the model side by side."""

    def __init__(self, r: Rig) -> None:
        self.r = r
        self.model = Model(r.clock.time)
        self.peers: dict[str, Peer] = {}
        self.tokens: list[str] = []
        """The token of each lease, as the model counts them."""
        self.given: list[str] = []
        """Those that this round has shown."""

    async def join(self) -> None:
        self.peers["alice"] = await self.r.join("alice", capacity=0)
        for name in WORKERS:
            join = self.r.join if name in self.peers else partial(worker, self.r)
            hello = {"role": "service", "session": "label", "capacity": 0}
            self.peers[name] = await join(name, **hello)

    async def round(self, doing: Round) -> None:
        """Time passes, maybe over a restart; then all of it in one batch."""
        pause, restart, *deeds = doing
        self.r.clock.time += pause
        if restart:
            # What became due while nobody was there is not over: the floor holds it.
            self.model.now = self.r.clock.time
            self.model.restart()
            await self.r.restart()
            await self.join()
        posted = [
            (name, what, self.post(name, what))
            for name, what in zip((*WORKERS, "alice"), deeds, strict=True)
            if what is not None
        ]
        await self.r.settle()
        self.model.pass_time(self.r.clock.time)
        for name, what, id in posted:
            answer = self.peers[name].reply(id)
            expected = self.expected(name, what)
            assert self.told(what, answer) == expected, (name, what, answer)
        self.compare()

    def post(self, name: str, what: Any) -> int:
        """Send what somebody does."""
        kind, *rest = what
        fields: dict[str, Any]
        if kind == "create":
            fields = {**FIELDS, "prompt": PROMPT, "retry": rest[0], "ttl_ms": rest[1]}
        elif kind == "cancel":
            fields = {"dispatch": "w1"}
        elif kind == "lease":
            fields = {"dispatch_key": KEY, "call_id": rest[0], "lease_ms": rest[1]}
        else:
            place = self.place(rest[0])
            token = self.tokens[place] if place >= 0 else "none"
            fields = {"dispatch": "w1", "lease_token": token}
            fields |= {
                "renew": {"lease_ms": rest[1]},
                "consume": {"outcome": rest[1]},
                "fail": {"reason": "x", "retryable": rest[1]},
            }[kind]
        return self.peers[name].post(f"dispatch.{kind}", **fields)

    def place(self, back: int) -> int:
        """The number of a lease that is named by how many came after it, when this is posted."""
        return len(self.tokens) - 1 - back

    def expected(self, name: str, what: Any) -> Any:
        kind, *rest = what
        model = self.model
        if kind == "create":
            return model.create(*rest)
        if kind == "cancel":
            return model.cancel()
        if kind == "lease":
            return model.lease(name, *rest)
        place = self.place(rest[0])
        if kind == "renew":
            return model.renew(name, place, rest[1])
        return model.finish(name, place, (kind, rest[1]))

    def told(self, what: Any, answer: dict[str, Any]) -> Any:
        """An answer in the words of the model."""
        if "error" in answer:
            return answer["error"]["code"]
        ok = answer["ok"]
        if what[0] == "create":
            return ok["status"], ok["attempt"]
        if what[0] == "renew":
            return ok["lease_expires_at"]
        if what[0] != "lease":
            return ok["status"], ok["duplicate"]
        assert ok["lease_ms"] == ok["lease_expires_at"] - self.r.clock.time
        self.given.append(ok["lease_token"])
        known = list(dict.fromkeys([*self.tokens, *self.given]))
        return ok["attempt"], known.index(ok["lease_token"]), ok["lease_expires_at"]

    def compare(self) -> None:
        """What stands on disk is what the model says."""
        self.tokens = list(dict.fromkeys([*self.tokens, *self.given]))
        self.given.clear()
        model = self.model
        row = self.r.rows("SELECT status, attempt, max_attempts, lease_token FROM dispatch_queue")
        token = self.tokens[-1] if self.tokens else None
        assert row == [(model.status, model.attempt, model.most, token)]
        attempts = self.r.rows(
            "SELECT attempt_number, status FROM dispatch_attempts ORDER BY attempt_number"
        )
        assert [number for number, _ in attempts] == list(range(1, model.attempt + 1))
        assert all(status not in ("pending", "leased") for _, status in attempts[:-1])
        results = self.r.rows("SELECT count(*) FROM messages WHERE kind = 'dispatch.result'")
        assert results == [(model.results,)]


SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a disk would only make it slow: the rules race here
PLACE = SHARED_MEMORY if Path(SHARED_MEMORY).is_dir() else None


async def play(script: list[Round]) -> None:
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        async with rig(
            Path(directory), dispatch__lease_ms=LEASE_MS, store__synchronous="normal"
        ) as r:
            game = Play(r)
            await game.join()
            await create(game.peers["alice"], max_attempts=MOST)
            for doing in script:
                await game.round(doing)
            consumed = r.rows("SELECT count(*) FROM dispatch_attempts WHERE status = 'consumed'")
            assert consumed == [(int(game.model.status == "consumed"),)]
            shown = await game.peers["alice"].ask("dispatch.get", dispatch="w1")
            assert shown["status"] == game.model.status


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(rounds, min_size=20, max_size=30))
def test_every_order_of_events(script: list[Round]) -> None:
    asyncio.run(play(script))
