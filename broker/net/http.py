"""What the port answers to plain HTTP: health, readiness, metrics.

Owns: routes, and the shape of every response that is no upgrade.
Must not know: transports, WebSocket.
"""

from __future__ import annotations

import logging
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import ip_address

from websockets.datastructures import Headers, MultipleValuesError
from websockets.http11 import Request, Response

from broker.net.hub import Hub

log = logging.getLogger(__name__)

ENDPOINT = "/v1"
_TEXT = "text/plain; charset=utf-8"
_METHODS = "GET, HEAD"


def respond(
    status: int,
    body: bytes | str,
    *,
    content_type: str = _TEXT,
    head: bool = False,
    **headers: str,
) -> Response:
    """A plain response after which the connection is closed; `head` leaves the body out.

    Further headers are given with underscores: `retry_after="2"`.
    """
    payload = body.encode() if isinstance(body, str) else body
    lines = Headers(
        [
            ("Date", formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(payload))),
            ("Content-Type", content_type),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
    )
    for name, value in headers.items():
        lines[name.replace("_", "-").title()] = value
    return Response(status, HTTPStatus(status).phrase, lines, b"" if head else payload)


def unreadable(start: bytes) -> Response:
    """The answer to a request that could not be parsed; `start` is how it begins.

    A request with a body lands here as well, because the parser takes none: its method says so.
    """
    method = start.split(b" ", 1)[0]
    if method.isalpha() and method.isupper() and method not in (b"GET", b"HEAD"):
        return respond(405, "only GET and HEAD are answered here\n", allow=_METHODS)
    return respond(400, "this is not an HTTP request that can be answered\n")


def overloaded(hub: Hub, text: str) -> Response:
    return respond(503, text, retry_after=str(hub.limits.retry_after_s))


def answer(hub: Hub, request: Request) -> Response:
    """The response to a request that asks for no upgrade."""
    if request.method not in ("GET", "HEAD"):
        return respond(405, "only GET and HEAD are answered here\n", allow=_METHODS)
    head = request.method == "HEAD"
    path = request.path.partition("?")[0]
    try:
        if path == "/healthz":
            return respond(200, "ok\n", head=head)
        if path == "/readyz":
            ready, text = hub.hooks.ready()
            return respond(200 if ready else 503, text, head=head)
        if path == "/metrics":
            status, body, content_type = hub.hooks.metrics(bearer(request))
            extra = {"www_authenticate": "Bearer"} if status == 401 else {}
            return respond(status, body, content_type=content_type, head=head, **extra)
    except Exception:
        log.exception("%s could not be answered", path)
        return respond(500, "internal error\n", head=head)
    if path == ENDPOINT:
        return respond(426, "this address speaks WebSocket\n", head=head, upgrade="websocket")
    return respond(404, f"not found; the WebSocket endpoint is {ENDPOINT}\n", head=head)


def is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def bearer(request: Request) -> str | None:
    """The token of the Authorization header, if it carries one."""
    try:
        value = request.headers.get("Authorization")
    except MultipleValuesError:
        return None
    if value is None:
        return None
    scheme, _, token = value.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
