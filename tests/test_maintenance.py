"""`postroom migrate` and `postroom doctor` on a stopped broker's data directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.__main__ import main
from broker.maintenance import diagnose, migrate
from broker.store.lock import DirectoryLock
from broker.store.migrate import Migrations

FILES = [one.filename for one in Migrations.discover()]


class Steered:
    """What a command has said."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Give a command; its code, output and complaints."""
        code = main([*words, "--data", str(self.directory)])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def json(self, *words: str) -> Any:
        """Give a command; its document."""
        code, out, _ = self(*words, "--json")
        assert code == 0
        return msgspec.json.decode(out)


@pytest.fixture
def steer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Steered:
    return Steered(tmp_path / "data", capsys)


def test_to_look_at_nothing_makes_nothing(steer: Steered) -> None:
    code, out, _ = steer("migrate", "status")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [[name, "pending"] for name in FILES]
    for words in (("migrate", "down"), ("doctor",)):
        code, out, err = steer(*words)
        assert (code, out) == (1, "")
        assert err.startswith(f"postroom: there is no database in {steer.directory}")
    assert not steer.directory.exists()


def test_up_down_and_back_to_a_file(steer: Steered) -> None:
    made = steer.json("migrate", "up")
    assert (made["applied"], made["taken_back"], made["current"]) == (FILES, [], True)
    assert steer.json("migrate", "up")["applied"] == []
    assert steer.json("migrate", "down")["taken_back"] == FILES[-1:]
    back = steer.json("migrate", "down", "--to", FILES[0])
    assert back["taken_back"] == FILES[-2:0:-1]
    states = [one["state"] for one in back["migrations"]]
    assert states == ["applied", *["pending"] * (len(FILES) - 1)]
    assert back["migrations"][0]["applied_at"] > 1_700_000_000_000
    assert steer.json("migrate", "up", "--to", FILES[1])["applied"] == [FILES[1]]
    code, out, _ = steer("migrate", "up")
    assert (code, out.splitlines()[0]) == (0, f"applied {FILES[2]}")
    assert diagnose(steer.directory, repair=False).ok


def test_what_cannot_be_done_is_one_line(steer: Steered) -> None:
    steer("migrate", "up")
    code, out, err = steer("migrate", "down", "--to", "nothing.sql")
    assert (code, out) == (1, "")
    assert err.startswith("postroom: there is no migration 'nothing.sql'")
    assert steer("migrate", "status", "--to", FILES[0])[0] == 2
    assert steer("migrate", "sideways")[0] == 2


def test_both_refuse_while_somebody_works_there(steer: Steered) -> None:
    steer("migrate", "up")
    with DirectoryLock(steer.directory, "serve"):
        for words in (("migrate", "status"), ("migrate", "up"), ("doctor", "--repair")):
            code, out, err = steer(*words)
            assert (code, out) == (1, "")
            assert "is in use by postroom serve" in err


def test_an_old_schema_is_found_and_not_examined_further(steer: Steered) -> None:
    steer("migrate", "up")
    assert steer("doctor")[0] == 0
    steer("migrate", "down")
    code, out, _ = steer("doctor", "--repair", "--json")
    report = msgspec.json.decode(out)
    assert (code, report["ok"], set(report["checks"])) == (
        1,
        False,
        {"storage.integrity", "storage.migrations"},
    )
    (found,) = report["findings"]
    assert (found["subject"], found["problem"]) == (FILES[-1], "pending")


def test_a_file_that_is_no_database_is_a_finding(steer: Steered) -> None:
    steer("migrate", "up")
    for name in ("postroom.db", "postroom.db-wal", "postroom.db-shm"):
        (steer.directory / name).unlink(missing_ok=True)
    (steer.directory / "postroom.db").write_bytes(b"no database" * 100)
    code, out, _ = steer("doctor")
    assert code == 1
    assert out.startswith("storage.integrity: postroom.db: ")
    assert "not a database" in out
    assert steer("migrate", "up")[0] == 1


def test_an_examination_alone_changes_nothing(steer: Steered) -> None:
    migrate(steer.directory, "up")
    path = steer.directory / "postroom.db"
    before = path.read_bytes()
    assert steer("doctor")[0] == 0
    assert path.read_bytes() == before
