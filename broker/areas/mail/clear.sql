-- name: message
SELECT sender_id, total FROM messages WHERE id = ?

-- name: copies
SELECT seq, state FROM deliveries WHERE seq > ?1 AND seq < ?1 + 2 * ?2 ORDER BY seq

-- name: dead
SELECT d.seq FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.mailbox_id = ? AND d.state = 'dead' AND d.seq > ? AND m.sent_at <= ?
ORDER BY d.seq LIMIT ?

-- name: ready
SELECT d.seq FROM deliveries AS d INDEXED BY deliveries_ready
JOIN messages AS m ON m.id = d.message_id
WHERE d.mailbox_id = ? AND d.state = 'queued' AND d.due_at IS NULL AND d.seq > ?
AND m.sent_at <= ? LIMIT ?

-- name: waiting
SELECT d.seq FROM deliveries AS d INDEXED BY deliveries_waiting
JOIN messages AS m ON m.id = d.message_id
WHERE d.mailbox_id = ? AND d.state = 'queued' AND d.due_at IS NOT NULL AND d.seq > ?
AND m.sent_at <= ? LIMIT ?

-- name: revive
UPDATE deliveries SET
    state = 'queued', failures = 0, claims = 0, due_at = NULL, ended_at = NULL, last_error = NULL,
    claim_id = NULL, claimed_by = NULL, claimed_at = NULL, claim_expires_at = NULL,
    extends = 0, extended_at = NULL, expires_at = ?
WHERE seq = ? AND state = 'dead'

-- name: ending
SELECT 1 FROM mailbox_endings WHERE mailbox_id = ?
