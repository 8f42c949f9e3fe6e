"""The states of a delegation: which step may follow which, and who may say it.

Owns: the tables. Knows nothing of rows, mails or time.
"""

from __future__ import annotations

from typing import Final, get_args

from broker.wire.delegations import DelegationStatus
from broker.wire.errors import Refused

STATUSES: Final[tuple[DelegationStatus, ...]] = get_args(DelegationStatus)

_ENDS: Final = frozenset[DelegationStatus](("completed", "failed", "stuck", "cancelled"))
_WORK: Final = frozenset[DelegationStatus](("dispatched", "in_progress"))
_NOWHERE: Final = frozenset[DelegationStatus]()

STEPS: Final[dict[DelegationStatus, frozenset[DelegationStatus]]] = {
    "queued": _WORK | _ENDS,
    "dispatched": (_WORK | _ENDS) - {"dispatched"},
    "in_progress": _ENDS,
    "completed": _NOWHERE,
    "failed": _NOWHERE,
    "stuck": _NOWHERE,
    "cancelled": _NOWHERE,
}
"""What each status may become."""

IN_FLIGHT: Final = tuple(status for status in STATUSES if STEPS[status])

CALLEE_SAYS: Final = frozenset[DelegationStatus](
    ("queued", "dispatched", "in_progress", "completed", "failed")
)
CALLER_SAYS: Final = frozenset[DelegationStatus](("cancelled",))


def has_ended(status: DelegationStatus) -> bool:
    """Whether this status is never revised."""
    return not STEPS[status]


def check_step(status: DelegationStatus, to: DelegationStatus) -> None:
    """Refuse a step that the table does not have."""
    if to not in STEPS[status]:
        raise Refused(
            "invalid_transition",
            f"status: a delegation that is {status} does not become {to}",
            detail={"status": status},
        )


def check_speaker(to: DelegationStatus, *, caller: bool, callee: bool) -> None:
    """Refuse a status that it is not this party's to say."""
    if (callee and to in CALLEE_SAYS) or (caller and to in CALLER_SAYS):
        return
    if not caller and not callee:
        why = "only the callee and the caller may update a delegation"
    elif to == "stuck":
        why = "only the broker calls a delegation stuck"
    elif callee:
        why = "only the caller may cancel a delegation"
    else:
        why = "the caller may only cancel a delegation"
    raise Refused("forbidden", f"status: {why}")
