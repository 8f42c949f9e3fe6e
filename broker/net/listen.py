"""From a host and a port to bound sockets, from files to a TLS context, with errors for people.

Owns: the translation of what the operating system says into one clear line.
Must not know: connections.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from pathlib import Path
from typing import Any


class ListenFailed(Exception):  # noqa: N818 - named for what happened, like the others
    """The broker cannot listen; the text is one line that says why."""


def tls(cert: Path, key: Path | None) -> ssl.SSLContext:
    """A server's context out of PEM files; without `key` the certificate's file holds it too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (cert, key):
        if file is None:
            continue
        try:
            file.read_bytes()
        except OSError as error:
            raise ListenFailed(f"TLS file {file} cannot be read: {error.strerror}") from None
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or str(error)
        name = str(cert) if key is None else f"{cert} with {key}"
        raise ListenFailed(f"TLS certificate {name} cannot be used: {why}") from None
    return context


def _no_password() -> str:
    """Instead of the question that OpenSSL would put to a terminal."""
    raise ValueError("the key is encrypted")


async def bind(host: str, port: int) -> list[socket.socket]:
    """One bound socket per address of `host`, all on the same port; port 0 picks a free one."""
    if not 0 <= port <= 65535:
        raise ListenFailed(f"port {port} is not between 0 and 65535")
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, address in await _addresses(host, port):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                refused = error  # a name may have addresses of a family that is switched off here
                continue
            for opened in sockets:
                opened.close()
            raise ListenFailed(_explain(error, host, chosen)) from None
    if not sockets and refused is not None:
        raise ListenFailed(_explain(refused, host, port))
    return sockets


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenFailed(f"host {host} is not known: {error.strerror}") from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _bound(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


BACKLOG = 4096
"""Room for the clients of a full broker to come back at once, as far as the kernel lets us."""

_EXPLANATIONS = {
    errno.EADDRINUSE: "is already in use",
    errno.EACCES: "needs privileges that this process does not have",
    errno.EPERM: "needs privileges that this process does not have",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
    errno.EAFNOSUPPORT: "is of an address family that this machine does not have",
}


def _explain(error: OSError, host: str, port: int) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    why = _EXPLANATIONS.get(error.errno or 0, f"cannot be listened on: {error.strerror}")
    return f"{where} {why}"
