-- name: reserve_numbers
INSERT INTO marks (name, value) VALUES ('number', ?)
ON CONFLICT DO UPDATE SET value = excluded.value
