"""Fields of wire structs as arguments: the type decides, and nothing of an operation is named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw

from broker.wire import OPERATIONS, Request
from broker.wire.delegations import Open
from broker.wire.directory import AddMember, CreateToken, RevokeToken, UpdateMember
from broker.wire.dispatch import Create, GetDispatch
from broker.wire.mail import Ack, Cancel, Claim, ListMail, Nack, Redrive, Send
from clients.command.durations import milliseconds, written
from clients.command.failures import WrongUsage
from clients.command.fields import Kind, fields_of, positional
from clients.command.parameters import arguments
from clients.command.values import request_of


def made(struct: type[Request], **given: Any) -> Any:
    """The request of these arguments, as cyclopts hands them over."""
    return request_of(struct, fields_of(struct), given)


def kinds(struct: type[Request]) -> dict[str, Kind]:
    return {one.name: one.kind for one in fields_of(struct)}


def places(struct: type[Request]) -> list[str]:
    return [one.name for one in positional(fields_of(struct))]


def test_the_type_of_a_field_is_its_kind_of_argument() -> None:
    assert kinds(Send) == {
        "to": Kind.TARGETS,
        "body": Kind.BODY,
        "key": Kind.TEXT,
        "kind": Kind.TEXT,
        "priority": Kind.WORD_OR_NUMBER,
        "ttl_ms": Kind.DURATION,
        "delay_ms": Kind.DURATION,
        "reply_to": Kind.TEXT,
        "meta": Kind.JSON,
        "receipt": Kind.SWITCH,
        "max_attempts": Kind.NUMBER,
        "dedupe": Kind.CHOICE,
    }
    assert kinds(Create)["prompt"] is Kind.LONG_TEXT
    assert kinds(CreateToken)["roles"] is Kind.CHOICES
    assert kinds(AddMember)["agent_types"] is Kind.TEXTS
    assert kinds(Ack)["outputs"] is Kind.JSON


def test_what_is_required_is_positional_else_a_first_name() -> None:
    assert places(Send) == ["to", "body"]
    assert places(Create) == ["agent_type", "dag_task_id", "parent_session_id", "prompt"]
    assert places(Open) == ["callee", "task"]
    assert places(RevokeToken) == ["token_id"]
    assert places(GetDispatch) == ["dispatch"]
    assert places(Redrive) == ["delivery"]
    assert places(ListMail) == ["mailbox"]
    assert places(Claim) == []


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_operation_has_arguments_of_its_own(op: str) -> None:
    names = [one.name for one in arguments(fields_of(OPERATIONS[op]), frozenset())]
    assert len(set(names)) == len(names)
    assert "id" not in names


def test_a_body_is_a_string_unless_it_is_said_to_be_json() -> None:
    assert made(Send, to="bob", body="hi").body == Raw(b'"hi"')
    assert made(Send, to="bob", body="{}").body == Raw(b'"{}"')
    given = '{"big": 1e400, "a": 1, "a": 2}'
    assert made(Send, to="bob", body_json=given).body == Raw(given.encode())
    with pytest.raises(WrongUsage, match="--body-json: JSON is malformed"):
        made(Send, to="bob", body_json="{x")
    with pytest.raises(WrongUsage, match="--body-json says what is given already"):
        made(Send, to="bob", body="hi", body_json="1")
    with pytest.raises(WrongUsage, match="body is missing"):
        made(Send, to="bob")


def test_a_body_may_come_from_a_file_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "body.txt"
    path.write_bytes("grüße\r\n".encode())
    assert msgspec.json.decode(made(Send, to="bob", body_file=str(path)).body) == "grüße\r\n"
    for given in ({"body": "-"}, {"body_file": "-"}):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped\n")))
        assert msgspec.json.decode(made(Send, to="bob", **given).body) == "piped\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[1]\n")))
    assert made(Send, to="bob", body_json="-").body == Raw(b"[1]")
    path.write_bytes(b"\xff")
    with pytest.raises(WrongUsage, match="--body-file: "):
        made(Send, to="bob", body_file=str(path))
    with pytest.raises(WrongUsage, match="--body-file: "):
        made(Send, to="bob", body_file=str(tmp_path / "nothing"))


def test_addresses_stand_with_commas_between() -> None:
    assert made(Send, to="bob", body="x").to == "bob"
    assert made(Send, to="bob,@team/a,#news", body="x").to == ["bob", "@team/a", "#news"]


def test_priorities_are_words_or_numbers() -> None:
    assert made(Send, to="bob", body="x", priority="critical").priority == "critical"
    assert made(Send, to="bob", body="x", priority="7").priority == 7
    assert made(Send, to="bob", body="x").priority == 50


def test_lists_of_words_are_repeated_or_have_commas() -> None:
    assert made(CreateToken, roles=["session,service"]).roles == ["session", "service"]
    with pytest.raises(WrongUsage, match="--role: 'boss' is not one of"):
        made(CreateToken, roles=["boss"])
    # An agent type may hold anything, a comma too.
    assert made(AddMember, member="bob", agent_types=["a,b", "c"]).agent_types == ["a,b", "c"]


def test_what_was_not_given_is_left_alone_and_what_is_cleared_is_null() -> None:
    assert made(UpdateMember, member="bob").note is UNSET
    assert made(UpdateMember, member="bob", no_note=True).note is None
    assert made(UpdateMember, member="bob", note="x").note == "x"
    assert made(UpdateMember, member="bob", agent_types=[]).agent_types == []
    assert made(Nack, delivery="d2", claim="c4").blame is True
    assert made(Nack, delivery="d2", claim="c4", blame=False).blame is False


def test_lists_of_structs_are_json() -> None:
    (output,) = made(Ack, delivery="d2", claim="c4", outputs='[{"to": "bob", "body": [1]}]').outputs
    assert (output.to, output.body) == ("bob", Raw(b"[1]"))
    with pytest.raises(WrongUsage, match="missing required field `body`"):
        made(Ack, delivery="d2", claim="c4", outputs='[{"to": "bob"}]')


def test_what_the_struct_itself_refuses_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="one of `delivery` and `mailbox`"):
        made(Redrive)
    with pytest.raises(WrongUsage, match="message is missing"):
        made(Cancel)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("200ms", 200), ("5s", 5_000), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000), ("7", 7)],
)
def test_durations_are_read(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


def test_what_is_no_duration_is_refused() -> None:
    assert milliseconds("5", "s") == 5_000
    for text in ("soon", "5 weeks", "-5s", "", "s"):
        with pytest.raises(ValueError, match="is no duration"):
            milliseconds(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0ms"), (999, "999ms"), (5_000, "5s"), (90_000, "1m30s"), (3_600_000, "1h"),
     (3_605_000, "1h5s"), (90_000_000, "1d1h"), (604_800_000, "7d"), (86_461_000, "1d1m")],
)  # fmt: skip
def test_durations_are_written(ms: int, text: str) -> None:
    assert written(ms) == text
