-- name: extend
UPDATE deliveries SET claim_expires_at = ?, extends = extends + ?, extended_at = ? WHERE seq = ?
