"""The executor: the one place where durable state changes, one batch and one commit at a time.

Owns: the queue of what waits, batches and their commits, the order in which answers leave, and what
happens when the storage fails. Knows no operation and no socket.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from broker.core.operations import LATER, Looking, Operation, Operations
from broker.core.turn import FAR, Turn, failure
from broker.store.sqlite import LookTooLong, StoreFault
from broker.wire.codec import Bad
from broker.wire.errors import ErrorBody, Refused
from broker.wire.frames import Reply, Request, encode

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.core.conversation import Conversation
    from broker.store.sqlite import Store

log = logging.getLogger("broker.executor")

BATCH_REQUESTS: Final = 512
BATCH_BYTES: Final = 4 * 1_024 * 1_024
BATCH_PUSHES: Final = 2_000
SHARE: Final = 16  # how many requests of one connection are taken before the next one's turn
MOST_WAITING: Final = 20_000
LOOK_SECONDS: Final = 0.25
RETRY_MS: Final = 1_000  # between two tries of the broker's own work while the storage is ill

Item = tuple["Conversation", Request | Bad, int]
Job = Callable[[Turn], None]

START: Final = (0, 0, 0, 0, 0)
"""The mark before a batch's first change."""

TOO_LONG: Final = ErrorBody("overloaded", "the read took too long; ask for less", True, 1_000)
UNAVAILABLE: Final = ErrorBody(
    "unavailable", "the storage failed; repeat with the same key", True, 1_000
)
INTERNAL: Final = ErrorBody("internal", "a fault of the broker; its log says more", False)


class Executor:
    """Takes what waits, decides it, commits it, lets the answers leave."""

    def __init__(
        self,
        store: Store,
        turn: Turn,
        clock: Clock,
        operations: Operations,
        schedule: Callable[[], None],
        leave: Callable[[], None],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self._store = store
        self._writer = store.writer
        self._turn = turn
        self._clock = clock
        self._table = operations.table
        self._sweeps = operations.sweeps
        self._settlers = operations.settlers
        self._schedule = schedule
        self._leave = leave
        self._fatal = fatal
        self._ring: deque[Conversation] = deque()
        self._jobs: deque[Job] = deque()
        self._reads = {kind for kind, operation in operations.table.items() if operation.reads}
        self._batch: list[Item] = []
        self._held: list[Conversation] = []
        self._batch_jobs: list[Job] = []
        self._retry_at = 0
        self._number = 0
        self._mark = 0
        self.committing = False
        self.draining = False
        self.fault: str | None = None
        """Why the storage is not usable, while it is not."""
        self.waiting = 0
        self.most_waiting = MOST_WAITING
        self.looks = 0
        self.batches = 0
        self.requests = 0

    # -- what comes in ---------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Do this as part of the next batch; it is tried again if that batch fails."""
        self._jobs.append(job)
        self._schedule()

    def enqueue(self, conversation: Conversation) -> None:
        """This connection has requests in its inbox."""
        self._ring.append(conversation)
        self._schedule()

    def drain(self) -> None:
        """From now on take only what ends work; who waits for mail is answered."""
        self.draining = self._turn.draining = True
        self.submit(lambda turn: turn.tell("broker.draining"))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being committed."""
        return not (self._ring or self._jobs or self.committing or self.looks)

    def due(self) -> int:
        """When the next sweep is wanted."""
        return max(self._turn.wake, self._retry_at)

    # -- a batch ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Decide and commit one batch, if something waits and no commit is in flight."""
        if self.committing:
            return
        turn = self._turn
        turn.start(self._clock.now())
        if turn.wake <= turn.now and turn.now >= self._retry_at:
            turn.wake = FAR
            self._jobs.append(self._sweep)
            if self.fault is not None:
                self._jobs.append(self._probe)
        if turn.now >= self._retry_at and self._jobs:
            self._batch_jobs = list(self._jobs)
            self._jobs.clear()
        self._take()
        if not self._batch and not self._batch_jobs:
            return
        self._number, self._mark = turn.house.next_number, turn.house.number_mark
        try:
            for job in self._batch_jobs:
                self._do(turn, job)
            self._decide(turn, self._batch)
        except sqlite3.Error as error:
            self._failed(StoreFault(error))
            return
        except Exception:
            log.exception("a batch failed; its requests run one by one")
            self._withdraw()
            self._one_by_one()
            return
        self.committing = True
        self._writer.finish(self._finished)

    def _take(self) -> None:
        """Fill the batch, a few of each connection in turn; a read ends its connection's."""
        batch, ring, size = self._batch, self._ring, 0
        while ring and len(batch) < BATCH_REQUESTS and size < BATCH_BYTES:
            conversation = ring.popleft()
            inbox = conversation.inbox
            for _ in range(min(SHARE, len(inbox))):
                request, weight = inbox.popleft()
                batch.append((conversation, request, weight))
                size += weight
                if type(request) in self._reads:
                    self._held.append(conversation)
                    break
            else:
                if inbox:
                    ring.append(conversation)
                else:
                    conversation.queued = False

    def _decide(self, turn: Turn, batch: list[Item]) -> None:
        table, settlers, stirred = self._table, self._settlers, turn.stirred
        control = turn.control
        for conversation, request, _ in batch:
            turn.conversation = conversation
            if isinstance(request, Bad):
                turn.refuse(conversation, request.id, request.error, request.op)
                continue
            operation = table[type(request)]
            turn.request_id = request.id
            mark = turn.mark()
            try:
                self._admit(conversation, operation)
                if operation.hot or operation.reads:
                    answer = operation.function(turn, conversation.presence, request)
                else:
                    answer = self._guarded(turn, conversation, operation, request)
            except Refused as refusal:
                turn.back(mark)
                self._refuse(turn, conversation, request, operation, refusal)
                continue
            if answer is not LATER:
                if type(answer) is Looking:
                    answer.operation, answer.request_id = operation, request.id
                    turn.lookings.append((conversation, answer))
                else:
                    operation.counts["ok"] += 1
                    if request.id is not UNSET:
                        control.append((conversation, Reply(request.id, answer)))
            if stirred:
                for settle in settlers:
                    settle(turn)
                stirred.clear()

    def _admit(self, conversation: Conversation, operation: Operation) -> None:
        if conversation.presence is None and not operation.greets:
            raise Refused("unauthorized", f"say hello before {operation.name}")
        if self.draining and not operation.drains:
            raise Refused(
                "draining", "the broker is going away; connect again", retry_after_ms=1000
            )

    def _guarded(
        self, turn: Turn, conversation: Conversation, operation: Operation, request: Request
    ) -> Any:
        """Run a handler that may refuse after it has written."""
        writer = self._writer
        writer.savepoint()
        try:
            answer = operation.function(turn, conversation.presence, request)
        except Refused:
            writer.back()
            raise
        writer.release()
        return answer

    def _refuse(
        self,
        turn: Turn,
        conversation: Conversation,
        request: Request,
        operation: Operation,
        refusal: Refused,
    ) -> None:
        operation.counts[refusal.code] += 1
        turn.refuse(conversation, request.id, refusal.body(), operation.name)
        if refusal.close is not None:
            turn.close(conversation, refusal.close, refusal.message)

    def _do(self, turn: Turn, job: Job) -> None:
        turn.conversation = None
        job(turn)
        if turn.stirred:
            for settle in self._settlers:
                settle(turn)
            turn.stirred.clear()

    def _probe(self, turn: Turn) -> None:
        self._writer.probe()

    def _sweep(self, turn: Turn) -> None:
        for sweep in self._sweeps:
            sweep(turn)

    # -- what leaves -----------------------------------------------------------------------------

    def _finished(self, fault: BaseException | None) -> None:
        self.committing = False
        if isinstance(fault, StoreFault):
            self._failed(fault)
            return
        self._heal()
        batch, self._batch = self._batch, []
        self._batch_jobs = []
        self._release(batch)

    def _release(self, batch: list[Item]) -> None:
        """The batch is durable: let its answers, then its deliveries, then its endings leave."""
        turn = self._turn
        self.batches += 1
        self.requests += len(batch)
        for conversation, frame in turn.control:
            conversation.say(frame)
        for conversation, delivery in turn.pushes:
            conversation.deliver(encode(delivery))
        for conversation, request, weight in batch:
            conversation.settled(request, weight)
        for conversation, id in turn.answered:
            conversation.answered(id)
        for conversation, code, reason in turn.closing:
            conversation.close(code, reason)
        looking = dict(turn.lookings)
        held, self._held = self._held, []
        for conversation in held:
            if conversation in looking:
                self._look(conversation, looking[conversation])
            else:
                self._go_on(conversation)
        self._jobs.extend(turn.again)
        self._leave()
        if self._ring or (self._jobs and self.fault is None):
            self._schedule()

    def _look(self, conversation: Conversation, looking: Looking) -> None:
        """Read beside the writer; what the connection asked after it waits for the answer."""
        self.looks += 1
        future = self._store.reader.look(looking.function, LOOK_SECONDS)
        future.add_done_callback(lambda done: self._looked(conversation, looking, done))

    def _looked(
        self, conversation: Conversation, looking: Looking, done: asyncio.Future[Any]
    ) -> None:
        self.looks -= 1
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            looking.operation.counts["ok"] += 1
            if looking.request_id is not UNSET:
                conversation.say(Reply(looking.request_id, done.result()))
        else:
            body = _refusal_of(error)
            looking.operation.counts[body.code] += 1
            conversation.say(failure(looking.request_id, body, looking.operation.name))
        self._go_on(conversation)

    def _go_on(self, conversation: Conversation) -> None:
        """A read is answered: take what this connection asked after it."""
        if conversation.inbox:
            self.enqueue(conversation)
        else:
            conversation.queued = False

    # -- when it fails ---------------------------------------------------------------------------

    def _failed(self, fault: StoreFault) -> None:
        """Take the batch back. A broken constraint is ours to find; all else is the storage's."""
        there = self._withdraw()
        if fault.constraint and there:
            log.error("a batch broke a constraint; its requests run one by one", exc_info=fault)
            self._one_by_one()
            return
        self._ill(fault)
        jobs, self._batch_jobs = self._batch_jobs, []
        batch, self._batch = self._batch, []
        self._jobs.extendleft(reversed(jobs))
        self._turn.start(self._turn.now)
        for conversation, request, _ in batch:
            self._deny(conversation, request, UNAVAILABLE)
        self._release(batch)
        if fault.fatal:
            self._fatal(fault)

    def _withdraw(self) -> bool:
        """Take back all of the batch, in memory and on disk; whether the transaction was there."""
        turn = self._turn
        turn.back(START)
        turn.house.next_number = self._number
        turn.house.number_mark = self._mark
        return self._writer.rollback()

    def _one_by_one(self) -> None:
        """Run each piece of the batch in a transaction of its own, so that only one can fail."""
        jobs, self._batch_jobs = self._batch_jobs, []
        batch, self._batch = self._batch, []
        for job in jobs:
            self._alone([], job)
        for item in batch:
            self._alone([item], None)

    def _alone(self, batch: list[Item], job: Job | None) -> None:
        turn = self._turn
        turn.start(turn.now)
        self._number, self._mark = turn.house.next_number, turn.house.number_mark
        self._batch = batch
        fault: StoreFault | None = None
        try:
            if job is not None:
                self._do(turn, job)
            self._decide(turn, batch)
            self._writer.commit()
        except Exception as error:
            self._withdraw()
            turn.start(turn.now)
            storage = isinstance(error, (StoreFault, sqlite3.Error))
            fault = error if isinstance(error, StoreFault) else StoreFault(error)
            ours = fault.constraint or not storage
            if ours:
                log.exception("a request failed: this is a fault of the broker")
            elif job is not None:
                self._jobs.append(job)
            for conversation, request, _ in batch:
                self._deny(conversation, request, INTERNAL if ours else UNAVAILABLE)
        self._batch = []
        self._release(batch)
        if fault is not None and fault.fatal:
            self._fatal(fault)

    def _deny(self, conversation: Conversation, request: Request | Bad, body: ErrorBody) -> None:
        if isinstance(request, Bad):
            self._turn.refuse(conversation, request.id, request.error, request.op)
            return
        operation = self._table[type(request)]
        operation.counts[body.code] += 1
        self._turn.refuse(conversation, request.id, body, operation.name)

    def _ill(self, fault: StoreFault) -> None:
        if self.fault is None:
            log.error("the storage failed: %s", fault)
        self.fault = str(fault)
        self._retry_at = self._clock.now() + RETRY_MS
        self._turn.wake_at(self._retry_at)

    def _heal(self) -> None:
        if self.fault is not None and self._writer.wrote:
            log.warning("the storage is well again")
            self.fault = None


def _refusal_of(error: BaseException) -> ErrorBody:
    """What a failed look is answered."""
    if isinstance(error, Refused):
        return error.body()
    if isinstance(error, LookTooLong):
        return TOO_LONG
    if isinstance(error, StoreFault):
        log.error("a read failed: %s", error)
        return UNAVAILABLE
    log.error("a read failed: this is a fault of the broker", exc_info=error)
    return INTERNAL
