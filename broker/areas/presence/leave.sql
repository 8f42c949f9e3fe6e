-- name: delete
DELETE FROM presences WHERE id = ?

-- name: seen
UPDATE presences SET last_seen_at = ? WHERE id = ?
