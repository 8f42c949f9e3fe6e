"""The parts of one client, put together: who is told what the broker says.

Owns: which part hears of what. Holds no rule of any of them, and nothing that applications see.
"""

from __future__ import annotations

from typing import Final

import msgspec

from broker.wire.frames import Event
from broker.wire.mail import Progress
from broker.wire.presence import WatchPeers, Welcome
from clients.conversation import Conversation, Reconnected
from clients.errors import PostroomError
from clients.events import Events
from clients.identity import Identity
from clients.intake import Intake
from clients.leases import Leases
from clients.pending import Verb
from clients.requests import NO_LIMIT, Requests, unheard
from clients.serving import Serving

WATCH: Final = Verb(WatchPeers)


class Parts:
    """One client's parts."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.requests = Requests()
        self.leases = Leases()
        self.intake = Intake(self.requests, identity, self.leases)
        self.serving = Serving(self.intake)
        self.events = Events()
        self.talk = Conversation(identity, self.requests, self, self.intake.deliver)

    # -- what the conversation tells --------------------------------------------------------------

    def event(self, event: Event) -> None:
        """The broker tells something."""
        if isinstance(event, Progress):
            self.intake.questions.progress(event)
        self.events.tell(event)

    def resumed(self, welcome: Welcome, *, first: bool) -> None:
        """There is a presence, and requests may be sent."""
        self.requests.frame_limit = welcome.limits.get("frame", NO_LIMIT)
        if first:
            return
        self.events.tell(Reconnected(welcome=welcome))
        self.intake.resumed(welcome)
        if self.identity.watch is not None:
            # A watch ends with its connection. It begins anew with all who are there.
            fields = msgspec.json.encode(self.identity.watch)
            self.requests.ask(WATCH, fields).then(unheard)

    def over(self, fault: PostroomError) -> None:
        """There will be no other connection."""
        self.leases.close()
        self.intake.over(fault)
        self.events.finish(fault)
