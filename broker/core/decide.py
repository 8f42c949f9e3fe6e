"""Deciding: one request after the other, each seeing what the earlier ones of its batch did.

Owns: what is admitted, how a handler is run, and what is made of its answer or refusal. Nothing is
durable yet, and nothing has left. Knows no operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from broker.core.operations import LATER, Looking, Operation, Operations
from broker.core.turn import Turn
from broker.wire.codec import Bad
from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import Reply, Request, encode

if TYPE_CHECKING:
    from broker.core.conversation import Conversation

Job = Callable[[Turn], None]

AGAIN_MS: Final = 1_000

UNAVAILABLE: Final = ErrorBody(
    "unavailable", "the storage failed; repeat with the same key", True, AGAIN_MS
)
INTERNAL: Final = ErrorBody("internal", "a fault of the broker; its log says more", False)


class Decider:
    """Runs handlers, sweeps and jobs over one turn."""

    __slots__ = ("_greetings", "_settlers", "_table", "_turn", "draining", "reads", "sweeps")

    def __init__(self, turn: Turn, operations: Operations) -> None:
        self._turn = turn
        self._table = operations.table
        self.sweeps = operations.sweeps
        """What each area does when something is due; each is a job of its own."""
        self._settlers = operations.settlers
        self.reads = {kind for kind, one in operations.table.items() if one.reads}
        """Requests that end their connection's part of a batch."""
        self._greetings = {one.name for one in operations.table.values() if one.greets}
        self.draining = False

    def decide(self, conversation: Conversation, requests: list[Any]) -> None:
        """Decide some requests of one connection, in their order."""
        turn, table, stirred = self._turn, self._table, self._turn.stirred
        turn.conversation, turn.part = conversation, requests
        control, said = turn.control, -1
        answers: list[bytes] = []
        for request in requests:
            operation = table.get(type(request))
            if operation is None:
                self._turn_away(conversation, request)
                continue
            presence = conversation.presence
            turn.request_id = request.id
            try:
                if presence is None or self.draining:
                    self._admit(conversation, operation)
                if operation.hot or operation.reads:
                    answer = operation.function(turn, presence, request)
                else:
                    with turn.atomic():
                        answer = operation.function(turn, presence, request)
            except Refused as refusal:
                self._refuse(conversation, request, operation, refusal)
                continue
            if type(answer) is Looking:
                answer.operation, answer.request_id = operation, request.id
                turn.lookings.append((conversation, answer))
            else:
                operation.counts["ok"] += 1
                if answer is not LATER and request.id is not UNSET:
                    if len(control) != said:  # what was said in between keeps its place
                        answers = []
                        control.append((conversation, answers))
                        said = len(control)
                    answers.append(encode(Reply(request.id, answer)))
            if stirred:
                self._settle()

    def do(self, job: Job) -> None:
        """Do a piece of the broker's own work."""
        self._turn.conversation = None
        job(self._turn)
        if self._turn.stirred:
            self._settle()

    def deny(self, conversation: Conversation, request: Any, body: ErrorBody) -> None:
        """Refuse a request whose batch failed."""
        if isinstance(request, Bad):
            self._turn.refuse(conversation, request.id, request.error, request.op)
            return
        operation = self._table[type(request)]
        operation.counts[body.code] += 1
        self._turn.refuse(conversation, request.id, body, operation.name)

    def _settle(self) -> None:
        for settle in self._settlers:
            settle(self._turn)
        self._turn.stirred.clear()

    def _admit(self, conversation: Conversation, operation: Operation) -> None:
        if conversation.presence is None and not operation.greets:
            raise Refused("unauthorized", f"say hello before {operation.name}")
        if self.draining and not operation.drains:
            raise Refused("draining", "the broker is going away", retry_after_ms=AGAIN_MS)

    def _turn_away(self, conversation: Conversation, bad: Bad) -> None:
        """Refuse what is no request. Who has not said hello is told nothing of operations."""
        error = bad.error
        if (
            conversation.presence is None
            and bad.op not in self._greetings
            and error.code in ("bad_request", "unknown_op")
        ):
            error = ErrorBody(
                "unauthorized", f"say hello before {bad.op or 'anything else'}", False
            )
        self._turn.refuse(conversation, bad.id, error, bad.op)

    def _refuse(
        self,
        conversation: Conversation,
        request: Request,
        operation: Operation,
        refusal: Refused,
    ) -> None:
        operation.counts[refusal.code] += 1
        self._turn.refuse(conversation, request.id, refusal.body(), operation.name)
        if refusal.close is not None:
            self._turn.close(conversation, refusal.close, refusal.message)
