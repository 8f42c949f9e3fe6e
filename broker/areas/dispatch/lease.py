"""Leasing: this piece of work for this worker, and for how long.

Owns: who may take a dispatch, by what it is named (its whole identity, never its type alone), the
lease and its renewal. A lease is answered again to the call that got it, unchanged.
"""

from __future__ import annotations

from typing import NoReturn

from msgspec import UNSET, Raw

from broker.areas.dispatch.finish import refuse_ended
from broker.areas.dispatch.identity import CONTROL, key_of, written
from broker.areas.dispatch.sweep import ripe
from broker.areas.dispatch.work import Work, by_key, lease_end, leased_by
from broker.areas.mail.handover import lease_of
from broker.core.house import Presence
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.dispatch import Lease, Leased, Renew, Renewed
from broker.wire.errors import Refused
from broker.wire.fields import NULL

sql = Queries(__file__)
LEASE = sql.take("lease")
LEASE_ATTEMPT = sql.take("lease_attempt")
RENEW = sql.take("renew")
CONTENT = sql.take("content")
PROMPT_SHA256 = sql.take("prompt_sha256")
sql.close()

operations = Operations()


@operations.handle(Lease)
def lease(turn: Turn, caller: Presence, request: Lease) -> Leased:
    """Take exactly the dispatch that is named."""
    if turn.request_id is UNSET:
        raise Refused("bad_request", "id: a lease is handed over in its answer, and needs one")
    lease_ms = lease_of(request.lease_ms, turn.settings.dispatch.lease_ms)
    if CONTROL.search(request.call_id):
        raise Refused("bad_request", "call_id: holds a control character")
    work = by_key(turn, caller.mesh.id, _named_key(request))
    if work is None:
        raise Refused("not_found", "no dispatch of this identity in this mesh")
    _check_agreement(turn, request, work)
    member = caller.member
    if not member.steers and work.agent_type not in member.agent_types:
        raise Refused("forbidden", f"{member.name!r} is not given this agent_type")
    work = ripe(turn, work)
    if work.status == "leased" and _is_again(work, caller, request.call_id):
        return _answer(turn, work)
    if work.status != "pending":
        _refuse(work)
    expires_at = turn.now + lease_ms
    taken = turn.run(
        LEASE,
        (
            request.call_id,
            caller.box.address,
            member.id,
            caller.session,
            caller.id,
            turn.chance.secret(),
            expires_at,
            turn.house.incarnation,
            caller.mesh.id,
            work.dispatch_key,
        ),
    )
    if taken != 1:
        raise Refused("already_leased", "somebody else was faster")
    turn.run(LEASE_ATTEMPT, (caller.box.address, member.id, turn.now, work.id, work.attempt))
    turn.wake_at(expires_at)
    leased = by_key(turn, caller.mesh.id, work.dispatch_key)
    assert leased is not None
    return _answer(turn, leased)


@operations.handle(Renew, drains=True)
def renew(turn: Turn, caller: Presence, request: Renew) -> Renewed:
    """Hold a lease for longer: it ends so much after now, and no earlier floor is left."""
    lease_ms = lease_of(request.lease_ms, turn.settings.dispatch.lease_ms)
    work = leased_by(turn, caller, request.dispatch, request.lease_token)
    if work.status != "leased":
        refuse_ended(turn, work)
    if lease_end(turn, work) <= turn.now:
        raise Refused("lease_expired", "the time of this lease is over")
    expires_at = turn.now + lease_ms
    held = turn.run(RENEW, (expires_at, turn.house.incarnation, work.id, request.lease_token))
    assert held == 1
    turn.wake_at(expires_at)
    return Renewed(lease_ms=lease_ms, lease_expires_at=expires_at)


def _named_key(request: Lease) -> str:
    """The key that the request names, itself or by the four fields."""
    key = request.dispatch_key
    if (
        request.agent_type is not None
        and request.dag_task_id is not None
        and request.prompt_sha256 is not None
        and request.parent_session_id is not None
    ):
        computed = key_of(
            request.agent_type,
            request.dag_task_id,
            request.prompt_sha256,
            request.parent_session_id,
        )
        if key is not None and key != computed:
            raise Refused("identity_mismatch", "the four fields give another dispatch_key")
        return computed
    assert key is not None
    return key


def _check_agreement(turn: Turn, request: Lease, work: Work) -> None:
    """Some of the fields beside a key: those that are given must be the dispatch's own."""
    for field in ("agent_type", "dag_task_id", "parent_session_id"):
        if getattr(request, field) not in (None, getattr(work, field)):
            raise Refused("identity_mismatch", f"{field}: not that of this dispatch_key")
    if request.prompt_sha256 is not None:
        row = turn.one(PROMPT_SHA256, (work.prompt_ref_id,))
        if row != (request.prompt_sha256,):
            raise Refused("identity_mismatch", "prompt_sha256: not that of this dispatch_key")


def _is_again(work: Work, caller: Presence, call_id: str) -> bool:
    """Whether this is the call that got the lease: same member, session label and call_id.

    Without a label it must be the same presence, which a resume keeps.
    """
    if work.lease_member_id != caller.member.id or work.call_id != call_id:
        return False
    if caller.session is not None:
        return work.lease_session == caller.session
    return work.lease_presence_id == caller.id


def _refuse(work: Work) -> NoReturn:
    if work.status == "leased":
        raise Refused("already_leased", "somebody else holds this dispatch")
    if work.status == "consumed":
        raise Refused("already_consumed", "this dispatch is done")
    raise Refused(
        "dispatch_failed", f"this dispatch is {work.status}", detail={"status": work.status}
    )


def _answer(turn: Turn, work: Work) -> Leased:
    """The work and its lease as they stand; the time that is left counts from now."""
    row = turn.one(CONTENT, (work.id,))
    assert row is not None
    assert work.lease_token is not None
    prompt, prompt_sha256, context = row
    expires_at = lease_end(turn, work)
    return Leased(
        dispatch=written(work.id),
        dispatch_key=work.dispatch_key,
        prompt=prompt.decode(),
        prompt_sha256=prompt_sha256,
        context=NULL if context is None else Raw(context),
        attempt=work.attempt,
        lease_token=work.lease_token,
        lease_ms=expires_at - turn.now,
        lease_expires_at=expires_at,
    )
