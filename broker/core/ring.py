"""Whose turn it is: the connections that have said something, each with a share of a batch.

Owns: the order in which connections are served, and how much of one is taken at a time. Knows no
operation, only which requests are reads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from broker.core.conversation import Conversation
    from broker.core.measures import Part

SHARE: Final = 32  # how many requests of one connection are taken before the next one's turn


class Ring:
    """Connections with requests, served in turn."""

    __slots__ = ("_conversations", "_reads")

    def __init__(self, reads: set[type]) -> None:
        self._conversations: deque[Conversation] = deque()
        self._reads = reads

    def __len__(self) -> int:
        return len(self._conversations)

    def add(self, conversation: Conversation) -> None:
        """This connection has requests in its inbox."""
        self._conversations.append(conversation)

    def take(self) -> Part:
        """The next few requests of the next connection; a read is the last of them."""
        conversation = self._conversations.popleft()
        inbox = conversation.inbox
        requests: list[Any]
        if len(inbox) <= SHARE and self._reads.isdisjoint(map(type, inbox)):  # nearly always
            requests = list(inbox)
            inbox.clear()
        else:
            requests = []
            for _ in range(min(SHARE, len(inbox))):
                requests.append(inbox.popleft())
                if type(requests[-1]) in self._reads:
                    return conversation, requests  # its turn comes again when that is answered
        if inbox:
            self._conversations.append(conversation)
        else:
            conversation.queued = False
        return conversation, requests
