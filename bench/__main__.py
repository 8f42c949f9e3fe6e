"""`python -m bench NAME ...`: finds the workload and turns a failed run into a line and exit 1."""

from __future__ import annotations

import importlib
import signal
import sys

from bench.traffic import RunFailed

COMMANDS = {
    "burst": "100 peers x 1,000 messages to random others, every one acked",
    "pairs": "1:1 and 100:100 with 1, 10 and 64 in flight",
    "steady": "100:100 at fixed rates, an open loop, until the target saturates",
    "fanout": "one to 1,000 members of a group",
    "backlog": "cost of a message at a depth of 1,000, 100,000 and 1,000,000",
    "idle": "5,000 connections that do nothing: memory and CPU",
    "churn": "connections that are lost and resumed",
    "dispatch": "work that is created, leased and consumed",
    "delegations": "delegations that are opened, taken up and completed",
    "ceiling": "raw WebSocket echo, raw SQLite, and a bare relay of both",
    "peers": "the same work by JetStream, PostgreSQL and Redis, in the same run",
    "plot": "results of --json as SVG pictures",
    "compare": "two results of --json side by side",
    "report": "a short run of everything; with --write the tables of a page",
}
MODULES = {"report": "bench.page"}


def main(words: list[str]) -> int:
    """The exit code: 0 measured, 1 failed, 2 wrong usage."""
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:12} {about}" for name, about in COMMANDS.items()]
        sys.stdout.write("\n".join(["python -m bench NAME [--json] [--runs N] ...", *lines]) + "\n")
        return 0
    if words[0] not in COMMANDS:
        sys.stderr.write(f"bench: no workload {words[0]}: there are {', '.join(COMMANDS)}\n")
        return 2
    workload = importlib.import_module(MODULES.get(words[0], f"bench.{words[0]}"))
    # Killed or interrupted, what was started is stopped and the databases are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(workload.main(words[1:]))
    except RunFailed as fault:
        sys.stderr.write(f"bench {words[0]}: {fault}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"bench {words[0]}: interrupted\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
