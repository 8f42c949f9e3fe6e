"""One dispatch as the protocol tells of it: a plain model, without storage, sweeps or tokens.

Knows time as a number that it is told. Answers are a refusal's code, or what the answer says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEASE_MS = 2_000
MOST = 3

Call = tuple[Any, ...]


@dataclass
class Model:
    """What is known of the dispatch, and of every lease that there was."""

    now: int
    status: str = "pending"
    attempt: int = 1
    most: int = MOST
    dies_at: int | None = None
    results: int = 0
    started: int = 0
    holders: list[str] = field(default_factory=list)
    """The member of each lease, the newest last."""
    call_id: str = ""
    end: int = 0
    carried: bool = False
    """Whether the newest lease came through a restart and was not renewed since."""
    ended_by: Call | None = None
    """The call that ended the newest lease; None while it stands or when time did."""

    def lease_end(self) -> int:
        return max(self.end, self.started + LEASE_MS) if self.carried else self.end

    def pass_time(self, now: int) -> None:
        """What is due by now has happened."""
        self.now = now
        if self.status == "leased" and self.lease_end() <= now:
            self._go_on()
        if self.status == "pending" and self.dies_at is not None and self.dies_at <= now:
            self._end("expired")

    def restart(self) -> None:
        self.started = self.now
        self.carried = bool(self.holders)

    def create(self, retry: bool, ttl_ms: int | None) -> Any:
        if retry and self.status in ("failed", "expired", "cancelled"):
            self.status = "pending"
            self.attempt += 1
            self.most = max(self.most, self.attempt)
            self.dies_at = None if ttl_ms is None else self.now + ttl_ms
        return self.status, self.attempt

    def cancel(self) -> Any:
        if self.status == "leased":
            return "already_leased"
        if self.status != "pending":
            return "already_finished"
        self._end("cancelled")
        return "cancelled", False

    def lease(self, member: str, call_id: str, lease_ms: int) -> Any:
        if self.status == "leased":
            if (self.holders[-1], self.call_id) != (member, call_id):
                return "already_leased"
        elif self.status == "consumed":
            return "already_consumed"
        elif self.status != "pending":
            return "dispatch_failed"
        else:
            self.status = "leased"
            self.holders.append(member)
            self.call_id, self.end = call_id, self.now + lease_ms
            self.carried, self.ended_by = False, None
        return self.attempt, len(self.holders) - 1, self.lease_end()

    def renew(self, member: str, lease: int, lease_ms: int) -> Any:
        refused = self._fence(member, lease)
        if refused is None and self.status != "leased":
            refused = "lease_expired" if self.ended_by is None else "already_finished"
        if refused is not None:
            return refused
        self.end, self.carried = self.now + lease_ms, False
        return self.end

    def finish(self, member: str, lease: int, call: Call) -> Any:
        """`call` is what it says: consume with an outcome, or fail, retryable or not."""
        refused = self._fence(member, lease)
        if refused is not None:
            return refused
        if self.status != "leased":
            if self.ended_by == call:
                return self.status, True
            return "lease_expired" if self.ended_by is None else "already_finished"
        self.ended_by = call
        if call[0] == "consume":
            self._end("consumed")
        elif call[1]:
            self._go_on()
        else:
            self._end("failed")
        return self.status, False

    def _fence(self, member: str, lease: int) -> str | None:
        if self.holders and lease == len(self.holders) - 1:
            return None if self.holders[-1] == member else "forbidden"
        return "forbidden" if self.holders and member not in self.holders else "stale_lease"

    def _go_on(self) -> None:
        if self.attempt >= self.most:
            self._end("failed")
        elif self.dies_at is not None and self.dies_at <= self.now:
            self._end("expired")
        else:
            self.status = "pending"
            self.attempt += 1

    def _end(self, status: str) -> None:
        self.status = status
        self.results += 1
