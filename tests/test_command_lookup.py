"""Whom a command connects to and as whom: four things, each looked up by itself, in one order."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from clients.command.failures import NotReached, WrongUsage
from clients.command.lookup import Account, Flags, look_up

OWN = "ws://127.0.0.1:7450/v1"
FAR = "wss://far.example/v1"


class Places:
    """The places where something may be found."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "share" / "postroom"
        self.environment = {
            "XDG_DATA_HOME": str(home / "share"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }

    def broker(self, url: str = OWN, token: str = "owners") -> None:
        """A broker has been started here."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "broker.url").write_text(url + "\n")
        (self.data / "owner.token").write_text(token + "\n")

    def profile(self, text: str) -> None:
        """There is a profile."""
        path = self.home / "config" / "postroom" / "profile.toml"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def found(self, flags: Flags | None = None, **environment: str) -> Account:
        """What is found with these flags and variables."""
        return look_up(flags or Flags(), {**self.environment, **environment})


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """An empty machine."""
    return Places(tmp_path)


def test_on_the_brokers_machine_nothing_needs_to_be_said(places: Places) -> None:
    places.broker()
    found = places.found()
    assert (found.url, found.mesh, found.member, found.token) == (OWN, "default", "owner", "owners")


def test_each_is_looked_up_by_itself(places: Places) -> None:
    places.broker()
    places.profile(f'url = "{FAR}"\nmesh = "m1"\nmember = "alice"\ntoken = "t1"')
    environment = {"POSTROOM_MESH": "m2", "POSTROOM_TOKEN": "t2"}
    found = places.found(Flags(token="t3"), **environment)
    assert (found.url, found.mesh, found.member, found.token) == (FAR, "m2", "alice", "t3")
    assert places.found(None, **environment).token == "t2"
    assert places.found().token == "t1"
    every = Flags(url=OWN, mesh="m3", member="bob", token="t3")
    found = places.found(every, POSTROOM_URL=FAR, POSTROOM_MEMBER="eve", **environment)
    assert (found.url, found.mesh, found.member, found.token) == (OWN, "m3", "bob", "t3")


def test_an_empty_variable_says_nothing(places: Places) -> None:
    places.broker()
    assert places.found(POSTROOM_MEMBER="", POSTROOM_URL="", POSTROOM_TOKEN="").member == "owner"


def test_a_token_may_come_from_a_file_or_standard_input(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.broker()
    path = tmp_path / "bob.token"
    path.write_text("bobs\n")
    assert places.found(Flags(member="bob", token_file=str(path))).token == "bobs"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped\n")))
    assert places.found(Flags(member="bob", token_file="-")).token == "piped"
    with pytest.raises(WrongUsage, match=r"--token-file: .*nothing"):
        places.found(Flags(token_file=str(tmp_path / "nothing")))
    with pytest.raises(WrongUsage, match="two ways"):
        places.found(Flags(token_file=str(path), token="t"))


def test_the_owner_is_the_default_only_with_the_owners_token(places: Places) -> None:
    places.broker()
    with pytest.raises(WrongUsage, match="whose token"):
        places.found(POSTROOM_TOKEN="somebodys")
    assert places.found(POSTROOM_MEMBER="bob").member == "bob"


def test_the_owners_token_does_not_leave_this_machine(places: Places) -> None:
    places.broker()
    with pytest.raises(WrongUsage, match=f"no token for {FAR}"):
        places.found(Flags(url=FAR))
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert places.found(Flags(url=f"ws://{host}:9/v1")).token == "owners"
    places.broker(url="ws://box1.lan:7450/v1")
    assert places.found(Flags(url="ws://box1.lan:7450/v1")).token == "owners"


def test_where_there_is_no_broker_none_is_reached(places: Places) -> None:
    with pytest.raises(NotReached, match="no broker is known"):
        places.found(Flags(member="bob", token="t"))


def test_the_default_places_are_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    data = tmp_path / ".local" / "share" / "postroom"
    data.mkdir(parents=True)
    (data / "broker.url").write_text(OWN)
    (tmp_path / ".config" / "postroom").mkdir(parents=True)
    profile = tmp_path / ".config" / "postroom" / "profile.toml"
    profile.write_text('member = "alice"\ntoken = "t1"\n')
    found = look_up(Flags(), {})
    assert (found.url, found.member, found.token) == (OWN, "alice", "t1")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("url = ", "Invalid value"), ('urll = "x"', "urll"), ("member = 7", "member is a string")],
)
def test_a_profile_that_cannot_be_understood_is_told(
    places: Places, text: str, complaint: str
) -> None:
    places.broker()
    places.profile(text)
    with pytest.raises(WrongUsage, match=rf"profile\.toml: .*{complaint}"):
        places.found()
