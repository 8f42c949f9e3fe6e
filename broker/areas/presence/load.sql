-- name: memberships
SELECT mailbox_id, name, label FROM memberships ORDER BY joined_at

-- name: presences
SELECT id, mailbox_id, role, session, observe, status, summary, capacity, host, client_name,
    client_version, token_id, resume_sha256, previous_sha256, connected_at, last_seen_at
FROM presences
ORDER BY id

-- name: last_seen
SELECT max(last_seen_at) FROM presences
