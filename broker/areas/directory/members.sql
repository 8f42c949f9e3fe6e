-- name: insert
INSERT INTO members (mesh_id, name, access, agent_types, note, created_at)
VALUES (?, ?, ?, ?, ?, ?)

-- name: update
UPDATE members SET access = ?, agent_types = ?, note = ? WHERE id = ?

-- name: remove
UPDATE members SET removed_at = ? WHERE id = ?
