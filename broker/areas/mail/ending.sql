-- name: end
UPDATE deliveries SET state = ?, ended_at = ?, due_at = NULL, claim_id = NULL WHERE seq = ?
