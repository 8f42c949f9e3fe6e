"""A connection that asks operations one by one, for the workloads that are no stream of messages.

Owns: numbered requests and their answers, the mails that come by themselves. Must not know what is
asked, nor our own client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from bench.traffic import RunFailed
from bench.wire import Wire

NOTHING = Raw(b"")


class Incoming(Struct, gc=False):
    """What is read of a frame, whatever its kind."""

    re: int | None = None
    ok: Raw = NOTHING
    error: Raw = NOTHING
    ev: str = ""
    delivery: str = ""
    claim: str = ""


_decode_one = msgspec.json.Decoder(Incoming).decode
_decode_many = msgspec.json.Decoder(list[Incoming]).decode
_encode = msgspec.json.Encoder().encode


class Asker(Wire):
    """One connection of one member. Mail that is handed to it is acked."""

    def __init__(self, url: str, name: str, fail: Callable[[str], None]) -> None:
        super().__init__(url)
        self._name = name
        self._fault = fail
        self._number = 0
        self._asked: dict[int, asyncio.Future[Raw]] = {}
        self.acked = 0
        """Mails that came and whose ack was answered."""

    def ask(self, op: str, **fields: object) -> asyncio.Future[Raw]:
        """Send a request; the future is its answer."""
        self._number += 1
        answer: asyncio.Future[Raw] = self._loop.create_future()
        self._asked[self._number] = answer
        self.queue(_encode({"op": op, "id": self._number, **fields}))
        return answer

    async def hello(self, token: str, **fields: object) -> Raw:
        """Say who this is; a service with no room, if nothing else is said."""
        said: dict[str, object] = {"role": "service", "capacity": 0, "batch": True} | fields
        return await self.ask("hello", member=self._name, token=token, **said)

    async def bye(self) -> None:
        """Leave in order."""
        self._leaving = True
        await self.ask("bye")

    def message(self, data: bytes, now: int) -> None:
        """Answers to their askers; deliveries are acked."""
        for frame in _decode_many(data) if data[:1] == b"[" else [_decode_one(data)]:
            if frame.re is not None:
                answer = self._asked.pop(frame.re)
                if answer.done():
                    continue
                if frame.error:
                    fault = f"{self._name} was refused: {bytes(frame.error).decode()}"
                    answer.set_exception(RunFailed(fault))
                else:
                    answer.set_result(frame.ok)
            elif frame.ev == "mail.deliver":
                ack = self.ask("mail.ack", delivery=frame.delivery, claim=frame.claim)
                ack.add_done_callback(self._count)
            elif frame.error:
                self.fail(f"was told: {bytes(frame.error).decode()}")

    def fail(self, fault: str) -> None:
        """Whoever waits for an answer is told, and the run."""
        words = f"{self._name} {fault}"
        if not self.opened.done():
            self.opened.set_exception(RunFailed(words))
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(RunFailed(words))
        self._fault(words)

    def _count(self, answer: asyncio.Future[Raw]) -> None:
        if answer.exception() is None:
            self.acked += 1
        else:
            self._fault(str(answer.exception()))


def content(answer: Raw) -> dict[str, object]:
    """What an answer says."""
    return msgspec.json.decode(answer, type=dict[str, object])
