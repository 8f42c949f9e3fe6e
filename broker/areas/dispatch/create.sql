-- name: find_prompt
SELECT id FROM dispatch_prompt_refs WHERE sha256 = ?

-- name: insert_prompt
INSERT INTO dispatch_prompt_refs (sha256, content, created_at) VALUES (?, ?, ?)

-- name: insert
INSERT INTO dispatch_queue (
    mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id,
    max_attempts, expires_at, created_by, creator_box, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_context
INSERT INTO dispatch_context (
    dispatch_id, parent_session_id, target_agent, dag_task_id, domain, context, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: reopen
UPDATE dispatch_queue SET
    status = 'pending', reason = NULL, finished_at = NULL, attempt = ?, max_attempts = ?,
    expires_at = ?, created_by = ?, creator_box = ?
WHERE id = ? AND status = ? AND attempt = ?

-- name: outcome
SELECT outcome FROM dispatch_attempts WHERE dispatch_id = ? AND attempt_number = ?
