"""Plain HTTP on the broker's port: health, readiness, metrics, and everything that is not there."""

from __future__ import annotations

import pytest
from net_peer import App, connected, request, serving

HOST = {"Host": "broker.test"}
PLAIN = "text/plain; charset=utf-8"


async def ask(app: App, said: bytes, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request, after which the server closes."""
    async with serving(app) as server, connected(server) as raw:
        raw.send(said)
        answer = await raw.response(body=body)
        if raw.writer.can_write_eof():
            raw.writer.write_eof()
        assert await raw.end() == b""
        return answer


async def test_health() -> None:
    status, headers, body = await ask(App(), request("/healthz", HOST))
    assert (status, body) == (200, b"ok\n")
    assert headers["connection"] == "close"
    assert headers["content-type"] == PLAIN
    assert headers["content-length"] == "3"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["date"].endswith("GMT")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nowhere", "/v1"])
async def test_head_is_get_without_the_body(path: str) -> None:
    got, with_body, body = await ask(App(), request(path, HOST))
    status, headers, _ = await ask(App(), request(path, HOST, method="HEAD"), body=False)
    assert status == got
    assert headers["content-length"] == with_body["content-length"] == str(len(body))


async def test_ready() -> None:
    status, _, body = await ask(App(), request("/readyz", HOST))
    assert (status, body) == (200, b"ready\n")


async def test_not_ready() -> None:
    app = App(ready=(False, "draining\n"))
    status, _, body = await ask(app, request("/readyz", HOST))
    assert (status, body) == (503, b"draining\n")


async def test_metrics_are_the_application_s() -> None:
    app = App()
    said = request("/metrics?x=1", {**HOST, "Authorization": "Bearer prm_1_x"})
    status, headers, body = await ask(app, said)
    assert (status, body) == (200, b"a_total 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4"
    assert app.asked == ["prm_1_x"]


async def test_metrics_may_want_a_token() -> None:
    app = App(metrics=(401, b"a token is needed\n", PLAIN))
    status, headers, _ = await ask(app, request("/metrics", HOST))
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert app.asked == [None]


async def test_a_mistake_of_ours_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(App):
        def scrape(self, bearer: str | None) -> tuple[int, bytes, str]:
            raise ZeroDivisionError

    status, _, body = await ask(Broken(), request("/metrics", HOST))
    assert (status, body) == (500, b"internal error\n")
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_not_there() -> None:
    status, _, body = await ask(App(), request("/v2", HOST))
    assert status == 404
    assert b"/v1" in body


async def test_the_endpoint_wants_an_upgrade() -> None:
    status, headers, _ = await ask(App(), request("/v1", HOST))
    assert status == 426
    assert headers["upgrade"] == "websocket"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS"])
async def test_other_methods(method: str) -> None:
    status, headers, _ = await ask(App(), request("/healthz", HOST, method=method))
    assert status == 405
    assert headers["allow"] == "GET, HEAD"


async def test_a_request_with_a_body() -> None:
    said = request("/healthz", {**HOST, "Content-Length": "5"}, method="POST") + b"hello"
    status, headers, _ = await ask(App(), said)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"


async def test_http_1_0_and_no_host() -> None:
    status, _, body = await ask(App(), b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (status, body) == (200, b"ok\n")


async def test_an_offer_of_another_protocol_is_passed_over() -> None:
    headers = {**HOST, "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
    status, _, body = await ask(App(), request("/healthz", headers))
    assert (status, body) == (200, b"ok\n")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(b"hello\r\n\r\n", 400, id="no request"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, id="TLS"),
        pytest.param(b"GET /healthz HTTP/2.0\r\n\r\n", 400, id="another HTTP"),
        pytest.param(b"GET /healthz HTTP/1.1\n\n", 400, id="bare line feeds"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nno header\r\n\r\n", 400, id="no header"),
        pytest.param(b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 414, id="long line"),
        pytest.param(request("/healthz", {"X": "x" * 9_000}), 431, id="long header"),
        pytest.param(
            request("/healthz", {f"X-{number}": "x" * 7_000 for number in range(5)}), 431, id="all"
        ),
        pytest.param(
            request("/healthz", {f"X-{number}": "x" for number in range(200)}), 431, id="many"
        ),
    ],
)
async def test_what_cannot_be_read(said: bytes, status: int) -> None:
    assert (await ask(App(), said))[0] == status


async def test_a_request_in_pieces() -> None:
    async with serving(App()) as server, connected(server) as raw:
        for byte in request("/healthz", HOST):
            raw.send(bytes((byte,)))
            await raw.writer.drain()
        assert (await raw.response(body=True))[2] == b"ok\n"
        assert await raw.end() == b""


async def test_a_second_request_is_not_answered() -> None:
    async with serving(App()) as server, connected(server) as raw:
        raw.send(request("/healthz", HOST) * 2)
        assert (await raw.response(body=True))[0] == 200
        raw.writer.write_eof()
        assert await raw.end() == b""


async def test_health_answers_when_the_broker_is_full() -> None:
    app = App(strangers=1_000)
    async with serving(app, unauthenticated=1) as server, connected(server) as raw:
        raw.send(request("/healthz", HOST))
        assert (await raw.response())[0] == 200


async def test_too_many_sockets_are_not_even_read() -> None:
    async with serving(App(), connections=1, unauthenticated=1) as server:
        silent = [connected(server) for _ in range(66)]
        for peer in silent:
            await peer.__aenter__()
        async with connected(server) as raw:
            status, headers, _ = await raw.response()
            assert status == 503
            assert headers["retry-after"] == "2"
            assert await raw.reader.read() == b"too many connections\n"
        for peer in silent:
            await peer.__aexit__(None, None, None)
