-- name: insert
INSERT INTO meshes (name, created_at) VALUES (?, ?)
