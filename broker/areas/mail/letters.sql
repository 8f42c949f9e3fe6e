-- name: insert_message
INSERT INTO messages (
    id, mesh_id, sender_id, from_mailbox, sender, target, kind, priority, body, sent_at, total,
    max_attempts, reply_to
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
