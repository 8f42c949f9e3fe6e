-- name: mark
SELECT value FROM marks WHERE name = 'number'

-- name: ready
SELECT mailbox_id, priority, count(*) FROM deliveries INDEXED BY deliveries_ready
WHERE state = 'queued' AND due_at IS NULL GROUP BY mailbox_id, priority

-- name: ready_after
SELECT priority, count(*) FROM deliveries INDEXED BY deliveries_ready
WHERE state = 'queued' AND due_at IS NULL AND mailbox_id = ? AND seq > ? GROUP BY priority

-- name: waiting
SELECT mailbox_id, seq FROM deliveries INDEXED BY deliveries_due
WHERE state = 'queued' AND due_at IS NOT NULL

-- name: claimed
SELECT d.seq, d.claim_id, d.mailbox_id, d.claimed_by, d.message_id, d.claim_expires_at, m.kind,
    m.receipt
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.state = 'claimed' ORDER BY d.claim_id

-- name: stretches
SELECT mailbox_id, max(stretch) FROM delivery_stretches GROUP BY mailbox_id

-- name: last_sent
SELECT sent_at FROM messages ORDER BY id DESC LIMIT 1
