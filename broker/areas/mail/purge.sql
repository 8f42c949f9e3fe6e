-- name: chunk
SELECT max(seq), count(*), min(message_id) FROM (
    SELECT seq, message_id FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?
)

-- name: sent_at
SELECT m.sent_at FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id WHERE d.seq = ?

-- name: purge_history
DELETE FROM delivery_history WHERE delivery IN (
    SELECT seq FROM deliveries WHERE seq > ? AND seq <= ?
    AND coalesce(delivered_at, ended_at) <= ? AND state <> 'queued' AND state <> 'claimed'
)

-- name: purge_deliveries
DELETE FROM deliveries WHERE seq > ? AND seq <= ?
AND coalesce(delivered_at, ended_at) <= ? AND state <> 'queued' AND state <> 'claimed'

-- name: record_cutoff
INSERT INTO marks (name, value) VALUES ('purged', ?)
ON CONFLICT DO UPDATE SET value = max(value, excluded.value)

-- name: purge_messages
DELETE FROM messages WHERE id IN (
    SELECT m.id FROM messages AS m WHERE m.id > ? AND m.id <= ? AND m.sent_at <= ?
    AND NOT EXISTS (
        SELECT 1 FROM deliveries AS d WHERE d.seq > m.id AND d.seq < m.id + 2 * m.total
    )
    LIMIT ?
)

-- name: purge_stretches
DELETE FROM delivery_stretches WHERE stretch >= ?1 AND stretch < ?2 AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.seq >= stretch << ?3 AND d.seq < (stretch + 1) << ?3
)
