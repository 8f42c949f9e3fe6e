-- name: due
SELECT d.seq, d.mailbox_id, d.priority, d.expires_at FROM deliveries AS d
WHERE d.state = 'queued' AND d.due_at IS NOT NULL AND d.due_at <= ?
ORDER BY d.due_at LIMIT ?

-- name: ready
UPDATE deliveries SET due_at = NULL WHERE seq = ?

-- name: next_due
SELECT min(due_at) FROM deliveries WHERE state = 'queued' AND due_at IS NOT NULL

-- name: expiring
SELECT seq FROM deliveries WHERE state = 'queued' AND expires_at <= ? ORDER BY expires_at LIMIT ?

-- name: next_expiry
SELECT min(expires_at) FROM deliveries WHERE state = 'queued'

-- name: record_ending
INSERT INTO mailbox_endings (mailbox_id, through, reason) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET reason = excluded.reason

-- name: next_ending
SELECT mailbox_id, through, reason FROM mailbox_endings LIMIT 1

-- name: ending
SELECT seq FROM deliveries INDEXED BY deliveries_ready
WHERE mailbox_id = ? AND seq <= ? AND state = 'queued' AND due_at IS NULL LIMIT ?

-- name: ending_waiting
SELECT seq FROM deliveries INDEXED BY deliveries_waiting
WHERE mailbox_id = ? AND seq <= ? AND state = 'queued' AND due_at IS NOT NULL LIMIT ?

-- name: ended
DELETE FROM mailbox_endings WHERE mailbox_id = ? AND through = ?
