-- name: by_key
SELECT id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    status, attempt, max_attempts, expires_at, created_by, creator_box, call_id, lease_member_id,
    lease_session, lease_presence_id, lease_token, lease_attempt, lease_expires_at,
    lease_incarnation
FROM dispatch_queue
WHERE mesh_id = ? AND dispatch_key = ?

-- name: by_id
SELECT id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    status, attempt, max_attempts, expires_at, created_by, creator_box, call_id, lease_member_id,
    lease_session, lease_presence_id, lease_token, lease_attempt, lease_expires_at,
    lease_incarnation
FROM dispatch_queue
WHERE mesh_id = ? AND id = ?

-- name: by_task
SELECT id, mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    status, attempt, max_attempts, expires_at, created_by, creator_box, call_id, lease_member_id,
    lease_session, lease_presence_id, lease_token, lease_attempt, lease_expires_at,
    lease_incarnation
FROM dispatch_queue
WHERE mesh_id = ? AND parent_session_id = ? AND agent_type = ? AND dag_task_id = ?

-- name: ever_leased
SELECT 1 FROM dispatch_attempts WHERE dispatch_id = ? AND lease_member_id = ?
