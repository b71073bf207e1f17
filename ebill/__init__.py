"""When each eBill invoice is generated, due and out of grace, and by when to pay so that the next one shows it.

Dated, cited rules are read into a rule book; the book gives the terms in force for an account and a month; terms
turn a coverage month into its dates; a few doors ask, a few formats answer.

The map, from the bottom up; a module imports only from those above it in this list:

- `errors`     every way we refuse
- `places`     where in a TOML text each key stands
- `bound`      the house's own calendar, computed beforehand
- `dates`      day arithmetic and business-day calendars, for one day or for many
- `plainly`    tables are read fast where nothing is wrong with them
- `rules`      a rule: an immutable value that applies itself and says itself
- `grammar`    how rules are written: the one strict reader behind every door
- `posting`    what a payment date means
- `schedule`   THE RULES of an invoice's life, in their order
- `rulebook`   dated layers of rows -> terms of an account in a month, with provenance
- `reading`    a rule book from TOML text: all of it, or every fault with its line
- `standing`   where an invoice stands on a day, and what to beware of
- `paid`       when a payment of an account is received and posts
- `deadlines`  which dates lie in a span of days
- `explain`    why a date is what it is
- `preview`    what a rule change would move
- `questions`  what can be asked
- `batch`      the same rules over columns
- `render`     the formats of an answer
- `bookfile`   the rule book's file, and the last good one when it changes
- `store`      what is remembered: tables, transactions, and the few queries
- `passwords`  how they are kept and checked, and which are refused
- `logs`       what the program says of itself
- `settings`   settings that more than one door reads
- `sending`    how a message leaves: by mail, or as a signed request
- `oidc`       what is asked of an identity provider, and what its word is worth
- `starting`   whether the service may start here: its settings, and what is secret
- `files`      millions of rows from a file to a file
- `access`     who may see and do what: the one place where it is decided
- `service`    what people ask, one function each
- `cli`, `web` the doors

Everything up to `batch` is pure: no file, clock, setting, framework or database. *Today* is an argument.
"""
