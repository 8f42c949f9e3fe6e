"""`postroom dispatch retry` and `postroom delegation cancel`.

Owns: what they are made of. The operations themselves are commands already.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import Parameter as Argument
from typing import Annotated, Any, Final, cast

from cyclopts import Parameter

from broker.wire.delegations import Update
from broker.wire.dispatch import Create, Dispatch, GetDispatch
from clients.command.commands import TAKEN, Command, Given
from clients.command.failures import WrongUsage
from clients.command.fields import fields_of
from clients.command.parameters import arguments
from clients.command.session import Session, call
from clients.command.show import answer
from clients.command.values import request_of

IDENTITY: Final = ("agent_type", "dag_task_id", "parent_session_id")
NAMES: Final = fields_of(GetDispatch)
CREATED: Final = [one for one in fields_of(Create) if one.name != "retry"]
UPDATED: Final = fields_of(Update)


async def retry(session: Session, given: Given) -> None:
    """Reopen a dispatch: its own creation again, with the words that say so."""
    words = given.pop("which", ())
    names: tuple[str, ...] = (*IDENTITY, "prompt") if len(words) > 2 else ("dispatch", "prompt")
    if given.get("dispatch") or given.get("dispatch_key"):
        names = ("prompt",)
    if len(words) > len(names):
        raise WrongUsage("a dispatch, or its agent type, task and parent session; then the prompt")
    for name, word in zip(names, words, strict=False):
        if given.setdefault(name, word) is not word:
            raise WrongUsage(f"{name.replace('_', '-')} is given twice")
    async with session.connected() as me:
        if given.get("dispatch") or given.get("dispatch_key"):
            named = request_of(GetDispatch, NAMES, given)
            # The broker shows a prompt to workers only: that the caller brings again.
            if given.get("prompt") is None and given.get("prompt_file") is None:
                raise WrongUsage("prompt is missing: bring it again, only workers are shown it")
            found = cast("Dispatch", await call(me, named))
            given.update({name: getattr(found, name) for name in (*IDENTITY, "prompt_sha256")})
        again = cast("Create", request_of(Create, CREATED, given))
        again.retry = True
        answer(await call(me, again), json=session.json)


async def cancel(session: Session, given: Given) -> None:
    """End a delegation as its caller."""
    request = request_of(Update, UPDATED, {**given, "status": "cancelled"})
    answer(await session.ask(request), json=session.json)


def _flags(found: Sequence[Argument]) -> list[Argument]:
    """The same arguments, none of them positional."""
    return [one.replace(kind=Argument.KEYWORD_ONLY, default=_unless_given(one)) for one in found]


def _unless_given(one: Argument) -> Any:
    return None if one.default is Argument.empty else one.default


WHICH: Final = Argument(
    "which",
    Argument.VAR_POSITIONAL,
    annotation=Annotated[
        str,
        Parameter(help="a dispatch, or its agent type, task and parent session; then the prompt"),
    ],
)
RETRY: Final = Command(
    "Reopen a dispatch that has failed, expired or been cancelled.",
    [WHICH, *_flags(arguments(NAMES, TAKEN)), *_flags(arguments(CREATED, TAKEN))],
    retry,
)
CANCEL: Final = Command(
    "Cancel a delegation that has not ended.",
    arguments([one for one in UPDATED if one.name in ("delegation", "error")], TAKEN),
    cancel,
)
