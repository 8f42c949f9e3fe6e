-- name: insert
INSERT INTO mailboxes (member_id, session, chosen, opened_at) VALUES (?, ?, ?, ?)

-- name: find
SELECT id, ended_through FROM mailboxes WHERE member_id = ? AND session = ?

-- name: reopen
UPDATE mailboxes SET closed_at = NULL, vacant_at = NULL, chosen = ?, opened_at = ? WHERE id = ?

-- name: choose
UPDATE mailboxes SET chosen = 1 WHERE id = ?

-- name: occupy
UPDATE mailboxes SET vacant_at = NULL WHERE id = ?

-- name: vacate
UPDATE mailboxes SET vacant_at = ? WHERE id = ?

-- name: close
UPDATE mailboxes SET closed_at = ?, vacant_at = NULL, ended_through = ?, ended_reason = ?
WHERE id = ?

-- name: reach_back
UPDATE mailboxes SET ended_through = 0, ended_reason = NULL WHERE id = ?

-- name: closed_before
SELECT id FROM mailboxes INDEXED BY mailboxes_closed
WHERE closed_at <= ? AND id > ? ORDER BY id LIMIT ?

-- name: forget
DELETE FROM mailboxes WHERE id = ? AND closed_at IS NOT NULL

-- name: owner
SELECT member_id FROM mailboxes WHERE id = ?

-- name: address
SELECT m.name, b.session FROM mailboxes AS b JOIN members AS m ON m.id = b.member_id WHERE b.id = ?

-- name: all_of
SELECT id FROM mailboxes WHERE member_id = ?
