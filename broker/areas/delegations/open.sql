-- name: insert
INSERT INTO delegations (
    mesh_id, id, caller_id, caller_member, callee_id, callee_member, idempotency_key,
    opened_sha256, task_preview, message_id, deadline, created_at, updated_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: keep_task
INSERT INTO delegation_contents (mesh_id, delegation_id, task) VALUES (?, ?, ?)
