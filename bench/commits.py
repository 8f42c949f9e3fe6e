"""Raw SQLite group commit with the same tables: what the disk and the rows alone cost.

Owns: a loop of batches, each the sends of now and the acks of the batch before.
`python -m bench.commits DIR SECONDS BATCH` prints one JSON line.
"""

from __future__ import annotations

import resource
import sys
import time
from array import array
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import tables
from bench.case import Latency
from bench.traffic import summarize

LEASE_MS = 30_000
TTL_MS = 604_800_000
MAILBOXES = 100
BODY = b'"' + b"x" * 254 + b'"'


class Committed(Struct, frozen=True, kw_only=True):
    """What a loop of commits carried."""

    batch: int
    messages: int
    seconds: float
    cpu_seconds: float
    commit: Latency


def run(data: Path, seconds: float, size: int) -> Committed:
    """Messages inserted, claimed and acked, `size` to a commit, for so long."""
    connection = tables.create(data)
    number = 1
    acks: list[int] = []
    times = array("q")
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter_ns()
    end = started + int(seconds * 1e9)
    before = started
    while before < end:
        batch = tables.Batch()
        batch.acks = acks
        acks = []
        now = time.time_ns() // 1_000_000
        for _ in range(size):
            _message(batch, number, now)
            acks.append(number + 1)
            number += 2
        tables.commit(connection, batch, now)
        after = time.perf_counter_ns()
        times.append(after - before)
        before = after
    used = resource.getrusage(resource.RUSAGE_SELF)
    connection.close()
    return Committed(
        batch=size,
        messages=number // 2,
        seconds=(before - started) / 1e9,
        cpu_seconds=used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime,
        commit=summarize(times),
    )


def _message(batch: tables.Batch, number: int, now: int) -> None:
    mailbox = number * 7919 % MAILBOXES + 1
    lease_end, end = now + LEASE_MS, now + TTL_MS
    batch.messages.append((number, 1, 1, 1, "p001", "p002", BODY, now, 5))
    seq = number + 1
    batch.deliveries.append((seq, mailbox, end, now, lease_end))


if __name__ == "__main__":
    outcome = run(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
