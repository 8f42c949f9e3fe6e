-- name: by_id
SELECT q.id, q.dispatch_key, q.agent_type, q.dag_task_id, p.sha256, q.parent_session_id, q.status,
    c.context, a.outcome, q.created_at, q.finished_at
FROM dispatch_queue AS q
JOIN dispatch_prompt_refs AS p ON p.id = q.prompt_ref_id
LEFT JOIN dispatch_context AS c ON c.dispatch_id = q.id
LEFT JOIN dispatch_attempts AS a
    ON a.dispatch_id = q.id AND a.attempt_number = q.attempt AND q.status = 'consumed'
WHERE q.mesh_id = ? AND q.id = ?

-- name: by_key
SELECT q.id, q.dispatch_key, q.agent_type, q.dag_task_id, p.sha256, q.parent_session_id, q.status,
    c.context, a.outcome, q.created_at, q.finished_at
FROM dispatch_queue AS q
JOIN dispatch_prompt_refs AS p ON p.id = q.prompt_ref_id
LEFT JOIN dispatch_context AS c ON c.dispatch_id = q.id
LEFT JOIN dispatch_attempts AS a
    ON a.dispatch_id = q.id AND a.attempt_number = q.attempt AND q.status = 'consumed'
WHERE q.mesh_id = ? AND q.dispatch_key = ?

-- name: attempts
SELECT attempt_number, status, lease_owner, created_at, leased_at, finished_at,
    CASE WHEN reason = 'reported' THEN given_reason ELSE reason END, error
FROM dispatch_attempts
WHERE dispatch_id = ?
ORDER BY attempt_number DESC
LIMIT ?

-- name: list
SELECT id FROM dispatch_queue
WHERE mesh_id = ?1 AND id > ?2
    AND (?3 IS NULL OR status = ?3)
    AND (?4 IS NULL OR agent_type = ?4)
    AND (?5 IS NULL OR dag_task_id = ?5)
ORDER BY id
LIMIT ?6

-- name: list_status
SELECT id FROM dispatch_queue
WHERE mesh_id = ?1 AND id > ?2
    AND status = ?3
    AND (?4 IS NULL OR agent_type = ?4)
    AND (?5 IS NULL OR dag_task_id = ?5)
ORDER BY id
LIMIT ?6

-- name: list_agent_type
SELECT id FROM dispatch_queue
WHERE mesh_id = ?1 AND id > ?2
    AND (?3 IS NULL OR status = ?3)
    AND agent_type = ?4
    AND (?5 IS NULL OR dag_task_id = ?5)
ORDER BY id
LIMIT ?6

-- name: list_dag_task
SELECT id FROM dispatch_queue
WHERE mesh_id = ?1 AND id > ?2
    AND (?3 IS NULL OR status = ?3)
    AND (?4 IS NULL OR agent_type = ?4)
    AND dag_task_id = ?5
ORDER BY id
LIMIT ?6

-- name: figures
SELECT status, count(*) FROM dispatch_queue WHERE mesh_id = ? GROUP BY status
