-- name: insert
INSERT INTO tokens (id, member_id, secret_sha256, roles, created_at, expires_at, parent)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: delete
DELETE FROM tokens WHERE id = ?

-- name: used
UPDATE tokens SET last_used_at = ? WHERE id = ?

-- name: list
SELECT t.id, m.name, t.roles, t.created_at, t.expires_at, t.last_used_at, t.parent
FROM tokens AS t JOIN members AS m ON m.id = t.member_id
WHERE m.mesh_id = ? AND m.removed_at IS NULL AND t.id > ? AND (? IS NULL OR t.member_id = ?)
ORDER BY t.id
LIMIT ?
