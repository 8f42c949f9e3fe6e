-- name: insert
INSERT INTO presences (
    member_id, mailbox_id, role, session, observe, status, summary, capacity, host, client_name,
    client_version, token_id, resume_sha256, node, incarnation, connected_at, last_seen_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
