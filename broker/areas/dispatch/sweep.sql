-- Every index that begins with `status` looks good to the planner; only these two hold unfinished
-- rows in the order of their time.

-- name: next_due
SELECT
    (
        SELECT min(lease_expires_at) FROM dispatch_queue INDEXED BY dispatch_queue_leases
        WHERE status = 'leased'
    ),
    (
        SELECT min(expires_at) FROM dispatch_queue INDEXED BY dispatch_queue_expiring
        WHERE status = 'pending' AND expires_at IS NOT NULL
    )

-- name: next_lease
SELECT min(lease_expires_at) FROM dispatch_queue INDEXED BY dispatch_queue_leases
WHERE status = 'leased' AND lease_expires_at > ?

-- name: lapsed
SELECT id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    status, attempt, max_attempts, expires_at, created_by, creator_box, call_id, lease_member_id,
    lease_session, lease_presence_id, lease_token, lease_attempt, lease_expires_at,
    lease_incarnation
FROM dispatch_queue INDEXED BY dispatch_queue_leases
WHERE status = 'leased' AND lease_expires_at <= ? AND lease_incarnation >= ?
ORDER BY lease_expires_at
LIMIT ?

-- name: outlived
SELECT id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    status, attempt, max_attempts, expires_at, created_by, creator_box, call_id, lease_member_id,
    lease_session, lease_presence_id, lease_token, lease_attempt, lease_expires_at,
    lease_incarnation
FROM dispatch_queue INDEXED BY dispatch_queue_expiring
WHERE status = 'pending' AND expires_at IS NOT NULL AND expires_at <= ?
ORDER BY expires_at
LIMIT ?
