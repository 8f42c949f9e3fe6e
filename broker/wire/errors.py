"""The error codes of the wire and the one exception that carries them.

Owns: which codes exist, which of them may be retried. Knows nothing of who raises them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

RETRYABLE: Final = frozenset(
    {"rate_limited", "mailbox_full", "overloaded", "unavailable", "draining"}
)

MEANINGS: Final = {
    "already_consumed": "The dispatch has been consumed.",
    "already_finished": "It has ended with another outcome.",
    "already_leased": "Somebody else holds the dispatch.",
    "bad_frame": "The JSON is no object with an `op`.",
    "bad_request": "A field is unknown, missing, of a wrong type or out of bounds: it is named.",
    "dag_task_id_reuse": "The same parent, agent and task were given with another prompt.",
    "dispatch_failed": "The dispatch has ended without being consumed; `detail.status` says how.",
    "draining": "The broker is going away and takes this no more.",
    "forbidden": "The caller may not do this.",
    "identity_mismatch": "The identity fields don't give this key.",
    "internal": "A fault of the broker; what became of the request is in its log.",
    "invalid_transition": "This step does not follow from the status that stands.",
    "key_conflict": "The key or id is taken by other content.",
    "lease_expired": "The lease was the newest one, and its time is over.",
    "mailbox_full": "`detail.mailbox` holds as much as it may.",
    "not_found": "There is no such thing here, or it is none of the caller's business.",
    "overloaded": "The broker has more to do than it can.",
    "prompt_hash_mismatch": "`prompt_sha256` is not the hash of the prompt.",
    "rate_limited": "The member sends faster than it may; `retry_after_ms` says when to go on.",
    "stale_claim": "The claim is not, or no longer, the one that holds the delivery.",
    "stale_lease": "The lease token is not the newest one.",
    "too_large": "More bytes, targets or outputs than are allowed.",
    "unauthorized": "Who is there has not been said, or not credibly.",
    "unavailable": "The storage failed and the outcome is unknown: repeat with the same key or id.",
    "unknown_op": "There is no operation of this name.",
    "unknown_recipient": "An address names no member, or no open session mailbox.",
}
"""What each code says; the texts of errors say it of the case."""

CODES: Final = frozenset(MEANINGS)


class ErrorBody(msgspec.Struct, omit_defaults=True, gc=False):
    """What a client reads of a refusal: a stable code, a text for people, and what to do."""

    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    detail: dict[str, Any] | None = None


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault of ours
    """The caller's request cannot be done; nothing of it has happened."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        detail: dict[str, Any] | None = None,
        retry_after_ms: int | None = None,
        close: int | None = None,
    ) -> None:
        assert code in CODES, code
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after_ms = retry_after_ms
        self.close = close
        """The close code with which the connection ends after this answer, if it does."""

    def body(self) -> ErrorBody:
        """The refusal as it stands on the wire."""
        return ErrorBody(
            self.code,
            self.message,
            self.code in RETRYABLE,
            self.retry_after_ms,
            self.detail,
        )
