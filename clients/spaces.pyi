# ruff: noqa - made by a program
# fmt: off
"""Made by `python -m clients.stubs --write` from the wire; not edited by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, overload

from broker.wire import delegations as delegations_wire
from broker.wire import directory as directory_wire
from broker.wire import dispatch as dispatch_wire
from broker.wire import mail as mail_wire
from broker.wire import presence as presence_wire
from broker.wire.frames import Answer, Request
from clients.caller import Caller
from clients.rooms import DispatchRoom, Home, MailRoom, Room

NOUNS: Final[tuple[str, ...]]
SPACES: Final[dict[str, type[Room]]]

class DelegationSpace(Room):
    async def open(
        self,
        callee: str,
        task: Any,
        *,
        delegation: str | None = ...,
        key: str | None = ...,
        deadline_ms: int | None = ...,
        send: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Opened:
        """Record that the caller asks a member for something, and mail it if so wished."""
    async def update(
        self,
        delegation: str,
        status: Literal["queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"],
        *,
        result: Any = ...,
        error: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Updated:
        """Take a delegation a step further, or end it."""
    async def heartbeat(
        self,
        delegation: str,
        *,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Beat:
        """Say that a delegation is still worked on."""
    async def get(
        self, delegation: str, *, timeout: float | None = None, repeat: bool = False
    ) -> delegations_wire.Delegation:
        """Show a delegation with its history."""
    async def list(
        self,
        *,
        as_: Literal["caller", "callee"] | None = ...,
        status: Literal["queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"] | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Delegations:
        """List the delegations that the caller has opened or been given; an admin sees all."""
    async def stats(
        self, *, timeout: float | None = None, repeat: bool = False
    ) -> delegations_wire.DelegationStats:
        """Count the delegations of the mesh by status."""

class DispatchSpace(DispatchRoom):
    async def create(
        self,
        agent_type: str,
        dag_task_id: str,
        parent_session_id: str,
        prompt: str,
        *,
        prompt_sha256: str | None = ...,
        context: Any = ...,
        max_attempts: int | None = ...,
        ttl_ms: int | None = ...,
        retry: bool = ...,
        notify: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Created:
        """Queue one identified piece of work."""
    async def renew(
        self,
        dispatch: str,
        lease_token: str,
        *,
        lease_ms: int | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Renewed:
        """Hold a lease for longer."""
    async def consume(
        self,
        dispatch: str,
        lease_token: str,
        *,
        outcome: Any = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished:
        """Finish leased work with its outcome."""
    async def fail(
        self,
        dispatch: str,
        lease_token: str,
        reason: str,
        *,
        error: str | None = ...,
        retryable: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished:
        """Give leased work up, for good or for another attempt."""
    async def cancel(
        self, dispatch: str, *, timeout: float | None = None, repeat: bool = False
    ) -> dispatch_wire.Finished:
        """Withdraw work that nobody has leased."""
    async def get(
        self,
        *,
        dispatch: str | None = ...,
        dispatch_key: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatch:
        """Show a dispatch, named by its id or its key."""
    async def list(
        self,
        *,
        status: Literal["pending", "leased", "consumed", "failed", "expired", "cancelled"] | None = ...,
        agent_type: str | None = ...,
        dag_task_id: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatches:
        """List the dispatches of the mesh."""

class MailSpace(MailRoom):
    async def send(
        self,
        to: str | Sequence[str],
        body: Any,
        *,
        key: str | None = ...,
        kind: str = ...,
        priority: Literal["critical", "task", "info"] | int = ...,
        ttl_ms: int | None = ...,
        delay_ms: int = ...,
        reply_to: str | None = ...,
        meta: Any = ...,
        receipt: bool = ...,
        max_attempts: int | None = ...,
        dedupe: Literal["window", "active"] = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Sent:
        """Send a body to members, sessions, groups, topics or everybody."""
    async def cancel(
        self, message: str, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Cancelled:
        """Stop the deliveries of an own message that nobody holds."""
    async def claim(
        self,
        *,
        max: int = ...,
        wait_ms: int = ...,
        lease_ms: int | None = ...,
        mailbox: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Claimed:
        """Pull deliveries from a mailbox, waiting for the first if there is none."""
    async def ack(
        self,
        delivery: str,
        claim: str,
        *,
        outputs: Sequence[mail_wire.Content | Mapping[str, Any]] = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Acked:
        """Finish a delivery and send its outputs, all in one transaction."""
    async def nack(
        self,
        delivery: str,
        claim: str,
        *,
        delay_ms: int | None = ...,
        reason: str | None = ...,
        blame: bool = ...,
        dead: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Nacked:
        """Give a delivery back to its queue, or bury it."""
    async def extend(
        self,
        delivery: str,
        claim: str,
        *,
        lease_ms: int | None = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Extended:
        """Say that a claimed delivery is still worked on."""
    async def trace(
        self,
        message: str,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Trace:
        """Show what became of each delivery of a message."""
    async def list(
        self,
        *,
        mailbox: str | None = ...,
        state: Literal["queued", "claimed", "acked", "dead", "expired", "cancelled"] | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Listing:
        """List the deliveries of a mailbox without claiming them."""
    async def dead(
        self,
        *,
        mailbox: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Listing:
        """List the dead deliveries of a mailbox."""
    async def redrive(
        self,
        *,
        delivery: str | None = ...,
        mailbox: str | None = ...,
        limit: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Changed:
        """Put a dead delivery, or those of a mailbox, back into the queue as if new."""
    async def drop(
        self,
        *,
        delivery: str | None = ...,
        mailbox: str | None = ...,
        state: Literal["dead", "queued"] | None = ...,
        older_than_ms: int | None = ...,
        limit: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Changed:
        """End a delivery, or the dead or queued ones of a mailbox, as cancelled."""

class MemberSpace(Room):
    async def add(
        self,
        member: str,
        *,
        access: Literal["owner", "admin", "member"] = ...,
        agent_types: Sequence[str] = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.MemberAdded:
        """Make a member and its first token."""
    async def update(
        self,
        member: str,
        *,
        access: Literal["owner", "admin", "member"] = ...,
        agent_types: Sequence[str] = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer:
        """Change a member's access, agent types or note."""
    async def list(
        self,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Members:
        """List the members of the mesh."""
    async def remove(
        self, member: str, *, timeout: float | None = None, repeat: bool = False
    ) -> Answer:
        """Remove a member: its connections close, its unfinished mail ends."""

class TokenSpace(Room):
    async def create(
        self,
        *,
        member: str | None = ...,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        ttl_ms: int | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.TokenCreated:
        """Make a token for oneself, or as an admin for another member."""
    async def list(
        self,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Tokens:
        """List tokens, without their secrets."""
    async def revoke(
        self, token_id: str, *, timeout: float | None = None, repeat: bool = False
    ) -> Answer:
        """End a token, those made from it, and their connections."""

class MeshSpace(Room):
    async def create(
        self, mesh: str, *, timeout: float | None = None, repeat: bool = False
    ) -> directory_wire.MeshCreated:
        """Make a mesh and its owner."""
    async def list(
        self,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Meshes:
        """List the meshes of this broker."""

class BrokerSpace(Room):
    async def stats(
        self, *, timeout: float | None = None, repeat: bool = False
    ) -> directory_wire.BrokerStats:
        """Show the broker's figures for the caller's mesh."""

class PeerSpace(Room):
    async def list(
        self,
        *,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        member: str | None = ...,
        group: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Peers:
        """List who is there; without roles the control planes are counted, not listed."""
    async def watch(
        self,
        on: bool,
        *,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer:
        """Be told, or no longer be told, of every presence that joins, leaves or changes."""

class PresenceSpace(Room):
    async def update(
        self,
        *,
        status: Literal["idle", "working", "dnd"] = ...,
        summary: str | None = ...,
        capacity: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer:
        """Change one's own status, summary or capacity; an empty one is a sign of life."""

class GroupSpace(Room):
    async def join(
        self,
        group: str,
        *,
        label: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer:
        """Join a group or subscribe to a topic."""
    async def leave(
        self, group: str, *, timeout: float | None = None, repeat: bool = False
    ) -> Answer:
        """Leave a group or topic."""
    async def list(
        self,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Groups:
        """List the groups and topics that the caller is in."""

class Operations(Caller):
    delegation: DelegationSpace
    dispatch: DispatchSpace
    mail: MailSpace
    member: MemberSpace
    token: TokenSpace
    mesh: MeshSpace
    broker: BrokerSpace
    peer: PeerSpace
    presence: PresenceSpace
    group: GroupSpace
    def make_spaces(self, home: Home) -> None: ...
    @overload
    async def call(
        self,
        request: delegations_wire.Open,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Opened: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.open"],
        /,
        *,
        callee: str,
        task: Any,
        delegation: str | None = ...,
        key: str | None = ...,
        deadline_ms: int | None = ...,
        send: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Opened: ...
    @overload
    async def call(
        self,
        request: delegations_wire.Update,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Updated: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.update"],
        /,
        *,
        delegation: str,
        status: Literal["queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"],
        result: Any = ...,
        error: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Updated: ...
    @overload
    async def call(
        self,
        request: delegations_wire.Heartbeat,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Beat: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.heartbeat"],
        /,
        *,
        delegation: str,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Beat: ...
    @overload
    async def call(
        self,
        request: delegations_wire.GetDelegation,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Delegation: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.get"],
        /,
        *,
        delegation: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Delegation: ...
    @overload
    async def call(
        self,
        request: delegations_wire.ListDelegations,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Delegations: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.list"],
        /,
        *,
        as_: Literal["caller", "callee"] | None = ...,
        status: Literal["queued", "dispatched", "in_progress", "completed", "failed", "stuck", "cancelled"] | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.Delegations: ...
    @overload
    async def call(
        self,
        request: delegations_wire.GetDelegationStats,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.DelegationStats: ...
    @overload
    async def call(
        self,
        request: Literal["delegation.stats"],
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> delegations_wire.DelegationStats: ...
    @overload
    async def call(
        self,
        request: dispatch_wire.Create,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Created: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.create"],
        /,
        *,
        agent_type: str,
        dag_task_id: str,
        parent_session_id: str,
        prompt: str,
        prompt_sha256: str | None = ...,
        context: Any = ...,
        max_attempts: int | None = ...,
        ttl_ms: int | None = ...,
        retry: bool = ...,
        notify: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Created: ...
    @overload
    async def call(
        self, request: dispatch_wire.Lease, /, *, timeout: float | None = None, repeat: bool = False
    ) -> dispatch_wire.Leased: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.lease"],
        /,
        *,
        call_id: str,
        dispatch_key: str | None = ...,
        agent_type: str | None = ...,
        dag_task_id: str | None = ...,
        prompt_sha256: str | None = ...,
        parent_session_id: str | None = ...,
        lease_ms: int | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Leased: ...
    @overload
    async def call(
        self, request: dispatch_wire.Renew, /, *, timeout: float | None = None, repeat: bool = False
    ) -> dispatch_wire.Renewed: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.renew"],
        /,
        *,
        dispatch: str,
        lease_token: str,
        lease_ms: int | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Renewed: ...
    @overload
    async def call(
        self,
        request: dispatch_wire.Consume,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.consume"],
        /,
        *,
        dispatch: str,
        lease_token: str,
        outcome: Any = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self, request: dispatch_wire.Fail, /, *, timeout: float | None = None, repeat: bool = False
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.fail"],
        /,
        *,
        dispatch: str,
        lease_token: str,
        reason: str,
        error: str | None = ...,
        retryable: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self,
        request: dispatch_wire.CancelDispatch,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.cancel"],
        /,
        *,
        dispatch: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Finished: ...
    @overload
    async def call(
        self,
        request: dispatch_wire.GetDispatch,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatch: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.get"],
        /,
        *,
        dispatch: str | None = ...,
        dispatch_key: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatch: ...
    @overload
    async def call(
        self,
        request: dispatch_wire.ListDispatches,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatches: ...
    @overload
    async def call(
        self,
        request: Literal["dispatch.list"],
        /,
        *,
        status: Literal["pending", "leased", "consumed", "failed", "expired", "cancelled"] | None = ...,
        agent_type: str | None = ...,
        dag_task_id: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> dispatch_wire.Dispatches: ...
    @overload
    async def call(
        self, request: mail_wire.Send, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Sent: ...
    @overload
    async def call(
        self,
        request: Literal["mail.send"],
        /,
        *,
        to: str | Sequence[str],
        body: Any,
        key: str | None = ...,
        kind: str = ...,
        priority: Literal["critical", "task", "info"] | int = ...,
        ttl_ms: int | None = ...,
        delay_ms: int = ...,
        reply_to: str | None = ...,
        meta: Any = ...,
        receipt: bool = ...,
        max_attempts: int | None = ...,
        dedupe: Literal["window", "active"] = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Sent: ...
    @overload
    async def call(
        self, request: mail_wire.Cancel, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Cancelled: ...
    @overload
    async def call(
        self,
        request: Literal["mail.cancel"],
        /,
        *,
        message: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Cancelled: ...
    @overload
    async def call(
        self, request: mail_wire.Claim, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Claimed: ...
    @overload
    async def call(
        self,
        request: Literal["mail.claim"],
        /,
        *,
        max: int = ...,
        wait_ms: int = ...,
        lease_ms: int | None = ...,
        mailbox: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Claimed: ...
    @overload
    async def call(
        self, request: mail_wire.Ack, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Acked: ...
    @overload
    async def call(
        self,
        request: Literal["mail.ack"],
        /,
        *,
        delivery: str,
        claim: str,
        outputs: Sequence[mail_wire.Content | Mapping[str, Any]] = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Acked: ...
    @overload
    async def call(
        self, request: mail_wire.Nack, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Nacked: ...
    @overload
    async def call(
        self,
        request: Literal["mail.nack"],
        /,
        *,
        delivery: str,
        claim: str,
        delay_ms: int | None = ...,
        reason: str | None = ...,
        blame: bool = ...,
        dead: bool = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Nacked: ...
    @overload
    async def call(
        self, request: mail_wire.Extend, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Extended: ...
    @overload
    async def call(
        self,
        request: Literal["mail.extend"],
        /,
        *,
        delivery: str,
        claim: str,
        lease_ms: int | None = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Extended: ...
    @overload
    async def call(
        self,
        request: mail_wire.TraceMessage,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Trace: ...
    @overload
    async def call(
        self,
        request: Literal["mail.trace"],
        /,
        *,
        message: str,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Trace: ...
    @overload
    async def call(
        self, request: mail_wire.ListMail, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Listing: ...
    @overload
    async def call(
        self,
        request: Literal["mail.list"],
        /,
        *,
        mailbox: str | None = ...,
        state: Literal["queued", "claimed", "acked", "dead", "expired", "cancelled"] | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Listing: ...
    @overload
    async def call(
        self, request: mail_wire.ListDead, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Listing: ...
    @overload
    async def call(
        self,
        request: Literal["mail.dead"],
        /,
        *,
        mailbox: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Listing: ...
    @overload
    async def call(
        self, request: mail_wire.Redrive, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Changed: ...
    @overload
    async def call(
        self,
        request: Literal["mail.redrive"],
        /,
        *,
        delivery: str | None = ...,
        mailbox: str | None = ...,
        limit: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Changed: ...
    @overload
    async def call(
        self, request: mail_wire.Drop, /, *, timeout: float | None = None, repeat: bool = False
    ) -> mail_wire.Changed: ...
    @overload
    async def call(
        self,
        request: Literal["mail.drop"],
        /,
        *,
        delivery: str | None = ...,
        mailbox: str | None = ...,
        state: Literal["dead", "queued"] | None = ...,
        older_than_ms: int | None = ...,
        limit: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> mail_wire.Changed: ...
    @overload
    async def call(
        self,
        request: directory_wire.AddMember,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.MemberAdded: ...
    @overload
    async def call(
        self,
        request: Literal["member.add"],
        /,
        *,
        member: str,
        access: Literal["owner", "admin", "member"] = ...,
        agent_types: Sequence[str] = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.MemberAdded: ...
    @overload
    async def call(
        self,
        request: directory_wire.UpdateMember,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["member.update"],
        /,
        *,
        member: str,
        access: Literal["owner", "admin", "member"] = ...,
        agent_types: Sequence[str] = ...,
        note: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: directory_wire.ListMembers,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Members: ...
    @overload
    async def call(
        self,
        request: Literal["member.list"],
        /,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Members: ...
    @overload
    async def call(
        self,
        request: directory_wire.RemoveMember,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["member.remove"],
        /,
        *,
        member: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: directory_wire.CreateToken,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.TokenCreated: ...
    @overload
    async def call(
        self,
        request: Literal["token.create"],
        /,
        *,
        member: str | None = ...,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        ttl_ms: int | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.TokenCreated: ...
    @overload
    async def call(
        self,
        request: directory_wire.ListTokens,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Tokens: ...
    @overload
    async def call(
        self,
        request: Literal["token.list"],
        /,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Tokens: ...
    @overload
    async def call(
        self,
        request: directory_wire.RevokeToken,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["token.revoke"],
        /,
        *,
        token_id: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: directory_wire.CreateMesh,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.MeshCreated: ...
    @overload
    async def call(
        self,
        request: Literal["mesh.create"],
        /,
        *,
        mesh: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.MeshCreated: ...
    @overload
    async def call(
        self,
        request: directory_wire.ListMeshes,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Meshes: ...
    @overload
    async def call(
        self,
        request: Literal["mesh.list"],
        /,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.Meshes: ...
    @overload
    async def call(
        self,
        request: directory_wire.GetBrokerStats,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.BrokerStats: ...
    @overload
    async def call(
        self,
        request: Literal["broker.stats"],
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> directory_wire.BrokerStats: ...
    @overload
    async def call(
        self,
        request: presence_wire.ListPeers,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Peers: ...
    @overload
    async def call(
        self,
        request: Literal["peer.list"],
        /,
        *,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        member: str | None = ...,
        group: str | None = ...,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Peers: ...
    @overload
    async def call(
        self,
        request: presence_wire.WatchPeers,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["peer.watch"],
        /,
        *,
        on: bool,
        roles: Sequence[Literal["control-plane", "session", "service"]] | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: presence_wire.UpdatePresence,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["presence.update"],
        /,
        *,
        status: Literal["idle", "working", "dnd"] = ...,
        summary: str | None = ...,
        capacity: int = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: presence_wire.JoinGroup,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["group.join"],
        /,
        *,
        group: str,
        label: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: presence_wire.LeaveGroup,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: Literal["group.leave"],
        /,
        *,
        group: str,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> Answer: ...
    @overload
    async def call(
        self,
        request: presence_wire.ListGroups,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Groups: ...
    @overload
    async def call(
        self,
        request: Literal["group.list"],
        /,
        *,
        limit: int = ...,
        after: str | None = ...,
        timeout: float | None = None,
        repeat: bool = False,
    ) -> presence_wire.Groups: ...
    @overload
    async def call(
        self,
        request: Request | str,
        /,
        *,
        timeout: float | None = None,
        repeat: bool = False,
        **fields: Any,
    ) -> Answer: ...
