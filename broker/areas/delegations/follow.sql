-- name: count_retry
UPDATE delegations SET retry_count = retry_count + 1, updated_at = ? WHERE mesh_id = ? AND id = ?
