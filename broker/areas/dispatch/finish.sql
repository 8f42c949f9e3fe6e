-- name: ended_attempt
SELECT CASE WHEN reason = 'lease_expired' THEN NULL ELSE status END, given_reason, error,
    retryable, outcome
FROM dispatch_attempts
WHERE dispatch_id = ? AND attempt_number = ?
