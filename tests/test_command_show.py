"""Answers in words: what people see, and that nobody else's text steers their terminal."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct
from rich.console import Console

from broker.wire import OPERATIONS, Answer
from broker.wire.directory import Member, MemberAdded, Members, Token, Tokens
from broker.wire.fields import NULL
from broker.wire.mail import Copy, Delivery, Listing, Sent, Step, Trace, Traced
from broker.wire.presence import Peer
from clients.command import show, tables
from clients.command.peers import hidden, print_peers
from clients.command.texts import body, cell, safe

AT = 1_800_000_000_000
WHEN = "2027-01-15 08:00:00Z"


def delivery(**more: Any) -> Delivery:
    """A delivery, as it is handed over."""
    said: dict[str, Any] = {
        "delivery": "d2",
        "claim": "c4",
        "message": "m1",
        "seq": 2,
        "from_": "alice",
        "to": "bob",
        "mailbox": "bob",
        "kind": "message",
        "priority": 50,
        "body": Raw(b'"hi"'),
        "meta": NULL,
        "reply_to": None,
        "sent_at": AT,
        "attempt": 1,
        "claims": 1,
        "max_attempts": 5,
        "lease_ms": 30_000,
        "claim_expires_at": AT,
        "preempt": False,
    }
    return Delivery(**{**said, **more})


def shown(value: Answer, capsys: pytest.CaptureFixture[str], *, json: bool = False) -> str:
    show.answer(value, json=json)
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())


def test_a_document_is_the_brokers_answer(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Sent(message="m1", seq=1, total=0, deliveries=[])
    out = shown(answer, capsys, json=True)
    assert out.encode() == msgspec.json.encode(answer)


def test_a_record_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    answer = MemberAdded(member="bob", token="prm_1_x", token_id="1")
    assert shown(answer, capsys) == "member    bob\ntoken     prm_1_x\ntoken_id  1"
    assert shown(Answer(), capsys) == "ok"


def test_a_list_is_a_table_of_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Member(
            member="bob", access="member", agent_types=[], note=None, created_at=AT, present=True
        ),
        Member(
            member="al", access="owner", agent_types=[], note=None, created_at=AT, present=False
        ),
    ]
    assert shown(Members(members=rows), capsys).splitlines() == [
        "MEMBER  ACCESS  CREATED AT            PRESENT",
        f"bob     member  {WHEN}  yes",
        f"al      owner   {WHEN}  no",
    ]
    assert shown(Members(members=[]), capsys) == "no members"
    assert shown(Members(members=rows[:1], next="x"), capsys).endswith("more members: --after x")


def test_long_lists_show_some_columns(capsys: pytest.CaptureFixture[str]) -> None:
    token = Token(
        token_id="1", member="bob", roles=["session"], created_at=AT, expires_at=None,
        last_used_at=None, parent=None,
    )  # fmt: skip
    head = shown(Tokens(tokens=[token]), capsys).splitlines()[0]
    assert head.split() == ["TOKEN", "ID", "MEMBER", "ROLES"]
    known = {
        struct.__name__: {field.encode_name for field in msgspec.structs.fields(struct)}
        for struct in _structs()
    }
    for name, columns in show.COLUMNS.items():
        assert set(columns) <= known[name], name


def _structs() -> set[type[Struct]]:
    """The structs that stand in lists of answers."""
    found = set()
    for request in OPERATIONS.values():
        for field in msgspec.structs.fields(request.Answer):
            found |= {one for one in getattr(field.type, "__args__", ()) if isinstance(one, type)}
    return {one for one in found if issubclass(one, Struct)}


def test_a_send_tells_who_has_to_wait(capsys: pytest.CaptureFixture[str]) -> None:
    copies = [
        Copy(delivery="d2", to="bob", state="claimed", queued=False, depth=0, transport="online"),
        Copy(delivery="d4", to="al", state="queued", queued=True, depth=3, transport="away"),
    ]
    answer = Sent(message="m1", seq=1, total=3, deliveries=copies, duplicate=True)
    assert shown(answer, capsys).splitlines() == [
        "m1: 3 copies, sent before",
        "  d2  bob  claimed",
        "  d4  al  queued, behind 3 (away)",
        "  and 1 more",
    ]


def test_mail_is_shown_to_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    first = delivery(body=Raw(b'"two\\nlines"'))
    second = delivery(body=Raw(b'{"a": 1}'), kind="ask", priority=100, attempt=2, reply_to="m9")
    show.deliveries([first, second], held=True)
    show.deliveries([], held=False)
    assert capsys.readouterr().out == (
        f"m1: from alice, to bob, {WHEN}\ntwo\nlines\nack it with: postroom mail ack d2 c4\n\n"
        f"m1: from alice, to bob, {WHEN}, ask, priority 100, attempt 2 of 5, answers m9\n"
        '{"a": 1}\nack it with: postroom mail ack d2 c4\nNo mail.\n'
    )


def test_a_trace_tells_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        Step(event="accepted", at=AT),
        Step(event="extended", at=AT, presence="p1", note="half", count=3),
        Step(event="nacked", at=AT, presence="p1", reason="no"),
    ]
    traced = Traced(
        delivery="d2", mailbox="bob", seq=2, state="queued", failures=1, claims=1, last_error="no",
        claim_id=None, claimed_at=None, delivered_at=None, history=steps,
    )  # fmt: skip
    answer = Trace(
        message="m1", from_="alice", to=["bob"], kind="message", priority=50, sent_at=AT, total=1,
        deliveries=[traced],
    )  # fmt: skip
    assert shown(answer, capsys).splitlines()[6:] == [
        "d2 in bob: queued, 1 claims, 1 failures (no)",
        f"  {WHEN}  accepted",
        f"  {WHEN}  extended   p1 half 3 times",
        f"  {WHEN}  nacked     p1 no",
    ]


def peer(**more: Any) -> Peer:
    """A peer that has been there for ever."""
    said: dict[str, Any] = {
        "presence": "p1", "member": "bob", "session": None, "address": "bob", "role": "service",
        "status": "idle", "summary": None, "groups": [], "transport": "online", "host": None,
        "client": None, "capacity": 32, "in_flight": 2, "connected_at": 0, "last_seen_at": 0,
    }  # fmt: skip
    return Peer(**{**said, **more})


def test_a_table_fits_its_terminal_or_is_not_folded() -> None:
    heads, rows = ("name", "sent_at"), [["bob", "x" * 60], ["@team/b", "[red]y[/red]"]]
    out = Console(file=io.StringIO(), width=40)
    out.print(tables.table(heads, rows))
    assert isinstance(out.file, io.StringIO)
    folded = out.file.getvalue().splitlines()
    assert max(map(len, folded)) <= 40
    assert sum(line.count("x") for line in folded) == 60
    assert "[red]y[/red]" in folded[-1]
    assert tables.plain(heads, rows) == [
        "NAME     SENT AT",
        f"bob      {'x' * 60}",
        "@team/b  [red]y[/red]",
    ]


def test_nobody_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_peers([])
    assert capsys.readouterr().out == "Nobody is online.\n"
    print_peers([peer(summary="at \x1b[2Jwork", self_=True)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "ROLE", "STATUS", "TRANSPORT", "HELD", "SINCE", "SUMMARY"]
    assert "bob (you)" in line
    assert "at \\x1b[2Jwork" in line


def test_the_last_line_counts_who_is_hidden() -> None:
    assert hidden({}) == hidden({"control-plane": 0}) == []
    assert hidden({"control-plane": 1}) == ["1 control-plane peer hidden: --all shows everybody"]
    assert hidden({"control-plane": 3}) == ["3 control-plane peers hidden: --all shows everybody"]


def test_what_others_write_does_not_steer_the_terminal() -> None:
    assert safe("a\x1b[31mb\x07\n\x9b") == "a\\x1b[31mb\\x07\\x0a\\x9b"
    assert safe("ab\u202edc\u2066") == "ab\\u202edc\\u2066"
    assert safe("grüße 🙂") == "grüße 🙂"
    assert body(Raw(b'"a\\u001b[2J\\n\\tb"')) == "a\\x1b[2J\n\tb"
    assert body(Raw(b'{"a":\n1}')) == '{"a":\n1}'


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sent_at", AT, WHEN),
        ("oldest_ms", 90_000, "1m30s"),
        ("depth", 7, "7"),
        ("present", True, "yes"),
        ("note", None, "-"),
        ("roles", ["session", "service"], "session, service"),
        ("by_status", {"queued": 1, "failed": 0}, "queued 1, failed 0"),
        ("task", Raw(b'"x\\ny"'), "x\\x0ay"),
    ],
)
def test_a_value_is_read_by_its_name(name: str, value: object, text: str) -> None:
    assert cell(name, value) == text


def test_empty_pages_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(Listing(deliveries=[]), capsys) == "no deliveries"
