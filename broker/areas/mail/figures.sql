-- name: states
SELECT state, count(*) FROM deliveries GROUP BY state

-- name: states_of
SELECT d.state, count(*) FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE m.mesh_id = ? GROUP BY d.state

-- name: oldest
SELECT seq FROM deliveries INDEXED BY deliveries_ready
WHERE mailbox_id = ? AND priority = ? AND seq > ? AND state = 'queued' AND due_at IS NULL
ORDER BY seq
LIMIT 1

-- name: sent_at
SELECT m.sent_at FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id WHERE d.seq = ?
