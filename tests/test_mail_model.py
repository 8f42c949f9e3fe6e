"""A random life of a mailbox against a plain model, on virtual time and a real database.

After every step the answer is the predicted one, every hand-over was allowed, every row stands as
the model has it, and the broker's memory agrees with its database. The seed is fixed; another one
can be given as POSTROOM_MODEL_SEED, and more lives as POSTROOM_MODEL_LIVES.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from mail_desk import desk, look_over
from mail_model import LEASE_MS, MAX_ATTEMPTS, MAX_DEPTH, SETTINGS, TTL_MS, Copy, Model, Someone
from rig import Peer, Rig

SEED = int(os.environ.get("POSTROOM_MODEL_SEED", "7450"))
LIVES = int(os.environ.get("POSTROOM_MODEL_LIVES", "40"))

LABELS = ["w1", "w2", "s1"]
STATUSES = ["idle", "idle", "working", "dnd"]

STEPS: dict[str, tuple[int, dict[str, list[Any]]]] = {
    "send": (
        18,
        {
            "to": ["bob", "bob", "bob/s1"],
            "priority": [10, 50, 50, 100],
            "ttl_ms": [None, None, 4_000],
            "delay_ms": [0, 0, 0, 3_000],
            "max_attempts": [None, None, 1],
            "receipt": [False, True],
            "key": [None, None, "k1", "k2"],
            "dedupe": ["window", "active"],
            "again": [False, True],
        },
    ),
    "connect": (5, {"label": LABELS, "capacity": [0, 1, 2, 3], "status": STATUSES}),
    "resume": (5, {"label": LABELS, "capacity": [1, 3]}),
    "lose": (3, {"label": LABELS}),
    "bye": (3, {"label": LABELS, "final": [False, True]}),
    "update": (4, {"label": LABELS, "capacity": [0, 1, 2, 4], "status": STATUSES}),
    "pull": (5, {"box": ["bob", "bob/s1"], "most": [1, 3], "lease_ms": [None, 2_000, 25_000]}),
    "ack": (9, {"pick": [0, 0, 1, 2, 5, 9], "to": [[], [], ["bob"], ["bob", "nobody"]]}),
    "nack": (
        9,
        {
            "pick": [0, 0, 1, 2, 5, 9],
            "blame": [True, False],
            "dead": [False, False, False, True],
            "delay_ms": [None, 0, 500],
        },
    ),
    "extend": (4, {"pick": [0, 0, 1, 2, 5, 9], "lease_ms": [None, 1_000, 40_000]}),
    "cancel": (2, {"pick": [0, 1, 5]}),
    "redrive": (3, {"pick": [0, 1, 5], "whole": [False, True]}),
    "drop": (2, {"pick": [0, 1, 5]}),
    "advance": (12, {"ms": [1, 500, 1_000, 2_000, 5_000, 12_000]}),
    "restart": (2, {}),
}
"""What may happen, how often among so many, and with what."""

NAMES = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]


def fields_of(name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """A step with its fields."""
    choices = {field: st.sampled_from(values) for field, values in STEPS[name][1].items()}
    return st.tuples(st.just(name), st.fixed_dictionaries(choices))


STEP = st.sampled_from(NAMES).flatmap(fields_of)

ROWS = """
    SELECT d.seq, d.state, d.failures, d.claims, d.claim_id, d.due_at, d.expires_at
    FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id WHERE m.kind <> 'receipt'
"""


@seed(SEED)
class Life(RuleBasedStateMachine):
    """One member, `bob`, with two workers and a session; `ann` sends, `eye` pulls."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.directory = tempfile.TemporaryDirectory()
        self.peers: dict[str, Peer] = {}
        self.resumes: dict[str, str] = {}
        self.sent: list[str] = []
        self.handed: list[dict[str, Any]] = []
        self.keyed: dict[str, dict[str, Any]] = {}
        self.run(self.begin())

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        self.runner.run(step)

    async def begin(self) -> None:
        opened = desk(Path(self.directory.name), **SETTINGS)
        self.r: Rig = await self.stack.enter_async_context(opened)
        self.model = Model(self.r.clock.now())
        self.model.sent_at = {}
        self.ann = await self.r.join("ann", observe=True)
        await self.hello("eye", None)
        await self.hello("w1", None, capacity=2)
        await self.hello("s1", None, capacity=2)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()
        self.directory.cleanup()

    @rule(step=STEP)
    def act(self, step: tuple[str, dict[str, Any]]) -> None:
        """One step of a life."""
        name, fields = step
        self.run(getattr(self, name)(**fields))

    # -- what is checked after each step ---------------------------------------------------------

    def check(self) -> None:
        """Hand-overs were right, rows are as predicted, memory agrees with the database."""
        new = [
            (int(mail["claim"][1:]), label, mail)
            for label, peer in self.peers.items()
            for mail in peer.mail()
        ]
        for _, label, mail in sorted(new, key=lambda one: one[0]):
            self.model.pushed(self.model.present[label], mail)
            self.handed.append(mail)
        rows = {
            seq: (state, failures, claims, claim and f"c{claim}", due_at, expires_at)
            for seq, state, failures, claims, claim, due_at, expires_at in self.r.rows(ROWS)
        }
        assert rows == {
            copy.seq: (
                copy.state, copy.failures, copy.claims, copy.claim, copy.due_at, copy.expires_at,
            )
            for copy in self.model.copies.values()
        }  # fmt: skip
        told = [
            msgspec.json.decode(body)
            for (body,) in self.r.rows("SELECT body FROM messages WHERE kind = 'receipt'")
        ]
        assert Counter(
            (one["message"], one["delivery"], one["state"], one["reason"]) for one in told
        ) == Counter(self.model.receipts)
        look_over(self.r)

    async def ask(self, peer: Peer, op: str, **fields: Any) -> dict[str, Any]:
        """The answer, a refusal as its code."""
        answer = await peer.answer(op, **fields)
        found: dict[str, Any] = answer.get("ok", {"code": answer.get("error", {}).get("code")})
        return found

    # -- sending ---------------------------------------------------------------------------------

    async def send(self, key: str | None, again: bool, **asked: Any) -> None:
        if again and key in self.keyed:
            asked = self.keyed[key]
        fields = {k: v for k, v in {"key": key, **asked}.items() if v is not None}
        before = self.r.broker.house.next_number
        answer = await self.ask(self.ann, "mail.send", body=fields["priority"], **fields)
        expected = self.accept(fields)
        if isinstance(expected, str):
            assert answer == {"code": expected}
        else:
            self.check_sent(answer, expected, before, fields)
        self.check()
        for copy in answer.get("deliveries", []):
            if not answer["duplicate"]:
                held = self.model.copies[int(copy["delivery"][1:])].state == "claimed"
                assert copy["state"] == ("claimed" if held else "queued")

    def accept(self, fields: dict[str, Any]) -> str | tuple[str, bool]:
        """A refusal, or the message and whether it was there before."""
        key = fields.get("key")
        content = {k: v for k, v in fields.items() if k not in ("key", "dedupe")}
        if key in self.model.keys:
            known, message, active = self.model.keys[key]
            copies = [one for one in self.model.copies.values() if one.message == message]
            if not active or any(one.state in ("queued", "claimed") for one in copies):
                return (message, True) if known == content else "key_conflict"
        if fields["to"] not in self.model.open:
            return "unknown_recipient"
        if self.model.unfinished(fields["to"]) >= MAX_DEPTH:
            return "mailbox_full"
        return "", False

    def check_sent(
        self, answer: dict[str, Any], expected: Any, before: int, fields: dict[str, Any]
    ) -> None:
        message, duplicate = expected
        assert answer["duplicate"] is duplicate
        if duplicate:
            assert answer["message"] == message
            return
        assert answer["seq"] == before
        (copy,) = answer["deliveries"]
        if copy["queued"]:
            ready = self.model.ready(fields["to"])
            assert copy["depth"] == sum(one.priority >= fields["priority"] for one in ready)
        self.sent.append(answer["message"])
        self.add(answer, fields)

    def add(self, answer: dict[str, Any], fields: dict[str, Any]) -> None:
        model, now = self.model, self.model.now
        life = fields.get("ttl_ms", TTL_MS)
        delay = fields.get("delay_ms", 0)
        copy = Copy(
            int(answer["deliveries"][0]["delivery"][1:]),
            fields["to"],
            answer["message"],
            fields.get("priority", 50),
            now + life,
            now + delay if delay else None,
            fields.get("receipt", False),
            fields.get("max_attempts", MAX_ATTEMPTS),
            life,
        )
        model.add(copy)
        model.sent_at[copy.message] = now
        if "key" in fields:
            content = {k: v for k, v in fields.items() if k not in ("key", "dedupe")}
            model.keys[fields["key"]] = (content, copy.message, fields["dedupe"] == "active")
            self.keyed[fields["key"]] = fields

    # -- coming and going ------------------------------------------------------------------------

    async def hello(self, label: str, resume: str | None, **fields: Any) -> None:
        if label == "eye":
            fields = {"observe": True}
        else:
            role = "session" if label == "s1" else "service"
            fields = {"role": role, "session": label, **fields}
        if resume is not None:
            fields["resume"] = resume
        peer = await self.r.join("bob", **fields)
        self.resumes[label] = peer.welcome["resume"]
        model = self.model
        if resume is not None and label in model.present:
            assert peer.welcome["resumed"] is True
            one = model.present[label]
            one.online = True
            one.capacity = fields.get("capacity", one.capacity)
            one.status = fields.get("status", one.status)
            held, rest = list(one.held), peer.events("mail.deliver")
            assert len(rest) >= len(held)
            for copy, mail in zip(held, rest, strict=False):
                assert copy.seq == mail["seq"]
                model.check_told(copy, mail)
            # What came behind these is new: it is looked at with the rest.
            peer._seen -= len(rest) - len(held)
        else:
            assert peer.welcome["resumed"] is False
            box = "bob/s1" if label == "s1" else "bob"
            model.come(
                Someone(
                    label,
                    fields.get("role", "session"),
                    box,
                    observe=label == "eye",
                    status=fields.get("status", "idle"),
                    capacity=fields.get("capacity", 32),
                )
            )
        self.peers[label] = peer
        self.check()

    async def connect(self, label: str, capacity: int, status: str) -> None:
        """A hello that resumes nothing; whoever is there under the label is replaced."""
        await self.hello(label, None, capacity=capacity, status=status)

    async def resume(self, label: str, capacity: int) -> None:
        """A hello with the last value, good or too late."""
        if label in self.resumes:
            await self.hello(label, self.resumes[label], capacity=capacity, status="idle")

    async def lose(self, label: str) -> None:
        if label not in self.peers:
            return
        await self.peers.pop(label).lose()
        self.model.lose(label)
        self.check()

    async def bye(self, label: str, final: bool) -> None:
        if label not in self.peers:
            return
        await self.peers.pop(label).ask("bye", final=final)
        self.model.leave(label, final=final)
        self.check()

    async def update(self, label: str, capacity: int, status: str) -> None:
        if label not in self.peers:
            return
        await self.peers[label].ask("presence.update", capacity=capacity, status=status)
        one = self.model.present[label]
        one.capacity, one.status = capacity, status
        self.check()

    # -- claims ----------------------------------------------------------------------------------

    async def pull(self, box: str, most: int, lease_ms: int | None) -> None:
        eye = self.peers["eye"]
        answer = await self.ask(eye, "mail.claim", mailbox=box, max=most, lease_ms=lease_ms)
        if box not in self.model.open:
            assert answer == {"code": "not_found"}
            return
        assert len(answer["deliveries"]) == min(most, len(self.model.ready(box)))
        for mail in answer["deliveries"]:
            self.model.pulled(self.model.present["eye"], box, mail, lease_ms or LEASE_MS)
            self.handed.append(mail)
        self.check()

    def chosen(self, pick: int) -> tuple[Copy, dict[str, str]]:
        """A claim that was handed over some time, the newest most often."""
        mail = self.handed[max(len(self.handed) - 1 - pick, 0)]
        names = {"delivery": mail["delivery"], "claim": mail["claim"]}
        return self.model.copies[mail["seq"]], names

    async def ack(self, pick: int, to: list[str]) -> None:
        if not self.handed:
            return
        copy, names = self.chosen(pick)
        model, outputs = self.model, [{"to": one, "body": 1} for one in to]
        answer = await self.ask(self.peers["eye"], "mail.ack", **names, outputs=outputs)
        if copy.claim != names["claim"]:
            assert answer == {"code": "stale_claim"}
        elif copy.state == "acked":
            if copy.outputs == to:
                assert answer["duplicate"] is True
            else:
                assert answer == {"code": "key_conflict"}
        else:
            self.finish(copy, answer, to)
        assert model.copies[copy.seq] is copy
        self.check()

    def finish(self, copy: Copy, answer: dict[str, Any], to: list[str]) -> None:
        """The first ack of a claim that is good: all of it or nothing."""
        room = self.model.unfinished("bob") - (copy.box == "bob") < MAX_DEPTH
        if "bob" in to and not room:
            assert answer == {"code": "mailbox_full"}
            return
        if "nobody" in to:
            assert answer == {"code": "unknown_recipient"}
            return
        assert answer["duplicate"] is False
        self.model.let_go(copy)
        self.model.end(copy, "acked", None)
        copy.outputs = to
        for sent in answer["outputs"]:
            self.add(sent, {"to": "bob"})

    async def nack(self, pick: int, **how: Any) -> None:
        if not self.handed:
            return
        copy, names = self.chosen(pick)
        answer = await self.ask(self.peers["eye"], "mail.nack", **names, **how)
        if copy.claim != names["claim"] or copy.state != "claimed":
            assert answer == {"code": "stale_claim"}
        else:
            self.model.give_back(copy, **how)
            ready_at = None
            if copy.state == "queued":
                ready_at = self.model.now if copy.due_at is None else copy.due_at
            assert answer == {
                "state": copy.state, "failures": copy.failures, "ready_at": ready_at,
            }  # fmt: skip
        self.check()

    async def extend(self, pick: int, lease_ms: int | None) -> None:
        if not self.handed:
            return
        copy, names = self.chosen(pick)
        answer = await self.ask(self.peers["eye"], "mail.extend", **names, lease_ms=lease_ms)
        if copy.claim != names["claim"] or copy.state != "claimed":
            assert answer == {"code": "stale_claim"}
        else:
            copy.ends_at, copy.restored = self.model.now + (lease_ms or LEASE_MS), False
            assert answer["claim_expires_at"] == copy.ends_at
        self.check()

    # -- clearing up -----------------------------------------------------------------------------

    async def cancel(self, pick: int) -> None:
        if not self.sent:
            return
        message = self.sent[max(len(self.sent) - 1 - pick, 0)]
        copies = [copy for copy in self.model.copies.values() if copy.message == message]
        answer = await self.ask(self.ann, "mail.cancel", message=message)
        free = [copy for copy in copies if copy.state == "queued"]
        late = [copy for copy in copies if copy.state not in ("queued", "cancelled")]
        for copy in free:
            self.model.end(copy, "cancelled", "cancelled")
        assert answer == {"cancelled": len(free), "too_late": len(late)}
        self.check()

    async def redrive(self, pick: int, whole: bool) -> None:
        dead = [copy for copy in self.model.copies.values() if copy.state == "dead"]
        if not dead:
            return
        copy = dead[pick % len(dead)]
        fields = {"mailbox": copy.box} if whole else {"delivery": f"d{copy.seq}"}
        answer = await self.ask(self.peers["eye"], "mail.redrive", **fields)
        if copy.box not in self.model.open:
            assert answer in ({"code": "not_found"}, {"count": 0, "more": False})
            return
        wanted = [one for one in dead if one.box == copy.box] if whole else [copy]
        closed = self.closed_through.get(copy.box, 0)
        done = sum(self.model.redrive(one) for one in wanted if one.seq > closed)
        assert answer == {"count": done, "more": False}
        self.check()

    @property
    def closed_through(self) -> dict[str, int]:
        """What stood in a mailbox when it was closed is not redriven."""
        boxes = self.r.broker.house.boxes.values()
        return {box.address: box.ended_through for box in boxes}

    async def drop(self, pick: int) -> None:
        copies = list(self.model.copies.values())
        if not copies:
            return
        copy = copies[max(len(copies) - 1 - pick, 0)]
        answer = await self.ask(self.peers["eye"], "mail.drop", delivery=f"d{copy.seq}")
        fits = copy.state in ("queued", "dead")
        if fits:
            self.model.end(copy, "cancelled", "dropped")
        assert answer == {"count": int(fits), "more": False}
        self.check()

    # -- time and the broker's own end -----------------------------------------------------------

    async def advance(self, ms: int) -> None:
        """From one instant at which something is due to the next."""
        end = self.r.clock.now() + ms
        while self.r.clock.now() < end:
            await self.r.advance(min(self.r.broker.executor.due(), end) - self.r.clock.now())
            self.model.tick(self.r.clock.now())
            self.check()

    async def restart(self) -> None:
        self.peers.clear()
        await self.r.restart()
        self.model.restart()
        await self.r.settle()
        self.check()
        self.ann = await self.r.join("ann", observe=True)
        await self.hello("eye", self.resumes["eye"])


@pytest.mark.timeout(60 + 3 * LIVES)
def test_random_lives_go_as_the_model_says() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=50,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
