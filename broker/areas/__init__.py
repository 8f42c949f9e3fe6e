"""The rules, one noun each. Here their tables of operations become one."""

from __future__ import annotations

from broker.areas.directory import members, meshes, tokens
from broker.areas.mail import (
    accept,
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
)
from broker.areas.presence import arrive, groups, leave
from broker.core.operations import Operations

operations = Operations()
for area in (meshes, members, tokens, arrive, leave, groups,
    accept, again, clear, extend, giveback, handover, inspect, pull, purge, settle, sweep):
    operations.merge(area.operations)
