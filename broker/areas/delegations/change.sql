-- name: swap
UPDATE delegations SET
    status = ?, said_sha256 = ?, result_preview = ?, error_detail = ?, reason = ?,
    last_heartbeat = coalesce(?, last_heartbeat), updated_at = ?, finished_at = ?
WHERE mesh_id = ? AND id = ? AND status = ?

-- name: keep_result
UPDATE delegation_contents SET result = ? WHERE mesh_id = ? AND delegation_id = ?

-- name: count_in
INSERT INTO delegation_counts (mesh_id, status, count) VALUES (?, ?, 1)
ON CONFLICT DO UPDATE SET count = count + 1

-- name: count_out
UPDATE delegation_counts SET count = count - 1 WHERE mesh_id = ? AND status = ?

-- name: history
INSERT INTO delegation_history (
    mesh_id, delegation_id, at, status, by, note, result, error, late, said_sha256
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: said_late
SELECT 1 FROM delegation_history
WHERE late = 1 AND mesh_id = ? AND delegation_id = ? AND said_sha256 = ? AND status = ?
