-- name: insert
INSERT INTO presences (
    member_id, mailbox_id, role, session, observe, status, summary, capacity, host, client_name,
    client_version, token_id, resume_sha256, node, incarnation, connected_at, last_seen_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: resume
UPDATE presences SET
    status = ?, summary = ?, capacity = ?, host = ?, client_name = ?, client_version = ?,
    resume_sha256 = ?, previous_sha256 = ?, node = ?, incarnation = ?, connected_at = ?,
    last_seen_at = ?
WHERE id = ?

-- name: spend
UPDATE presences SET previous_sha256 = NULL WHERE id = ?

-- name: token_used
UPDATE tokens SET last_used_at = ? WHERE id = ?
