"""Tokens: made, narrowed, listed, ended.

Owns: the chain from a token to those made from it. Only the hash of a secret is stored.

    from    event                                                    to
    -       member added, token created                              good
    good    revoked, its time over, its parent ended, member removed ended: its connections close
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from broker.areas.directory.access import FORBIDDEN, UNAUTHORIZED, steering
from broker.clock import digest
from broker.core.house import Member, Presence, Token
from broker.core.operations import Looking, Operations
from broker.core.pages import page, position
from broker.core.turn import Turn
from broker.store.queries import Queries
from broker.store.sqlite import Look
from broker.wire.directory import CreateToken, ListTokens, RevokeToken, TokenCreated, Tokens
from broker.wire.directory import Token as ShownToken
from broker.wire.errors import Refused
from broker.wire.fields import Role
from broker.wire.frames import Answer

sql = Queries(__file__)
INSERT = sql.take("insert")
DELETE = sql.take("delete")
USED = sql.take("used")
LIST = sql.take("list")
sql.close()

operations = Operations()

ROLES: Final = tuple(get_args(Role))


def issue(
    turn: Turn,
    member: Member,
    roles: frozenset[Role] | None = None,
    expires_at: int | None = None,
    parent: str | None = None,
) -> tuple[str, str]:
    """Make a token; its id, and the token itself, which is never seen again."""
    id = turn.chance.label()
    while id in turn.house.tokens:
        id = turn.chance.label()
    secret = turn.chance.secret()
    stored = None if roles is None else msgspec.json.encode(sorted(roles)).decode()
    turn.run(INSERT, (id, member.id, digest(secret), stored, turn.now, expires_at, parent))
    token = Token(id, member, digest(secret), roles, expires_at, parent)
    turn.enter(turn.house.tokens, id, token)
    if expires_at is not None:
        turn.house.token_ends.remind(turn, expires_at, id)
    return id, f"prm_{id}_{secret}"


def used(turn: Turn, token: Token) -> None:
    """Somebody has come with this token."""
    turn.run(USED, (turn.now, token.id))


@operations.handle(CreateToken)
def create_token(turn: Turn, caller: Presence, request: CreateToken) -> TokenCreated:
    """Make a token for oneself, or as an admin for another member."""
    roles = None if request.roles is None else frozenset[Role](request.roles)
    expires_at = None if request.ttl_ms is None else turn.now + request.ttl_ms
    parent = None
    if request.member is None or request.member == caller.member.name:
        member = caller.member
        own = turn.house.tokens[caller.token]
        parent = own.id
        if own.roles is not None:
            roles = own.roles if roles is None else roles
            if not roles <= own.roles:
                raise Refused("forbidden", "roles: more than this token's own roles")
        if own.expires_at is not None:
            expires_at = min(expires_at or own.expires_at, own.expires_at)
    else:
        member = _other(caller, request.member)
    id, token = issue(turn, member, roles, expires_at, parent)
    return TokenCreated(token=token, token_id=id, expires_at=expires_at)


def _other(caller: Presence, name: str) -> Member:
    """A member for whom the caller may make a token that depends on no other."""
    member = steering(caller).mesh.members.get(name)
    if member is None:
        raise Refused("not_found", f"member: no member {name!r} in this mesh")
    if member.access == "owner" and caller.member.access != "owner":
        raise Refused("forbidden", "member: admins make no tokens for owners")
    return member


@operations.handle(ListTokens, reads=True)
def list_tokens(turn: Turn, caller: Presence, request: ListTokens) -> Looking:
    """List tokens, without their secrets: all of the mesh for admins, else one's own."""
    only = None if caller.member.steers else caller.member.id
    after = position("token", request.after)
    limit, frame = request.limit, turn.settings.limits.frame
    values = (caller.mesh.id, after, only, only, limit + 1)

    def look(look: Look) -> Tokens:
        rows = look.all(LIST, values)
        tokens, more = page("token", ((row[0], _shown(*row)) for row in rows), limit, frame)
        return Tokens(tokens=tokens, next=more)

    return Looking(look)


def _shown(
    id: str,
    member: str,
    roles: str | None,
    created_at: int,
    expires_at: int | None,
    last_used_at: int | None,
    parent: str | None,
) -> ShownToken:
    return ShownToken(
        token_id=id,
        member=member,
        roles=list(ROLES) if roles is None else msgspec.json.decode(roles),
        created_at=created_at,
        expires_at=expires_at,
        last_used_at=last_used_at,
        parent=parent,
    )


@operations.handle(RevokeToken)
def revoke_token(turn: Turn, caller: Presence, request: RevokeToken) -> Answer:
    """End a token, those made from it, and their connections."""
    token = turn.house.tokens.get(request.token_id)
    if token is None or not _sees(caller, token):
        raise Refused("not_found", f"token_id: no token {request.token_id!r}")
    owners = token.member.access == "owner" and caller.member.access != "owner"
    if owners and token.member is not caller.member:
        raise Refused("forbidden", "token_id: admins end no tokens of owners")
    end(turn, token, FORBIDDEN, "token revoked")
    return Answer()


def _sees(caller: Presence, token: Token) -> bool:
    if token.member.mesh is not caller.mesh:
        return False
    return token.member is caller.member or caller.member.steers


def end(turn: Turn, token: Token, code: int, reason: str) -> None:
    """End a token and all that came from it, with their presences."""
    _end(turn, token.member, [token], code, reason)


def end_all(turn: Turn, member: Member, code: int, reason: str) -> None:
    """End all tokens of a member, with its presences."""
    tokens = turn.house.tokens
    first = [one for one in tokens.values() if one.member is member and one.parent is None]
    _end(turn, member, first, code, reason)


def _end(turn: Turn, member: Member, ending: list[Token], code: int, reason: str) -> None:
    children: dict[str, list[Token]] = {}
    for one in turn.house.tokens.values():
        if one.member is member and one.parent is not None:
            children.setdefault(one.parent, []).append(one)
    for parent in ending:  # grows while it is walked: a chain may be longer than a stack is deep
        ending += children.get(parent.id, ())
    for one in reversed(ending):
        turn.run(DELETE, (one.id,))
        turn.strike(turn.house.tokens, one.id)
        turn.tell("token.ended", one, code, reason)


@operations.sweep
def end_tokens(turn: Turn) -> None:
    """Tokens end with their time."""
    for id in turn.house.token_ends.due(turn):
        token = turn.house.tokens.get(id)
        if token is not None and token.expires_at is not None and token.expires_at <= turn.now:
            end(turn, token, UNAUTHORIZED, "token ended")
