"""What a user might pick instead: servers of others, each with a launcher and a driver.

Owns nothing of Postroom. A client library that is not installed is told in one line.
"""
