"""The command `postroom`: every operation as a command, and text for people.

Owns: arguments, where a connection's url and token come from, tables and exit codes. Must not know
the broker's inside: it is a client like any other.
"""
