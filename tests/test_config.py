"""Settings: their names and defaults, which are promised, and what is refused at the start."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any, Final

import pytest

from broker.config import LARGEST, ConfigError, Settings, load

PROMISED: Final = {
    "mail.lease_ms": 30_000,
    "mail.backoff_ms": 5_000,
    "mail.backoff_max_ms": 300_000,
    "mail.max_attempts": 5,
    "mail.max_claims": 20,
    "mail.ttl_ms": 604_800_000,
    "mail.info_ttl_ms": 3_600_000,
    "mail.retention_ms": 604_800_000,
    "mail.max_depth": 100_000,
    "mail.dedupe_ms": 86_400_000,
    "presence.lease_ms": 90_000,
    "presence.ping_ms": 20_000,
    "presence.pong_ms": 45_000,
    "presence.hello_ms": 5_000,
    "dispatch.lease_ms": 60_000,
    "dispatch.max_attempts": 5,
    "delegation.stuck_ms": 600_000,
    "delegation.deadline_ms": 21_600_000,
    "delegation.sweep_ms": 30_000,
    "limits.body": 262_144,
    "limits.frame": 1_048_576,
    "limits.outbox": 4_194_304,
    "limits.send_rate": 2_000,
    "limits.connections": 10_000,
    "limits.unauthenticated": 256,
    "store.synchronous": "full",
}
NUMBERS: Final = [name for name, value in PROMISED.items() if isinstance(value, int)]
TOGETHER: Final = {"mail.retention_ms", "mail.dedupe_ms", "limits.frame", "limits.body"}
"""Those that are bound to another one."""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(values: dict[str, Any]) -> str:
    """Why these cannot be."""
    with pytest.raises(ConfigError) as error:
        Settings.of(values)
    return str(error.value)


def test_the_page_for_who_runs_it_lists_them_all() -> None:
    page = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, default in Settings().names().items():
        assert f"| `{name}` | {default} |" in page


def test_names_and_defaults_are_those_of_the_protocol() -> None:
    assert Settings().names() == PROMISED
    assert Settings.of({}) == Settings() == load(None, [])
    assert Settings().changed() == {}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_set_by_its_name(name: str) -> None:
    value = PROMISED[name] if name in TOGETHER or "max_attempts" in name else 77
    given: list[Any] = [value, str(value), f" {value} ", f"{value:_}"]
    for form in given:
        settings = Settings.of({name: form})
        assert settings.names() == PROMISED | {name: value}
        assert settings.changed() == ({} if value == PROMISED[name] else {name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value",
    [-1, LARGEST + 1, 2**70, 1.5, True, None, [], {}, "", "x", "1.5", "1e3", "0x10", "9" * 5_000],
    ids=repr,
)
def test_a_number_that_cannot_be(name: str, value: Any) -> None:
    assert refused({name: value}).startswith(name)


@pytest.mark.parametrize("name", NUMBERS)
def test_zero(name: str) -> None:
    if name == "limits.send_rate":
        assert Settings.of({name: 0}).limits.send_rate == 0
    else:
        assert name in refused({name: 0})


@pytest.mark.parametrize(
    "name", ["", ".", "mail", "mail.", "lease_ms", "mail.lease", "mail.lease_ms.x", "Mail.lease_ms"]
)
def test_an_unknown_name(name: str) -> None:
    text = refused({name: 1})
    assert repr(name) in text
    assert "mail.lease_ms" in text, "the known ones are told"


def test_synchronous() -> None:
    assert Settings.of({"store.synchronous": "normal"}).store.synchronous == "normal"
    for value in ("off", "FULL", "", 1, None, True):
        assert refused({"store.synchronous": value}).startswith("store.synchronous")


def test_a_key_may_not_outlive_its_message() -> None:
    assert Settings.of({"mail.dedupe_ms": 5, "mail.retention_ms": 5}).mail.dedupe_ms == 5
    assert "mail.dedupe_ms" in refused({"mail.dedupe_ms": 6, "mail.retention_ms": 5})
    assert "mail.retention_ms" in refused({"mail.retention_ms": 86_399_999})


def test_a_frame_holds_two_bodies_and_something_more() -> None:
    least = 2 * 1_000 + 65_536
    assert Settings.of({"limits.body": 1_000, "limits.frame": least}).limits.frame == least
    assert "limits.frame" in refused({"limits.body": 1_000, "limits.frame": least - 1})
    assert "limits.frame" in refused({"limits.body": 1_048_576})


@pytest.mark.parametrize("name", ["mail.max_attempts", "dispatch.max_attempts"])
def test_attempts(name: str) -> None:
    for value in (1, 100):
        assert Settings.of({name: value}).names()[name] == value
    assert name in refused({name: 101})


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.mail.lease_ms = 1  # type: ignore[misc]  # the point
    with pytest.raises(FrozenInstanceError):
        settings.mail = settings.mail  # type: ignore[misc]  # the point


def test_a_file(tmp_path: Path) -> None:
    text = """
        "presence.ping_ms" = 7
        mail.lease_ms = 1_000
        [mail]
        max_claims = 3
        [store]
        synchronous = "normal"
    """
    with pytest.raises(ConfigError, match=r"a\.toml"):
        load(written(tmp_path / "a.toml", text), [])  # TOML itself: `mail` is there twice
    settings = load(written(tmp_path / "b.toml", text.replace("mail.lease_ms = 1_000", "")), [])
    assert settings.changed() == {
        "mail.max_claims": 3,
        "presence.ping_ms": 7,
        "store.synchronous": "normal",
    }
    assert load(written(tmp_path / "c.toml", ""), []) == Settings()


def test_the_command_line_wins(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", "[mail]\nlease_ms = 5\nttl_ms = 6\n")
    settings = load(path, ["mail.lease_ms=7", " mail.max_claims = 8 ", "mail.lease_ms=9"])
    assert settings.changed() == {"mail.lease_ms": 9, "mail.ttl_ms": 6, "mail.max_claims": 8}


def test_values_that_fit_only_together_may_come_from_both(tmp_path: Path) -> None:
    path = written(tmp_path / "a.toml", "[mail]\nretention_ms = 10\n")
    assert load(path, ["mail.dedupe_ms=10"]).mail.retention_ms == 10
    with pytest.raises(ConfigError, match=r"mail\.dedupe_ms"):
        load(path, [])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[mail]\nlease = 5\n", "'mail.lease'"),
        ("[male]\nlease_ms = 5\n", "'male.lease_ms'"),
        ("lease_ms = 5\n", "'lease_ms'"),
        ("mail = 5\n", "'mail'"),
        ("[mail.lease_ms]\nx = 5\n", "mail.lease_ms"),
        ('[mail]\nlease_ms = "soon"\n', "mail.lease_ms"),
        ("[mail]\nlease_ms = 2026-01-01\n", "mail.lease_ms"),
        ("[[mail]]\nlease_ms = 5\n", "'mail'"),
        ("mail.lease_ms = \n", "a.toml"),
        ("\x00", "a.toml"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(written(tmp_path / "a.toml", text), [])
    assert named in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    for name in ("latin.toml", "none.toml", "."):
        with pytest.raises(ConfigError) as error:
            load(tmp_path / name, [])
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("pair", ["mail.lease_ms", "", "=", "mail.lease_ms:5", "mail.lease_ms=5=5"])
def test_a_pair_that_is_none(pair: str) -> None:
    with pytest.raises(ConfigError):
        load(None, [pair])


def test_what_may_be_meant_and_where_it_stands_is_told(tmp_path: Path) -> None:
    file = tmp_path / "postroom.toml"
    file.write_text("[mail]\nlease = 1\n")
    with pytest.raises(ConfigError, match=r"postroom.toml: .*'mail.lease' \(is it mail.lease_ms"):
        load(file, [])
    with pytest.raises(ConfigError, match=r"^unknown setting 'mail.lease' \(is it mail.lease_ms"):
        load(None, ["mail.lease=1"])
