-- name: resume
UPDATE presences SET
    status = ?, summary = ?, capacity = ?, host = ?, client_name = ?, client_version = ?,
    resume_sha256 = ?, previous_sha256 = ?, node = ?, incarnation = ?, last_seen_at = ?
WHERE id = ?

-- name: spend
UPDATE presences SET previous_sha256 = NULL WHERE id = ?
