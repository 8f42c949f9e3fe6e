"""Mail: durable queues with an address, drained in two phases, claim and ack.

from       event                                   to
-          accepted, nobody takes it now           queued
-          accepted, handed over at once           claimed
-          accepted into a full box of a group     expired
queued     claimed                                 claimed
queued     ttl over, mailbox or member gone        expired
queued     cancelled, dropped                      cancelled
claimed    acked                                   acked
claimed    nacked, released, lease over            queued, expired or dead
dead       redriven                                queued
dead       dropped                                 cancelled
"""
