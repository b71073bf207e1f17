"""What is remembered: clients, bill accounts, their dated rows, people, and the audit of it all.

Nothing that a date was ever computed from is overwritten. A client and an account are kept version by version, rules
and exceptions row by row, rule books load by load; each carries the instant it was recorded, so that every answer can
be given again as it was then (`known_at`).

- `tables`   the tables, once for SQLite and PostgreSQL
- `engine`   opening, transactions, migrations, backup
- `patience`, `postgresql`  how long a request waits for its database, and a PostgreSQL that is waited for so
- `glance`   one small question at a time, fast
- `audit`    who changed what, when: chained, append-only, in the transaction of the change
- `clients`  clients, accounts, rows and exceptions, as known at an instant
- `users`    users, what they are entitled to, and their teams
- `grants`   the clients that a producer may see, and the requests for them
- `tokens`, `sessions`  by what users are known, each kept as a `secret` is
- `feeds`    calendar feeds, and what each has published
- `reminders`  who is reminded of what and where, which reminders were made, and the outbox
- `once`     Idempotency-Key: the answer of a change that must not happen twice
- `keys`     what all processes of an installation must know, and nobody else

A query is a function named for the question it answers; it takes a connection and gives plain values.
"""
