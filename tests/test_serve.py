"""The program itself: what it says at its start and end, and why it does not start.

Real processes, because exit codes and standard streams are what is tested.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

SECONDS = 30.0
UPGRADE = (
    "GET /v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "broker", "serve", "--data", str(directory), *arguments]


def environment(**more: str) -> dict[str, str]:
    usual = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM")}
    return usual | more


def refused(directory: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """A start that must fail: the exit code, and the one line that says why."""
    done = subprocess.run(
        command(directory, *arguments),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment(**more),
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("postroom: ")
    return done.returncode, line


class Served:
    """A broker in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rsplit(":", 1)[1].split("/")[0])

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - same
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self) -> list[dict[str, Any]]:
        """Ask it to go; the lines of its log."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0
        return [msgspec.json.decode(line) for line in said.splitlines()]


@contextmanager
def served(directory: Path, *arguments: str, **more: str) -> Iterator[Served]:
    process = subprocess.Popen(
        command(directory, "--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("postroom ready "), process.communicate(timeout=SECONDS)
        yield Served(process, ready.split()[2])
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_whoever_is_ready_can_be_told_to_go(tmp_path: Path, told: signal.Signals) -> None:
    for _ in range(3):
        with served(tmp_path) as broker:
            broker.process.send_signal(told)
            broker.process.communicate(timeout=SECONDS)
            assert broker.process.returncode == 0


def test_what_it_says_from_start_to_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data, "--set", "mail.lease_ms=7000") as broker:
        assert broker.url == f"ws://127.0.0.1:{broker.port}/v1"
        assert (data / "broker.url").read_text() == f"{broker.url}\n"
        assert data.stat().st_mode & 0o777 == 0o700
        for name in ("postroom.db", "owner.token", "broker.url"):
            assert (data / name).stat().st_mode & 0o777 == 0o600
        log = data / "postroom.db-wal"
        assert log.stat().st_size > 16_000_000  # no commit lengthens it
        assert broker.get("/healthz")[0] == 200
        assert broker.get("/readyz") == (200, "ready\n")
        status, text = broker.get("/metrics")
        assert status == 200
        assert "postroom_loop_lag_seconds_count" in text
        again, line = refused(data, "--port", "0")
        assert again == 1
        assert str(data) in line
        taken, line = refused(tmp_path / "other", "--port", str(broker.port))
        assert taken == 1
        assert f"127.0.0.1:{broker.port} is already in use" in line
        secret = (data / "owner.token").read_text().strip().split("_")[2]
        said = broker.end()
    assert [line["message"] for line in said] == ["started", "draining", "stopped"]
    assert said[0]["url"] == broker.url
    assert said[0]["data"] == str(data)
    assert said[0]["settings"] == {"mail.lease_ms": 7000}
    assert secret not in str(said)


def test_a_host_that_others_reach(tmp_path: Path) -> None:
    """A warning without TLS, and `/metrics` only for an admin: a local proxy looks local, too."""
    with served(tmp_path, "--host", "0.0.0.0") as broker:  # noqa: S104 - what is tested
        token = (tmp_path / "owner.token").read_text().strip()
        assert broker.get("/metrics")[0] == 401
        assert broker.get("/metrics", "nonsense")[0] == 401
        status, text = broker.get("/metrics", token)
        assert status == 200
        assert "postroom_build" in text
        assert broker.get("/readyz")[0] == 200
        said = broker.end()
    (warning,) = [line for line in said if line["level"] == "warning"]
    assert "TLS" in warning["message"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--set", "mail.leases=1"], "mail.leases"),
        (["--set", "mail.lease_ms"], "NAME=VALUE"),
        (["--set", "mail.lease_ms=soon"], "mail.lease_ms"),
        (["--set", "mail.retention_ms=1000"], "mail.dedupe_ms"),
        (["--config", "{here}/none.toml"], "none.toml"),
        (["--config", "{here}/bad.toml"], "limits.nonsense"),
        (["--tls-cert", "{here}/bad.toml"], "--tls-key"),
        (["--prot", "1"], "--prot"),
        (["--port", "soon"], "--port"),
        (["--host", ""], "--host: it is empty"),
        (["--config", ""], "--config: it is empty"),
    ],
)
def test_a_setting_that_cannot_be(tmp_path: Path, arguments: list[str], named: str) -> None:
    (tmp_path / "bad.toml").write_text("[limits]\nnonsense = 1\n")
    data = tmp_path / "data"
    code, line = refused(data, *[one.format(here=tmp_path) for one in arguments])
    assert code == 2
    assert named in line
    assert not data.exists()


def test_a_level_of_the_log_that_does_not_exist(tmp_path: Path) -> None:
    code, line = refused(tmp_path, "--port", "0", POSTROOM_LOG="loud")
    assert code == 2
    assert "POSTROOM_LOG" in line


def test_a_data_directory_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for directory in (file, file / "below"):
        code, line = refused(directory, "--port", "0")
        assert code == 1
        assert str(directory) in line


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "postroom.db").write_text("some text, and not a short one; but no database")
    code, line = refused(tmp_path, "--port", "0")
    assert code == 1
    assert "postroom.db" in line
    assert (tmp_path / "postroom.db").read_text().startswith("some text")


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    code, line = refused(tmp_path, "--host", "203.0.113.1", "--port", "0")
    assert code == 1
    assert "203.0.113.1" in line


def test_a_port_that_another_program_holds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        code, line = refused(tmp_path, "--port", str(port))
    assert code == 1
    assert line == f"postroom: 127.0.0.1:{port} is already in use"


def test_who_cannot_say_that_it_is_ready_serves_all_the_same(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as said, Path("/dev/full").open("w") as nowhere:
        process = subprocess.Popen(
            command(tmp_path / "data", "--port", "0"),
            stdout=nowhere,
            stderr=said,
            env=environment(),
        )
        try:
            url = tmp_path / "data" / "broker.url"
            end = time.monotonic() + SECONDS
            while not url.exists() or "ready line" not in (tmp_path / "said").read_text():
                assert process.poll() is None
                assert time.monotonic() < end
            port = int(url.read_text().rsplit(":", 1)[1].split("/")[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS) as got:
                assert got.status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait(SECONDS)
    assert "the ready line cannot be written: No space left" in (tmp_path / "said").read_text()


def test_another_token_for_an_owner_who_has_lost_all(tmp_path: Path) -> None:
    with served(tmp_path) as broker:
        first = (tmp_path / "owner.token").read_text().strip()
        broker.end()
    (tmp_path / "owner.token").unlink()
    with served(tmp_path, "--host", "0.0.0.0", "--new-owner-token") as broker:  # noqa: S104 - it wants tokens
        second = (tmp_path / "owner.token").read_text().strip()
        assert second != first
        for token in (first, second):
            assert broker.get("/metrics", token)[0] == 200
        broker.end()
    assert (tmp_path / "owner.token").stat().st_mode & 0o777 == 0o600


def test_whoever_is_told_twice_goes_once(tmp_path: Path) -> None:
    with served(tmp_path) as broker, socket.create_connection(("127.0.0.1", broker.port)) as peer:
        peer.sendall(UPGRADE.encode())
        assert b"101" in peer.recv(4_096)
        broker.process.send_signal(signal.SIGTERM)
        for line in broker.process.stderr or ():
            if "draining" in line:
                break
        for told in (signal.SIGTERM, signal.SIGINT):
            broker.process.send_signal(told)
        assert broker.process.wait(SECONDS) == 0
