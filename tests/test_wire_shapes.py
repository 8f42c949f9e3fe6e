"""Frames are written as the protocol page shows them."""

from __future__ import annotations

import json
from typing import Any

from msgspec import UNSET, Raw

from broker.wire import (
    CODES,
    OPERATIONS,
    RETRYABLE,
    ErrorBody,
    ErrorEvent,
    Failure,
    Refused,
    Reply,
    decode,
    encode,
)
from broker.wire.directory import MeshCreated
from broker.wire.dispatch import Created, Dispatch
from broker.wire.fields import NULL
from broker.wire.mail import Acked, Copy, Deliver, Delivery, Sent, Step
from broker.wire.presence import ClientInfo, Hello, Peer, PeerJoined, PeerSynced, UpdatePresence


def test_an_answer_shows_null_where_there_is_nothing() -> None:
    sent = Sent(message="m", seq=7, total=0, deliveries=[])
    assert encode(Reply("k", Acked(outputs=[sent]))) == (
        b'{"re":"k","ok":{"state":"acked","outputs":[{"message":"m","seq":7,"total":0,'
        b'"deliveries":[],"duplicate":false}],"duplicate":false}}'
    )
    listed = OPERATIONS["group.list"].Answer(groups=[])
    assert encode(listed) == b'{"groups":[],"next":null}'


def test_a_copy_as_a_send_answers_it() -> None:
    copy = Copy(delivery="d", to="bob", state="queued", queued=True, depth=0, transport="away")
    assert encode(copy) == (
        b'{"delivery":"d","to":"bob","state":"queued","queued":true,"depth":0,"transport":"away"}'
    )


DELIVERY: dict[str, Any] = {
    "delivery": "d",
    "claim": "c",
    "message": "m",
    "seq": 2,
    "from_": "alice/s1",
    "to": "bob",
    "mailbox": "bob",
    "kind": "message",
    "priority": 50,
    "body": Raw(b'{"a": 1.0}'),
    "meta": NULL,
    "reply_to": None,
    "sent_at": 1,
    "attempt": 1,
    "claims": 1,
    "max_attempts": 5,
    "lease_ms": 30_000,
    "claim_expires_at": 30_001,
    "preempt": False,
}


def test_a_delivery_is_the_same_pushed_and_pulled() -> None:
    pulled = encode(Delivery(**DELIVERY))
    assert pulled == (
        b'{"delivery":"d","claim":"c","message":"m","seq":2,"from":"alice/s1","to":"bob",'
        b'"mailbox":"bob","kind":"message","priority":50,"body":{"a": 1.0},"meta":null,'
        b'"reply_to":null,"sent_at":1,"attempt":1,"claims":1,"max_attempts":5,"lease_ms":30000,'
        b'"claim_expires_at":30001,"preempt":false}'
    )
    assert encode(Deliver(**DELIVERY)) == b'{"ev":"mail.deliver",' + pulled[1:]


def test_a_peer_is_told_whole() -> None:
    peer = Peer(
        presence="p",
        member="alice",
        session=None,
        address="alice",
        role="service",
        status="idle",
        summary=None,
        groups=["@team"],
        transport="online",
        host=None,
        client=ClientInfo(name="x"),
        capacity=32,
        in_flight=0,
        connected_at=1,
        last_seen_at=2,
        self_=True,
    )
    assert encode(PeerJoined(peer=peer)) == (
        b'{"ev":"peer.joined","peer":{"presence":"p","member":"alice","session":null,'
        b'"address":"alice","role":"service","status":"idle","summary":null,"groups":["@team"],'
        b'"transport":"online","host":null,"client":{"name":"x","version":null},"capacity":32,'
        b'"in_flight":0,"connected_at":1,"last_seen_at":2,"self":true}}'
    )
    assert encode(PeerSynced()) == b'{"ev":"peer.synced"}'


def test_what_may_be_missing_is_left_out() -> None:
    made = Created(
        dispatch="d",
        dispatch_key="k",
        prompt_sha256="h",
        status="pending",
        attempt=1,
        created=True,
    )
    assert "outcome" not in json.loads(encode(made))
    made.outcome = Raw(b"null")
    assert json.loads(encode(made))["outcome"] is None
    shown = Dispatch(
        dispatch="d",
        dispatch_key="k",
        agent_type="a",
        dag_task_id="t",
        prompt_sha256="h",
        parent_session_id="s",
        status="pending",
        context=NULL,
        created_at=1,
        attempts=[],
    )
    told = json.loads(encode(shown))
    assert told["context"] is None
    assert told["attempts"] == []
    assert not {"outcome", "finished_at"} & told.keys()
    assert encode(Step(event="claimed", at=1)) == b'{"event":"claimed","at":1}'
    assert encode(MeshCreated(mesh="m", token="t", token_id="i")) == (
        b'{"mesh":"m","member":"owner","token":"t","token_id":"i"}'
    )


def test_the_hello_of_the_protocol_page() -> None:
    text = (
        b'{"op":"hello","id":1,"mesh":"default","member":"alice","token":"prm_1_x",'
        b'"role":"session","session":"s1","observe":false,"status":"idle","summary":null,'
        b'"groups":["@team"],"capacity":16,"batch":true,"resume":null,"host":"box1",'
        b'"client":{"name":"a","version":"1"}}'
    )
    (hello,) = decode(text)
    assert isinstance(hello, Hello)
    assert json.loads(encode(hello)) == json.loads(text)


def test_a_hello_tells_what_is_not_given_from_what_is_nothing() -> None:
    (least,) = decode(b'{"op":"hello","member":"alice"}')
    assert isinstance(least, Hello)
    assert (least.mesh, least.role, least.observe, least.batch) == (
        "default",
        "session",
        False,
        False,
    )
    for field in ("status", "summary", "groups", "capacity", "host", "client"):
        assert getattr(least, field) is UNSET
    (cleared,) = decode(b'{"op":"hello","member":"alice","summary":null,"host":null,"client":null}')
    assert isinstance(cleared, Hello)
    assert cleared.summary is cleared.host is cleared.client is None
    assert decode(b'{"op":"presence.update"}') == [UpdatePresence()]


def test_a_refusal_shows_only_what_it_has() -> None:
    refusal = Refused("rate_limited", "slower", retry_after_ms=500)
    assert encode(Failure(7, refusal.body())) == (
        b'{"re":7,"error":{"code":"rate_limited","message":"slower","retryable":true,'
        b'"retry_after_ms":500}}'
    )
    refusal = Refused("mailbox_full", "no room", detail={"mailbox": "bob"})
    assert encode(ErrorEvent(error=refusal.body(), op="mail.send")) == (
        b'{"ev":"error","error":{"code":"mailbox_full","message":"no room","retryable":true,'
        b'"detail":{"mailbox":"bob"}},"op":"mail.send"}'
    )
    assert encode(ErrorEvent(error=ErrorBody("bad_frame", "no", False))) == (
        b'{"ev":"error","error":{"code":"bad_frame","message":"no","retryable":false}}'
    )


def test_only_these_may_be_sent_again() -> None:
    assert {code for code in CODES if Refused(code, "").body().retryable} == RETRYABLE
    assert sorted(RETRYABLE) == [
        "draining",
        "mailbox_full",
        "overloaded",
        "rate_limited",
        "unavailable",
    ]
    assert len(CODES) == 26
