"""Many bill accounts at once: the same rules over columns.

- `pairs`     the dates of many (account, month) rows, from the table of their distinct pairs
- `payments`  when many payments post, from a table by day
"""
