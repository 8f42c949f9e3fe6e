"""Time never goes back, whatever the system's clock does; chance is hard to guess."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from broker.clock import SystemChance, SystemClock, digest, same_digest


class FakeTime:
    """The clocks of a system, in nanoseconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = 1_800_000_000_123_456_789
        self.steady = 55_000_999_999
        monkeypatch.setattr(time, "time_ns", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.steady)

    def pass_ms(self, ms: int) -> None:
        self.wall += ms * 1_000_000
        self.steady += ms * 1_000_000


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return FakeTime(monkeypatch)


def test_it_begins_with_the_wall_clock(system: FakeTime) -> None:
    assert abs(SystemClock().now() - 1_800_000_000_123) <= 1


def test_it_goes_on_with_the_steady_clock(system: FakeTime) -> None:
    clock = SystemClock()
    start = clock.now()
    system.pass_ms(1_500)
    assert clock.now() == start + 1_500
    for jump in (-3_600, 7_200, -10_000_000):  # somebody sets the system's clock
        system.wall += jump * 1_000_000_000
        assert clock.now() == start + 1_500
    system.steady += 1
    assert clock.now() >= start + 1_500


def test_it_is_not_before_what_was_stored(system: FakeTime) -> None:
    clock = SystemClock()
    start = clock.now()
    clock.not_before(start - 60_000)
    assert clock.now() == start, "the past changes nothing"
    clock.not_before(start + 60_000)
    assert clock.now() == start + 60_000
    system.pass_ms(10)
    assert clock.now() == start + 60_010
    clock.not_before(start + 60_000)
    assert clock.now() == start + 60_010


def test_the_real_ones() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time() * 1_000) < 2_000
    spans = [clock.monotonic() for _ in range(100)]
    assert spans == sorted(spans)
    instants = [clock.now() for _ in range(100)]
    assert instants == sorted(instants)


def test_chance() -> None:
    chance = SystemChance()
    secrets = {chance.secret() for _ in range(1_000)}
    assert len(secrets) == 1_000
    assert all(re.fullmatch(r"[0-9A-Za-z_-]{32}", secret) for secret in secrets)
    labels = {chance.label() for _ in range(1_000)}
    assert len(labels) > 990
    assert all(re.fullmatch(r"[0-9a-z]{8}", label) for label in labels)
    jitters = [chance.jitter() for _ in range(1_000)]
    assert 0.5 <= min(jitters) < 0.55
    assert 0.95 < max(jitters) <= 1


def test_digests() -> None:
    assert digest("sécret") == hashlib.sha256("sécret".encode()).digest()
    assert same_digest(digest("a"), digest("a"))
    assert not same_digest(digest("a"), digest("b"))
    assert not same_digest(digest("a"), digest("a")[:-1])
