-- name: chunk
SELECT max(seq), count(*) FROM (SELECT seq FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?)

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

-- name: purge_messages
DELETE FROM messages WHERE id > ? AND id <= ? AND sent_at <= ? AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.seq > messages.id
    AND d.seq < messages.id + 2 * messages.total
)

-- name: purge_stretches
DELETE FROM delivery_stretches WHERE stretch >= ?1 AND stretch < ?2 AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.seq >= stretch << ?3 AND d.seq < (stretch + 1) << ?3
)
