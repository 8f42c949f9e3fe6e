DROP TABLE memberships;
DROP TABLE presences;
DROP TABLE mailboxes;
DROP TABLE tokens;
DROP TABLE members;
DROP TABLE meshes;
DROP TABLE nodes;
DROP TABLE marks;
