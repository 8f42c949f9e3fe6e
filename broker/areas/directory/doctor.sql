-- name: strayed_members
SELECT id, name FROM members WHERE mesh_id NOT IN (SELECT id FROM meshes)

-- name: boxless
SELECT m.id, m.name FROM members AS m WHERE m.removed_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM mailboxes AS b WHERE b.member_id = m.id AND b.session IS NULL
    AND b.closed_at IS NULL
)

-- name: reopen
UPDATE mailboxes SET closed_at = NULL WHERE member_id = ? AND session IS NULL

-- name: give_box
INSERT INTO mailboxes (member_id, opened_at) VALUES (?, ?)

-- name: types
SELECT id, name, agent_types FROM members WHERE removed_at IS NULL

-- name: ownerless
SELECT name FROM meshes WHERE id NOT IN (
    SELECT mesh_id FROM members WHERE access = 'owner' AND removed_at IS NULL
)

-- name: stray_tokens
SELECT t.id FROM tokens AS t LEFT JOIN members AS m ON m.id = t.member_id
WHERE m.id IS NULL OR m.removed_at IS NOT NULL

-- name: parentless
SELECT id FROM tokens WHERE parent IS NOT NULL AND parent NOT IN (SELECT id FROM tokens)

-- name: delete_token
DELETE FROM tokens WHERE id = ?

-- name: stray_boxes
SELECT id FROM mailboxes WHERE member_id NOT IN (SELECT id FROM members)

-- name: delete_box
DELETE FROM mailboxes WHERE id = ?

-- name: open_boxes
SELECT b.id FROM mailboxes AS b JOIN members AS m ON m.id = b.member_id
WHERE b.closed_at IS NULL AND m.removed_at IS NULL

-- name: all_boxes
SELECT id FROM mailboxes
