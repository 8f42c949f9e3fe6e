"""Calling operations: from Python arguments to a frame, and from a reply to its typed answer.

Owns: what an operation takes, read from its wire struct, and the one generic call that everything
else is made of. A new operation needs no edit here. Knows nothing of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import NODEFAULT, UNSET

from broker.wire.frames import Answer, Request
from broker.wire.operations import OPERATIONS
from clients.holding import Holding
from clients.identity import Identity
from clients.requests import Decode, Requests

ONCE_ONLY: Final = frozenset({"member.add", "token.create", "mesh.create", "mail.claim"})
"""What an answer that got lost would give away for ever: secrets that are shown once, claims."""
OWN: Final = frozenset({"hello", "bye"})
"""What the client says by itself."""


class Operation:
    """How one operation is called."""

    __slots__ = ("decode", "names", "op", "renamed", "required", "struct")

    def __init__(self, op: str, struct: type[Request]) -> None:
        self.op = op
        self.struct = struct
        self.decode: Decode = msgspec.json.Decoder(struct.Answer).decode
        fields = [field for field in msgspec.structs.fields(struct) if field.name != "id"]
        self.names = frozenset(field.name for field in fields)
        self.required = tuple(
            field.name
            for field in fields
            if field.default is NODEFAULT and field.default_factory is NODEFAULT
        )
        self.renamed = {
            field.name: field.encode_name for field in fields if field.name != field.encode_name
        }

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Encode arguments, or say which one is wrong."""
        if not fields.keys() <= self.names:
            unknown = ", ".join(sorted(fields.keys() - self.names))
            known = ", ".join(sorted(self.names))
            raise TypeError(f"{self.op} takes no {unknown}; it takes {known}")
        for name in self.required:
            if name not in fields:
                raise TypeError(f"{self.op} needs {name}")
        if self.renamed:
            fields = {self.renamed.get(name, name): value for name, value in fields.items()}
        if any(value is UNSET for value in fields.values()):
            fields = {name: value for name, value in fields.items() if value is not UNSET}
        return msgspec.json.encode(fields)

    def positional(self, values: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
        """Give positional arguments the names of the required fields."""
        if len(values) > len(self.required):
            raise TypeError(f"{self.op} takes {len(self.required)} positional arguments")
        for name, value in zip(self.required, values, strict=False):
            if name in fields:
                raise TypeError(f"{self.op} got {name} twice")
            fields[name] = value
        return fields

    def check_repeat(self, fields: Mapping[str, Any]) -> None:
        """Refuse to repeat what the broker could not recognise as the same."""
        keys = self.names & {"key", "delegation"}
        unsafe = "key" in self.names and not any(fields.get(name) for name in keys)
        if unsafe or self.op in ONCE_ONLY:
            raise ValueError(f"{self.op} can't be repeated safely" + " without a key" * unsafe)


TABLE: Final = {op: Operation(op, struct) for op, struct in OPERATIONS.items() if op not in OWN}


class Caller:
    """Calls operations for one client."""

    def __init__(self, requests: Requests, identity: Identity, holding: Holding) -> None:
        self._requests = requests
        self._identity = identity
        self._holding = holding

    async def call(
        self,
        request: Request | str,
        /,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - each of many methods has it this way
        repeat: bool = False,
        **fields: Any,
    ) -> Answer:
        """Do one operation, given as its wire struct, or by its name and fields.

        `repeat` sends it again if the connection is lost before the answer comes. It is taken only
        where that is safe: a send needs a `key` for it. `timeout` is in seconds; past it the
        outcome is not known.
        """
        if isinstance(request, str):
            operation = TABLE.get(request)
            if operation is None:
                raise ValueError(f"there is no operation {request!r}")
            encoded = operation.encode(fields)
        else:
            operation, encoded, fields = _taken_apart(request, fields)
        if repeat:
            operation.check_repeat(fields)
        self._holding.check_size(encoded)
        waiter = self._requests.ask(operation.op, encoded, operation.decode, repeat=repeat)
        if timeout is None:
            answer = await waiter
        else:
            async with asyncio.timeout(timeout):
                answer = await waiter
        self._identity.changed(operation.op, fields)
        return answer


def _taken_apart(
    request: Request, fields: dict[str, Any]
) -> tuple[Operation, bytes, dict[str, Any]]:
    if fields:
        raise TypeError("a request that is given whole takes no further fields")
    operation = TABLE[cast("str", request.__struct_config__.tag)]
    if request.id is not UNSET:
        request = msgspec.structs.replace(request, id=UNSET)
    encoded = msgspec.json.encode(request)
    start = encoded.find(b",")
    encoded = b"{}" if start < 0 else b"{" + encoded[start + 1 :]
    return operation, encoded, {name: getattr(request, name) for name in operation.names}
