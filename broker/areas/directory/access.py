"""Who is speaking: the check of a token, and of what its member may do.

Owns: the one way in. A token that is wrong, missing, ended or of another mesh is answered alike,
after the same time.
"""

from __future__ import annotations

import re
from typing import Final

from broker.clock import digest, same_digest
from broker.core.house import DEFAULT_MESH, House, Member, Presence, Token
from broker.wire.errors import Refused

WRITTEN: Final = re.compile(r"prm_([0-9a-z]+)_([0-9A-Za-z_-]+)")
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NO_SECRET: Final = digest("")


def proven(house: House, now: int, written: str | None) -> Token | None:
    """The token that this is, if it is one and good."""
    match = WRITTEN.fullmatch(written or "")
    token = house.tokens.get(match[1]) if match else None
    right = same_digest(digest(match[2] if match else ""), token.secret if token else NO_SECRET)
    if token is None or not right or (token.expires_at is not None and token.expires_at <= now):
        return None
    return token


def check(house: House, now: int, mesh: str, member: str, role: str, written: str | None) -> Token:
    """The token that proves that this is that member, allowed to take that role."""
    token = proven(house, now, written)
    if token is None or token.member.name != member or token.member.mesh.name != mesh:
        raise Refused(
            "unauthorized", "mesh, member and token do not fit together", close=UNAUTHORIZED
        )
    if token.roles is not None and role not in token.roles:
        raise Refused("forbidden", f"role: this token does not allow {role!r}", close=FORBIDDEN)
    return token


def steers_broker(house: House, now: int, written: str | None) -> bool | None:
    """Whether this token is an admin's of the first mesh; None if it is no good at all."""
    token = proven(house, now, written)
    if token is None:
        return None
    return token.member.steers and token.member.mesh.name == DEFAULT_MESH


def steering(caller: Presence) -> Member:
    """The caller, who must be an owner or an admin of the mesh."""
    if not caller.member.steers:
        raise Refused("forbidden", f"{caller.member.name!r} is no owner or admin of this mesh")
    return caller.member
