-- name: join
INSERT INTO memberships (mailbox_id, name, label, joined_at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET label = excluded.label

-- name: leave
DELETE FROM memberships WHERE mailbox_id = ? AND name = ?

-- name: leave_all
DELETE FROM memberships WHERE mailbox_id = ?
