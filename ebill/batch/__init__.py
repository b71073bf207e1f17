"""Many bill accounts at once: the same rules over columns.

- `pairs`     the dates of many (account, month) rows, from the table of their distinct pairs
- `columns`   columns taken from tables, in chunks
- `groups`    the scopes of many accounts, in groups that go through the rules together
- `wide`      many rules as one
- `payments`  when many payments post, from a table by day
"""
