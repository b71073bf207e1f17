"""Many bill accounts at once: the same rules over columns.

- `pairs`     the dates of many (account, month) rows, from the table of their distinct pairs
- `columns`   columns taken from tables, in chunks
- `groups`    the scopes of many accounts, in groups that go through the rules together
- `wide`      many rules as one
- `payments`  when many payments post, from a table by day
- `laid`      accounts alike and their months, as they turn up in a stream
- `moments`   when the payments of a stream post
- `asked`     the columns that a table asks with, as they are read
- `tables`    tables of questions to tables of dates, as Arrow has them
- `spark`     the same on Spark
"""

from ebill.batch.tables import answers, schedule

__all__ = ["answers", "schedule"]
