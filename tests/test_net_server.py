"""A server as the application uses it: its address, TLS, draining, and its end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import net_certificate
import pytest
from net_peer import LIMITS, App, Recorder, connected, request, serving, upgraded
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from broker.net.server import ListenFailed, Server


def echo(talk: Recorder) -> None:
    talk.on_message = lambda talk, data: talk.line.send(data)


async def test_the_address_is_one_that_clients_can_use() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, connect(server.url) as peer:
        assert server.url.startswith("ws://127.0.0.1:")
        assert server.url.endswith("/v1")
        await peer.send("hi")
        assert await peer.recv() == "hi"


async def test_a_name_stays_a_name() -> None:
    async with serving(App(), host="localhost") as server, connect(server.url):
        assert server.url.startswith("ws://localhost:")


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python knows no IPv6")
async def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    app = App()
    async with serving(app, host="::1") as server, connect(server.url):
        assert server.url.startswith("ws://[::1]:")
        assert app.talks[0].greeting.remote.startswith("[::1]:")


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    async with serving(App()) as server:
        port = int(server.url.rsplit(":", 1)[1].removesuffix("/v1"))
        second = Server(LIMITS, App().hooks)
        with pytest.raises(ListenFailed, match=r"is already in use$"):
            await second.listen("127.0.0.1", port)


async def test_small_messages_are_not_held_back() -> None:
    app = App()
    nodelay: list[int] = []

    def look(talk: Recorder) -> None:
        transport = getattr(talk.line, "_transport")  # noqa: B009 - not for anybody else
        opened = transport.get_extra_info("socket")
        nodelay.append(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    app.prepare = look
    async with serving(app) as server, upgraded(server):
        assert nodelay == [1]


async def test_many_connections_at_once() -> None:
    app = App(prepare=echo)
    async with serving(app, connections=300) as server:
        peers = [upgraded(server) for _ in range(200)]
        raws = await asyncio.gather(*(peer.__aenter__() for peer in peers))
        assert server.connections == 200
        server.close_all(1001, "going away")
        assert {await raw.close_code() for raw in raws} == {1001}
        assert not await server.closed(0.01)
        assert server.connections == 0
        assert server.counters.closed == 200
        assert all(talk.losses == 1 for talk in app.talks)
        await asyncio.gather(*(peer.__aexit__(None, None, None) for peer in peers))


async def test_draining() -> None:
    app = App(prepare=echo)
    async with serving(app) as server, connect(server.url) as peer:
        server.stop_accepting()
        with pytest.raises(OSError, match=r"."):
            async with connected(server):
                pass
        await peer.send("still here")
        assert await peer.recv() == "still here"
        server.close_all(1001, "going away")
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        assert (peer.close_code, peer.close_reason) == (1001, "going away")
        assert await server.closed(10)
        assert server.connections == 0


async def test_an_end_drops_those_that_do_not_answer() -> None:
    app = App()
    async with serving(app) as server, upgraded(server) as raw, connected(server) as silent:
        server.stop_accepting()
        server.close_all(1001, "going away")
        assert await raw.close_code() == 1001
        assert not await server.closed(0.05)
        assert await raw.end() == b""
        assert await silent.end() == b""
        assert app.talks[0].losses == 1


@pytest.fixture
async def secure(tmp_path: Path) -> tuple[Path, Path]:
    return net_certificate.write(tmp_path)


async def test_tls(secure: tuple[Path, Path]) -> None:
    app = App(prepare=echo)
    cert, key = secure
    async with serving(app, cert=cert, key=key, close_ms=500) as server:
        assert server.url.startswith("wss://127.0.0.1:")
        trusting = net_certificate.trusting()
        async with connect(server.url, ssl=trusting) as peer:
            for text in ("hi", "x" * 60_000):
                await peer.send(text)
                assert await peer.recv() == text
            app.talks[0].line.close(4403, "revoked")
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert peer.close_code == 4403
        async with connect(server.url, ssl=trusting, compression=None) as peer:
            await peer.send("x" * 70_000)
            with pytest.raises(ConnectionClosed):
                await peer.recv()
            assert peer.close_code == 1009
        async with connected(server, trusting) as raw:
            raw.send(request("/healthz", {"Host": "localhost"}))
            assert (await raw.response(body=True))[2] == b"ok\n"
            assert await raw.end() == b""
        assert await server.closed(10)
        assert all(talk.losses == 1 for talk in app.talks)


async def test_plain_bytes_on_a_tls_port_are_dropped(secure: tuple[Path, Path]) -> None:
    app = App()
    cert, key = secure
    async with serving(app, cert=cert, key=key) as server:
        async with connected(server) as raw:
            raw.send(request("/healthz", {"Host": "localhost"}))
            await raw.end()
        assert app.talks == []
