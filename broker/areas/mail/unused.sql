-- name: holding
SELECT DISTINCT mailbox_id FROM delivery_stretches
WHERE mailbox_id IN (SELECT value FROM json_each(?))
