"""Every bill account in the store, month by month: read at one instant, and then put through the rules as a file is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import partial
from itertools import islice
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from ebill import access
from ebill.batch import moments
from ebill.batch.apart import Numbers
from ebill.batch.columns import NONE
from ebill.batch.laid import Laid
from ebill.batch.moments import GOOD, Moments
from ebill.batch.tables import BATCH, Answered, Reason, answered, posted
from ebill.dates import FIRST_MONTH, LAST_MONTH, MONTHS
from ebill.errors import Fault, InvalidInput, Refusal
from ebill.files.taking import Block, Read, Source
from ebill.paid import window
from ebill.rulebook import RuleBook, Scope
from ebill.service import alike
from ebill.service.alike import MONTH_NUMBERS, Key
from ebill.service.clients import ELSEWHERE
from ebill.store import many
from ebill.store.many import Whose
from ebill.store.users import User

COLUMNS: Final = ("client_id", "account_id", "state", "product", "coverage_month", "paid_at")


def _scope(told: tuple[Any, Any, Key]) -> Scope:
    return alike.scope_of(told[-1])


class Accounts(Source):
    """The accounts of everyone a user may see, `count` coverage months of each from `first`; positions count accounts.

    Everything is read when it is made, in one transaction, which may end before the first block is asked for.
    """

    def __init__(
        self, connection: Connection, book: RuleBook, user: User, first: np.datetime64, count: int, laid: Laid
    ) -> None:
        import pyarrow as pa

        access.allow(user, "read_client")
        if count < 1 or not FIRST_MONTH <= first <= first + (count - 1) <= LAST_MONTH:
            raise InvalidInput([Fault("/months", f"must be at least 1, and end by {LAST_MONTH}")])
        whose = Whose(partial(access.among, user))
        self.schema = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])
        self._book, self._laid, self._count = book, laid, count
        self._begin = int((first - FIRST_MONTH).astype(int))
        self._accounts, members = alike.read(connection, whose)
        self.total = len(self._accounts.client_ids)
        self._kinds = np.zeros(self.total, np.int64)
        of_states, of_products = self._accounts.states, self._accounts.products
        told = [(of_states[places[0]], of_products[places[0]], key) for key, places in members.items()]
        for places, kind in zip(members.values(), laid.kinds_of(told, _scope).tolist(), strict=True):
            self._kinds[places] = kind
        self._paid = self._payments(connection, whose)

    def blocks(self, position: int = 0) -> Iterator[Block]:
        """Give the accounts, some at a time."""
        size = max(1, BATCH // self._count)
        for begin in range(position, self.total or 0, size):
            end = min(begin + size, self.total or 0)
            yield Block(range(begin, end), end, end - begin)

    def read(self, block: Block) -> Read:
        """Give whose months are asked after."""
        import pyarrow as pa

        places = block.content
        some, every = slice(places.start, places.stop), np.repeat(np.arange(len(places)), self._count)
        told = self._accounts
        columns = [
            pa.array(texts[some], pa.string()).take(pa.array(every))
            for texts in (told.client_ids, told.account_ids, told.states, told.products)
        ]
        months = pa.array(MONTHS[self._begin : self._begin + self._count])
        columns.append(months.take(pa.array(np.tile(np.arange(self._count), len(places)))))
        return Read(pa.record_batch([*columns, pa.nulls(len(every), pa.string())], schema=self.schema), {})

    def answer(self, block: Block) -> Answered:
        """Answer the months of some accounts, each invoice with the payment recorded for it."""
        places = block.content
        kinds = np.repeat(self._kinds[places.start : places.stop], self._count)
        months = np.tile(np.arange(self._begin, self._begin + self._count), len(places))
        entries, numbers = self._laid.numbers(kinds, months)
        given = self._paid_in(places)
        paid = posted(given, kinds, self._laid) if (given.told == GOOD).any() else None
        wrong = ~np.take(entries.usable, numbers)
        if paid is not None:
            wrong |= (given.told == GOOD) & (paid.posts_by == NONE)
        why = partial(self._why, places, given)
        return answered(self.read(block).batch, entries, numbers, wrong, None, paid, why, recorded=paid is not None)

    def _payments(self, connection: Connection, whose: Whose) -> tuple[Numbers, Moments]:
        """Give the payments of the months that are asked after: the row of each, ascending, and when it was made."""
        import pyarrow as pa

        find = self._accounts.finder()
        first, last = MONTHS[self._begin], MONTHS[self._begin + self._count - 1]
        rows, made = [np.zeros(0, np.int64)], [moments.none(0)]
        found = many.payments_for(connection, whose, first, last)
        while some := list(islice(found, BATCH)):
            places = [find(client_id, account_id) for client_id, account_id, _, _ in some]
            there = [number for number, place in enumerate(places) if place is not None]
            months = [MONTH_NUMBERS[some[number][2]] - self._begin for number in there]
            rows.append(np.array([places[number] for number in there], np.int64) * self._count + np.array(months, int))
            made.append(moments.read(pa.array([some[number][3] for number in there], pa.string())))
        every = np.concatenate(rows)
        order = np.argsort(every)
        return every[order], Moments(*(np.concatenate(parts)[order] for parts in zip(*made, strict=True)))

    def _paid_in(self, places: range) -> Moments:
        """Give when each row of some accounts is paid."""
        rows, made = self._paid
        bounds = np.array([places.start, places.stop]) * self._count
        begin, end = np.searchsorted(rows, bounds)
        given = moments.none(len(places) * self._count)
        for column, values in zip(given, made, strict=True):
            column[rows[begin:end] - bounds[0]] = values[begin:end]
        return given

    def _why(self, places: range, given: Moments, wrong: npt.NDArray[np.intp]) -> tuple[Numbers, Sequence[Reason]]:
        reason = np.full(len(places) * self._count, -1, np.int32)
        found: dict[Reason, int] = {}
        known: dict[Any, Reason] = {}
        for row in wrong.tolist():
            kind, month = int(self._kinds[places[row // self._count]]), row % self._count
            asked = kind, month, moments.moment(given, row)
            if asked not in known:
                known[asked] = self._reason(*asked)
            reason[row] = found.setdefault(known[asked], len(found))
        return reason, list(found)

    def _reason(self, kind: int, month: int, paid: date | datetime | None) -> Reason:
        """Say why a month of a kind of accounts has no dates."""
        key = cast(Key, cast("tuple[Any, ...]", self._laid.kinds[kind])[-1])
        try:
            life = self._book.life(alike.scope_of(key))
            rows = life.rows(FIRST_MONTH + (self._begin + month), 1)
            if paid is not None and life.schedule.billed[rows.start]:
                window(life.timeline, paid)
            first, last, here = alike.bounds(key)
            text = MONTHS[self._begin + month]
            if here and (first or "") <= text <= (last or here) and text < here:
                return Reason("billed_elsewhere", ELSEWHERE.format(here))
            return Reason("not_billed", str(life.why_not_billed(rows.start, first, last)))
        except Refusal as refusal:
            return Reason(refusal.code, str(refusal))
