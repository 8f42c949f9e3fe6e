-- name: all
SELECT count(*) FROM deliveries

-- name: ending
SELECT 1 FROM mailbox_endings LIMIT 1

-- name: queued
SELECT count(*) FROM deliveries INDEXED BY deliveries_expiring WHERE state = 'queued'

-- name: dead
SELECT count(*) FROM deliveries INDEXED BY deliveries_dead WHERE state = 'dead'

-- name: gone
SELECT state, count(*) FROM deliveries INDEXED BY deliveries_gone
WHERE state = 'expired' OR state = 'cancelled' GROUP BY state

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
