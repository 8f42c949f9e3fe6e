"""Hello: a presence begins, is taken up again, or takes the place of an earlier one.

Owns: what a hello makes. Who leaves by it is `leave`'s, what it may then be handed is mail's.
"""

from __future__ import annotations

import logging
from typing import Final

from broker import __version__
from broker.areas.directory.access import check
from broker.areas.directory.boxes import open_session_box
from broker.areas.directory.tokens import used
from broker.areas.presence import groups, show
from broker.areas.presence.drains import redrain
from broker.areas.presence.leave import depart
from broker.areas.presence.resume import REPLACED, resumable, resume, spend
from broker.areas.presence.update import describe
from broker.clock import digest
from broker.core.conversation import Conversation
from broker.core.house import Member, Presence, Token
from broker.core.operations import Operations
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.wire.errors import Refused
from broker.wire.presence import BrokerInfo, Hello, Welcome

log = logging.getLogger("broker.presence")

sql = Queries(__file__)
INSERT = sql.take("insert")
sql.close()

operations = Operations()

DEFAULT_CAPACITY: Final = 32


@operations.handle(Hello, greets=True)
def hello(turn: Turn, caller: Presence | None, request: Hello) -> Welcome:
    """Say who connects; must be the first request of a connection."""
    conversation = turn.conversation
    assert conversation is not None
    if caller is not None or conversation.closing or _ends(turn, conversation):
        raise Refused("bad_request", "hello: this connection has said hello already, or has ended")
    token = _admitted(turn, conversation, request)
    value = turn.chance.secret()
    presence = resumable(token, request)
    resumed = presence is not None
    if presence is None:
        presence = _begin(turn, conversation, token, request, digest(value))
    else:
        _take_up(turn, conversation, presence, request, digest(value))
    turn.put(conversation.line, "batch", request.batch)
    used(turn, token)
    return _welcome(turn, presence, f"{presence.id}.{value}", resumed=resumed)


def _ends(turn: Turn, conversation: Conversation) -> bool:
    """Whether an earlier request of this batch ends the connection: nobody begins on it again."""
    return any(closing is conversation for closing, _, _ in turn.closing)


def _admitted(turn: Turn, conversation: Conversation, request: Hello) -> Token:
    written = request.token or conversation.greeting.bearer
    try:
        return check(turn.house, turn.now, request.mesh, request.member, request.role, written)
    except Refused as refusal:
        log.info(
            "hello from %s as %r of mesh %r refused: %s",
            conversation.greeting.remote,
            request.member,
            request.mesh,
            refusal.code,
        )
        raise


def _take_up(
    turn: Turn, conversation: Conversation, presence: Presence, request: Hello, value: bytes
) -> None:
    """The same presence goes on, on another connection."""
    before = show.seen(presence)
    resume(turn, presence, request, value)
    _attach(turn, conversation, presence, request)
    if show.seen(presence) != before:
        show.changed(turn, presence)
    turn.tell("presence.resumed", presence)
    if conversation.inbox or turn.part[-1] is not request:  # further frames have come behind it
        spend(turn, presence, conversation)


def _begin(
    turn: Turn, conversation: Conversation, token: Token, request: Hello, value: bytes
) -> Presence:
    """A new presence, in the place of an earlier one of the same label if there is one."""
    member = token.member
    label = None if request.observe else request.session
    chosen = label is not None
    box = member.box
    if request.role == "session" and not request.observe:
        label = label or _new_label(turn, member)
        box = open_session_box(turn, member, label, chosen=chosen)
    earlier = None if label is None else member.labels.get(label)
    in_place = earlier if earlier is not None and earlier.role == request.role else None
    if earlier is not None:
        quiet = in_place is not None
        depart(turn, earlier, REPLACED, "replaced by another connection", quiet=quiet, keep=box)
    presence = Presence(0, member, box, request.role, token.id)
    presence.capacity = DEFAULT_CAPACITY
    presence.session, presence.observe, presence.resume = label, request.observe, value
    presence.connected_at = presence.last_seen_at = turn.now
    describe(turn, presence, request)
    _store(turn, presence)
    turn.enter(member.presences, presence.id, presence)
    turn.enter(turn.house.presences, presence.id, presence)
    if label is not None:
        turn.enter(member.labels, label, presence)
    _attach(turn, conversation, presence, request)
    if in_place is None:
        show.joined(turn, presence)
    else:
        show.replaced(turn, presence, in_place)
    return presence


def _new_label(turn: Turn, member: Member) -> str:
    label = turn.chance.label()
    while label in member.sessions or label in member.labels:
        label = turn.chance.label()
    return label


def _store(turn: Turn, presence: Presence) -> None:
    presence.id = turn.insert(
        INSERT,
        (
            presence.member.id,
            presence.box.id,
            presence.role,
            presence.session,
            presence.observe,
            presence.status,
            presence.summary,
            presence.capacity,
            presence.host,
            presence.client_name,
            presence.client_version,
            presence.token,
            presence.resume,
            turn.house.node,
            turn.house.incarnation,
            turn.now,
            turn.now,
        ),
    )
    presence.name = f"p{presence.id}"


def _attach(turn: Turn, conversation: Conversation, presence: Presence, request: Hello) -> None:
    """From here on the presence is online, and in the groups that the hello names."""
    turn.put(presence, "conversation", conversation)
    turn.put(conversation, "presence", presence)
    entered = [groups.join(turn, presence, group, None) for group in request.groups or ()]
    if any(entered):
        groups.changed(turn, presence, but=presence)
    redrain(turn, presence)


def _welcome(turn: Turn, presence: Presence, value: str, *, resumed: bool) -> Welcome:
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
        resume=value,
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
