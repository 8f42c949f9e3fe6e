-- name: end_attempt
UPDATE dispatch_attempts SET
    status = ?, reason = ?, given_reason = ?, error = ?, retryable = ?, outcome = ?,
    finished_at = ?
WHERE dispatch_id = ? AND attempt_number = ?

-- name: insert_attempt
INSERT INTO dispatch_attempts (dispatch_id, attempt_number, created_at) VALUES (?, ?, ?)

-- name: next_attempt
UPDATE dispatch_queue SET status = 'pending', attempt = attempt + 1
WHERE id = ? AND status = ? AND attempt = ?

-- name: end
UPDATE dispatch_queue SET status = ?, reason = ?, finished_at = ?
WHERE id = ? AND status = ? AND attempt = ?
