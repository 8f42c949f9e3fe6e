"""What a peer may say wrongly to a real broker, and what comes of it; nobody else notices.

One process for all of it: whatever a test has said, the next one meets the same broker.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest
from clients_process import Process
from hypothesis import given, settings
from hypothesis import strategies as st
from net_peer import UPGRADE, masked, request
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wire_json import VALUE

SECONDS: Final = 20.0
NESTED: Final = 512  # the deepest body
NESTED_OUTSIDE: Final = 64

TOO_BIG, NOT_UTF8, NOT_PROTOCOL, UNAUTHORIZED, NO_HELLO = 1009, 1007, 4400, 4401, 4408


class Talk:
    """One connection to the broker, on which anything can be said."""

    def __init__(self, connection: ClientConnection) -> None:
        self._socket = connection
        self._ids = itertools.count(1_000)
        self.texts: list[bytes] = []
        """What came that was no reply."""

    def say(self, data: bytes, *, binary: bool = False) -> None:
        self._socket.send(data, text=not binary)

    def hear(self) -> bytes:
        """The next frame, as it stands on the wire."""
        text = self._socket.recv(timeout=SECONDS, decode=False)
        assert isinstance(text, bytes)
        return text

    def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = msgspec.json.decode(self.hear())
        return frame

    def answer(self, id: int | str) -> dict[str, Any]:
        """The reply to this; events are kept."""
        while True:
            text = self.hear()
            frame: dict[str, Any] = msgspec.json.decode(text)
            if frame.get("re") == id:
                return frame
            self.texts.append(text)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        id = next(self._ids)
        self.say(msgspec.json.encode({"op": op, "id": id, **fields}))
        return self.answer(id)

    def refused(self, text: bytes, id: int | str = 1) -> tuple[str, str]:
        """Say this; the code and the message of its refusal."""
        self.say(text)
        error = self.answer(id)["error"]
        return error["code"], error["message"]

    def closed(self) -> tuple[int, str]:
        """The code and reason with which the broker closes, after what it still says."""
        with suppress(ConnectionClosed):
            while True:
                self.texts.append(self.hear())
        code = self._socket.close_code
        assert code is not None
        return code, self._socket.close_reason or ""

    def well(self) -> bool:
        """Whether this connection still works."""
        return "ok" in self.ask("group.list")


class Door:
    """The broker, and the connections that a test has made to it."""

    def __init__(self, process: Process, stack: ExitStack) -> None:
        self.owner = process.owner
        self._url = process.url
        self._stack = stack

    def talk(self) -> Talk:
        """A connection on which nothing has been said."""
        opened = connect(self._url, compression=None, max_size=2**24, proxy=None)
        return Talk(self._stack.enter_context(opened))

    def join(self, **hello: Any) -> Talk:
        """A connection that has said hello."""
        talk = self.talk()
        talk.ask("hello", **{**self.owner, **hello})
        return talk

    def plug(self) -> socket.socket:
        """A bare TCP connection."""
        url = urlsplit(self._url)
        return socket.create_connection((url.hostname, url.port), timeout=SECONDS)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    data: Path = tmp_path_factory.mktemp("broker") / "data"
    one = Process(data, "presence.hello_ms=700", "presence.pong_ms=1200", "presence.ping_ms=400")
    yield one
    one.stop()


@pytest.fixture
def door(process: Process) -> Iterator[Door]:
    with ExitStack() as stack:
        one = Door(process, stack)
        yield one
        assert one.join().well()


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def send(body: bytes, id: int = 1, to: str = "owner") -> bytes:
    return b'{"op":"mail.send","id":%d,"to":"%s","body":%s}' % (id, to.encode(), body)


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"nonsense",
        b"{",
        b'{"op":"group.list","id":1',
        b'{"op":"group.list","id":1}}',
        b'{"op":"group.list",}',
        b"{'op':'group.list'}",
        b'{"op":"mail.send","id":1,"to":"owner","body":NaN}',
        b'{"op":"mail.send","id":1,"to":"owner","body":"a\nb"}',
        b'{"op":"mail.send","id":1,"to":"owner","body":1,"meta":' + nested(NESTED_OUTSIDE) + b"}",
        nested(100_000),
        b"\xef\xbb\xbf{}",
    ],
    ids=range(13),
)
def test_what_is_not_the_protocol_ends_the_connection(
    door: Door, text: bytes, greeted: bool
) -> None:
    talk = door.join() if greeted else door.talk()
    talk.say(text)
    code, reason = talk.closed()
    assert code == NOT_PROTOCOL
    assert reason


def test_a_binary_message(door: Door) -> None:
    talk = door.join()
    talk.say(b'{"op":"group.list","id":1}', binary=True)
    assert talk.closed()[0] == NOT_PROTOCOL


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_a_body_that_is_not_utf8(door: Door, bad: bytes) -> None:
    talk = door.join()
    talk.say(send(b'"' + bad + b'"'))
    assert talk.closed()[0] == NOT_UTF8


def test_a_body_that_is_nested_too_deep(door: Door) -> None:
    talk = door.join()
    talk.say(send(nested(NESTED)))
    assert "ok" in talk.answer(1)
    for depth in (NESTED + 1, 50_000):
        code, message = talk.refused(send(nested(depth)))
        assert code == "bad_request"
        assert "body" in message
    assert talk.well()


def test_a_message_that_is_too_big(door: Door) -> None:
    talk, other = door.join(), door.join()
    with suppress(ConnectionClosed):  # the broker has not read all of it
        talk.say(send(b'"' + b"x" * 10_000_000 + b'"'))
    assert talk.closed()[0] == TOO_BIG
    code, message = other.refused(send(b'"' + b"x" * 300_000 + b'"'))
    assert code == "too_large"
    assert "body" in message
    assert other.well()


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        (b"[1]", "bad_frame", ""),
        (b"7", "bad_frame", ""),
        (b"null", "bad_frame", ""),
        (b'"op"', "bad_frame", ""),
        (b"{}", "bad_frame", "op"),
        (b'{"id":1,"op":7}', "bad_frame", "op"),
        (b'{"id":{},"op":"group.list"}', "bad_request", "id"),
        (b'{"id":9007199254740993,"op":"group.list"}', "bad_request", "id"),
    ],
)
def test_what_has_no_usable_id_is_an_event(door: Door, text: bytes, code: str, named: str) -> None:
    talk = door.join()
    talk.say(text)
    frame = talk.next()
    assert frame["ev"] == "error"
    assert frame["error"]["code"] == code
    assert named in frame["error"]["message"]
    assert talk.well()


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        (b'"op":"mail.fly"', "unknown_op", "operation"),
        (b'"op":"mail.send","to":7,"body":1', "bad_request", "to"),
        (b'"op":"mail.send","to":"owner"', "bad_request", "body"),
        (b'"op":"mail.send","to":[],"body":1', "bad_request", "to"),
        (b'"op":"mail.send","to":"no one","body":1', "bad_request", "to"),
        (b'"op":"mail.send","to":"owner/\\u0000","body":1', "bad_request", "to"),
        (b'"op":"mail.send","to":"owner","body":1,"ttl_ms":-1', "bad_request", "ttl_ms"),
        (b'"op":"mail.send","to":"owner","body":1,"ttl_ms":1e400', "bad_request", "ttl_ms"),
        (b'"op":"mail.send","to":"owner","body":1,"priority":"x"', "bad_request", "priority"),
        (b'"op":"mail.send","to":"owner","body":1,"receipt":1', "bad_request", "receipt"),
        (b'"op":"mail.send","to":"owner","body":1,"colour":2', "bad_request", "colour"),
        (b'"op":"group.join","group":"@a b"', "bad_request", "group"),
        (b'"op":"group.join","group":"@\\u00e9"', "bad_request", "group"),
        (b'"op":"member.add","member":"Robert\'); --"', "bad_request", "member"),
        (b'"op":"member.add","member":""', "bad_request", "member"),
        (b'"op":"mail.list","after":"../../x"', "bad_request", "after"),
    ],
)
def test_a_wrong_request_is_told_and_the_next_is_taken(
    door: Door, fields: bytes, code: str, named: str
) -> None:
    talk = door.join()
    given, message = talk.refused(b'{"id":1,' + fields + b"}")
    assert given == code, message
    assert named in message
    assert talk.well()


def test_before_hello_only_hello_is_heard(door: Door) -> None:
    talk = door.talk()
    for text in (send(b"1"), b'{"op":"mail.list","id":1}', b'{"op":"bye","id":1}'):
        code, message = talk.refused(text)
        assert code == "unauthorized"
        assert "hello" in message
    assert "ok" in talk.ask("hello", **door.owner)
    assert talk.ask("hello", **door.owner)["error"]["code"] == "bad_request"
    assert talk.well()


def test_a_token_that_does_not_fit_is_refused_like_any_other(door: Door) -> None:
    owner = door.join()
    made = owner.ask("mesh.create", mesh="elsewhere")["ok"]
    known = owner.ask("member.add", member="known")["ok"]["token"]
    mine = door.owner["token"]
    wrong: list[dict[str, Any]] = [
        {"member": "owner", "token": made["token"]},
        {"member": "owner", "token": mine, "mesh": "elsewhere"},
        {"member": "owner", "token": mine, "mesh": "nowhere"},
        {"member": "owner", "token": known},
        {"member": "nobody", "token": mine},
        {"member": "owner", "token": mine[:-1]},
        {"member": "owner", "token": ""},
        {"member": "owner", "token": "\u0000é' OR 1=1"},
        {"member": "owner"},
        {"member": "a b", "token": mine},
    ]
    told = set()
    for hello in wrong:
        talk = door.talk()
        error = talk.ask("hello", **hello)["error"]
        told.add((error["code"], error["message"], *talk.closed()))
    assert len(told) == 1
    (one,) = told
    assert (one[0], one[2]) == ("unauthorized", UNAUTHORIZED)
    elsewhere = door.talk()
    assert "ok" in elsewhere.ask("hello", member="owner", mesh="elsewhere", token=made["token"])


def until(plug: socket.socket, last: bytes | None = None) -> bytes:
    """Whatever the broker still says on a bare connection, up to this or its end."""
    said = b""
    try:
        while (last is None or last not in said) and (more := plug.recv(65_536)):
            said += more
    except ConnectionResetError:
        return said
    return said


@pytest.mark.parametrize("begun", [b"", b"GET /v1 HT", b"GET /v1 HTTP/1.1\r\nHost: x\r\n"])
def test_who_does_not_finish_the_handshake_is_let_go(door: Door, begun: bytes) -> None:
    with door.plug() as plug:
        plug.sendall(begun)
        assert b"101" not in until(plug)


def upgraded(door: Door) -> socket.socket:
    plug = door.plug()
    plug.sendall(request("/v1", UPGRADE))
    assert plug.recv(65_536).startswith(b"HTTP/1.1 101")
    return plug


@pytest.mark.parametrize("begun", [b"", b"\x81\xfe", masked(b'{"op":', fin=False)], ids=range(3))
def test_who_does_not_say_hello_is_let_go(door: Door, begun: bytes) -> None:
    with upgraded(door) as plug:
        plug.sendall(begun)
        code = NO_HELLO.to_bytes(2, "big")
        assert code in until(plug, code)


def test_half_a_socket_is_let_go(door: Door) -> None:
    """It has said hello, then nothing ever comes again, not even a pong: its network is gone."""
    hello = msgspec.json.encode({"op": "hello", "id": 1, **door.owner})
    with upgraded(door) as plug:
        plug.sendall(masked(hello) + masked(send(b"1"))[:9])
        assert b'"presence"' in until(plug)


ODD: Final = (
    b'{"a":1,"a":2,"":3,"":4}',
    b'{"ev":"mail.deliver","op":"bye","re":1}',
    b'"\\u0041\\/\\b\\f\\n\\r\\t\\"\\\\"',
    b'"\\u0000\\u001f\\u007f"',
    b'"\\ud83d\\ude00 \\uD83D\\uDE00 \xf0\x9f\x98\x80"',
    b'"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xef\xbf\xbf"',
    b'"\\u2028\\ufeff\\uffff\\ufffe"',
    b'"\\\\ud800 is no escape"',
    b"1234567890123456789012345678901234567890",
    b"-0",
    b"1e999",
    b"-1.0E-999",
    b"0.1000000000000000055511151231257827021181583404541015625",
    b"[ 1 ,\t2 ,\r\n3 ]",
    b'{"body":{"body":"}]"}}',
    b'"</script><!-- \x7f"',
    b'""',
    b"null",
    nested(NESTED),
)
HALVES: Final = (
    b'"\\ud800"',
    b'"\\udfff"',
    b'"\\uDE00\\uD83D"',
    b'["\\ud83d","\\ude00"]',
    b'{"\\ud800":1}',
    b'"\\\\\\ud800"',
)


@pytest.mark.parametrize(("name", "batch"), [("bob", False), ("bill", True)])
def test_what_passed_reaches_its_recipient_as_it_was(door: Door, name: str, batch: bool) -> None:
    """The recipient's connection lives, whatever a sender has put into a body."""
    sender = door.join()
    token = sender.ask("member.add", member=name)["ok"]["token"]
    bob = door.join(member=name, token=token, role="service", batch=batch, capacity=0)
    for number, body in enumerate(ODD):
        sender.say(send(body, number, name))
        assert "ok" in sender.answer(number), body
    bob.say(b'{"op":"mail.claim","id":7,"max":100}')
    whole = bob.hear()
    assert whole.count(b'"delivery":') == len(ODD)
    at = 0
    for body in ODD:
        at = whole.index(b'"body":' + body, at) + len(body)
    for body in HALVES:
        code, message = sender.refused(send(body, 1, name))
        assert code == "bad_request"
        assert "body" in message
    bob.say(b'{"op":"bye","id":8}')
    assert b'"re":8' in bob.hear()


def test_what_is_pushed_does_not_end_the_connection(door: Door) -> None:
    sender = door.join()
    token = sender.ask("member.add", member="carol")["ok"]["token"]
    carol = door.join(member="carol", token=token, role="service")
    for number, body in enumerate(ODD):
        sender.say(send(body, number, "carol"))
        text = carol.hear()
        assert b'"ev":"mail.deliver"' in text
        assert b'"body":' + body in text
        assert "ok" in sender.answer(number)
    assert carol.well()


class Heard(msgspec.Struct, tag_field="ev", tag="mail.deliver"):
    """A delivery, with its body as it stands on the wire: no decoder can hold every number."""

    delivery: str
    claim: str
    body: msgspec.Raw


class Desk:
    """A sender, who is let in again when it was thrown out, and two who hear what it sends."""

    def __init__(self, door: Door, number: int) -> None:
        self._door = door
        self._sender = door.join()
        self._to = [f"dora{number}", f"emil{number}"]
        self._hearing = [self._let_in(name) for name in self._to]

    def _let_in(self, name: str) -> Talk:
        token = self._sender.ask("member.add", member=name)["ok"]["token"]
        batch = name.startswith("emil")
        return self._door.join(member=name, token=token, role="service", batch=batch)

    def send(self, body: bytes) -> str:
        """What becomes of this body for its sender: `ok`, a code, or `closed`."""
        to = msgspec.json.encode(self._to)
        self._sender.say(b'{"op":"mail.send","id":1,"to":' + to + b',"body":' + body + b"}")
        try:
            text = self._sender.hear()
        except ConnectionClosed:
            self._sender = self._door.join()
            return "closed"
        frame = msgspec.json.decode(text)
        return "ok" if "ok" in frame else str(frame["error"]["code"])

    def heard(self, body: bytes) -> None:
        """Both were told exactly this, and go on."""
        for talk in self._hearing:
            mail = msgspec.json.decode(talk.hear(), type=Heard)
            assert bytes(mail.body) == body
            held = {"delivery": mail.delivery, "claim": mail.claim}
            assert talk.ask("mail.ack", **held)["ok"]["state"] == "acked"

    def well(self) -> None:
        """Nobody who hears has heard anything else, or was closed."""
        for talk in self._hearing:
            assert talk.well()
            assert talk.texts == []


SLIPS: Final = st.sampled_from([*HALVES, *ODD, b"[", b"}", b'"', b"\\", b",", b"\xff", b"\x00"])


@pytest.mark.timeout(120)
def test_a_body_that_one_sender_got_past_the_broker_ends_no_connection_of_others(
    door: Door,
) -> None:
    desks = [Desk(door, 0)]
    passed: list[bytes] = []

    @settings(deadline=None, max_examples=150)
    @given(VALUE, st.lists(st.tuples(st.integers(0, 50), SLIPS), max_size=2))
    def check(value: bytes, slips: list[tuple[int, bytes]]) -> None:
        body = value
        for place, slip in slips:
            body = body[:place] + slip + body[place:]
        desk = desks[-1]
        outcome = desk.send(body)
        assert outcome in ("ok", "closed", "bad_request", "bad_frame")
        assert outcome == "ok" or slips, "a good body passes"
        try:
            if outcome == "ok":
                desk.heard(body.strip(b" \t\r\n"))
                passed.append(body)
            desk.well()
        except Exception:
            desks.append(Desk(door, len(desks)))  # the next example begins anew
            raise

    check()
    assert len(passed) > 20
