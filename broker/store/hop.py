"""A thread of its own for a connection, one hop to it for a whole function.

Owns: the use of aiosqlite, which hops for every call; a batch or a read is many calls and one
function. The only importer of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import aiosqlite

T = TypeVar("T")


class Hop(aiosqlite.Connection):
    """A connection that runs functions on its thread."""

    async def _connect(self) -> aiosqlite.Connection:
        try:
            return await super()._connect()
        except BaseException:
            # It was told to stop, and must have: it would report its end to a loop that is closed.
            self._thread.join()
            raise

    def post(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run this there; the future has what came of it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, function))
        return future
