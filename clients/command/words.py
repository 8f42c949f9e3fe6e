"""What is said in help texts of nouns and fields; what is not here explains itself by its name.

Owns: the words. An operation or field that is missing here works all the same.
"""

from __future__ import annotations

from typing import Final

NOUNS: Final = {
    "mail": "Send mail, take it, look at it",
    "peer": "Who is there",
    "group": "Groups and topics",
    "dispatch": "Identified work for exactly one worker",
    "delegation": "Who asked whom for what",
    "member": "The members of a mesh",
    "token": "What members prove themselves with",
    "mesh": "Isolated worlds of members",
    "broker": "The broker's figures",
}
"""The nouns in the order in which the help lists them."""

FIELDS: Final = {
    "access": "what the member may do",
    "after": "go on where another page ended",
    "agent_type": "the kind of agent that is to do it",
    "agent_types": "kinds of agent whose work the member may lease; may be repeated",
    "blame": "count a failure, or not",
    "body": "the text to send (`-`: standard input)",
    "call_id": "the caller's own name for this lease",
    "callee": "the member that is asked",
    "claim": "the claim under which it is held",
    "context": "what the worker is to know besides",
    "dag_task_id": "the task within the parent's session",
    "dead": "bury it now",
    "deadline_ms": "how long the callee has",
    "dedupe": "how long the key is taken: `active` frees it when all deliveries have ended",
    "delay_ms": "do not hand it over before this time is over",
    "delegation": "the delegation's id",
    "delivery": "the delivery's id",
    "dispatch": "the dispatch's id",
    "dispatch_key": "the key that follows from the identity",
    "error": "what went wrong",
    "group": "a group (@team, @team/backend) or topic (#news)",
    "key": "idempotency key: the same key and content again changes nothing",
    "kind": "what kind of message it is",
    "label": "text to show with the membership",
    "lease_ms": "how long it is held",
    "lease_token": "the lease under which it is held",
    "limit": "at most so many",
    "mailbox": "an address",
    "max": "at most so many",
    "max_attempts": "after so many failures it is given up",
    "member": "a member's name",
    "mesh": "the new mesh's name",
    "message": "the message's id",
    "meta": "a JSON object that travels with the body",
    "note": "a text for people",
    "notify": "an address that is told of the work",
    "older_than_ms": "only what has waited for longer",
    "outcome": "what came of it",
    "outputs": "a JSON array of mails to send in the same transaction",
    "parent_session_id": "the session that the work is for",
    "priority": "who is not idle takes only what is urgent enough",
    "prompt": "the work itself",
    "prompt_sha256": "the SHA-256 of the prompt, in hex",
    "reason": "why",
    "receipt": "tell the sender how each delivery ended",
    "reply_to": "the message that is answered",
    "result": "what came of it",
    "retry": "reopen it if it has failed, expired or been cancelled",
    "retryable": "let another attempt follow",
    "roles": "roles",
    "send": "mail the task to the callee",
    "state": "only what is in this state",
    "status": "a status",
    "task": "what is asked",
    "to": "addresses, comma between: bob, bob/s1, @team, #topic, *",
    "token_id": "the token's id",
    "ttl_ms": "for how long it is good",
    "wait_ms": "how long to wait for the first, if there is none",
}
"""What a field means, where several operations have it: the same everywhere."""
