-- name: find
SELECT id FROM dispatch_queue WHERE mesh_id = ? AND dispatch_key IN (?, ?)

-- name: find_task
SELECT 1 FROM dispatch_queue
WHERE mesh_id = ? AND parent_session_id = ? AND agent_type = ? AND dag_task_id = ?

-- name: add_prompt
INSERT INTO dispatch_prompt_refs (sha256, content, created_at) VALUES (?, ?, ?)
ON CONFLICT (sha256) DO NOTHING

-- name: add
INSERT INTO dispatch_queue (
    mesh_id, dispatch_key, parent_session_id, agent_type, dag_task_id, prompt_ref_id, status,
    reason, max_attempts, created_at, finished_at
) VALUES (
    ?, ?, ?, ?, ?, (SELECT id FROM dispatch_prompt_refs WHERE sha256 = ?), 'failed',
    'imported', 1, ?, ?
)

-- name: add_context
INSERT INTO dispatch_context (
    dispatch_id, parent_session_id, target_agent, dag_task_id, domain, context, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: add_attempt
INSERT INTO dispatch_attempts (
    dispatch_id, attempt_number, status, reason, error, created_at, finished_at
) VALUES (?, 1, 'failed', 'imported', ?, ?, ?)
