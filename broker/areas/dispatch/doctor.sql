-- name: prompts
SELECT id, sha256, content FROM dispatch_prompt_refs WHERE id > ? ORDER BY id LIMIT ?

-- name: unused_prompts
SELECT id FROM dispatch_prompt_refs AS p
WHERE NOT EXISTS (SELECT 1 FROM dispatch_queue AS q WHERE q.prompt_ref_id = p.id)

-- name: delete_prompt
DELETE FROM dispatch_prompt_refs WHERE id = ?

-- name: identities
SELECT q.id, q.dispatch_key, q.agent_type, q.dag_task_id, q.parent_session_id, p.sha256, q.reason
FROM dispatch_queue AS q JOIN dispatch_prompt_refs AS p ON p.id = q.prompt_ref_id
WHERE q.id > ?
ORDER BY q.id
LIMIT ?

-- name: set_key
UPDATE OR IGNORE dispatch_queue SET dispatch_key = ? WHERE id = ?

-- name: lost
SELECT q.id, 'prompt' FROM dispatch_queue AS q
WHERE NOT EXISTS (SELECT 1 FROM dispatch_prompt_refs AS p WHERE p.id = q.prompt_ref_id)
UNION ALL
SELECT q.id, 'context' FROM dispatch_queue AS q
WHERE NOT EXISTS (SELECT 1 FROM dispatch_context AS c WHERE c.dispatch_id = q.id)
ORDER BY 1, 2

-- name: stray_contexts
SELECT dispatch_id FROM dispatch_context AS c
WHERE NOT EXISTS (SELECT 1 FROM dispatch_queue AS q WHERE q.id = c.dispatch_id)

-- name: delete_context
DELETE FROM dispatch_context WHERE dispatch_id = ?

-- name: stray_attempts
SELECT dispatch_id, count(*) FROM dispatch_attempts AS a
WHERE NOT EXISTS (SELECT 1 FROM dispatch_queue AS q WHERE q.id = a.dispatch_id)
GROUP BY dispatch_id

-- name: delete_attempts
DELETE FROM dispatch_attempts WHERE dispatch_id = ?

-- name: gaps
WITH RECURSIVE uneven AS (
    SELECT q.id, q.attempt, q.status FROM dispatch_queue AS q
    WHERE q.attempt <> (
        SELECT count(*) FROM dispatch_attempts AS a
        WHERE a.dispatch_id = q.id AND a.attempt_number <= q.attempt
    )
), numbers AS (
    SELECT id, 1 AS number, attempt, status FROM uneven
    UNION ALL
    SELECT id, number + 1, attempt, status FROM numbers WHERE number < attempt
)
SELECT id, number, attempt, status FROM numbers AS n
WHERE NOT EXISTS (
    SELECT 1 FROM dispatch_attempts AS a
    WHERE a.dispatch_id = n.id AND a.attempt_number = n.number
)
ORDER BY id, number

-- name: fill_gap
INSERT INTO dispatch_attempts (
    dispatch_id, attempt_number, status, reason, created_at, finished_at
) VALUES (?, ?, 'failed', 'legacy', ?, ?)

-- name: disagreeing
SELECT q.id, a.attempt_number, a.status, q.status
FROM dispatch_queue AS q
JOIN dispatch_attempts AS a ON a.dispatch_id = q.id AND a.attempt_number = q.attempt
WHERE a.status <> q.status
    AND NOT (q.status = 'expired' AND a.status = 'failed')
    AND coalesce(q.reason, '') <> 'legacy'
ORDER BY q.id

-- name: unended
SELECT a.dispatch_id, a.attempt_number, a.status
FROM dispatch_attempts AS a JOIN dispatch_queue AS q ON q.id = a.dispatch_id
WHERE a.attempt_number <> q.attempt
    AND (a.attempt_number > q.attempt OR a.status IN ('pending', 'leased'))
ORDER BY a.dispatch_id, a.attempt_number

-- name: ended_leases
SELECT id, attempt, max_attempts, ?1 - lease_expires_at FROM dispatch_queue
WHERE status = 'leased' AND lease_expires_at <= ?1
ORDER BY id

-- name: end_lease
UPDATE dispatch_attempts SET status = 'failed', reason = 'lease_expired', finished_at = ?
WHERE dispatch_id = ? AND attempt_number = ?
