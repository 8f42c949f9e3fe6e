"""Dispatch: one identified piece of work, leased by exactly the worker that it is for.

    from       event                                              to
    -          created                                            pending
    pending    leased, by its whole identity                      leased
    pending    its ttl is over                                    expired
    pending    cancelled                                          cancelled
    leased     consumed                                           consumed
    leased     failed for good                                    failed
    leased     failed but retryable, its lease ran out:
                   attempts are left                              pending, the next attempt
                   attempts are left, its ttl is over             expired
                   none is left                                   failed
    failed, expired, cancelled
               created again with `retry`                         pending, the next attempt
    consumed   -                                                  for good

Only this package names the tables `dispatch_*`. Nothing is ever taken out of them: that the same
identity asked again is the same dispatch holds for ever.
"""

from __future__ import annotations

from broker.areas.dispatch import create, finish, inspect, lease, sweep
from broker.areas.dispatch.inspect import figures
from broker.core.operations import Operations

__all__ = ["figures", "operations"]

operations = Operations()
for part in (create, lease, finish, sweep, inspect):
    operations.merge(part.operations)
