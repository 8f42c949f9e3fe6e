-- name: find
SELECT mesh_id, id, caller_id, caller_member, callee_id, callee_member, opened_sha256, status,
    said_sha256, reason, message_id
FROM delegations WHERE mesh_id = ? AND id = ?

-- name: of_key
SELECT id FROM delegations WHERE mesh_id = ? AND caller_id = ? AND idempotency_key = ?

-- name: of_message
SELECT mesh_id, id FROM delegations WHERE message_id = ?
