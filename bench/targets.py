"""What can be measured: each target's server, the driver that writes to it, what it promises.

Owns: the table of targets. Must not know how any of them is started or spoken to.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.traffic import RunFailed

BROKER_PROMISE = "SQLite WAL, synchronous=FULL; answers and deliveries leave after the sync"


@dataclass(frozen=True)
class Target:
    """One row of a table of results."""

    name: str
    server: str
    """The kind of server: `broker`, or a module of the bench that is run as one."""
    driver: str
    """How messages travel to it; a name in `bench.load.DRIVERS`."""
    promise: str
    """What has happened to a message that was confirmed, and how it was measured."""
    options: tuple[str, ...] = ()
    """Further words on the server's command line."""

    @property
    def durable(self) -> bool:
        """Whether the broker's own tables tell afterwards what was acked."""
        return self.server in ("broker", "bench.relay")


def _jetstream(name: str, sync: str, way: str) -> Target:
    promise = "synced" if sync == "always" else "written, not synced (the default: every 2 minutes)"
    over = " over WebSocket" if way == "ws" else ""
    return Target(
        name,
        "bench.others.jetstream_server",
        "jetstream",
        f"NATS JetStream{over}, file storage, sync_interval {sync}: a publish is confirmed when it"
        f" is {promise}; acks are not confirmed",
        (sync, way),
    )


TARGETS = {
    target.name: target
    for target in (
        Target("clients", "broker", "client", f"{BROKER_PROMISE}; through our own Python client"),
        Target("broker", "broker", "raw", f"{BROKER_PROMISE}; through the bench's lean peer"),
        Target("relay", "bench.relay", "raw", f"{BROKER_PROMISE}; no rules, the lean peer"),
        Target("relay-clients", "bench.relay", "client", f"{BROKER_PROMISE}; no rules, our client"),
        Target("echo", "bench.echo", "echo", "none"),
        _jetstream("jetstream-always", "always", "tcp"),
        _jetstream("jetstream", "default", "tcp"),
        _jetstream("jetstream-ws", "default", "ws"),
        Target(
            "postgres",
            "bench.others.postgres_server",
            "postgres",
            "PostgreSQL, FOR UPDATE SKIP LOCKED: synchronous commit of the insert, the claim and"
            " the ack; receivers are told of new rows for nothing, by the generator",
        ),
        Target(
            "redis",
            "bench.others.redis_server",
            "redis",
            "Redis streams, appendfsync always: entries, claims and acks are synced before they"
            " are answered",
        ),
    )
}

WORKLOAD_TARGETS = ("clients", "broker", "relay")
CEILING = "relay"


def chosen(text: str) -> list[str]:
    """The targets that a comma-separated list names."""
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in TARGETS:
            raise RunFailed(f"no target {name}: there are {', '.join(TARGETS)}")
    if not names:
        raise RunFailed("no target is named")
    return names
