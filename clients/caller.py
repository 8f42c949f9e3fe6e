"""Calling operations: from Python arguments to a frame, and from a reply to its typed answer.

Owns: what an operation takes, read from its wire struct, and the one generic call that everything
else is made of. A new operation needs no edit here. Knows nothing of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import NODEFAULT, UNSET, Raw

from broker.wire.frames import Answer, Request
from broker.wire.operations import OPERATIONS
from clients.identity import REMEMBERED_OPS, Identity
from clients.pending import Pending, Verb
from clients.requests import Requests

T = TypeVar("T")

ONCE_ONLY: Final = frozenset({"member.add", "token.create", "mesh.create", "mail.claim"})
"""What an answer that got lost would give away for ever: secrets that are shown once, claims."""
OWN: Final = frozenset({"hello", "bye"})
"""What the client says by itself."""

WAYS: Final = 64
NOTHING: Final[dict[str, Any]] = {}
_encode: Final = msgspec.json.Encoder().encode


class Operation(Verb):
    """How one operation is called."""

    __slots__ = ("_good", "names", "remembered", "renamed", "required", "struct")

    def __init__(self, struct: type[Request]) -> None:
        super().__init__(struct)
        self.struct = struct
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
        self.remembered = self.op in REMEMBERED_OPS
        self._good: set[tuple[str, ...]] = set()

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Encode arguments, or say which one is wrong."""
        # A program has few ways to write a call: those that were found good need no second look.
        if (names := (*fields,)) not in self._good:
            self._check(fields.keys())
            if len(self._good) < WAYS:
                self._good.add(names)
        if self.renamed:
            fields = {self.renamed.get(name, name): value for name, value in fields.items()}
        try:
            return _encode(fields)
        except TypeError:
            # A field that is given as not given; looked for only here, where it costs nothing.
            given = {name: value for name, value in fields.items() if value is not UNSET}
            if len(given) == len(fields):
                raise
            return _encode(given)

    def _check(self, names: Set[str]) -> None:
        unknown = ", ".join(sorted(names - self.names))
        if unknown:
            known = ", ".join(sorted(self.names))
            raise TypeError(f"{self.op} takes no {unknown}; it takes {known}")
        missing = ", ".join(name for name in self.required if name not in names)
        if missing:
            raise TypeError(f"{self.op} needs {missing}")

    def positional(self, values: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
        """Give positional arguments the names of the required fields."""
        if not fields and len(values) == len(self.required):
            return dict(zip(self.required, values, strict=True))
        names = self.required[: len(values)]
        if len(names) < len(values):
            raise TypeError(f"{self.op} takes {len(names)} positional arguments")
        if fields and not fields.keys().isdisjoint(names):
            twice = ", ".join(name for name in names if name in fields)
            raise TypeError(f"{self.op} got {twice} twice")
        fields.update(zip(names, values, strict=True))
        return fields

    def check_repeat(self, fields: Mapping[str, Any]) -> None:
        """Refuse to repeat what the broker could not recognise as the same."""
        keys = self.names & {"key", "delegation"}
        unsafe = "key" in self.names and not any(fields.get(name) for name in keys)
        if unsafe or self.op in ONCE_ONLY:
            raise ValueError(f"{self.op} can't be repeated safely" + " without a key" * unsafe)


TABLE: Final = {op: Operation(struct) for op, struct in OPERATIONS.items() if op not in OWN}


class Caller:
    """Calls operations for one client."""

    def __init__(self, requests: Requests, identity: Identity) -> None:
        self._requests = requests
        self._identity = identity

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
            return await self.do(operation, fields, timeout, repeat)
        operation, encoded, fields = _taken_apart(request, fields)
        return await self.do(operation, fields, timeout, repeat, encoded)

    def start(
        self, operation: Operation, fields: dict[str, Any], *, repeat: bool = False
    ) -> Pending[Any]:
        """Begin an operation without waiting for it."""
        assert not operation.remembered, "what it changes is remembered by who waits for its answer"
        encoded = operation.encode(fields)
        if repeat:
            operation.check_repeat(fields)
        return self._requests.ask(operation, encoded, repeat=repeat)

    async def granted(self, pending: Pending[T], give_back: Callable[[Pending[T]], None]) -> T:
        """Wait for what the broker grants; what comes when nobody waits any more is given back."""
        try:
            return await pending
        except asyncio.CancelledError:
            if not self._requests.withdraw(pending):
                pending.then(give_back)
            raise

    async def do(
        self,
        operation: Operation,
        fields: dict[str, Any],
        timeout: float | None,  # noqa: ASYNC109 - see above
        repeat: bool,
        encoded: bytes | None = None,
    ) -> Answer:
        """Do one operation with these fields."""
        if encoded is None:
            encoded = operation.encode(fields)
        if repeat:
            operation.check_repeat(fields)
        waiter: asyncio.Future[Raw] = self._requests.loop.create_future()
        self._requests.put(Pending(verb=operation, repeat=repeat, waiter=waiter), encoded)
        # A body is not needed any more; with many calls under way that is felt in the caches.
        del encoded
        if not operation.remembered:
            fields = NOTHING
        if timeout is None:
            ok = await waiter
        else:
            async with asyncio.timeout(timeout):
                ok = await waiter
        if operation.remembered:
            self._identity.changed(operation.op, fields)
        answer: Answer = operation.read(ok)
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
