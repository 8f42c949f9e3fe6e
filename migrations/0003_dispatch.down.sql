DROP TABLE dispatch_attempts;
DROP TABLE dispatch_context;
DROP TABLE dispatch_queue;
DROP TABLE dispatch_prompt_refs;
