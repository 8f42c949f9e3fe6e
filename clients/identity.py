"""Who a client is and what it says of itself: everything that goes into a hello.

Owns: the hello of each connection, the first one and all later ones. Knows nothing of sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET

from broker import __version__
from broker.wire.presence import ClientInfo, Hello, Welcome

NAME: Final = "postroom-python"
REMEMBERED_OPS: Final = frozenset({"group.join", "group.leave", "peer.watch", "presence.update"})
"""What changes something that a later hello says."""
REMEMBERED: Final = ("status", "summary", "capacity")


@dataclass(slots=True)
class Identity:
    """What hello says. What an application changes later is kept, and said at the next hello."""

    member: str
    token: str = field(repr=False)
    mesh: str = "default"
    role: str = "session"
    session: str | None = None
    observe: bool = False
    host: str | None = None
    client: ClientInfo | None = None
    resume: str | None = field(default=None, repr=False)
    groups: dict[str, None] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    room: int = 0
    """The capacity that the application wants; the one that is said may differ for a while."""
    watch: dict[str, Any] | None = None
    """What a `peer.watch` asked for, as long as it is on."""

    @classmethod
    def of(
        cls,
        *,
        status: str | None,
        summary: str | None,
        capacity: int,
        groups: Iterable[str],
        host: str | None,
        client: ClientInfo | None,
        **given: Any,
    ) -> Identity:
        """Take what `connect` was given."""
        said: dict[str, Any] = {"capacity": 0 if given["observe"] else capacity}
        if status is not None:
            said["status"] = status
        if summary is not None:
            said["summary"] = summary
        return cls(
            host=host if host is not None else socket.gethostname(),
            client=client or ClientInfo(name=NAME, version=__version__),
            groups=dict.fromkeys(groups),
            said=said,
            room=said["capacity"],
            **given,
        )

    @property
    def capacity(self) -> int:
        """How many unacknowledged deliveries this client takes."""
        return int(self.said["capacity"])

    def hello(self) -> dict[str, Any]:
        """Say the next hello."""
        fields: dict[str, Any] = {
            "mesh": self.mesh,
            "member": self.member,
            "token": self.token,
            "role": self.role,
            "session": self.session,
            "observe": self.observe,
            "resume": self.resume,
            "host": self.host,
            "client": self.client,
            "batch": True,
            **self.said,
        }
        if self.groups:
            fields["groups"] = list(self.groups)
        return fields

    def welcomed(self, welcome: Welcome) -> None:
        """Keep what makes the next hello take this presence up again."""
        self.resume = welcome.resume
        if not self.observe:
            self.session = welcome.session

    def changed(self, op: str, fields: dict[str, Any]) -> None:
        """Keep what an operation has changed that a hello would set back."""
        if op == "presence.update":
            self.said.update(
                {
                    name: value
                    for name in REMEMBERED
                    if (value := fields.get(name, UNSET)) is not UNSET
                }
            )
            self.room = fields.get("capacity", self.room)
        elif op == "peer.watch":
            self.watch = dict(fields) if fields["on"] else None
        elif op == "group.join":
            self.groups[fields["group"]] = None
        elif op == "group.leave":
            self.groups.pop(fields["group"], None)


assert set(REMEMBERED) < set(Hello.__struct_fields__)
