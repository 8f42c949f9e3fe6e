"""What a field of a wire struct is on the command line: which kind of argument, under which names.

Owns: the one rule by which a field is an argument: its type decides, not its operation. A required
field is positional, `x_y` is the flag `--x-y`. Knows nothing of how arguments are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import FieldInfo

from broker.wire import Request
from broker.wire.fields import BODIES

DURATION: Final = "_ms"


class Kind(Enum):
    """What an argument may be."""

    BODY = auto()
    """Any JSON value; plain text is one too."""
    JSON = auto()
    SWITCH = auto()
    DURATION = auto()
    NUMBER = auto()
    CHOICE = auto()
    CHOICES = auto()
    WORD_OR_NUMBER = auto()
    TARGETS = auto()
    TEXTS = auto()
    LONG_TEXT = auto()
    """Text without a bound of its own, which may come from a file."""
    TEXT = auto()


class Field:
    """One field of a request."""

    __slots__ = (
        "alternatives",
        "choices",
        "clearable",
        "default",
        "flag",
        "kind",
        "name",
        "required",
    )

    def __init__(self, info: FieldInfo) -> None:
        self.name = info.name
        self.flag = "--" + info.encode_name.replace("_", "-")
        self.required = info.required
        self.default = info.default
        self.alternatives = tuple(_alternatives(info.type))
        self.choices = tuple(_choices(self.alternatives))
        self.clearable = type(None) in self.alternatives and info.default is UNSET
        self.kind = self._kind(info)

    def _kind(self, info: FieldInfo) -> Kind:
        kinds = [one for one in self.alternatives if one not in (type(None), UnsetType)]
        items = [item for one in kinds if get_origin(one) is list for item in get_args(one)]
        if Raw in kinds:
            return Kind.BODY if self.name in BODIES else Kind.JSON
        if items:
            if any(isinstance(item, type) and issubclass(item, Struct) for item in items):
                return Kind.JSON
            if str in kinds:
                return Kind.TARGETS
            return Kind.CHOICES if self.choices else Kind.TEXTS
        if bool in kinds:
            return Kind.SWITCH
        if int in kinds:
            if self.choices:
                return Kind.WORD_OR_NUMBER
            return Kind.DURATION if self.name.endswith(DURATION) else Kind.NUMBER
        if self.choices:
            return Kind.CHOICE
        return Kind.TEXT if _bounded(info.type) else Kind.LONG_TEXT

    @property
    def word(self) -> str:
        """The flag without its dashes."""
        return self.flag[2:]

    @property
    def flags(self) -> tuple[str, ...]:
        """The flag, before it its singular where one word is given each time."""
        if self.kind in (Kind.CHOICES, Kind.TEXTS) and self.flag.endswith("s"):
            return self.flag[:-1], self.flag
        return (self.flag,)

    @property
    def from_file(self) -> bool:
        """Whether the value may come from a file."""
        return self.kind in (Kind.BODY, Kind.LONG_TEXT)


def fields_of(struct: type[Request]) -> list[Field]:
    """What a request is made of, its number apart: the connection gives that."""
    fields = [Field(info) for info in msgspec.structs.fields(struct) if info.name != "id"]
    if any(one.name == "after" for one in fields):
        for one in fields:
            # Without a limit all pages are asked for: the one of a page is no default here.
            one.default = None if one.name == "limit" else one.default
    return fields


def positional(fields: Sequence[Field]) -> list[Field]:
    """The fields that need no flag: what is required, else a first field that names something."""
    required = [one for one in fields if one.required]
    return required or [one for one in fields[:1] if one.kind is Kind.TEXT]


def _alternatives(kind: object) -> list[Any]:
    """The types that a field's type is a union of, without what `Annotated` adds."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _alternatives(get_args(kind)[0])
    if origin in (Union, UnionType):
        return [one for part in get_args(kind) for one in _alternatives(part)]
    return [kind]


def _choices(alternatives: Iterable[Any]) -> list[str]:
    """The words that are allowed, in the field itself or in its list."""
    found: list[str] = []
    for one in alternatives:
        for literal in (one, *get_args(one)):
            if get_origin(literal) is Literal:
                found += map(str, get_args(literal))
    return found


def _bounded(kind: object) -> bool:
    """Whether a string's type says how long it may be."""
    if get_origin(kind) is Annotated:
        return any(
            getattr(one, "max_length", None) or getattr(one, "pattern", None)
            for one in get_args(kind)[1:]
        )
    return any(map(_bounded, get_args(kind)))
