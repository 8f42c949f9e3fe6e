"""Sockets, outboxes and plain HTTP. No rules of the application, no SQL."""
