"""Hello: a presence begins, is taken up again, or takes the place of an earlier one.

Owns: what a hello makes. Who leaves by it is `leave`'s, what it may then be handed is mail's.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from broker import __version__
from broker.areas.directory.access import check
from broker.areas.directory.boxes import open_session_box
from broker.areas.presence import show
from broker.areas.presence.drains import before_redrain, redrain
from broker.areas.presence.groups import join
from broker.areas.presence.leave import REPLACED, depart
from broker.clock import digest, same_digest
from broker.core.house import TAKES_FROM, Member, Presence, Token
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.presence import BrokerInfo, Hello, Welcome

sql = Queries(__file__)
INSERT = sql.take("insert")
RESUME = sql.take("resume")
SPEND = sql.take("spend")
TOKEN_USED = sql.take("token_used")
sql.close()

operations = Operations()

DEFAULT_CAPACITY: Final = 32


@operations.handle(Hello, greets=True)
def hello(turn: Turn, caller: Presence | None, request: Hello) -> Welcome:
    """Say who connects; must be the first request of a connection."""
    conversation = turn.conversation
    assert conversation is not None
    if caller is not None:
        raise Refused("bad_request", "hello: this connection has said hello already")
    written = request.token or conversation.greeting.bearer
    token = check(turn, request.mesh, request.member, request.role, written)
    before_redrain(turn, token.member)
    presence = _resumable(token, request)
    resumed = presence is not None
    value = turn.chance.secret()
    if presence is None:
        presence = _begin(turn, token, request, digest(value))
    else:
        _resume(turn, presence, request, digest(value))
    turn.put(presence, "conversation", conversation)
    turn.put(conversation, "presence", presence)
    turn.put(conversation.line, "batch", request.batch)
    turn.run(TOKEN_USED, (turn.now, token.id))
    for group in request.groups or ():
        join(turn, presence, group, None)
    redrain(turn, token.member)
    if resumed:
        show.changed(turn, presence)
        turn.tell("presence.resumed", presence)
    return _welcome(turn, presence, f"{presence.id}.{value}", resumed=resumed)


def _resumable(token: Token, request: Hello) -> Presence | None:
    """The presence that the hello's resume value takes up again; a bad value spends nothing."""
    number, dot, secret = (request.resume or "").partition(".")
    if not dot or not number.isascii() or not number.isdecimal() or len(number) > 18:
        return None
    presence = token.member.presences.get(int(number))
    if (
        presence is None
        or presence.token != token.id
        or presence.role != request.role
        or presence.observe != request.observe
        or (request.session is not None and presence.session != request.session)
    ):
        return None
    value = digest(secret)
    good = same_digest(value, presence.resume)
    if not good and presence.previous is not None:
        good = same_digest(value, presence.previous)
    return presence if good else None


def _resume(turn: Turn, presence: Presence, request: Hello, value: bytes) -> None:
    """Take a presence up again; what the hello does not say stays as it was."""
    old = presence.conversation
    if old is not None:
        turn.put(old, "presence", None)
        turn.close(old, REPLACED, "resumed by another connection")
    _describe(turn, presence, request)
    _, _, secret = (request.resume or "").partition(".")
    turn.put(presence, "previous", digest(secret))
    turn.put(presence, "resume", value)
    turn.put(presence, "connected_at", turn.now)
    turn.put(presence, "last_seen_at", turn.now)
    turn.run(
        RESUME,
        (
            *_description(presence),
            value,
            presence.previous,
            turn.house.node,
            turn.house.incarnation,
            turn.now,
            turn.now,
            presence.id,
        ),
    )


def _begin(turn: Turn, token: Token, request: Hello, value: bytes) -> Presence:
    """A new presence, in the place of an earlier one of the same label if there is one."""
    member = token.member
    label = None if request.observe else request.session
    chosen = label is not None
    if request.role == "session" and not request.observe and label is None:
        label = _new_label(turn, member)
    box = member.box
    earlier = None
    if label is not None:
        earlier = next(
            (one for one in member.presences.values() if one.session == label), None
        )
        if request.role == "session":
            box = open_session_box(turn, member, label, chosen=chosen)
    in_place = earlier is not None and earlier.role == request.role
    if earlier is not None:
        depart(turn, earlier, REPLACED, "replaced by another connection", quiet=in_place, keep=box)
    presence = Presence(0, member, box, request.role, token.id)
    presence.capacity = DEFAULT_CAPACITY
    presence.session = label
    presence.observe = request.observe
    presence.resume = value
    presence.connected_at = presence.last_seen_at = turn.now
    _describe(turn, presence, request)
    presence.id = turn.insert(
        INSERT,
        (
            member.id,
            box.id,
            presence.role,
            label,
            presence.observe,
            *_description(presence),
            token.id,
            value,
            turn.house.node,
            turn.house.incarnation,
            turn.now,
            turn.now,
        ),
    )
    presence.name = f"p{presence.id}"
    turn.enter(member.presences, presence.id, presence)
    turn.enter(turn.house.presences, presence.id, presence)
    conversation = turn.conversation
    presence.conversation = conversation
    if in_place:
        show.changed(turn, presence)
    else:
        show.joined(turn, presence)
    return presence


def _new_label(turn: Turn, member: Member) -> str:
    label = turn.chance.label()
    while label in member.sessions:
        label = turn.chance.label()
    return label


def _describe(turn: Turn, presence: Presence, request: Hello) -> None:
    """Take over what the hello says of the presence."""
    if request.status is not UNSET:
        turn.put(presence, "status", request.status)
        turn.put(presence, "takes_from", TAKES_FROM[request.status])
    for name in ("summary", "capacity", "host"):
        value = getattr(request, name)
        if value is not UNSET:
            turn.put(presence, name, value)
    if request.client is not UNSET:
        client = request.client
        turn.put(presence, "client_name", client.name if client else None)
        turn.put(presence, "client_version", client.version if client else None)


def _description(presence: Presence) -> tuple[str | int | None, ...]:
    return (
        presence.status,
        presence.summary,
        presence.capacity,
        presence.host,
        presence.client_name,
        presence.client_version,
    )


def _welcome(turn: Turn, presence: Presence, resume: str, *, resumed: bool) -> Welcome:
    settings = turn.settings
    limits = settings.limits
    return Welcome(
        presence=presence.name,
        mesh=presence.mesh.name,
        member=presence.member.name,
        address=presence.box.address,
        session=presence.session,
        role=presence.role,
        resumed=resumed,
        resume=resume,
        lease_ms=settings.presence.lease_ms,
        limits={
            "body": limits.body,
            "frame": limits.frame,
            "outbox": limits.outbox,
            "send_rate": limits.send_rate,
        },
        broker=BrokerInfo(version=__version__, node=turn.house.node),
        now_at=turn.now,
    )


def spend(turn: Turn, presence: Presence) -> None:
    """A frame came after a resume: the value before is of no use any more."""
    if presence.previous is not None:
        turn.put(presence, "previous", None)
        turn.run(SPEND, (presence.id,))
