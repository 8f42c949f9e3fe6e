"""The rules, one noun each. Here their tables of operations become one."""

from __future__ import annotations

from broker.areas import delegations, dispatch, stats
from broker.areas.directory import boxes, members, meshes, tokens
from broker.areas.mail import (
    again,
    clear,
    extend,
    giveback,
    handover,
    inspect,
    pull,
    purge,
    send,
    settle,
    sweep,
    unused,
)
from broker.areas.presence import arrive, groups, leave, peers, update, watch
from broker.core.operations import Operations

operations = Operations()
for area in (
    boxes,
    meshes,
    members,
    tokens,
    arrive,
    leave,
    groups,
    peers,
    update,
    watch,
    send,
    again,
    clear,
    extend,
    giveback,
    handover,
    inspect,
    pull,
    purge,
    settle,
    sweep,
    unused,
    dispatch,
    delegations,
    stats,
):
    operations.merge(area.operations)
