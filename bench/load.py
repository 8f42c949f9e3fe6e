"""The generator: a process of its own that runs one case and reports one outcome.

Owns: the conversation with the bench over standard input and output, and the patience of a run.
Must not know which target it writes to, beyond the name of the driver.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import resource
import sys
from typing import Any, Protocol

import msgspec
import uvloop

from bench.case import Job, Note, Outcome
from bench.machine import resident_bytes
from bench.pacer import Pacer
from bench.traffic import RunFailed, Traffic

OPEN_SECONDS = 30.0
REPORT_SECONDS = 0.25
LINGER_SECONDS = 0.1
"""After the last ack, for a second copy of something to show itself."""
DRIVERS = {
    "raw": "bench.peer",
    "client": "bench.client",
    "echo": "bench.echo",
    "jetstream": "bench.others.jetstream",
    "postgres": "bench.others.postgres",
    "redis": "bench.others.redis",
}
WITHOUT_COLLECTOR = ("raw", "echo")
"""Drivers that make no cycles; a client library is measured with the collector that it lives with,
after what was made while connecting has been set aside."""


class Driver(Protocol):
    """How messages travel to one kind of target."""

    async def open(self) -> None:
        """Connect everybody; may raise `RunFailed`."""

    def start(self) -> None:
        """Send the first messages; the rest follows from the answers."""

    def send(self, sender: int, due: int) -> None:
        """Open loop: send one message that was due at an instant."""

    async def close(self) -> list[str]:
        """Disconnect everybody; in words, what the target should not have kept."""


def main() -> int:
    """Read the job, say ready, wait for the word, run, report."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    if job.driver in WITHOUT_COLLECTOR:
        # A collection would show up as the target's latency.
        gc.disable()
    outcome = uvloop.run(_run(job))
    _say(Note(outcome=outcome))
    return 1 if outcome.faults else 0


def _say(note: Note) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(note) + b"\n")
    sys.stdout.buffer.flush()


async def _run(job: Job) -> Outcome:
    traffic = Traffic(job.case)
    driver: Driver = importlib.import_module(DRIVERS[job.driver]).Driver(job, traffic)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: traffic.fail(f"the generator failed: {_words(context)}")
    )
    opening = await _open(driver, job)
    if opening:
        return Outcome(faults=opening)
    _say(Note(ready=True))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)
    gc.collect()
    gc.freeze()
    if job.case.pattern == "fanout":
        traffic.complete = driver.send
    pacer = Pacer(traffic, driver.send) if job.case.offered else None
    before = resource.getrusage(resource.RUSAGE_SELF)
    traffic.start()
    (pacer or driver).start()
    try:
        await _wait(traffic, job.patience_seconds)
    except RunFailed as fault:
        return Outcome(faults=[str(fault), *traffic.faults()])
    after = resource.getrusage(resource.RUSAGE_SELF)
    _say(Note(done=True))
    await asyncio.sleep(LINGER_SECONDS)
    faults = traffic.faults()
    resident = resident_bytes(None)
    faults += await driver.close()
    if faults:
        return Outcome(faults=faults)
    reply, delivery, ack = traffic.latencies()
    return Outcome(
        faults=[],
        sent=traffic.deliveries,
        seconds=traffic.seconds,
        delivered_seconds=traffic.delivered_seconds,
        reply=reply,
        delivery=delivery,
        ack=ack,
        lateness=pacer.lateness if pacer else None,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        rss_bytes=resident,
    )


def _words(context: dict[str, Any]) -> str:
    return repr(context.get("exception") or context.get("message"))


async def _open(driver: Driver, job: Job) -> list[str]:
    """Connect everybody; the faults, when some could not."""
    found: list[str] = []
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await driver.open()
    except* TimeoutError:
        found.append(f"{job.case.peers} peers were not connected within {OPEN_SECONDS:g} s")
    except* RunFailed as refused:
        found.append(str(refused.exceptions[0]))
    except* OSError as failed:
        found.append(f"no connection to {job.url}: {failed.exceptions[0]}")
    except* Exception as failed:  # noqa: BLE001 - whatever a client library of others may raise
        found.append(f"no connection to {job.url}: {failed.exceptions[0]!r}")
    return found


async def _wait(traffic: Traffic, patience_seconds: float) -> None:
    """Until all is through; gives up when nothing moves any more."""
    quiet = 0.0
    moved = (0, 0)
    while True:
        done, _ = await asyncio.wait([traffic.finished], timeout=REPORT_SECONDS)
        if done:
            traffic.finished.result()
            return
        _say(Note(settled=traffic.settled_count))
        current = (traffic.stored_count, traffic.settled_count)
        quiet = 0.0 if current != moved else quiet + REPORT_SECONDS
        moved = current
        if quiet >= patience_seconds:
            raise RunFailed(f"nothing moved for {patience_seconds:g} s")


if __name__ == "__main__":
    sys.exit(main())
