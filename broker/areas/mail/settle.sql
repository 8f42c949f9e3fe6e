-- name: ack
UPDATE deliveries SET state = 'acked', delivered_at = ? WHERE seq = ? AND claim_id = ?

-- name: ack_born
UPDATE deliveries SET state = 'acked', delivered_at = ?1
WHERE seq IN (SELECT value FROM json_each(?2)) AND claim_id = seq

-- name: ack_late
UPDATE deliveries SET state = 'acked', delivered_at = ?, due_at = NULL, outputs_sha256 = ?,
    outputs = ?
WHERE seq = ? AND claim_id = ?
