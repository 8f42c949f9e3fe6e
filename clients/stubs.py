"""What editors and type checkers see of that which is made at run time.

Owns: the stubs of `clients.spaces` and `clients.errors`. `python -m clients.stubs --write` makes
them from the wire structs and codes, `--check` fails if they are not what stands there. Nothing of
a running client needs this.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Raw, Struct, UnsetType

from broker.wire.operations import NOUNS as WIRE
from clients import errors, faults
from clients.caller import TABLE, Operation
from clients.rooms import ROOMS
from clients.spaces import NOUNS, SPACES

HERE: Final = Path(__file__).parent
MADE: Final = """\
# ruff: noqa - made by a program
# fmt: off
\"\"\"Made by `python -m clients.stubs --write` from the wire; not edited by hand.\"\"\"
"""
WIDE: Final = 100
OPTIONS: Final = ("timeout: float | None = None", "repeat: bool = False")


def stubs() -> dict[Path, str]:
    """Make the text of every stub."""
    return {
        HERE / "spaces.pyi": MADE + "\n".join(_spaces()) + "\n",
        HERE / "errors.pyi": MADE + "\n".join(_errors()) + "\n",
    }


# -- operations -----------------------------------------------------------------------------------


def _spaces() -> Iterator[str]:
    body = [line for noun in NOUNS for line in _space(noun)]
    body += _calls()
    text = "\n".join(body)
    yield "\nfrom collections.abc import Mapping, Sequence"
    yield "from typing import Any, Final, Literal, overload\n"
    for module in _modules():
        if f"{_alias(module)}." in text:
            name = module.rpartition(".")
            yield f"from {name[0]} import {name[2]} as {_alias(module)}"
    yield "from broker.wire.frames import Answer, Request"
    yield "from clients.caller import Caller"
    rooms = {"Home", "Room", *(room.__name__ for room in ROOMS.values())}
    yield "from clients.rooms import " + ", ".join(sorted(rooms))
    yield "\nNOUNS: Final[tuple[str, ...]]"
    yield "SPACES: Final[dict[str, type[Room]]]"
    yield text


def _modules() -> list[str]:
    return sorted(module.__name__ for module in WIRE)


def _alias(module: str) -> str:
    return f"{module.rpartition('.')[2]}_wire"


def _space(noun: str) -> Iterator[str]:
    space = SPACES[noun]
    base = space.__mro__[1]
    yield f"\nclass {space.__name__}({base.__name__}):"
    made = [
        operation
        for op, operation in TABLE.items()
        if op.startswith(f"{noun}.") and op.partition(".")[2] in vars(space)
    ]
    for operation in made:
        verb = operation.op.partition(".")[2]
        required = [f"{name}: {_hint(operation, name)}" for name in operation.required]
        yield from _function(verb, ["self", *required, "*", *_optional(operation)], operation)
        yield f'        """{operation.struct.__doc__}"""'


def _calls() -> Iterator[str]:
    yield "\nclass Operations(Caller):"
    for noun in NOUNS:
        yield f"    {noun}: {SPACES[noun].__name__}"
    yield "    def make_spaces(self, home: Home) -> None: ..."
    for operation in TABLE.values():
        yield "    @overload"
        given = f"request: {_type(operation.struct)}"
        yield from _function("call", ["self", given, "/", "*", *OPTIONS], operation, "...")
        yield "    @overload"
        given = f"request: Literal[{operation.op!r}]".replace("'", '"')
        required = [f"{name}: {_hint(operation, name)}" for name in operation.required]
        given_fields = [*required, *_optional(operation)]
        yield from _function("call", ["self", given, "/", "*", *given_fields], operation, "...")
    yield "    @overload"
    rest = ["self", "request: Request | str", "/", "*", *OPTIONS, "**fields: Any"]
    yield from _laid_out("async def call", rest, "Answer", "...")


def _optional(operation: Operation) -> list[str]:
    fields = [
        f"{name}: {_hint(operation, name)} = ..."
        for name in operation.struct.__struct_fields__
        if name in operation.names and name not in operation.required
    ]
    return [*fields, *OPTIONS]


def _function(
    name: str, parameters: list[str], operation: Operation, body: str = ""
) -> Iterator[str]:
    yield from _laid_out(f"async def {name}", parameters, _type(operation.struct.Answer), body)


def _laid_out(name: str, parameters: list[str], result: str, body: str) -> Iterator[str]:
    end = f") -> {result}:" + (f" {body}" if body else "")
    line = f"    {name}({', '.join(parameters)}{end}"
    if len(line) <= WIDE:
        yield line
        return
    middle = f"        {', '.join(parameters)}"
    if len(middle) <= WIDE and "*" not in parameters[-1]:
        yield f"    {name}("
        yield middle
    else:
        yield f"    {name}("
        yield from (f"        {parameter}," for parameter in parameters)
    yield f"    {end}"


def _hint(operation: Operation, name: str) -> str:
    return _type(get_type_hints(operation.struct, include_extras=True)[name])


def _type(hint: Any) -> str:
    """Write a type as an argument of it is annotated: wide in what is taken."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(inner[0])
    if origin in (Union, types.UnionType):
        kinds = [_type(each) for each in inner if each is not UnsetType]
        return " | ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return "Literal[" + ", ".join(f'"{each}"' for each in inner) + "]"
    if origin is list:
        return f"Sequence[{_type(inner[0])}]"
    if hint is type(None):
        return "None"
    if hint is Raw or hint is Any:
        return "Any"
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _struct(hint)
    return str(hint.__name__)


def _struct(struct: type[Struct]) -> str:
    module = next((m for m in _modules() if struct.__module__.startswith(m)), None)
    if module is None:
        return struct.__name__
    name = f"{_alias(module)}.{struct.__name__}"
    is_given = struct.__struct_config__.forbid_unknown_fields and not hasattr(struct, "Answer")
    return f"{name} | Mapping[str, Any]" if is_given else name


# -- errors ---------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    kinds = sorted(
        name
        for name, value in vars(faults).items()
        if isinstance(value, type) and issubclass(value, faults.PostroomError)
    )
    yield "\nfrom typing import Final\n"
    yield "from broker.wire.errors import ErrorBody"
    yield "from clients.faults import ("
    yield from (f"    {name} as {name}," for name in kinds)
    yield ")\n"
    yield "BY_CODE: Final[dict[str, type[Refused]]]\n"
    yield "def class_name(code: str) -> str: ..."
    yield "def refused(error: ErrorBody, op: str | None = None) -> Refused: ..."
    for made in errors.BY_CODE.values():
        yield f"\nclass {made.__name__}({made.__mro__[1].__name__}):"
        yield f'    """{made.__doc__}"""'


def main(arguments: list[str]) -> int:
    """Write or check the stubs."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python -m clients.stubs --write | --check\n")
        return 2
    for path, text in stubs().items():
        if arguments == ["--write"]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{path.name} is stale: python -m clients.stubs --write\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
