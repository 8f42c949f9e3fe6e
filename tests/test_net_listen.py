"""Where to listen, with which certificate, and one clear line when that cannot be."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import net_certificate
import pytest

from broker.net import listen
from broker.net.listen import ListenFailed, bind, tls


async def test_port_0_picks_a_free_port() -> None:
    (bound,) = await bind("127.0.0.1", 0)
    with bound:
        assert bound.getsockname()[1] > 0
        assert bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


async def test_all_addresses_of_a_name_share_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []

    async def two(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("127.0.0.2", port))]

    def note(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
        ports.append(address[1])
        return socket.create_server(("127.0.0.1", 0))

    monkeypatch.setattr(listen, "_addresses", two)
    monkeypatch.setattr(listen, "_bound", note)
    first, second = await bind("both.test", 0)
    with first, second:
        assert ports == [0, first.getsockname()[1]]


async def test_a_port_that_is_taken() -> None:
    (bound,) = await bind("127.0.0.1", 0)
    with bound:
        port = bound.getsockname()[1]
        with pytest.raises(ListenFailed, match=f"^127.0.0.1:{port} is already in use$"):
            await bind("127.0.0.1", port)


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(ListenFailed, match=r"^192\.0\.2\.1:7450 is not an address of this machine"):
        await bind("192.0.2.1", 7450)


async def test_a_port_that_is_none() -> None:
    with pytest.raises(ListenFailed, match=r"^port 70000 is not between 0 and 65535$"):
        await bind("127.0.0.1", 70_000)


async def test_an_unknown_name() -> None:
    with pytest.raises(ListenFailed, match=r"^host nowhere\.invalid is not known: "):
        await bind("nowhere.invalid", 7450)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EACCES, "[::1]:80 needs privileges that this process does not have"),
        (errno.ENOBUFS, f"[::1]:80 cannot be listened on: {os.strerror(errno.ENOBUFS)}"),
        (errno.EAFNOSUPPORT, "[::1]:80 is of an address family that this machine does not have"),
    ],
)
async def test_what_the_system_may_say(
    monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    def refuse(family: int, address: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listen, "_bound", refuse)
    with pytest.raises(ListenFailed) as failed:
        await bind("::1", 80)
    assert str(failed.value) == text


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    cert, key = net_certificate.write(tmp_path)
    tls(cert, key)
    key.write_text(net_certificate.KEY + net_certificate.CERTIFICATE)
    tls(key, None)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    cert, key = net_certificate.write(tmp_path)
    key.unlink()
    with pytest.raises(ListenFailed, match=r"^TLS file .*key\.pem cannot be read: No such file"):
        tls(cert, key)


def test_a_file_that_holds_something_else(tmp_path: Path) -> None:
    cert, key = net_certificate.write(tmp_path)
    cert.write_text("not a certificate")
    with pytest.raises(ListenFailed, match=r"^TLS certificate .* cannot be used: "):
        tls(cert, key)


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    cert, key = net_certificate.write(tmp_path)
    key.write_text(net_certificate.OTHER_KEY)
    with pytest.raises(ListenFailed, match=r"^TLS certificate .* cannot be used: .*MISMATCH"):
        tls(cert, key)
