-- name: lease
UPDATE dispatch_queue SET
    status = 'leased', call_id = ?, lease_owner = ?, lease_member_id = ?, lease_session = ?,
    lease_presence_id = ?, lease_token = ?, lease_attempt = attempt, lease_expires_at = ?,
    lease_incarnation = ?
WHERE mesh_id = ? AND dispatch_key = ? AND status = 'pending'

-- name: lease_attempt
UPDATE dispatch_attempts SET
    status = 'leased', lease_owner = ?, lease_member_id = ?, leased_at = ?
WHERE dispatch_id = ? AND attempt_number = ? AND status = 'pending'

-- name: renew
UPDATE dispatch_queue SET lease_expires_at = ?, lease_incarnation = ?
WHERE id = ? AND status = 'leased' AND lease_token = ?

-- name: content
SELECT p.content, p.sha256, c.context
FROM dispatch_queue AS q
JOIN dispatch_prompt_refs AS p ON p.id = q.prompt_ref_id
JOIN dispatch_context AS c ON c.dispatch_id = q.id
WHERE q.id = ?

-- name: prompt_sha256
SELECT sha256 FROM dispatch_prompt_refs WHERE id = ?
