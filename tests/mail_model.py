"""Mail as plain Python: what the protocol says of it, with lists and loops and no cleverness.

It predicts every answer. Where the protocol leaves the broker a choice (who of two is handed what),
it is told what the broker did and says whether that was right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ROLES = ("control-plane", "service", "session")
TAKES_FROM = {"idle": 0, "working": 50, "dnd": 100}
UNFINISHED = ("queued", "claimed")

LEASE_MS = 10_000
BACKOFF_MS = 1_000
BACKOFF_MAX_MS = 6_000
MAX_ATTEMPTS = 3
MAX_CLAIMS = 5
MAX_DEPTH = 9
TTL_MS = 100_000
PRESENCE_LEASE_MS = 15_000
SETTINGS: dict[str, Any] = {
    "mail__lease_ms": LEASE_MS,
    "mail__backoff_ms": BACKOFF_MS,
    "mail__backoff_max_ms": BACKOFF_MAX_MS,
    "mail__max_attempts": MAX_ATTEMPTS,
    "mail__max_claims": MAX_CLAIMS,
    "mail__max_depth": MAX_DEPTH,
    "mail__ttl_ms": TTL_MS,
    "mail__info_ttl_ms": TTL_MS,
    "presence__lease_ms": PRESENCE_LEASE_MS,
}


@dataclass(eq=False)
class Copy:
    """A delivery."""

    seq: int
    box: str
    message: str
    priority: int
    expires_at: int
    due_at: int | None
    receipt: bool
    max_attempts: int
    life_ms: int
    state: str = "queued"
    failures: int = 0
    claims: int = 0
    claim: str | None = None
    """The newest claim, as long as it can still be acked."""
    holder: Someone | None = None
    ends_at: int = 0
    restored: bool = False
    outputs: list[Any] | None = None

    def order(self) -> tuple[int, int]:
        return -self.priority, self.seq


@dataclass(eq=False)
class Someone:
    """A presence."""

    label: str
    role: str
    box: str
    observe: bool = False
    status: str = "idle"
    capacity: int = 0
    online: bool = True
    leaves_at: int = 0
    held: list[Copy] = field(default_factory=list)

    def takes(self, priority: int) -> bool:
        room = self.capacity - len(self.held)
        allowed = self.online and priority >= TAKES_FROM[self.status]
        return allowed and (room > 0 or (priority >= 100 and room > -16))


class Model:
    """One member's mailboxes, who drains them, and what has been promised to whom."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.copies: dict[int, Copy] = {}
        self.present: dict[str, Someone] = {}
        self.keys: dict[str, tuple[Any, str, bool]] = {}
        self.receipts: list[tuple[str, str, str, str | None]] = []
        self.open = {"bob"}

    # -- what is where ---------------------------------------------------------------------------

    def of(self, box: str) -> list[Copy]:
        return [copy for copy in self.copies.values() if copy.box == box]

    def unfinished(self, box: str) -> int:
        return sum(copy.state in UNFINISHED for copy in self.of(box))

    def ready(self, box: str) -> list[Copy]:
        """What may be handed over, in its order."""
        found = [
            copy
            for copy in self.of(box)
            if copy.state == "queued" and copy.due_at is None and copy.expires_at > self.now
        ]
        return sorted(found, key=Copy.order)

    def drainers(self, box: str) -> list[Someone]:
        takers = [one for one in self.present.values() if one.online and not one.observe]
        takers = [one for one in takers if one.capacity > 0]
        if box != "bob":
            return [one for one in takers if one.box == box]
        for role in ROLES:
            if found := [one for one in takers if one.role == role]:
                return found
        return []

    def drained_by(self, one: Someone) -> list[str]:
        return [box for box in sorted(self.open) if one in self.drainers(box)]

    # -- what happens ----------------------------------------------------------------------------

    def add(self, copy: Copy) -> None:
        self.copies[copy.seq] = copy

    def claim(self, copy: Copy, claim: str, holder: Someone, lease_ms: int) -> None:
        copy.state, copy.claim, copy.holder = "claimed", claim, holder
        copy.ends_at, copy.restored = self.now + lease_ms, False
        copy.claims += 1
        holder.held.append(copy)

    def let_go(self, copy: Copy) -> None:
        if copy.holder is not None:
            copy.holder.held.remove(copy)
        copy.holder = None

    def give_back(
        self,
        copy: Copy,
        *,
        blame: bool,
        dead: bool = False,
        delay_ms: int | None = None,
        lapsed: bool = False,
        reason: str | None = None,
    ) -> None:
        self.let_go(copy)
        copy.failures += blame
        if dead:
            self.end(copy, "dead", reason or "rejected")
        elif copy.failures >= copy.max_attempts:
            self.end(copy, "dead", "max_attempts")
        elif copy.claims >= MAX_CLAIMS:
            self.end(copy, "dead", "claims_exhausted")
        elif copy.expires_at <= self.now:
            self.end(copy, "expired", "ttl")
        else:
            wait = self.wait(copy, blame=blame, delay_ms=delay_ms)
            copy.state, copy.due_at = "queued", self.now + wait if wait else None
            copy.claim = copy.claim if lapsed else None

    def wait(self, copy: Copy, *, blame: bool, delay_ms: int | None) -> int:
        if blame:
            usual = min(BACKOFF_MS * 2 ** (copy.failures - 1), BACKOFF_MAX_MS)
            return usual if delay_ms is None else delay_ms
        returns = copy.claims - copy.failures
        least = min(BACKOFF_MS * 2 ** (returns - 3), BACKOFF_MAX_MS) if returns >= 3 else 0
        return int(max(least, delay_ms or 0))

    def end(self, copy: Copy, state: str, reason: str | None) -> None:
        was_dead = copy.state == "dead"
        copy.state, copy.due_at = state, None
        if state != "acked":
            copy.claim = None
        if copy.receipt and not was_dead:
            self.receipts.append((copy.message, f"d{copy.seq}", state, reason))

    def redrive(self, copy: Copy) -> bool:
        if copy.state != "dead":
            return False
        copy.state, copy.failures, copy.claims, copy.claim = "queued", 0, 0, None
        copy.expires_at = self.now + copy.life_ms
        copy.life_ms = copy.expires_at - self.sent_at[copy.message]
        return True

    sent_at: dict[str, int]

    # -- who is there ----------------------------------------------------------------------------

    def come(self, one: Someone) -> None:
        """A hello that resumes nothing: who is there under the label is replaced."""
        if one.label in self.present:
            self.leave(one.label)
        self.present[one.label] = one
        self.open.add(one.box)

    def leave(self, label: str, *, final: bool = False) -> None:
        one = self.present.pop(label)
        for copy in list(one.held):
            self.give_back(copy, blame=False)
        if final and one.box != "bob":
            self.open.discard(one.box)
            for copy in self.of(one.box):
                if copy.state == "claimed":
                    self.give_back(copy, blame=False)
                if copy.state == "queued":
                    self.end(copy, "expired", "session_closed")

    def lose(self, label: str) -> None:
        one = self.present[label]
        one.online, one.leaves_at = False, self.now + PRESENCE_LEASE_MS

    def restart(self) -> None:
        for one in self.present.values():
            one.online, one.leaves_at = False, self.now + PRESENCE_LEASE_MS
        for copy in self.copies.values():
            if copy.state == "claimed":
                copy.ends_at, copy.restored = max(copy.ends_at, self.now + LEASE_MS), True

    # -- time ------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Everything that is due at this instant."""
        self.now = now
        for label, one in list(self.present.items()):
            if not one.online and one.leaves_at <= now:
                del self.present[label]
                for copy in one.held:
                    copy.holder = None
        for copy in self.copies.values():
            if copy.state == "claimed" and copy.ends_at <= now:
                self.give_back(copy, blame=not copy.restored, lapsed=True)
        for copy in self.copies.values():
            if copy.state == "queued" and copy.due_at is not None and copy.due_at <= now:
                copy.due_at = None
            if copy.state == "queued" and copy.expires_at <= now:
                self.end(copy, "expired", "ttl")

    # -- what the broker did ---------------------------------------------------------------------

    def pushed(self, one: Someone, mail: dict[str, Any]) -> None:
        """The broker has handed this over: was that right?"""
        copy = self.copies[mail["seq"]]
        assert one in self.drainers(copy.box), f"{one.label} does not drain {copy.box}"
        assert one.takes(copy.priority), f"{one.label} has no room for {copy.seq}"
        assert copy in self.ready(copy.box), f"{copy.seq} is not to be handed over: {copy}"
        drained = self.drained_by(one)
        heads = [(box, self.ready(box)[0]) for box in drained if self.ready(box)]
        heads = [(box, head) for box, head in heads if one.takes(head.priority)]
        _, first = min(heads, key=lambda h: (-h[1].priority, h[0] != one.box, h[1].seq))
        assert first is copy, f"{first.seq} comes before {copy.seq}"
        if drained == ["bob"]:
            able = [other for other in self.drainers("bob") if other.takes(copy.priority)]
            most = max(other.capacity - len(other.held) for other in able)
            assert one.capacity - len(one.held) == most, "somebody else has more room"
        beyond = len(one.held) >= one.capacity
        self.claim(copy, mail["claim"], one, LEASE_MS)
        self.check_told(copy, mail)
        assert mail["preempt"] is beyond

    def pulled(self, one: Someone, box: str, mail: dict[str, Any], lease_ms: int) -> None:
        """The broker has answered a claim with this: was that right?"""
        copy = self.copies[mail["seq"]]
        assert copy is self.ready(box)[0]
        self.claim(copy, mail["claim"], one, lease_ms)
        self.check_told(copy, mail)

    def check_told(self, copy: Copy, mail: dict[str, Any]) -> None:
        """What is told of a delivery that is held."""
        assert (mail["claim"], mail["mailbox"]) == (copy.claim, copy.box)
        assert (mail["attempt"], mail["claims"]) == (copy.failures + 1, copy.claims)
        assert mail["lease_ms"] == copy.ends_at - self.now
        assert (mail["message"], mail["priority"]) == (copy.message, copy.priority)
