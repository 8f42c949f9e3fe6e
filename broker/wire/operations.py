"""The tables of operations and events, which follow from the structs.

Owns: which names there are on the wire. Knows nothing of handlers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Union

from msgspec import Struct

from broker.wire import delegations, directory, dispatch, mail, presence
from broker.wire.frames import Event, Request

NOUNS: Final = (presence, mail, dispatch, delegations, directory)
"""The modules whose structs make the tables; a new noun is added here."""


def _tagged(base: type[Struct]) -> Iterator[tuple[str, Any]]:
    for struct in base.__subclasses__():
        if isinstance(tag := struct.__struct_config__.tag, str):
            yield tag, struct
        yield from _tagged(struct)


OPERATIONS: Final[dict[str, type[Request]]] = dict(_tagged(Request))
"""Every operation by its name."""

EVENTS: Final[dict[str, type[Event] | type[mail.Deliver]]] = {
    **dict(_tagged(Event)),
    **dict(_tagged(mail.Delivery)),
}
"""Every event by its name."""

ANY_REQUEST: Final[Any] = Union[tuple(OPERATIONS.values())]  # noqa: UP007 - made at run time
"""The type that decodes any request by its `op`."""

ANY_EVENT: Final[Any] = Union[tuple(EVENTS.values())]  # noqa: UP007 - made at run time
"""The type that decodes any event by its `ev`."""
