-- name: facts
SELECT d.seq, d.mailbox_id, d.message_id, d.state, d.priority, d.failures, d.claims, d.claim_id,
    d.claimed_by, d.claimed_at, d.expires_at, d.due_at, d.extends, d.extended_at, d.ended_at,
    d.outputs_sha256, d.outputs, m.mesh_id, m.sender_id, m.from_mailbox, m.kind, m.receipt,
    m.max_attempts, m.sent_at
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.seq = ?

-- name: known
SELECT 1 FROM messages AS m WHERE m.id = ?1 AND (
    m.sender_id = ?2 OR EXISTS (
        SELECT 1 FROM deliveries AS d WHERE d.seq > m.id AND d.seq < m.id + 2 * m.total
        AND d.mailbox_id IN (SELECT value FROM json_each(?3))
    )
)

-- name: history
INSERT INTO delivery_history (delivery, event, at, presence, reason, count)
VALUES (?, ?, ?, ?, ?, ?)
