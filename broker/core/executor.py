"""The executor: the one place where durable state changes, one batch and one commit at a time.

Owns: the queue of what waits, batches and their commits, the order in which answers leave, and what
happens when the storage fails. Knows no operation and no socket.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from broker.core.decide import INTERNAL, UNAVAILABLE, Decider, Job
from broker.core.looks import Looks
from broker.core.measures import Measures, Part
from broker.core.operations import Operations
from broker.core.ring import Ring
from broker.core.turn import FAR, Turn
from broker.store.sqlite import STORE_ERRORS, StoreFault

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.core.conversation import Conversation
    from broker.store.sqlite import Store

log = logging.getLogger("broker.executor")

BATCH_REQUESTS: Final = 1_024
BATCH_BYTES: Final = 4 * 1_024 * 1_024
BATCH_PUSHES: Final = 2_000
MOST_WAITING: Final = 20_000
RETRY_MS: Final = 1_000  # between two tries of the broker's own work while the storage is ill

START: Final = (0, 0, 0, 0, 0, 0)
"""The mark before a batch's first change."""


class Executor:
    """Takes what waits, has it decided, commits it, lets the answers leave."""

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
        self._writer = store.writer
        self._turn = turn
        self._clock = clock
        self._schedule, self._leave, self._fatal = schedule, leave, fatal
        self._decider = Decider(turn, operations)
        self._due: list[Job] = [*self._decider.sweeps, lambda _: store.writer.probe()]
        self.measures = Measures()
        self._looks = Looks(store.reader, self._go_on, self._ill, self.measures.reads)
        self._ring = Ring(self._decider.reads)
        self._jobs: deque[Job] = deque()
        self._batch: list[Part] = []
        self._batch_jobs: list[Job] = []
        self._retry_at = 0
        self._numbers = (0, 0)
        self._running = self.committing = False
        self.fault: str | None = None
        """Why the storage is not usable, while it is not."""
        self.waiting = 0
        """Requests that were read and are not answered."""
        self.most_waiting = MOST_WAITING
        self.batches = 0

    # -- what comes in ---------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Do this as part of the next batch; it is tried again if that batch fails."""
        self._jobs.append(job)
        self._schedule()

    def enqueue(self, conversation: Conversation) -> None:
        """This connection has requests in its inbox."""
        conversation.queued = True
        self._ring.add(conversation)
        self._schedule()

    def drain(self) -> None:
        """From now on take only what ends work; who waits for mail is answered."""
        self._decider.draining = self._turn.draining = True
        self.submit(lambda turn: turn.tell("broker.draining"))

    @property
    def draining(self) -> bool:
        """Whether the broker goes away."""
        return self._decider.draining

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self._ring or self._jobs or self.committing or self.looks)

    @property
    def looks(self) -> int:
        """Reads under way."""
        return self._looks.under_way

    def due(self) -> int:
        """When the next sweep is wanted; not while a commit is in flight, which wakes by itself."""
        if self.committing:
            return FAR
        return max(self._turn.wake, self._retry_at)

    # -- a batch ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Decide and commit one batch, if something waits and no commit is in flight."""
        if self.committing:
            return
        turn = self._turn
        turn.start(self._clock.now())
        self._numbers = turn.house.next_number, turn.house.number_mark
        self._take_jobs()
        if not self._batch_jobs and not self._ring:
            return
        try:
            for job in self._batch_jobs:
                self._decider.do(job)
            self._take_requests()
        except STORE_ERRORS as error:
            self._failed(StoreFault(error))
            return
        except Exception:
            log.exception("a batch failed; its requests run one by one")
            self._withdraw()
            self._one_by_one()
            return
        self.committing = self._running = True
        self._writer.finish(self._finished)
        self._running = False

    def _take_jobs(self) -> None:
        turn = self._turn
        if turn.now < self._retry_at:
            return
        if turn.wake <= turn.now:
            turn.wake = FAR
            self._jobs.extend(self._decider.sweeps if self.fault is None else self._due)
        self._batch_jobs = list(self._jobs)
        self._jobs.clear()

    def _take_requests(self) -> None:
        """Decide a few of each connection in turn, until the batch is full."""
        count = size = 0
        pushes = self._turn.pushes
        while self._ring and count < BATCH_REQUESTS and size < BATCH_BYTES:
            if len(pushes) >= BATCH_PUSHES:
                break
            conversation, requests = part = self._ring.take()
            self._batch.append(part)
            count += len(requests)
            size += conversation.weight(len(requests))
            self._decider.decide(conversation, requests)

    # -- what leaves -----------------------------------------------------------------------------

    def _finished(self, fault: BaseException | None) -> None:
        self.committing = False
        if not self._running:
            self._schedule()  # the commit came from its thread: look what became due meanwhile
        if isinstance(fault, StoreFault):
            self._failed(fault)
            return
        if self.fault is not None and self._writer.wrote:
            log.warning("the storage is well again")
            self.fault = None
        batch, self._batch = self._batch, []
        self._batch_jobs = []
        self._release(batch)

    def _release(self, batch: list[Part]) -> None:
        """The batch is durable: let its answers, then its deliveries, then its endings leave."""
        turn = self._turn
        self.batches += 1
        self.measures.batch(batch, self._clock.monotonic())
        for conversation, frame in turn.control:
            if type(frame) is list:  # answers, encoded when they were decided
                conversation.line.send(*frame)
            else:
                conversation.say(frame)
        left = {conversation for conversation, _, _ in turn.closing}
        for conversation, delivery in turn.pushes:
            if not left or conversation not in left:
                conversation.deliver(delivery)
        for conversation, id in turn.answered:
            conversation.answered(id)
        for conversation, code, reason in turn.closing:
            conversation.close(code, reason)
        lookings = dict(turn.lookings)
        for conversation, requests in batch:
            conversation.settled(requests)
            if type(requests[-1]) in self._decider.reads:
                self._looks.start(conversation, lookings.get(conversation))
        self._jobs.extend(turn.again)
        self._leave()
        if self._ring or (self._jobs and self.fault is None):
            self._schedule()

    def _go_on(self, conversation: Conversation) -> None:
        """A read is answered: take what this connection asked after it."""
        if conversation.inbox:
            self.enqueue(conversation)
        else:
            conversation.queued = False

    # -- when it fails ---------------------------------------------------------------------------

    def _failed(self, fault: StoreFault) -> None:
        """Take the batch back. A wrong statement is ours to find; all else is the storage's."""
        there = self._withdraw()
        if fault.ours and there:
            log.error("a batch failed; its requests run one by one", exc_info=fault)
            self._one_by_one()
            return
        self._ill(fault)
        jobs, self._batch_jobs = self._batch_jobs, []
        batch, self._batch = self._batch, []
        self._jobs.extendleft(job for job in reversed(jobs) if job not in self._due)
        self._turn.start(self._turn.now)
        for conversation, requests in batch:
            for request in requests:
                self._decider.deny(conversation, request, UNAVAILABLE)
        self._release(batch)
        if fault.fatal:
            self._fatal(fault)

    def _ill(self, fault: StoreFault) -> None:
        if self.fault is None:
            log.error("the storage failed: %s", fault)
        self.fault = str(fault)
        self._retry_at = self._clock.now() + RETRY_MS
        self._turn.wake_at(self._retry_at)

    def _withdraw(self) -> bool:
        """Take back all of the batch, in memory and on disk; whether the transaction was there."""
        house = self._turn.house
        self._turn.back(START)
        house.next_number, house.number_mark = self._numbers
        return self._writer.rollback()

    def _one_by_one(self) -> None:
        """Run each piece of the batch in a transaction of its own, so that only one can fail."""
        jobs, self._batch_jobs = self._batch_jobs, []
        batch, self._batch = self._batch, []
        for job in jobs:
            self._alone([], [job])
        for conversation, requests in batch:
            for request in requests:
                self._alone([(conversation, [request])], [])

    def _alone(self, batch: list[Part], jobs: list[Job]) -> None:
        turn, house = self._turn, self._turn.house
        turn.start(turn.now)
        self._numbers = house.next_number, house.number_mark
        fault: StoreFault | None = None
        try:
            for job in jobs:
                self._decider.do(job)
            for conversation, requests in batch:
                self._decider.decide(conversation, requests)
            self._writer.commit()
        except Exception as error:
            there = self._withdraw()
            turn.start(turn.now)
            fault = error if isinstance(error, StoreFault) else StoreFault(error)
            ours = fault.ours and there
            if ours:
                log.exception("a request failed: this is a fault of the broker")
                turn.wake_at(turn.now + RETRY_MS)  # a sweep may have been it: what is due stays due
            else:
                self._ill(fault)
                self._jobs.extend(jobs)
            for conversation, requests in batch:
                self._decider.deny(conversation, requests[0], INTERNAL if ours else UNAVAILABLE)
        self._release(batch)
        if fault is not None and fault.fatal:
            self._fatal(fault)
