-- name: holding
SELECT DISTINCT s.mailbox_id FROM delivery_stretches AS s
WHERE s.mailbox_id IN (SELECT value FROM json_each(?1)) AND EXISTS (
    SELECT 1 FROM deliveries AS d
    WHERE d.seq >= s.stretch << ?2 AND d.seq < (s.stretch + 1) << ?2
        AND d.mailbox_id = s.mailbox_id
)

-- name: forget_stretches
DELETE FROM delivery_stretches WHERE mailbox_id = ?
