-- name: meshes
SELECT id, name, created_at FROM meshes

-- name: members
SELECT id, mesh_id, name, access, agent_types, note, created_at FROM members
WHERE removed_at IS NULL

-- name: tokens
SELECT id, member_id, secret_sha256, roles, expires_at, parent FROM tokens

-- name: boxes
SELECT b.id, b.member_id, b.session, b.chosen, b.vacant_at, b.ended_through
FROM mailboxes AS b JOIN members AS m ON m.id = b.member_id
WHERE b.closed_at IS NULL AND m.removed_at IS NULL

-- name: memberships
SELECT s.mailbox_id, s.name, s.label FROM memberships AS s JOIN mailboxes AS b
ON b.id = s.mailbox_id WHERE b.closed_at IS NULL
ORDER BY s.joined_at

-- name: presences
SELECT id, member_id, mailbox_id, role, session, observe, status, summary, capacity, host,
    client_name, client_version, token_id, resume_sha256, previous_sha256, connected_at,
    last_seen_at
FROM presences

-- name: marks
SELECT name, value FROM marks

-- name: node
SELECT node, incarnation FROM nodes

-- name: set_node
INSERT INTO nodes (node, incarnation, started_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, started_at = excluded.started_at
