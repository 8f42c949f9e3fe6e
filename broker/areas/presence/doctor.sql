-- name: presences
SELECT id, mailbox_id FROM presences

-- name: delete_presence
DELETE FROM presences WHERE id = ?

-- name: memberships
SELECT DISTINCT mailbox_id FROM memberships

-- name: delete_memberships
DELETE FROM memberships WHERE mailbox_id = ?
