"""Keeping a client connected: the first connection, and all later ones.

Owns: when the next attempt is made and which end is final. Knows nothing of what is said but hello.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from typing import Final

import anyio
from websockets.uri import WebSocketURI

from broker.wire.presence import Welcome
from clients.conversation import Conversation, ended_by, is_final
from clients.errors import ConnectionLost, PostroomError, Retryable, Unreachable
from clients.link import Link, Lost, open_link

log = logging.getLogger("postroom.client")

HELLO_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 15.0
"""A sixth of a presence's lease: whoever comes back after an outage is still known."""


def wait_seconds(attempt: int) -> float:
    """Full jitter: anything up to a bound that doubles, so that a thousand clients spread out."""
    bound = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 16))
    return random.uniform(0, bound)  # noqa: S311 - spreads load, keeps no secret


class Keeper:
    """Opens links for a conversation, one after another."""

    def __init__(
        self, uri: WebSocketURI, tls: ssl.SSLContext | None, talk: Conversation, reconnect: bool
    ) -> None:
        self._uri = uri
        self._tls = tls
        self._talk = talk
        self._reconnect = reconnect
        self._ended: asyncio.Future[Lost] | None = None
        self._scope = anyio.CancelScope()

    async def connect(self) -> Welcome:
        """Make one attempt."""
        link: Link = await open_link(self._uri, self._talk, self._tls)
        greeted = self._talk.begin(link)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                welcome = await greeted
        except asyncio.CancelledError:
            self._talk.take_back(link)
            raise
        except TimeoutError:
            self._talk.take_back(link)
            text = f"the broker does not answer a hello within {HELLO_SECONDS:g} s"
            raise Unreachable(text) from None
        except BaseException as fault:
            link.abort()
            if isinstance(fault, ConnectionLost):
                raise Unreachable(f"the broker did not answer the hello: {fault}") from fault
            raise
        self._ended = link.ended
        return welcome

    def stop(self) -> None:
        """Do not come back any more."""
        self._scope.cancel()

    async def keep(self) -> None:
        """Come back after every loss, until an end is final."""
        with self._scope:
            await self._keep()

    async def _keep(self) -> None:
        while True:
            assert self._ended is not None
            lost = await asyncio.shield(self._ended)
            fault = ended_by(lost)
            if is_final(fault) or not self._reconnect:
                self._talk.finish(fault)
                return
            log.info("%s; connecting again", fault)
            if not await self._come_back():
                return

    async def _come_back(self) -> bool:
        attempt = 0
        while True:
            await anyio.sleep(wait_seconds(attempt))
            try:
                welcome = await self.connect()
            except (Unreachable, Retryable) as fault:
                log.info("attempt %d: %s", attempt + 1, fault)
                attempt += 1
            except PostroomError as fault:
                self._talk.finish(fault)
                return False
            else:
                log.info("connected again, %s", "resumed" if welcome.resumed else "anew")
                return True
