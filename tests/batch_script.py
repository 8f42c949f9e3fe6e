"""A script of requests from several connections, played one by one or batch by batch.

Owns: who takes part, what they ask (moves become frames by what has been seen so far), and the two
ways to play. Within a chunk nothing happens by itself: time, sweeps and lost connections come
between the chunks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import msgspec
from rig import FixedChance, Peer, RecordingLine, Rig

from broker.core.ports import Greeting

FAR: Final = 2**61

CAST: Final[tuple[dict[str, Any], ...]] = (
    {"member": "owner", "role": "service", "capacity": 5},
    {"member": "alice", "session": "s1", "capacity": 4, "groups": ["@team"]},
    {"member": "alice", "session": "s1", "capacity": 2},
    {"member": "bob", "role": "service", "capacity": 1, "groups": ["#news"]},
    {"member": "bob", "role": "service", "capacity": 2, "session": "w2"},
    {"member": "bob", "session": "s2", "capacity": 3, "groups": ["@team/back"]},
    {"member": "carol", "role": "control-plane", "capacity": 0},
    {"member": "owner", "observe": True},
)
"""Who speaks on which connection. Two of them are rivals for one session label."""

MEMBERS: Final = ("alice", "bob", "carol")
TARGETS: Final[tuple[Any, ...]] = (
    "bob",
    "alice",
    "alice/s1",
    "bob/s2",
    "carol",
    "owner",
    "@team",
    "#news",
    "*",
    ["bob", "alice", "bob"],
    ["@team", "carol"],
    "nobody",
    "No Name",
)
PRIORITIES: Final[tuple[Any, ...]] = ("task", "critical", "info", 51)
BAD: Final[tuple[Any, ...]] = (
    7,
    {"op": "no.such"},
    {"op": "mail.send", "to": "bob"},
    {"op": "mail.send", "to": "bob", "body": 1, "wrong": 2},
    {"op": "mail.ack", "delivery": 5, "claim": "c1"},
    {"op": "mail.send", "id": [], "to": "bob", "body": 1},
    {"id": 5},
)
PLAIN: Final = "plain"
"""A send with nothing said that need not be."""
READS: Final = frozenset({"mail.list", "mail.trace", "token.list", "dispatch.list"})

Move = tuple[str, int, int, int]
"""What is asked, and three numbers that choose among the possibilities."""
Chunk = list[tuple[int, list[Move]]]


class EndingLine(RecordingLine):
    """A socket that takes nothing more once it was closed."""

    def send(self, *frames: bytes) -> None:
        if self.closed is None:
            super().send(*frames)

    deliver = send


class Player:
    """One rig with its connections."""

    def __init__(self, r: Rig, tokens: dict[str, str]) -> None:
        self.rig = r
        self.tokens = tokens
        self.peers = [self._connect() for _ in CAST]
        self.past: list[Peer] = []

    def _connect(self) -> Peer:
        line = EndingLine()
        greeting = Greeting(None, "127.0.0.1:1")
        return Peer(self.rig, line, self.rig.broker.accept(line, greeting))

    async def one_batch(self) -> None:
        """One batch is decided and committed, wherever its commit runs; what it reads is read."""
        executor = self.rig.broker.executor
        executor.run()
        while True:
            if not (executor.committing or executor.looks):
                return
            await asyncio.sleep(0)

    def hold_back(self) -> None:
        """From here on only requests are done, nothing that is due by itself."""
        self.rig.broker.executor._retry_at = FAR

    async def let_go(self) -> None:
        """Whatever is due is done."""
        self.rig.broker.executor._retry_at = 0
        await self.rig.settle()

    async def between(self, lost: int | None, ms: int) -> None:
        """A connection breaks, those that were closed are opened anew, time passes."""
        if lost is not None:
            self.peers[lost].conversation.lost()
            await self.rig.settle()
        for number, peer in enumerate(self.peers):
            if peer.conversation.closing:
                peer.conversation.lost()
                self.past.append(peer)
                self.peers[number] = self._connect()
        await self.rig.settle()
        await self.rig.advance(ms)

    def said(self) -> list[tuple[list[dict[str, Any]], tuple[int, str] | None]]:
        """All frames of each connection since the last look, and how it was closed."""
        said = []
        for peer in self.peers:
            assert isinstance(peer.line, EndingLine)
            said.append((list(peer.line.frames), peer.line.closed))
            peer.line.frames.clear()
            peer.line.raw.clear()
        return said


class Author(Player):
    """Plays one by one, and writes down what was said in the order in which it was."""

    def __init__(self, r: Rig, tokens: dict[str, str]) -> None:
        super().__init__(r, tokens)
        self.ids = 0
        self.deliveries: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.token_ids: list[str] = []
        self.resumes: list[str] = []
        self.dispatches: list[str] = []
        self.leases: list[tuple[str, str]] = []

    async def play(self, chunk: Chunk, share: int) -> list[tuple[int, bytes]]:
        """Play a chunk in the order in which a batch takes it; the frames, in that order."""
        self.hold_back()
        told: list[tuple[int, bytes]] = []
        ring = deque((number, deque(moves)) for number, moves in chunk)
        while ring:
            number, moves = ring.popleft()
            taken = 0
            while moves and taken < share:
                move = moves.popleft()
                if move[0] in READS:
                    if ring:
                        continue  # it is looked up behind the batch: nothing may come after it
                    moves.clear()
                told.append((number, self._say(number, move)))
                await self.one_batch()
                self._learn()
                taken += 1
            if moves:
                ring.append((number, moves))
        await self.let_go()
        self._learn()
        return told

    def _say(self, number: int, move: Move) -> bytes:
        data = self._frame(number, move)
        self.peers[number].write(data)
        return data

    def _learn(self) -> None:
        """Ids that later moves may name. Everybody knows all of them: some are none of theirs."""
        for peer in self.peers:
            for frame in peer.line.frames[peer._seen :]:
                found = frame.get("ok", frame)
                for one in (found, *found.get("deliveries", ())):
                    if "claim" in one:
                        self.deliveries.append((one["delivery"], one["claim"]))
                if "re" in frame and "message" in found:
                    self.messages.append(found["message"])
                if "token_id" in found:
                    self.token_ids.append(found["token_id"])
                if "resume" in found:
                    self.resumes.append(found["resume"])
                if "created" in found and "dispatch_key" in found:
                    self.dispatches.append(found["dispatch_key"])
                if "lease_token" in found:
                    self.leases.append((found["dispatch"], found["lease_token"]))
            peer._seen = len(peer.line.frames)

    def said(self) -> list[tuple[list[dict[str, Any]], tuple[int, str] | None]]:
        for peer in self.peers:
            peer._seen = 0
        return super().said()

    def _frame(self, number: int, move: Move) -> bytes:
        op, a, b, c = move
        self.ids += 1
        if op == "bad":
            bad = BAD[a % len(BAD)]
            return msgspec.json.encode({"id": self.ids, **bad} if b % 2 and a % 7 else bad)
        if op == PLAIN:
            op, fields = "mail.send", {"to": TARGETS[a % len(TARGETS)], "body": b}
        else:
            fields = self._fields(number, op, a, b, c)
        return msgspec.json.encode({"op": op, "id": self.ids, **fields})

    def _fields(self, number: int, op: str, a: int, b: int, c: int) -> dict[str, Any]:
        if op == "hello":
            hello = {**CAST[number], "token": self.tokens[CAST[number]["member"]]}
            return {**hello, "resume": pick(self.resumes, a)} if a % 3 == 0 else hello
        if op == "mail.send":
            return self._content(a, b, c)
        if op.startswith("mail."):
            return self._mail(op, a, b, c)
        if op.startswith(("dispatch.", "delegation.")):
            return self._work(op, a, b)
        if op.startswith("group.") and op != "group.list":
            return {"group": ("@team", "#news", "@team/back")[a % 3]}
        if op == "presence.update":
            changes: tuple[dict[str, Any], ...] = (
                {},
                {"status": "dnd"},
                {"status": "idle"},
                {"capacity": b % 4},
                {"status": "working", "summary": "s", "capacity": 6},
            )
            return changes[a % len(changes)]
        return self._people(op, a, b)

    def _people(self, op: str, a: int, b: int) -> dict[str, Any]:
        if op == "peer.watch":
            return {"on": a % 3 > 0}
        if op == "bye":
            return {"final": a % 2 == 0}
        if op == "member.add":
            return {"member": ("dora", "erin", *MEMBERS)[a % 5]}
        if op == "member.remove":
            return {"member": (*MEMBERS, "dora", "owner")[a % 5]}
        if op == "member.update":
            return {"member": MEMBERS[a % 3], "access": ("member", "admin")[b % 2]}
        if op == "token.create":
            return {"ttl_ms": 3_000} if a % 2 else {"member": MEMBERS[b % 3]}
        if op == "token.revoke":
            return {"token_id": pick(self.token_ids, a)}
        return {}

    def _content(self, a: int, b: int, c: int) -> dict[str, Any]:
        content: dict[str, Any] = {"to": TARGETS[a % len(TARGETS)], "body": b % 3}
        content["priority"] = PRIORITIES[b % len(PRIORITIES)]
        more: tuple[dict[str, Any], ...] = (
            {},
            {},
            {"key": "k1"},
            {"key": "k2", "dedupe": "active"},
            {"receipt": True, "max_attempts": 1},
            {"delay_ms": 2_000},
            {"ttl_ms": 2_500},
            {"reply_to": pick(self.messages, b), "meta": {"a": 1}},
            {"kind": "system.own"},
        )
        return content | more[c % len(more)]

    def _mail(self, op: str, a: int, b: int, c: int) -> dict[str, Any]:
        delivery, claim = (
            self.deliveries[-1 - a % len(self.deliveries)] if self.deliveries else "??"
        )
        held: dict[str, Any] = {"delivery": delivery, "claim": claim}
        if op == "mail.ack":
            outputs = [self._content(b, c, c), self._content(c, b, b)]
            return held if c % 3 else held | {"outputs": outputs[: 1 + b % 2]}
        if op == "mail.nack":
            more: tuple[dict[str, Any], ...] = (
                {},
                {"blame": False},
                {"dead": True},
                {"delay_ms": 0},
                {"reason": "no"},
            )
            return held | more[b % len(more)]
        if op == "mail.extend":
            return held | ({}, {"note": "on it"}, {"lease_ms": 9_000})[b % 3]
        if op == "mail.claim":
            wait = {"wait_ms": 2_000} if c % 2 else {}
            return {"max": 1 + a % 3, "lease_ms": (None, 4_000)[b % 2]} | wait
        if op in ("mail.cancel", "mail.trace"):
            return {"message": pick(self.messages, a)}
        if op == "mail.redrive":
            return {"delivery": delivery} if b % 2 else {"mailbox": MEMBERS[a % 3]}
        if op == "mail.drop":
            return (
                {"delivery": delivery} if b % 2 else {"mailbox": MEMBERS[a % 3], "state": "queued"}
            )
        return {}

    def _work(self, op: str, a: int, b: int) -> dict[str, Any]:
        identity = {"agent_type": "t", "dag_task_id": f"d{a % 2}", "parent_session_id": "p"}
        if op == "dispatch.create":
            return {**identity, "prompt": "do", "notify": MEMBERS[b % 3], "retry": b % 2 == 0}
        if op == "dispatch.lease":
            return {"dispatch_key": pick(self.dispatches, a), "call_id": f"c{b % 2}"}
        if op == "dispatch.consume":
            dispatch, lease = self.leases[-1] if self.leases else ("w1", "l")
            return {"dispatch": dispatch, "lease_token": lease, "outcome": b}
        if op == "delegation.open":
            return {
                "callee": MEMBERS[a % 3],
                "task": 1,
                "delegation": f"g{b % 3}",
                "send": b % 2 == 0,
            }
        if op == "delegation.update":
            status = ("in_progress", "completed", "failed", "cancelled")[a % 4]
            return {"delegation": f"g{b % 3}", "status": status}
        return {}


def pick(known: list[str], number: int) -> str:
    """One of what is known, the newest first; something that is not there if nothing is."""
    return known[-1 - number % len(known)] if known else "x9"


class Replayer(Player):
    """Plays what was written down, a whole chunk in one batch."""

    async def play(self, told: list[tuple[int, bytes]]) -> None:
        await self.attempt(told)
        await self.let_go()

    async def attempt(self, told: list[tuple[int, bytes]]) -> None:
        """Say all of it, and let one batch be decided."""
        self.hold_back()
        for number in dict.fromkeys(number for number, _ in told):
            for who, data in told:
                if who == number:
                    self.peers[number].write(data)
        await self.one_batch()

    def forget(self) -> None:
        """What did not come into the batch, because that failed before, was never said."""
        self.rig.broker.executor._ring._conversations.clear()
        for peer in self.peers:
            conversation = peer.conversation
            left = list(conversation.inbox)
            conversation.inbox.clear()
            conversation.queued = False
            if left:
                conversation.settled(left)


class CountingChance(FixedChance):
    """Chance whose next value is known and can be set."""

    def __init__(self) -> None:
        self.number = 0

    def secret(self) -> str:
        self.number += 1
        return f"secret{self.number}"

    def label(self) -> str:
        self.number += 1
        return f"label{self.number}"
