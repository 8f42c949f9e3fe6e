"""Who becomes a WebSocket: the path, origins, limits, and what the conversation learns."""

from __future__ import annotations

import pytest
from net_peer import UPGRADE, App, connected, request, serving, upgraded
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request
from websockets.typing import Origin

from broker.net.http import bearer


async def status_of(
    app: App, said: bytes, *, unauthenticated: int = 10
) -> tuple[int, dict[str, str]]:
    """What a request is answered with."""
    async with serving(app, unauthenticated=unauthenticated) as server, connected(server) as raw:
        raw.send(said)
        status, headers, _ = await raw.response()
        return status, headers


async def test_the_conversation_learns_who_is_there() -> None:
    app = App()
    async with serving(app) as server:
        headers = {"Authorization": "Bearer prm_1_secret"}
        async with connect(server.url, additional_headers=headers) as peer:
            host, port = peer.local_address
            greeting = app.talks[0].greeting
            assert greeting.bearer == "prm_1_secret"
            assert greeting.remote == f"{host}:{port}"


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer  ", None),
        ("Basic abc", None),
        ("bearer abc", "abc"),
        ("Bearer   abc ", "abc"),
    ],
)
def test_a_bearer_token(value: str | None, token: str | None) -> None:
    headers = Headers() if value is None else Headers(Authorization=value)
    assert bearer(Request("/v1", headers)) == token


async def test_two_tokens_are_none() -> None:
    app = App()
    said = request("/v1", UPGRADE)[:-2] + b"Authorization: Bearer a\r\n" * 2 + b"\r\n"
    async with serving(app) as server, connected(server) as raw:
        raw.send(said)
        assert (await raw.response())[0] == 101
        assert app.talks[0].greeting.bearer is None


async def test_compression_is_not_agreed_on() -> None:
    async with serving(App()) as server, connect(server.url, compression="deflate") as peer:
        assert peer.response is not None
        assert "Sec-WebSocket-Extensions" not in peer.response.headers


async def test_a_query_is_no_other_path() -> None:
    assert (await status_of(App(), request("/v1?x=y", UPGRADE)))[0] == 101


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/", {}, 404),
        ("/v1/", {}, 404),
        ("/healthz", {}, 404),
        ("/v1", {"Sec-WebSocket-Version": "8"}, 400),
        ("/v1", {"Sec-WebSocket-Key": "short"}, 400),
        ("/v1", {"Connection": "close"}, 426),
        ("/v1", {"Upgrade": "WebSocket"}, 101),
    ],
)
async def test_what_an_upgrade_needs(path: str, changes: dict[str, str], status: int) -> None:
    app = App()
    assert (await status_of(app, request(path, UPGRADE | changes)))[0] == status
    assert len(app.talks) == (status == 101)


async def test_an_upgrade_is_a_get() -> None:
    assert (await status_of(App(), request("/v1", UPGRADE, method="PUT")))[0] == 405


async def test_over_the_limit_of_connections() -> None:
    app = App()
    async with serving(app, connections=2) as server:
        async with upgraded(server), upgraded(server):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(server.url):
                    pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "2"
            assert refused.value.response.body == b"too many connections\n"
            assert server.connections == 2
        for talk in app.talks:
            await talk.until(lambda talk=talk: talk.losses == 1)  # type: ignore[misc]  # bound early
        async with upgraded(server):
            assert server.connections == 1


async def test_over_the_limit_of_those_without_hello() -> None:
    app = App(strangers=5)
    status, headers = await status_of(app, request("/v1", UPGRADE), unauthenticated=5)
    assert status == 503
    assert headers["retry-after"] == "2"
    app.strangers = 4
    assert (await status_of(app, request("/v1", UPGRADE), unauthenticated=5))[0] == 101


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://127.0.0.1:7450", "127.0.0.1:7450", 101),
        ("https://localhost:7450", "LOCALHOST:7450", 101),
        ("http://localhost", "localhost", 101),
        ("http://localhost:80", "localhost", 101),
        ("http://[::1]:7450", "[::1]:7450", 101),
        ("http://localhost:7451", "localhost:7450", 403),
        ("http://evil.test", "127.0.0.1:7450", 403),
        ("http://rebound.test:7450", "rebound.test:7450", 403),
        ("null", "127.0.0.1:7450", 403),
        ("http://[", "127.0.0.1:7450", 403),
        ("file://", "127.0.0.1:7450", 403),
        ("https://console.test", "127.0.0.1:7450", 101),
        ("https://Console.test/", "127.0.0.1:7450", 101),
    ],
)
async def test_a_browser_comes_from_its_own_or_an_allowed_origin(
    origin: str, host: str, status: int
) -> None:
    app = App()
    allowed = ("https://console.test",)
    async with serving(app, origins=allowed) as server, connected(server) as raw:
        raw.send(request("/v1", {**UPGRADE, "Host": host, "Origin": origin}))
        assert (await raw.response())[0] == status
        assert len(app.talks) == (status == 101)


async def test_two_origins_are_not_believed() -> None:
    said = request("/v1", UPGRADE)[:-2] + b"Origin: https://console.test\r\n" * 2 + b"\r\n"
    assert (await status_of(App(), said))[0] == 403


async def test_every_origin_may_be_allowed() -> None:
    origin = Origin("https://anywhere.test")
    async with (
        serving(App(), origins=("*",)) as server,
        connect(server.url, origin=origin) as peer,
    ):
        await (await peer.ping())


async def test_no_new_conversations_while_draining() -> None:
    app = App()
    async with serving(app) as server, connected(server) as early, upgraded(server) as raw:
        server.stop_accepting()
        early.send(request("/v1", UPGRADE))
        status, headers, _ = await early.response()
        assert status == 503
        assert headers["retry-after"] == "2"
        app.talks[0].line.send(b"still here")
        assert (await raw.frame())[1] == b"still here"
