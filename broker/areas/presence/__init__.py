"""Presence: who is there, in which role, and what it takes.

    from      event                                          to
    -         hello                                          online
    online    connection lost                                away
    online    bye, replaced, token or member gone            left
    away      hello with its resume value                    online
    away      lease over, replaced, token or member gone     left
    online    hello with its resume value, elsewhere         online, the old connection closed
    any       broker restart                                 away, with a fresh lease

What follows from it is worked out at each step: who drains which mailbox (`drains`), what watchers
are told (`show`). A presence is there exactly as long as it stands in its member's table.
"""
