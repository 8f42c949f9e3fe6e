-- name: insert_claimed
INSERT INTO deliveries (
    seq, mailbox_id, message_id, state, priority, expires_at, claims, claim_id, claimed_by,
    claimed_at, claim_expires_at
) VALUES (?1, ?2, ?3, 'claimed', ?4, ?5, 1, ?1, ?6, ?7, ?8)

-- name: insert_claimed_of_many
INSERT INTO deliveries (
    seq, mailbox_id, message_id, state, priority, expires_at, claims, claim_id, claimed_by,
    claimed_at, claim_expires_at, target
) VALUES (?1, ?2, ?3, 'claimed', ?4, ?5, 1, ?1, ?6, ?7, ?8, ?9)

-- name: claim
UPDATE deliveries SET
    state = 'claimed', claims = claims + 1, claim_id = ?, claimed_by = ?, claimed_at = ?,
    claim_expires_at = ?
WHERE seq = ? AND state = 'queued'

-- name: head
SELECT d.seq, d.expires_at, d.target, d.failures, d.claims, m.id, m.sender, m.target, m.kind,
    m.priority, CASE WHEN length(m.body) <= ? THEN m.body END, m.meta, m.reply_to, m.sent_at,
    m.max_attempts, m.receipt
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.mailbox_id = ? AND d.state = 'queued' AND d.due_at IS NULL
    AND d.seq > ?
ORDER BY d.priority DESC, d.seq
LIMIT ?

-- name: body
SELECT body FROM messages WHERE id = ?
