-- name: find
SELECT content_sha256, message_id, active, expires_at FROM message_keys
WHERE sender_id = ? AND key = ?

-- name: forget
DELETE FROM message_keys WHERE sender_id = ? AND key = ?

-- name: remember
INSERT INTO message_keys (sender_id, key, content_sha256, message_id, active, expires_at)
VALUES (?, ?, ?, ?, ?, ?)

-- name: forget_old
DELETE FROM message_keys WHERE (sender_id, key) IN (
    SELECT sender_id, key FROM message_keys WHERE expires_at <= ? LIMIT ?
)

-- name: states
SELECT d.seq, d.mailbox_id, d.state, d.priority, d.due_at FROM deliveries AS d
WHERE d.seq > ?1 AND d.seq < ?1 + 2 * ?2 ORDER BY d.seq LIMIT ?3

-- name: unfinished
SELECT 1 FROM deliveries WHERE seq > ?1 AND seq < ?1 + 2 * ?2
AND (state = 'queued' OR state = 'claimed') LIMIT 1

-- name: ahead
SELECT (
    SELECT count(*) FROM (
        SELECT 1 FROM deliveries INDEXED BY deliveries_ready
        WHERE mailbox_id = ?1 AND state = 'queued' AND due_at IS NULL AND priority > ?2 LIMIT ?4
    )
) + (
    SELECT count(*) FROM (
        SELECT 1 FROM deliveries INDEXED BY deliveries_ready
        WHERE mailbox_id = ?1 AND state = 'queued' AND due_at IS NULL AND priority = ?2
            AND seq < ?3 LIMIT ?4
    )
)

-- name: total
SELECT total FROM messages WHERE id = ?
