-- name: message_orphans
SELECT message_id, count(*) FROM deliveries WHERE message_id NOT IN (SELECT id FROM messages)
GROUP BY message_id

-- name: delete_of_message
DELETE FROM deliveries WHERE message_id = ?

-- name: mailboxes
SELECT mailbox_id, count(*) FROM deliveries GROUP BY mailbox_id

-- name: delete_of_mailbox
DELETE FROM deliveries WHERE mailbox_id = ?

-- name: stray_history
SELECT count(*) FROM delivery_history WHERE delivery NOT IN (SELECT seq FROM deliveries)

-- name: delete_stray_history
DELETE FROM delivery_history WHERE delivery NOT IN (SELECT seq FROM deliveries)

-- name: stray_keys
SELECT count(*) FROM message_keys WHERE expires_at > ? AND message_id NOT IN (
    SELECT id FROM messages
)

-- name: delete_stray_keys
DELETE FROM message_keys WHERE message_id NOT IN (SELECT id FROM messages)

-- name: incomplete
SELECT m.id, m.total, count(d.seq) FROM messages AS m LEFT JOIN deliveries AS d
    ON d.seq > m.id AND d.seq < m.id + 2 * m.total AND d.message_id = m.id
WHERE m.sent_at > coalesce((SELECT value FROM marks WHERE name = 'purged'), 0)
GROUP BY m.id, m.total HAVING count(d.seq) < m.total

-- name: misnumbered
SELECT d.seq, d.message_id FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.seq % 2 <> 0 OR d.seq < m.id OR d.seq > m.id + 2 * m.total

-- name: even_messages
SELECT id FROM messages WHERE id % 2 <> 1

-- name: last_number
SELECT max(
    coalesce((SELECT max(id) FROM messages), 0), coalesce((SELECT max(seq) FROM deliveries), 0),
    coalesce((SELECT max(claim_id) FROM deliveries), 0)
)

-- name: mark
SELECT value FROM marks WHERE name = 'number'

-- name: set_mark
INSERT INTO marks (name, value) VALUES ('number', ?)
ON CONFLICT DO UPDATE SET value = excluded.value

-- name: unheld
SELECT seq FROM deliveries WHERE state = 'claimed' AND (
    claim_id IS NULL OR claimed_by IS NULL OR claimed_at IS NULL OR claim_expires_at IS NULL
)

-- name: release
UPDATE deliveries SET state = 'queued', due_at = NULL WHERE seq = ?

-- name: endless
SELECT seq, state FROM deliveries WHERE delivered_at IS NULL AND (
    state = 'acked' OR state <> 'queued' AND state <> 'claimed' AND ended_at IS NULL
)

-- name: end_now
UPDATE deliveries SET
    delivered_at = CASE WHEN state = 'acked' THEN coalesce(ended_at, ?1) END,
    ended_at = CASE WHEN state <> 'acked' THEN ?1 END
WHERE seq = ?2

-- name: unlisted
SELECT mailbox_id, seq >> ?1 AS part, count(*) FROM deliveries AS d WHERE NOT EXISTS (
    SELECT 1 FROM delivery_stretches AS s WHERE s.mailbox_id = d.mailbox_id
    AND s.stretch = d.seq >> ?1
) GROUP BY mailbox_id, part

-- name: add_stretch
INSERT INTO delivery_stretches (mailbox_id, stretch) VALUES (?, ?)
