"""Connections that come and go, over real sockets, leave nothing behind.

Owns: counting what a broker with nobody connected holds: rows, tasks, descriptors, objects.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from broker.app import Broker
from broker.clock import SystemClock
from broker.config import Settings
from broker.core.conversation import Conversation
from broker.core.house import Mailbox, Presence
from broker.data import DATABASE, OWNER_TOKEN, open_data
from broker.net.connection import Connection

COMINGS = 200
AT_ONCE = 20
SETTINGS = Settings.of({"presence.lease_ms": 200, "presence.hello_ms": 300})
TABLES = ("mailboxes", "presences", "memberships", "tokens", "members", "deliveries", "messages")


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Broker]:
    """A broker in this process, on a port of its own."""
    store = await open_data(directory, SETTINGS)
    broker = Broker(store, SETTINGS, SystemClock())
    broker.begin(directory)
    await broker.server.listen("127.0.0.1", 0)
    try:
        yield broker
    finally:
        await broker.drain()
        await store.close()


async def come_and_go(url: str, token: str, number: int) -> None:
    """One connection, which ends in one of the ways in which they do."""
    async with connect(url, compression=None) as socket:
        if number % 5 == 4:  # says nothing, and goes
            return
        hello: dict[str, Any] = {"op": "hello", "id": 1, "member": "owner", "token": token}
        if number % 3 == 0:
            hello["session"] = f"s{number % 7}"
        if number % 7 == 0:
            hello |= {"observe": True, "session": None}
        else:
            hello["groups"] = ["@team", f"#t{number}"]
        await say(socket, hello)
        await say(socket, {"op": "mail.send", "id": 2, "to": "#nobody", "body": number})
        if number % 2:
            await say(socket, {"op": "bye", "id": 3, "final": True})
        elif number % 4 == 0:
            socket.transport.abort()


async def say(socket: ClientConnection, frame: dict[str, Any]) -> None:
    """Send a request, and read until it is answered or the connection is closed."""
    with suppress(ConnectionClosed):
        await socket.send(msgspec.json.encode(frame).decode())
        while msgspec.json.decode(await socket.recv()).get("re") != frame["id"]:
            pass


def held(directory: Path) -> dict[str, int]:
    """What there is of everything that could be left behind."""
    gc.collect()
    kinds = (Connection, Conversation, Presence, Mailbox)
    things = gc.get_objects()
    found = {kind.__name__: sum(type(one) is kind for one in things) for kind in kinds}
    found["tasks"] = len(asyncio.all_tasks())
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    connection = sqlite3.connect(directory / DATABASE)
    for table in TABLES:
        ((found[table],),) = connection.execute(f"SELECT count(*) FROM {table}")
    connection.close()
    return found


async def test_two_hundred_come_and_go(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        token = (tmp_path / OWNER_TOKEN).read_text().strip()
        url = broker.server.url
        await come_and_go(url, token, 1)
        held(tmp_path)  # SQLite keeps the descriptor of a connection that only looked
        await asyncio.sleep(0.3)
        before = held(tmp_path)
        for first in range(0, COMINGS, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            await asyncio.gather(*(come_and_go(url, token, number) for number in numbers))
        for number in range(7):  # the chosen labels are given up by those who took them
            async with connect(url, compression=None) as socket:
                hello = {"op": "hello", "id": 1, "member": "owner", "token": token}
                await say(socket, {**hello, "session": f"s{number}"})
                await say(socket, {"op": "bye", "id": 2, "final": True})
        after = held(tmp_path)
        for _ in range(20):
            await come_and_go(url, token, 35)  # what the last batch can take back, it still holds
            await asyncio.sleep(0.05)
            after = held(tmp_path) | {"messages": before["messages"]}
            if after == before:
                break
        assert after == before
        assert broker.server.connections == 0
        assert broker.server.counters.opened == broker.server.counters.closed > COMINGS
        assert not broker.strangers
        mesh = broker.house.meshes["default"]
        assert not mesh.groups
        assert not mesh.watchers
        assert mesh.members["owner"].labels == {}
        assert broker.executor.waiting == 0
