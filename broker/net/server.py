"""What the application sees of net: one server that listens, drains, and closes.

Owns: the listening sockets and the one hub of their connections.
Must not know: what happens on a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from broker.net.connection import Connection
from broker.net.http import ENDPOINT, is_loopback
from broker.net.hub import Counters, Hooks, Hub, Limits
from broker.net.listen import BACKLOG, ListenFailed, bind, tls

__all__ = ["Hooks", "Limits", "ListenFailed", "Server"]


class Server:
    """All of net that the application sees."""

    def __init__(self, limits: Limits, hooks: Hooks, *, origins: Iterable[str] = ()) -> None:
        loop = asyncio.get_running_loop()
        allowed = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._hub = Hub(loop, limits, hooks, allowed)
        self._listeners: list[asyncio.AbstractServer] = []
        self._url = ""
        self._loopback = False
        self.flush = self._hub.flush
        """Let everything leave that is queued, without waiting for the end of the loop's turn."""

    @property
    def url(self) -> str:
        """Where clients find the endpoint."""
        return self._url

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self._loopback

    @property
    def counters(self) -> Counters:
        return self._hub.counters

    @property
    def connections(self) -> int:
        """Conversations that are connected now."""
        return len(self._hub.lines)

    async def listen(
        self, host: str, port: int, *, cert: Path | None = None, key: Path | None = None
    ) -> None:
        """Start accepting; `ListenFailed` says why not."""
        context = None if cert is None else tls(cert, key)
        sockets = await bind(host, port)
        hub = self._hub
        patience = None if context is None else hub.limits.hello_ms / 1000
        for listening in sockets:
            listener = await hub.loop.create_server(
                partial(Connection, hub),
                sock=listening,
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=patience,
            )
            self._listeners.append(listener)
        scheme = "ws" if context is None else "wss"
        self._loopback = all(is_loopback(one.getsockname()[0]) for one in sockets)
        address, chosen = sockets[0].getsockname()[:2]
        name = host or address
        if ":" in name:
            name = f"[{name}]"
        self._url = f"{scheme}://{name}:{chosen}{ENDPOINT}"

    def stop_accepting(self) -> None:
        """No new connections and no new upgrades; the conversations go on."""
        self._hub.draining = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection politely."""
        for line in [*self._hub.lines, *self._hub.strangers]:
            line.close(code, reason)

    async def closed(self, seconds: float) -> bool:
        """Wait until every line is gone, and drop what is left after `seconds`.

        The answer says whether all went by themselves.
        """
        hub = self._hub
        in_time = True
        try:
            async with asyncio.timeout(seconds):
                await hub.emptied()
        except TimeoutError:
            in_time = False
        for left in [*hub.lines, *hub.strangers]:
            left.abort()
        await hub.emptied()
        return in_time
