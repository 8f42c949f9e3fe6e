DROP TABLE mailbox_endings;
DROP TABLE message_keys;
DROP TABLE delivery_history;
DROP TABLE delivery_stretches;
DROP TABLE deliveries;
DROP TABLE messages;
