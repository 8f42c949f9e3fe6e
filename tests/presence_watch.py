"""Somebody who watches all others come and go, and the short of what it was told."""

from __future__ import annotations

import asyncio
from typing import Any

from rig import Peer, Rig


async def watching(r: Rig, **watch: Any) -> Peer:
    """A watcher that takes no mail and has been told of everybody."""
    watcher = await r.join("owner", role="service", capacity=0)
    await watcher.ask("peer.watch", on=True, **watch)
    watcher.events()
    return watcher


def told(watcher: Peer) -> list[tuple[str, str]]:
    """What happened to whom since the last look."""
    return [(event["ev"], event["peer"]["presence"]) for event in watcher.events()]


async def one_batch(r: Rig) -> None:
    """Exactly one batch is decided and committed, wherever its commit runs."""
    executor = r.broker.executor
    executor.run()
    while executor.committing:  # noqa: ASYNC110 - a thread commits, there is no event
        await asyncio.sleep(0)
