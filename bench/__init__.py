"""The benchmark harness: one file per workload, run as `python -m bench NAME`.

Owns nothing of the broker. It starts it as a process and talks to it over the wire, as
anybody would.
"""
