DROP TABLE delegation_counts;
DROP TABLE delegation_history;
DROP TABLE delegation_contents;
DROP TABLE delegations;
