-- name: end
UPDATE deliveries SET
    state = ?, ended_at = ?, due_at = NULL, claim_id = NULL, last_error = coalesce(last_error, ?)
WHERE seq = ?

-- name: refused
SELECT seq FROM deliveries WHERE seq > ?1 AND seq < ?1 + 2 * ?2 AND state = 'expired'
