-- name: update
UPDATE presences SET status = ?, summary = ?, capacity = ?, last_seen_at = ? WHERE id = ?
