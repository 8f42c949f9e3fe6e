-- name: beat
UPDATE delegations SET last_heartbeat = ?, updated_at = ?
WHERE mesh_id = ? AND id = ? AND status = ?
