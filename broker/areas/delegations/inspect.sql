-- name: get
SELECT d.caller_member, d.callee_member, d.id, d.caller_id, d.callee_id, c.task, d.status, c.result,
    d.error_detail, d.reason, d.idempotency_key, d.deadline, d.last_heartbeat, d.created_at,
    d.updated_at, d.finished_at, d.message_id
FROM delegations AS d
JOIN delegation_contents AS c ON c.mesh_id = d.mesh_id AND c.delegation_id = d.id
WHERE d.mesh_id = ? AND d.id = ?

-- name: steps
SELECT number, at, status, by, note, error, late, length(result) FROM delegation_history
WHERE mesh_id = ? AND delegation_id = ?
ORDER BY number DESC LIMIT ?

-- name: result
SELECT result FROM delegation_history WHERE number = ?

-- name: as_caller
SELECT id, caller_id, callee_id, task_preview, status, result_preview, error_detail, reason,
    idempotency_key, deadline, last_heartbeat, created_at, updated_at, finished_at, message_id
FROM delegations
WHERE mesh_id = ? AND caller_id = ? AND (created_at, id) < (?, ?)
    AND status = coalesce(?, status) AND caller_member = ?
ORDER BY created_at DESC, id DESC LIMIT ?

-- name: as_callee
SELECT id, caller_id, callee_id, task_preview, status, result_preview, error_detail, reason,
    idempotency_key, deadline, last_heartbeat, created_at, updated_at, finished_at, message_id
FROM delegations
WHERE mesh_id = ? AND callee_id = ? AND (created_at, id) < (?, ?)
    AND status = coalesce(?, status) AND callee_member = ?
ORDER BY created_at DESC, id DESC LIMIT ?

-- name: everybodys
SELECT id, caller_id, callee_id, task_preview, status, result_preview, error_detail, reason,
    idempotency_key, deadline, last_heartbeat, created_at, updated_at, finished_at, message_id
FROM delegations
WHERE mesh_id = ? AND (created_at, id) < (?, ?)
ORDER BY created_at DESC, id DESC LIMIT ?

-- name: everybodys_by_status
SELECT id, caller_id, callee_id, task_preview, status, result_preview, error_detail, reason,
    idempotency_key, deadline, last_heartbeat, created_at, updated_at, finished_at, message_id
FROM delegations
WHERE mesh_id = ? AND status = ? AND (created_at, id) < (?, ?)
ORDER BY created_at DESC, id DESC LIMIT ?

-- name: counts
SELECT status, count FROM delegation_counts WHERE mesh_id = ?

-- name: oldest
SELECT created_at FROM delegations WHERE mesh_id = ? AND status = ?
ORDER BY created_at LIMIT 1
