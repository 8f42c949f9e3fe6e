"""Presence: who is there, in which role, and what it takes.

    from      event                                          to
    -         hello                                          online
    online    connection lost                                away
    online    bye, replaced, token or member gone            left
    away      hello with its resume value                    online
    away      lease over, replaced, token or member gone     left
    any       broker restart                                 away, with a fresh lease
"""
