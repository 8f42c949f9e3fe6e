"""What the broker mails of dispatches: that one is ready, that one has ended.

Owns: the bodies of `dispatch.ready` and `dispatch.result`, and how a text is cut that has no room.
The mails are part of the transaction of what they tell of; mail knows how to send them.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from broker.areas.dispatch.identity import written
from broker.areas.dispatch.work import Work
from broker.areas.mail.letters import post
from broker.core.house import Mailbox
from broker.core.turn import Turn
from broker.wire.dispatch import DispatchStatus

BEYOND_BODY: Final = 4_096
"""How much longer than a client's body one of the broker's own may be."""

ROOM_FOR_NAMES: Final = 512
"""What a result needs besides its texts and its outcome."""


class Ready(Struct):
    """The body of `dispatch.ready`: all that a lease asks for."""

    dispatch: str
    dispatch_key: str
    agent_type: str
    dag_task_id: str
    parent_session_id: str
    prompt_sha256: str


class Result(Struct, omit_defaults=True):
    """The body of `dispatch.result`."""

    dispatch: str
    dispatch_key: str
    status: DispatchStatus
    attempt: int
    outcome: Raw | UnsetType = UNSET
    reason: str | None = None
    error: str | None = None


def tell_ready(turn: Turn, box: Mailbox, work: Work, prompt_sha256: str) -> None:
    """Tell who was named in `notify` that there is work."""
    ready = Ready(
        written(work.id),
        work.dispatch_key,
        work.agent_type,
        work.dag_task_id,
        work.parent_session_id,
        prompt_sha256,
    )
    post(turn, box, "dispatch.ready", msgspec.json.encode(ready))


def tell_result(
    turn: Turn,
    work: Work,
    status: DispatchStatus,
    reason: str | None,
    error: str | None,
    outcome: bytes | None,
) -> None:
    """Tell the creator how it ended. One that is not a member any more is told nothing."""
    box = turn.house.boxes.get(work.creator_box or 0)
    if box is None:
        return
    room = turn.settings.limits.body + BEYOND_BODY - ROOM_FOR_NAMES
    if reason is not None:
        reason = cut(reason, room // 2)
    if error is not None:
        error = cut(error, room // 2)
    result = Result(
        written(work.id),
        work.dispatch_key,
        status,
        work.attempt,
        UNSET if outcome is None else Raw(outcome),
        reason,
        error,
    )
    post(turn, box, "dispatch.result", msgspec.json.encode(result))


def length(text: str | None) -> int:
    """How many bytes a text is as JSON."""
    return 0 if text is None else len(msgspec.json.encode(text))


def cut(text: str, room: int) -> str:
    """A text that is at most so many bytes as JSON, an ellipsis where it was cut."""
    if length(text) <= room:
        return text
    kept = text[: max(room, 0)]
    while kept and (size := length(kept + "…")) > room:
        kept = kept[: len(kept) * room // size]
    return kept + "…"
