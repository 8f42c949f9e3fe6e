"""What can be wrong with dispatches on disk, and what mends it.

Owns: the checks of the tables `dispatch_*`: hashes and keys are computed anew, what hangs in the
air is found, attempts are counted. A repair never makes work runnable that was not, and never ends
a dispatch: that needs a mail, which only the broker sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from broker.areas.dispatch.adopt import missing
from broker.areas.dispatch.ending import INSERT_ATTEMPT, NEXT_ATTEMPT
from broker.areas.dispatch.identity import KEY, hash_of, key_of, written
from broker.doctor import Case, Database, Finding, Repair, check, mend
from broker.store.queries import Queries

sql = Queries(__file__)
PROMPTS = sql.take("prompts")
UNUSED_PROMPTS = sql.take("unused_prompts")
DELETE_PROMPT = sql.take("delete_prompt")
IDENTITIES = sql.take("identities")
SET_KEY = sql.take("set_key")
LOST = sql.take("lost")
STRAY_CONTEXTS = sql.take("stray_contexts")
DELETE_CONTEXT = sql.take("delete_context")
STRAY_ATTEMPTS = sql.take("stray_attempts")
DELETE_ATTEMPTS = sql.take("delete_attempts")
GAPS = sql.take("gaps")
FILL_GAP = sql.take("fill_gap")
DISAGREEING = sql.take("disagreeing")
UNENDED = sql.take("unended")
ENDED_LEASES = sql.take("ended_leases")
END_LEASE = sql.take("end_lease")
sql.close()

PROMPT_CHUNK: Final = 50  # a prompt may be a quarter of a megabyte
CHUNK: Final = 1_000

check("dispatch.files")(missing)


@check("dispatch.prompts")
def prompts(case: Case) -> Iterator[Finding]:
    """A prompt that is not what its hash says was changed or damaged; nothing here has it whole."""
    for id, sha256, content in _chunks(case.database, PROMPTS, PROMPT_CHUNK):
        if hash_of(content) != sha256:
            yield Finding(f"prompt {id}", f"its content has not the hash {sha256}")
    for (id,) in case.database.all(UNUSED_PROMPTS):
        repair = mend("delete it", DELETE_PROMPT, id)
        yield Finding(f"prompt {id}", "no dispatch uses it", repair)


@check("dispatch.keys")
def keys(case: Case) -> Iterator[Finding]:
    """A key follows from the identity, except where there is none."""
    for id, key, agent_type, task, parent, sha256, reason in _chunks(
        case.database, IDENTITIES, CHUNK
    ):
        if reason in ("legacy", "imported") and KEY.fullmatch(key) is None:
            continue
        right = key_of(agent_type, task, sha256, parent)
        if key != right:
            repair = mend("set the key that its identity gives", SET_KEY, right, id)
            yield Finding(written(id), f"its key {key[:80]!r} is not that of its identity", repair)


@check("dispatch.orphans")
def orphans(case: Case) -> Iterator[Finding]:
    """Parts without the whole, and a whole without its parts."""
    for id, part in case.database.all(LOST):
        yield Finding(written(id), f"its {part} is gone")
    for (id,) in case.database.all(STRAY_CONTEXTS):
        repair = mend("delete it", DELETE_CONTEXT, id)
        yield Finding(f"context of {written(id)}", "there is no such dispatch", repair)
    for id, count in case.database.all(STRAY_ATTEMPTS):
        repair = mend("delete them", DELETE_ATTEMPTS, id)
        yield Finding(f"{count} attempts at {written(id)}", "there is no such dispatch", repair)


@check("dispatch.attempts")
def attempts(case: Case) -> Iterator[Finding]:
    """Attempts are numbered from 1 to the one that counts, which stands as the dispatch does."""
    for id, number, attempt, status in case.database.all(GAPS):
        repair = None
        if number < attempt:
            repair = mend(
                "fill the gap with a failed one", FILL_GAP, id, number, case.now, case.now
            )
        elif status == "pending":
            repair = mend("begin it", INSERT_ATTEMPT, id, number, case.now)
        yield Finding(written(id), f"attempt {number} of {attempt} is missing", repair)
    for id, number, status, wanted in case.database.all(DISAGREEING):
        yield Finding(written(id), f"it is {wanted}, but its attempt {number} is {status}")
    for id, number, status in case.database.all(UNENDED):
        yield Finding(written(id), f"attempt {number} is {status}, but is not the one that counts")


@check("dispatch.leases")
def leases(case: Case) -> Iterator[Finding]:
    """Leases past their end. The broker gives them back at its next start, a little later."""
    for id, attempt, max_attempts, over in case.database.all(ENDED_LEASES, (case.now,)):
        repair = _give_back(id, attempt, case.now) if attempt < max_attempts else None
        problem = "its lease is past its end"
        if repair is None:
            problem += ", and it is the last attempt: the broker ends it when it has started"
        yield Finding(written(id), f"{problem} (by {over} ms)", repair)


def _give_back(id: int, attempt: int, now: int) -> Repair:
    """What the broker's own sweep does with a lease that has run out."""

    def do(database: Database) -> None:
        database.run(END_LEASE, (now, id, attempt))
        database.run(NEXT_ATTEMPT, (id, "leased", attempt))
        database.run(INSERT_ATTEMPT, (id, attempt + 1, now))

    return Repair("begin the next attempt", do)


def _chunks(database: Database, statement: str, size: int) -> Iterator[tuple[Any, ...]]:
    """The rows of a statement that goes on behind an id, without holding them all."""
    after = 0
    while rows := database.all(statement, (after, size)):
        yield from rows
        after = rows[-1][0]
