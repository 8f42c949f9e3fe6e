"""The storage: engine, transactions, migrations, named statements, the data directory's lock.

Knows dialects and files; no area, no wire type.
"""
