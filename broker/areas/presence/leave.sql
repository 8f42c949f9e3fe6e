-- name: delete
DELETE FROM presences WHERE id = ?
