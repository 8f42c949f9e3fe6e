"""A leased dispatch: held while the work is done, consumed at its end, failed if it breaks.

Owns: the lease of one piece of work and how it ends. Knows nothing of how work is found.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import anyio
import msgspec
from msgspec import UNSET

from broker.wire.dispatch import Finished, Leased, Renew, Renewed
from clients.caller import TABLE, Caller
from clients.errors import BY_CODE, PostroomError, Refused
from clients.leases import Leases
from clients.mail import reader
from clients.pending import Pending, Verb
from clients.requests import Requests, unheard
from clients.settling import cut

LAST_SECONDS: Final = 5.0
"""What giving interrupted work back may take."""
INTERRUPTED: Final = "interrupted"
OVER: Final = (BY_CODE["stale_lease"], BY_CODE["lease_expired"], BY_CODE["already_finished"])

LEASE: Final = TABLE["dispatch.lease"]
RENEW: Final = Verb(Renew)
FAIL: Final = TABLE["dispatch.fail"]


class Work:
    """One dispatch in this worker's hands: `async with me.dispatch.lease(key) as work`.

    At the end of the block it is consumed with `outcome`; an exception fails it. When the lease is
    lost to time or to somebody else, the block is cancelled and ends with the refusal.
    """

    def __init__(
        self, caller: Caller, requests: Requests, leases: Leases, fields: dict[str, Any]
    ) -> None:
        self._caller = caller
        self._requests = requests
        self._leases = leases
        self._fields = {"call_id": secrets.token_hex(16), **fields}
        self._repeatable = "call_id" in fields
        self._scope = anyio.CancelScope()
        self._leased: Leased | None = None
        self._lost: PostroomError | None = None
        self._finished = False
        self.outcome: Any = UNSET
        """What the dispatch is consumed with: any JSON value."""

    # -- the lease --------------------------------------------------------------------------------

    @property
    def leased(self) -> Leased:
        """What the lease gave, as the broker wrote it."""
        assert self._leased is not None, "the work is leased at the begin of the block"
        return self._leased

    @property
    def dispatch(self) -> str:
        """The id of the dispatch."""
        return self.leased.dispatch

    @property
    def key(self) -> str:
        """The dispatch key: the hash of its identity."""
        return self.leased.dispatch_key

    @property
    def prompt(self) -> str:
        """What is to be done."""
        return self.leased.prompt

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self.leased.attempt

    @property
    def context(self) -> Any:
        """What the creator gave beside the prompt."""
        return self.context_as(Any)

    def context_as(self, type: Any) -> Any:  # noqa: A002 - the word of msgspec
        """Decode the context as a type."""
        return reader(type)(self.leased.context)

    @property
    def lost(self) -> bool:
        """Whether the lease has ended before the work."""
        return self._lost is not None

    def __await__(self) -> Generator[Any, None, Leased]:
        """Only take the lease; renewing and ending it is then the caller's."""
        leasing: Pending[Leased] = self._caller.start(LEASE, {**self._fields}, repeat=True)
        return self._caller.granted(leasing, self._unwanted).__await__()

    # -- its end ----------------------------------------------------------------------------------

    async def consume(self, outcome: Any = UNSET) -> Finished:
        """Finish it before the end of the block."""
        return await self._finish("dispatch.consume", outcome=outcome)

    async def fail(
        self, reason: str, *, error: str | None = None, retryable: bool = False
    ) -> Finished:
        """Give it up before the end of the block, for good or for another attempt."""
        return await self._finish(
            "dispatch.fail", reason=cut(reason), error=error, retryable=retryable
        )

    async def __aenter__(self) -> Work:
        """Take the lease and keep it."""
        self._leased = await self
        self._scope.__enter__()
        self._leases.hold(self, self.leased.lease_ms)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Finish it, unless that is done."""
        swallowed = bool(self._scope.__exit__(kind, fault, trace))
        try:
            if self._lost is not None and (swallowed or fault is None) and not self._finished:
                raise self._lost
            if not self._finished:
                await self._end(fault)
        finally:
            self._finished = True
            self._leases.let_go(self)
        return swallowed

    # -- what the leases ask ----------------------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Whether its lease is to be kept."""
        return not self._finished and self._lost is None

    def renew(self) -> None:
        """Keep the lease."""
        fields = _named(self.leased)
        if "lease_ms" in self._fields:
            fields["lease_ms"] = self._fields["lease_ms"]

        def told(pending: Pending[Renewed]) -> None:
            if not self.wanted:
                return
            lease_ms = self.leased.lease_ms
            try:
                lease_ms = pending.result().lease_ms
            except OVER as fault:
                self._lost = fault
                self._scope.cancel()
                return
            except PostroomError:
                pass  # it is asked for again in time
            self._leases.hold(self, lease_ms)

        # Lost with its connection it is sent again with the next one, and not half a lease later.
        self._requests.ask(RENEW, msgspec.json.encode(fields), repeat=True).then(told)

    # -- inside -----------------------------------------------------------------------------------

    def _unwanted(self, leasing: Pending[Leased]) -> None:
        """Nobody waited for the lease: let another attempt have the work at once.

        Under a `call_id` of the application's it stays: the next call is to get the same lease.
        """
        if leasing.fault is not None or self._repeatable:
            return
        fields = {**_named(leasing.result()), "reason": INTERRUPTED, "retryable": True}
        with suppress(PostroomError):  # the client has left: the lease ends by itself
            self._caller.start(FAIL, fields).then(unheard)

    async def _finish(self, op: str, **fields: Any) -> Finished:
        finished = await self._caller.call(op, repeat=True, **_named(self.leased), **fields)
        assert isinstance(finished, Finished)
        self._finished = True
        return finished

    async def _end(self, fault: BaseException | None) -> None:
        if fault is None:
            try:
                await self._finish("dispatch.consume", outcome=self.outcome)
            except Refused as refusal:
                if not isinstance(refusal, OVER):
                    await self._give_up(refusal)
                raise
            except PostroomError:
                raise  # whether it was consumed is not known
            except Exception as wrong:
                await self._give_up(wrong)  # the outcome is no JSON
                raise
            return
        await self._give_up(fault)

    async def _give_up(self, fault: BaseException) -> None:
        """Fail it. Whatever comes of this, the fault is what the application is to see."""
        interrupted = not isinstance(fault, Exception)
        reason = INTERRUPTED if interrupted else type(fault).__name__
        with anyio.move_on_after(LAST_SECONDS, shield=True):
            try:
                await self.fail(reason, error=cut(str(fault)) or None, retryable=interrupted)
            except PostroomError as refusal:
                fault.add_note(f"the dispatch {self.dispatch} could not be failed: {refusal}")


def _named(leased: Leased) -> dict[str, Any]:
    return {"dispatch": leased.dispatch, "lease_token": leased.lease_token}
