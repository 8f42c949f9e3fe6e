"""The opening of a connection: one HTTP request, and whether it becomes a WebSocket.

Owns: the reading of the request's head, who may upgrade, what the conversation learns of the peer.
Must not know: transports, deadlines, what is said after the upgrade.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from broker.core.ports import Greeting
from broker.net import http
from broker.net.hub import Hub
from broker.net.inbox import quiet

log = logging.getLogger(__name__)

_HEAD_END = b"\r\n\r\n"
_MOST_HEAD = 32 * 1024
"""Bytes of a request's head. The parser bounds only its lines, to a MiB in sum, and those who have
not said who they are may not make us keep that."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(slots=True)
class Opening:
    """How a request ended."""

    reply: bytes
    greeting: Greeting | None = None
    """Who the peer is, when it was upgraded; else `reply` is the last that it gets."""

    more: bytes = b""
    """What an upgraded peer sent without waiting for the answer."""

    clean: bool = True
    """Whether the request was read to its end, so that the socket may be closed at once."""


class Handshake:
    """Reads one request. Dropped as soon as that is answered."""

    __slots__ = ("_hub", "_local", "_peer", "_protocol", "_size", "_start", "_tail")

    def __init__(self, hub: Hub, *, local: object, peer: object) -> None:
        self._hub = hub
        self._local = local
        self._peer = peer
        self._protocol = ServerProtocol(logger=quiet)
        self._start = b""
        self._tail = b""
        self._size = 0

    def feed(self, data: bytes) -> Opening | None:
        """Read on; nothing while the request is not complete.

        websockets gets the head and not a byte more: what follows is the inbox's.
        """
        protocol = self._protocol
        tail = self._tail
        end = (tail + data).find(_HEAD_END)
        cut = len(data) if end < 0 else end + len(_HEAD_END) - len(tail)
        self._tail = (tail + data[-3:])[-3:]
        if len(self._start) < 16:
            self._start += data[:16]
        self._size += cut
        if self._size > _MOST_HEAD:
            return Opening(http.respond(431, "the request is too long\n").serialize(), clean=False)
        protocol.receive_data(data[:cut])
        events = protocol.events_received()
        if events:
            return self._answer(cast("Request", events[0]), data[cut:])
        if not protocol.eof_sent:
            return None
        words = b"".join(protocol.data_to_send())
        return Opening(words or http.unreadable(self._start).serialize(), clean=False)

    def _answer(self, request: Request, more: bytes) -> Opening:
        if not _wants_upgrade(request):
            host, _ = _address(self._peer)
            response = http.answer(self._hub, request)
            return Opening(response.serialize(), clean=not more)
        local_host, _ = _address(self._local)
        response = upgrade(self._hub, self._protocol, request, local_host=local_host)
        if response.status_code != 101:
            host, port = _address(self._peer)
            why = bytes(response.body).decode(errors="replace").strip()
            log.info("upgrade from %s port %d refused: %s", host, port, why)
            return Opening(response.serialize(), clean=not more)
        return Opening(response.serialize(), _greeting(request, self._peer), more)


def _wants_upgrade(request: Request) -> bool:
    """Whether a WebSocket is asked for; an offer of another protocol is passed over."""
    return any(
        option.strip().lower() == "websocket"
        for value in request.headers.get_all("Upgrade")
        for option in value.split(",")
    )


def upgrade(
    hub: Hub, protocol: ServerProtocol, request: Request, *, local_host: str | None
) -> Response:
    """The response to a request that asks for a WebSocket: 101, or why not."""
    if request.path.partition("?")[0] != http.ENDPOINT:
        return http.respond(404, f"not found; the WebSocket endpoint is {http.ENDPOINT}\n")
    if not origin_allowed(hub, request, local_host=local_host):
        return http.respond(403, "this origin is not allowed; see --allow-origin\n")
    if hub.draining:
        return http.overloaded(hub, "going away\n")
    if len(hub.lines) >= hub.limits.connections:
        return http.overloaded(hub, "too many connections\n")
    if hub.hooks.unauthenticated() >= hub.limits.unauthenticated:
        return http.overloaded(hub, "too many connections that have not said hello\n")
    return protocol.accept(request)


def origin_allowed(hub: Hub, request: Request, *, local_host: str | None) -> bool:
    """Whether a browser page of this origin may connect; programs send no origin and always may.

    A page's own origin is the one whose host and port it connects to. On a loopback address a
    foreign name is not believed even then: it is how a rebound DNS name reaches a local server.
    """
    try:
        origin = request.headers.get("Origin")
        host = request.headers.get("Host", "")
    except MultipleValuesError:
        return False
    if origin is None or "*" in hub.origins:
        return True
    origin = origin.lower().rstrip("/")
    if origin in hub.origins:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if name is None or parts.scheme not in _DEFAULT_PORTS:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    if parts.netloc.removesuffix(default) != host.lower().removesuffix(default):
        return False
    return name == "localhost" or http.is_loopback(name) or not http.is_loopback(local_host)


def _greeting(request: Request, peer: object) -> Greeting:
    """What the conversation is told about the request; `peer` is the socket's peer name."""
    host, port = _address(peer)
    return Greeting(
        bearer=http.bearer(request),
        remote=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    )


def _address(name: object) -> tuple[str, int]:
    """Host and port out of a socket's name."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
