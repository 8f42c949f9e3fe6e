-- name: insert_ordinary
INSERT INTO messages (
    id, mesh_id, sender_id, from_mailbox, sender, target, kind, priority, body, sent_at, total,
    max_attempts
) VALUES (?, ?, ?, ?, ?, ?, 'message', 50, ?, ?, 1, ?)

-- name: insert_its_delivery
INSERT INTO deliveries (
    seq, mailbox_id, message_id, state, priority, expires_at, claims, claim_id, claimed_by,
    claimed_at, claim_expires_at
) VALUES (?1, ?2, ?1 - 1, 'claimed', 50, ?3, 1, ?1, ?4, ?5, ?6)
