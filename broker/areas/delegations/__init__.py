"""Delegations: the ledger of who asked whom for what, and what came of it.

    from                              event                                    to
    -                                 opened by the caller                     queued
    queued                            its mail handed over, or the callee      dispatched
    queued, dispatched                the callee                               in_progress
    queued, dispatched, in_progress   the callee                               completed, failed
    queued, dispatched, in_progress   its mail dead or expired, deadline over  failed
    queued, dispatched, in_progress   the caller, its mail cancelled           cancelled
    queued, dispatched, in_progress   the sweeper (of in_progress only)        stuck

Completed, failed, stuck and cancelled are never revised. A result or error that comes later is kept
in the history and mailed to the caller as late. `states` holds the table, `change` is the one place
where a status changes.
"""

from __future__ import annotations

from broker.areas.delegations import follow, inspect, report, sweep
from broker.areas.delegations import open as opening
from broker.areas.delegations.inspect import figures
from broker.core.operations import Operations

__all__ = ["figures", "operations"]

operations = Operations()
for part in (opening, report, inspect, sweep, follow):
    operations.merge(part.operations)
