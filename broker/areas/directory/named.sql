-- name: mesh
SELECT id FROM meshes WHERE name = ?
