-- name: queue_again
UPDATE deliveries SET
    state = 'queued', failures = ?, due_at = ?, last_error = coalesce(?, last_error),
    claim_id = ?, extends = 0, extended_at = NULL
WHERE seq = ?

-- name: bury
UPDATE deliveries SET
    failures = ?, last_error = coalesce(?, last_error), extends = 0, extended_at = NULL
WHERE seq = ?
