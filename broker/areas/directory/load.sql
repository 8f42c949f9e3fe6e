-- name: meshes
SELECT id, name, created_at FROM meshes

-- name: members
SELECT id, mesh_id, name, access, agent_types, note, created_at FROM members
WHERE removed_at IS NULL

-- name: tokens
SELECT t.id, t.member_id, t.secret_sha256, t.roles, t.expires_at, t.parent
FROM tokens AS t JOIN members AS m ON m.id = t.member_id
WHERE m.removed_at IS NULL

-- name: boxes
SELECT b.id, b.member_id, b.session, b.chosen, b.vacant_at, b.ended_through
FROM mailboxes AS b JOIN members AS m ON m.id = b.member_id
WHERE b.closed_at IS NULL AND m.removed_at IS NULL

-- name: node
SELECT node, incarnation FROM nodes

-- name: set_node
INSERT INTO nodes (node, incarnation, started_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, started_at = excluded.started_at

-- name: last_start
SELECT max(started_at) FROM nodes
