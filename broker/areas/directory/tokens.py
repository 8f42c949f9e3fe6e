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
from broker.core.turn import FAR, Turn
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
LIST = sql.take("list")
sql.close()

operations = Operations()

ROLES: Final = tuple(get_args(Role))


def issue(
    turn: Turn,
    member: Member,
    roles: frozenset[str] | None = None,
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
        turn.wake_at(expires_at)
    return id, f"prm_{id}_{secret}"


@operations.handle(CreateToken)
def create_token(turn: Turn, caller: Presence, request: CreateToken) -> TokenCreated:
    """Make a token for oneself, or as an admin for another member."""
    name = request.member or caller.member.name
    roles = None if request.roles is None else frozenset(request.roles)
    expires_at = None if request.ttl_ms is None else turn.now + request.ttl_ms
    parent: str | None = None
    if name != caller.member.name:
        member = steering(caller).mesh.members.get(name)
        if member is None:
            raise Refused("not_found", f"member: no member {name!r} in this mesh")
        if member.access == "owner" and caller.member.access != "owner":
            raise Refused("forbidden", "member: admins make no tokens for owners")
    else:
        member = caller.member
        own = turn.house.tokens[caller.token]
        parent = own.id
        if own.roles is not None:
            roles = own.roles if roles is None else roles
            if not roles <= own.roles:
                raise Refused("forbidden", "roles: more than this token's own roles")
        if own.expires_at is not None:
            expires_at = min(expires_at or own.expires_at, own.expires_at)
    id, token = issue(turn, member, roles, expires_at, parent)
    return TokenCreated(token=token, token_id=id, expires_at=expires_at)


@operations.handle(ListTokens, reads=True)
def list_tokens(turn: Turn, caller: Presence, request: ListTokens) -> Looking:
    """List tokens, without their secrets: all of the mesh for admins, else one's own."""
    only = None if caller.member.steers else caller.member.id
    values = (caller.mesh.id, request.after or "", only, only, request.limit + 1)

    def look(look: Look) -> Tokens:
        rows = look.all(LIST, values)
        tokens = [
            ShownToken(
                token_id=row[0],
                member=row[1],
                roles=list(ROLES) if row[2] is None else msgspec.json.decode(row[2]),
                created_at=row[3],
                expires_at=row[4],
                last_used_at=row[5],
                parent=row[6],
            )
            for row in rows[: request.limit]
        ]
        more = len(rows) > request.limit
        return Tokens(tokens=tokens, next=tokens[-1].token_id if more else None)

    return Looking(look)


@operations.handle(RevokeToken)
def revoke_token(turn: Turn, caller: Presence, request: RevokeToken) -> Answer:
    """End a token, those made from it, and their connections."""
    token = turn.house.tokens.get(request.token_id)
    if token is None or token.member.mesh is not caller.mesh:
        raise Refused("not_found", f"token_id: no token {request.token_id!r}")
    if token.member is not caller.member:
        if not caller.member.steers:
            raise Refused("not_found", f"token_id: no token {request.token_id!r}")
        if token.member.access == "owner" and caller.member.access != "owner":
            raise Refused("forbidden", "token_id: admins end no tokens of owners")
    end(turn, token, FORBIDDEN, "token revoked")
    return Answer()


def end(turn: Turn, token: Token, code: int, reason: str) -> None:
    """End a token and all that came from it, with their presences."""
    for child in [one for one in turn.house.tokens.values() if one.parent == token.id]:
        end(turn, child, code, reason)
    turn.run(DELETE, (token.id,))
    turn.strike(turn.house.tokens, token.id)
    turn.tell("token.ended", token, code, reason)


@operations.sweep
def end_tokens(turn: Turn) -> None:
    """Tokens end with their time."""
    next_end = FAR
    for token in tuple(turn.house.tokens.values()):
        if token.expires_at is None:
            continue
        if token.expires_at > turn.now:
            next_end = min(next_end, token.expires_at)
        elif token.id in turn.house.tokens:
            end(turn, token, UNAUTHORIZED, "token ended")
    turn.wake_at(next_end)
