-- name: held
SELECT d.seq, d.expires_at, d.target, d.failures, d.claims, m.id, m.sender, m.target, m.kind,
    m.priority, m.body, m.meta, m.reply_to, m.sent_at, m.max_attempts
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id WHERE d.seq = ?
