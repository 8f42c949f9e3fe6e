"""What is sent, as applications write it: the contents of sends and of an ack's outputs.

Owns: the encoding of outputs. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import UNSET

from broker.wire.mail import Content

FIELDS: Final = frozenset(Content.__struct_fields__)


def output(to: str | Iterable[str], body: Any, **fields: Any) -> dict[str, Any]:
    """Write an output of an ack: the same arguments as `me.mail.send`."""
    unknown = fields.keys() - FIELDS
    if unknown:
        raise TypeError(f"a send takes no {', '.join(sorted(unknown))}")
    return {"to": to if isinstance(to, str) else list(to), "body": body, **fields}


def written(outputs: Iterable[Content | Mapping[str, Any]]) -> list[Any]:
    """Check outputs, which are wire structs or mappings of their fields."""
    return [one if isinstance(one, Content) else output(**_plain(one)) for one in outputs]


def _plain(one: object) -> dict[str, Any]:
    if not isinstance(one, Mapping):
        raise TypeError(f"an output has the fields of a send, which {type(one).__name__} has not")
    return {name: value for name, value in one.items() if value is not UNSET}
