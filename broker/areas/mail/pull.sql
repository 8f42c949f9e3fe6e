-- name: length
SELECT length(body) FROM messages WHERE id = ?
