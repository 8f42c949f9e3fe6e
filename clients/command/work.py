"""`postroom dispatch retry` and `postroom delegation cancel`.

Owns: what they are made of. The operations themselves are commands already.
"""

from __future__ import annotations

from typing import Final, cast

from broker.wire.delegations import Update
from broker.wire.dispatch import Create, Dispatch, GetDispatch
from clients.command.commands import TAKEN, Command, Given
from clients.command.failures import WrongUsage
from clients.command.fields import fields_of
from clients.command.parameters import arguments
from clients.command.session import Session, call
from clients.command.show import answer
from clients.command.values import request_of, text_of

FOUND: Final = fields_of(GetDispatch)
PROMPT: Final = [one for one in fields_of(Create) if one.name == "prompt"]
UPDATED: Final = fields_of(Update)
CANCELLED: Final = [one for one in UPDATED if one.name in ("delegation", "error")]


async def retry(session: Session, given: Given) -> None:
    """Reopen a dispatch: the broker has its identity, the caller brings the prompt again."""
    prompt = text_of("prompt", given)
    if prompt is None:
        raise WrongUsage("prompt is missing: the broker shows prompts to workers only")
    request = request_of(GetDispatch, FOUND, given)
    async with session.connected() as me:
        found = cast("Dispatch", await call(me, request))
        again = Create(
            agent_type=found.agent_type,
            dag_task_id=found.dag_task_id,
            parent_session_id=found.parent_session_id,
            prompt=prompt,
            prompt_sha256=found.prompt_sha256,
            context=found.context,
            retry=True,
        )
        answer(await call(me, again), json=session.json)


async def cancel(session: Session, given: Given) -> None:
    """End a delegation as its caller."""
    request = request_of(Update, UPDATED, {**given, "status": "cancelled"})
    answer(await session.ask(request), json=session.json)


RETRY: Final = Command(
    "Reopen a dispatch that has failed, expired or been cancelled.",
    sorted([*arguments(FOUND, TAKEN), *arguments(PROMPT, TAKEN)], key=lambda one: one.kind),
    retry,
)
CANCEL: Final = Command(
    "Cancel a delegation that has not ended.", arguments(CANCELLED, TAKEN), cancel
)
