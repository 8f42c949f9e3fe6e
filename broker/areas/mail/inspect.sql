-- name: message
SELECT id, mesh_id, sender_id, sender, target, kind, priority, sent_at, total FROM messages
WHERE id = ?

-- name: received
SELECT 1 FROM deliveries WHERE seq > ?1 AND seq < ?1 + 2 * ?2
AND mailbox_id IN (SELECT value FROM json_each(?3)) LIMIT 1

-- name: copies
SELECT seq, mailbox_id, state, failures, claims, last_error, claim_id, claimed_by, claimed_at,
    delivered_at, ended_at, extends, extended_at
FROM deliveries WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?

-- name: history
SELECT event, at, presence, reason, count FROM delivery_history WHERE delivery = ?
ORDER BY id DESC LIMIT ?

-- name: stretches
SELECT stretch FROM delivery_stretches WHERE mailbox_id = ? AND stretch >= ?
ORDER BY stretch LIMIT ?

-- name: in_stretch
SELECT d.seq, d.message_id, m.sender, m.kind, d.priority, d.state, d.failures, d.last_error,
    m.sent_at, d.due_at, d.claimed_at, d.delivered_at
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.seq > ?1 AND d.seq >= ?2 AND d.seq < ?3 AND +d.mailbox_id = ?4
AND (?5 IS NULL OR +d.state = ?5)
ORDER BY d.seq LIMIT ?6

-- name: dead
SELECT d.seq, d.message_id, m.sender, m.kind, d.priority, d.state, d.failures, d.last_error,
    m.sent_at, d.due_at, d.claimed_at, d.delivered_at
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.mailbox_id = ? AND d.state = 'dead' AND d.seq > ?
ORDER BY d.seq LIMIT ?
