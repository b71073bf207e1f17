"""Many bill accounts at once: the same rules over columns.

- `pairs`    the dates of many (account, month) rows, from the table of their distinct pairs
- `laid`     accounts alike and their months, as they turn up in a stream
- `moments`  when many payments post
- `tables`   tables of questions to tables of dates, as Arrow has them
"""

from ebill.batch.tables import answers, schedule

__all__ = ["answers", "schedule"]
