-- name: ack
UPDATE deliveries SET state = 'acked', delivered_at = ? WHERE seq = ? AND claim_id = ?

-- name: ack_late
UPDATE deliveries SET state = 'acked', delivered_at = ?, due_at = NULL, outputs_sha256 = ?,
    outputs = ?
WHERE seq = ? AND claim_id = ?
