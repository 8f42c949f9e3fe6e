-- name: ack
UPDATE deliveries SET state = 'acked', delivered_at = ? WHERE seq = ? AND claim_id = ?
