"""Tables of questions to tables of dates, as Arrow has them: a row is a bill account's coverage month.

A table asks with these columns, of which `state` and `coverage_month` must be there:

- `client_id`, `account_id`   whose row it is: any text; given back as it came
- `state`, `product`          codes of the rule book
- `coverage_month`            text `YYYY-MM`, or a date, which must be the 1st
- `last_coverage_month`       the same: the last month that is billed
- `rules`, `exceptions`       text: JSON as `POST /v1/calculate` takes it
- `as_of`                     the day on which the invoice stands so: a date, or text `YYYY-MM-DD`
                              (a timestamp may stand for a date where it is a whole day)
- `paid_at`                   a date, a timestamp (with a time zone an instant, without one local), or text as the API
                              takes it

The answer has a row for each row, in the same order: what is in `ANSWERED`. Null is "not given". A row that cannot be
answered has none of the dates but a `reason`, a stable code, and a `detail`, the sentence or sentences for people; it
stops no other. Dates are date32, words are dictionaries of text; `warnings` are codes parted by spaces.

Needs pyarrow, which is imported when it is first used: it takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ebill import questions, strictjson
from ebill.batch import moments
from ebill.batch.apart import Numbers, alike
from ebill.batch.asked import (
    ASKED,
    IDS,
    KIND,
    arrow,
    coded,
    days_of,
    encoded,
    moments_of,
    readable,
    readable_schema,
    texts_of,
    written_months,
)
from ebill.batch.columns import NONE
from ebill.batch.laid import SUPPORTED, Entries, Laid
from ebill.batch.moments import BAD, GOOD, Moments, Posted
from ebill.dates import FIRST_MONTH, MONTH, as_month
from ebill.errors import (
    Fault,
    InvalidInput,
    MalformedJson,
    Refusal,
    TooManyRuleSets,
    did_you_mean,
    pointer,
)
from ebill.paid import window
from ebill.posting import Reflected, Timeliness
from ebill.rulebook import Row, RuleBook, Scope
from ebill.schedule import DATE_NAMES
from ebill.standing import STANDINGS, WARNINGS, standing

Kind = tuple[str | None, ...]
Key = TypeVar("Key")
Value = TypeVar("Value")

ECHOED: Final = (*IDS, "state", "product", "coverage_month")
"""The columns that are given back, where they are there."""
PAID: Final = ("received_date", "posts_from_date", "posts_by_date", "timeliness", "reflected_on_next_invoice")
"""What is told of a payment, where there is a column `paid_at`."""
ANSWERED: Final = (*ECHOED, *DATE_NAMES, "as_of", "standing", "warnings", *PAID, "reason", "detail")
BATCH: Final = 1 << 16
"""Rows of a stream that are answered together."""
TABLE: Final = 1 << 20
"""Rows of a table in memory that are: what is alike among them is found once, in some dozens of bytes for each.

One of which a column is to be read as another type is answered as a stream is: written out, its texts may be long.
"""
TIMELINESS: Final[tuple[Timeliness, ...]] = ("on_time", "in_grace", "late")
REFLECTED: Final[tuple[Reflected, ...]] = ("yes", "maybe", "no")
WARNED: Final = tuple(
    " ".join(code for bit, code in enumerate(WARNINGS) if mask >> bit & 1) for mask in range(1 << len(WARNINGS))
)
"""How warnings are written, by their number."""
HINTS_MOST: Final = 3
"""Unknown columns of a row for which near ones are looked for: each look takes longer than to answer a row."""
KEPT_MOST: Final = 10_000
"""Rules, what else makes accounts alike, and reasons, that are kept of each for the next row that says the same."""
KEPT_LONGEST: Final = 1 << 12
"""Characters of what a row says for which something is kept: what is longer is not met often."""
JSON: Final = ("rules", "exceptions")
JSON_MOST: Final = 256_000
"""Characters of rules or exceptions."""
_RULES: Final = KIND.index("rules")
_NO_WORD: Final = -1
_NEVER: Final = np.iinfo(np.int32).max
_NOTHING: Final[Mapping[int, Any]] = MappingProxyType({})


class Reason(NamedTuple):
    """Why a row has no dates: the code of the refusal, and its sentences."""

    code: str
    detail: str


Unread = Reason | Mapping[str, Any]


class Answered(NamedTuple):
    """Rows and what is known of each, not yet written as anything.

    `asked` are the columns given back, `entries` and `numbers` say which dates and warnings each row has. `as_of` is
    None where every row has that of its entry; `standing`, `timeliness` and `reflected` are indexes into the words,
    below 0 for none; with payments that are `recorded` it is not the entry alone that says where an invoice stands.
    `reason` is None where every row has dates, else an index into `reasons`, below 0 for none.
    """

    asked: Any
    entries: Entries
    numbers: Numbers
    as_of: Numbers | None
    standing: Numbers
    posted: Posted | None
    timeliness: Numbers | None
    reflected: Numbers | None
    recorded: bool
    reason: Numbers | None
    reasons: Sequence[Reason]

    @property
    def refused(self) -> int:
        """How many rows have no dates."""
        return 0 if self.reason is None else int((self.reason >= 0).sum())

    def record_batch(self) -> Any:
        """Give them as an Arrow record batch, whose schema is that of `schema`."""
        pa = arrow()
        rows, entries, numbers = len(self.numbers), self.entries, self.numbers
        columns = {name: self.asked.column(name) for name in ECHOED if name in self.asked.schema.names}
        columns["coverage_month"] = written_months(columns["coverage_month"])
        columns |= {name: _dates(entries.of(entries.column(name), numbers)) for name in DATE_NAMES}
        as_of = entries.of(entries.today, numbers) if self.as_of is None else self.as_of
        warned = entries.of(entries.warned, numbers).view(np.int8)
        if self.reason is not None:
            as_of, warned = np.where(self.reason >= 0, NONE, as_of), np.where(self.reason >= 0, _NO_WORD, warned)
        columns["as_of"] = _dates(as_of)
        columns["standing"] = _words(self.standing, STANDINGS)
        columns["warnings"] = _words(warned, WARNED)
        if "paid_at" in self.asked.schema.names:
            columns |= self._paid()
        for place, name in enumerate(("reason", "detail")):
            if self.reason is None:
                columns[name] = pa.nulls(rows, pa.string())
            else:
                texts = pa.array([reason[place] for reason in self.reasons], pa.string())
                columns[name] = texts.take(pa.array(self.reason, mask=self.reason < 0))
        return pa.record_batch(list(columns.values()), names=list(columns))

    def _paid(self) -> dict[str, Any]:
        rows = len(self.numbers)
        days = (np.full(rows, NONE, np.int32),) * 3 if self.posted is None else self.posted[1:]
        no_words = np.full(rows, _NO_WORD, np.int8)
        return {
            **{name: _dates(column) for name, column in zip(PAID, days, strict=False)},
            PAID[3]: _words(no_words if self.timeliness is None else self.timeliness, TIMELINESS),
            PAID[4]: _words(no_words if self.reflected is None else self.reflected, REFLECTED),
        }


class _Kept(dict[Key, Value]):
    """What was found for what rows say, for the next that says the same; several threads may ask at once."""

    def keep(self, key: Key, value: Value, texts: Iterable[str | None]) -> None:
        """Keep a value, unless the texts that it was found for are long; of too many, all are let go first."""
        if sum(map(len, filter(None, texts))) <= KEPT_LONGEST:
            if len(self) >= KEPT_MOST:
                self.clear()
            self[key] = value


class _Told:
    """Reads what tells of accounts, and remembers the parts that are alike.

    It is apart from who asks, so that nobody holds himself: what was laid out for a batch goes with it, and waits for
    no collector of garbage.
    """

    def __init__(self, book: RuleBook) -> None:
        self.book = book
        self._each = questions.Rows()
        self._rows = _Kept[str | None, tuple[Row, ...]]()
        self._scopes = _Kept[Kind, Scope]()

    def scope(self, kind: Kind) -> Scope:
        """Give the scope of a kind, whose parts are read once each. Raises MalformedJson, InvalidInput."""
        own, others = kind[_RULES], (*kind[:_RULES], *kind[_RULES + 1 :])
        rows = self._rows.get(own)
        if rows is None:
            rows = () if own is None else self._each.of(_json(own))
            self._rows.keep(own, rows, [own])
        scope = self._scopes.get(others)
        if scope is None:
            given = {**dict(zip(KIND, kind, strict=True)), "rules": None, "coverage_month": str(FIRST_MONTH)}
            scope = questions.scope(self.read(given))
            self._scopes.keep(others, scope, others)
        return Scope(scope.state, scope.product, rows, scope.exceptions, scope.last_coverage_month)

    def read(self, row: Mapping[str, Any], strange: Iterable[Fault] = ()) -> questions.Calculation:
        """Read a row as the calculator reads what it is asked, every fault at once."""
        body: dict[str, Any] = {}
        found = list(strange)
        for name, value in row.items():
            if value is None:
                continue
            try:
                body[name] = _json(value) if name in JSON and isinstance(value, str) else value
            except MalformedJson as refusal:
                found.append(Fault(pointer(name), str(refusal)))
        question = None
        try:
            question = questions.calculation(body, self.book)
        except InvalidInput as refusal:
            found += refusal.faults
        if found or question is None:
            raise InvalidInput(found)
        return question


class Batches:
    """Answers batch after batch, and remembers what is alike; several threads may ask at once.

    Invoices stand as of `as_of`, or today in the account's zone where `now` (aware) is given; a row's own `as_of` comes
    before both. With none of them an invoice stands nowhere: no clock is read here. Where `most_kinds` of accounts are
    taken, rows of any more are refused.
    """

    def __init__(
        self, book: RuleBook, *, as_of: date | None = None, now: datetime | None = None, most_kinds: int | None = None
    ) -> None:
        self.book, self._most_kinds = book, most_kinds
        self._fresh = partial(Laid, book, as_of, now)
        self._laid = self._fresh()
        self._months: dict[str | None, int] = {}
        self._told = _Told(book)
        self._reasons = _Kept[Any, Reason]()

    def answer(self, batch: Any, unread: Mapping[int, Unread] = _NOTHING) -> Answered:
        """Answer the rows of an Arrow record batch. Raises TableRefused where its columns are no questions.

        `unread` are rows, by their place, that could not be put into columns: why, or what they say.
        """
        asked, unreadable = readable(batch)
        unread = {
            **{row: Reason("malformed_row", f"{name} is not UTF-8") for row, name in unreadable.items()},
            **unread,
        }
        if self._laid.is_full:
            self._laid = self._fresh()
        laid, names = self._laid, asked.schema.names
        kinds, months, where = self._distinct(laid, asked)
        if self._most_kinds is not None and kinds.max(initial=0) >= self._most_kinds:
            refusal = TooManyRuleSets(self._most_kinds)
            beyond = np.flatnonzero(kinds[where] >= self._most_kinds).tolist()
            unread = {**unread, **dict.fromkeys(beyond, Reason(refusal.code, str(refusal)))}
            kinds = np.where(kinds < self._most_kinds, kinds, 0)
        entries, distinct = laid.numbers(kinds, months)
        numbers = entries.of(distinct, where)
        wrong = entries.of(~entries.of(entries.usable, distinct), where)
        wrong[list(unread)] = True
        as_of = None
        if "as_of" in names and asked.column("as_of").null_count < asked.num_rows:
            as_of, bad = days_of(asked.column("as_of"))
            as_of = np.where(as_of == NONE, entries.of(entries.today, numbers), as_of)
            wrong |= bad
        paid = None
        if "paid_at" in names and asked.column("paid_at").null_count < asked.num_rows:
            given = moments_of(asked.column("paid_at"))
            paid = posted(given, entries.of(kinds, where), laid)
            wrong |= (given.told == BAD) | ((given.told == GOOD) & (paid.posts_by == NONE))
        return answered(asked, entries, numbers, wrong, as_of, paid, partial(self._why, asked, unread))

    def _distinct(self, laid: Laid, asked: Any) -> tuple[Numbers, Numbers, Numbers]:
        """Give the distinct pairs of kind and coverage month, by their numbers, and which of them each row has.

        Texts that are alike are read once.
        """
        of_kind = [(name, *encoded(asked.column(name))) for name in KIND if name in asked.schema.names]
        months, numbers = self._month_numbers(asked.column("coverage_month"))
        pairs, where = alike([*((codes, len(texts)) for _, codes, texts in of_kind), (months, len(numbers))])
        of_pair = [(name, codes[pairs], texts) for name, codes, texts in of_kind]
        rows, which = alike([(codes, len(texts)) for _, codes, texts in of_pair])
        told = {name: [texts[code] for code in codes[rows].tolist()] for name, codes, texts in of_pair}
        nothing = [None] * len(rows)
        found: list[Kind] = list(zip(*(told.get(name, nothing) for name in KIND), strict=True))
        return laid.kinds_of(found, self._told.scope)[which], numbers[months[pairs]], where

    def _month_numbers(self, column: Any) -> tuple[Numbers, Numbers]:
        """Give a column of coverage months coded, and the number of each: below 0 where none such is supported."""
        pa = arrow()
        codes, distinct = coded(column)
        if not pa.types.is_date32(distinct.type):
            return codes, np.array([*map(self._month_number, distinct.to_pylist()), -1], np.int64)
        days = distinct.cast(pa.int32()).to_numpy().astype("datetime64[D]")
        months = days.astype(MONTH)
        numbers = np.where(months.astype(days.dtype) == days, (months - FIRST_MONTH).astype(np.int64), -1)
        return codes, np.append(numbers, -1)

    def _month_number(self, text: str | None) -> int:
        number = self._months.get(text)
        if number is None:
            try:
                number = -1 if text is None else int((as_month(text) - FIRST_MONTH).astype(int))
            except ValueError:
                number = -1
            if len(self._months) <= SUPPORTED:
                self._months[text] = number
        return number

    def _why(
        self, asked: Any, unread: Mapping[int, Unread], wrong: npt.NDArray[np.intp]
    ) -> tuple[Numbers, Sequence[Reason]]:
        """Say why rows have no dates, as the calculator says it of one; what is alike is asked once."""
        names = [name for name in asked.schema.names if name not in IDS]
        rows = asked.select(names).take(arrow().array(wrong))
        columns = [texts_of(rows.column(name), is_month=name.endswith("_month")) for name in names]
        reason = np.full(asked.num_rows, _NO_WORD, np.int32)
        found: dict[Reason, int] = {}
        for place, key in zip(wrong.tolist(), zip(*columns, strict=True), strict=True):
            if place in unread:
                why = unread[place]
                told = why if isinstance(why, Reason) else self._reason(why)
                reason[place] = found.setdefault(told, len(found))
                continue
            known = self._reasons.get((*names, *key))
            if known is None:
                known = self._reason(dict(zip(names, key, strict=True)))
                self._reasons.keep((*names, *key), known, key)
            reason[place] = found.setdefault(known, len(found))
        return reason, list(found)

    def _reason(self, row: Mapping[str, Any]) -> Reason:
        try:
            return self._judged(row)
        except InvalidInput as refusal:
            return Reason(refusal.code, said(_of_a_row(refusal.faults)))
        except Refusal as refusal:
            return Reason(refusal.code, str(refusal))

    def _judged(self, row: Mapping[str, Any]) -> Reason:
        """Judge a row as the calculator does, in its order."""
        known = {name: value for name, value in row.items() if name in ASKED and name not in IDS}
        question = self._told.read(known, _strange(row))
        life = questions.life(self.book, question)
        rows = life.rows(question.first, 1)
        if not life.schedule.billed[rows.start]:
            if question.paid_at is not None:
                raise InvalidInput([Fault("/paid_at", questions.NOTHING_TO_PAY)])
            return Reason("not_billed", str(life.why_not_billed(rows.start)))
        if question.paid_at is not None:
            window(life.timeline, question.paid_at)
        raise AssertionError("a row that has dates was taken for one without")  # pragma: no cover


def answered(
    asked: Any,
    entries: Entries,
    numbers: Numbers,
    wrong: npt.NDArray[np.bool_],
    as_of: Numbers | None,
    paid: Posted | None,
    why: Callable[[npt.NDArray[np.intp]], tuple[Numbers, Sequence[Reason]]],
    *,
    recorded: bool = False,
) -> Answered:
    """Put together what is known of rows; `why` says of those that are `wrong`, by their places, what is.

    A payment that is `recorded` changes where its invoice stands; one that is only asked about does not.
    """
    reason, reasons = why(np.flatnonzero(wrong)) if wrong.any() else (None, ())
    if reason is not None:
        numbers = np.where(wrong, 0, numbers)
    if as_of is None and paid is None:
        stands = entries.of(entries.standing, numbers)
        return Answered(asked, entries, numbers, None, stands, None, None, None, recorded, reason, reasons)
    by: Any = entries.of(entries.today, numbers) if as_of is None else as_of
    generation: Any
    due: Any
    grace_end: Any
    following: Any
    generation, due, grace_end, following = (
        entries.of(entries.column(name), numbers)
        for name in ("generation_date", "due_date", "grace_end_date", "next_generation_date")
    )
    timely = shown = None
    pays: dict[str, Any] = {}
    if paid is not None:
        none = wrong | (paid.posts_by == NONE)
        paid = Posted(*(np.where(none, NONE, days) for days in paid))
        timely = 0 + (paid.paid_on > due) + (paid.paid_on > grace_end)
        missed = (following == NONE) | (paid.posts_from >= following)
        shown = np.where(missed, REFLECTED.index("no"), paid.posts_by >= following)
        timely, shown = (np.where(none, _NO_WORD, words).astype(np.int8) for words in (timely, shown))
        if recorded:
            pays = {"paid_on": np.where(none, _NEVER, paid.paid_on), "posts_by": paid.posts_by}
    stands = np.where(wrong | (by == NONE), _NO_WORD, standing(generation, due, grace_end, by, **pays)).astype(np.int8)
    return Answered(asked, entries, numbers, as_of, stands, paid, timely, shown, recorded, reason, reasons)


def _of_a_row(faults: Sequence[Fault]) -> list[Fault]:
    """Say of a row without a month that it needs one: the span that a question may have instead is no column."""
    of_month = Fault("/coverage_month", "is required")
    return list(dict.fromkeys(of_month if fault.detail == questions.OR_ELSE else fault for fault in faults))


def _json(text: str) -> Any:
    """Read rules or exceptions. Raises MalformedJson."""
    if len(text) > JSON_MOST:
        raise MalformedJson(f"it has more than {JSON_MOST:,} characters")
    return strictjson.loads(text.encode(errors="surrogatepass"))


def _strange(row: Mapping[str, Any]) -> Iterator[Fault]:
    """Find what of a row belongs to no column, and ids that are no text."""
    unknown = 0
    for name, value in row.items():
        if name not in ASKED:
            unknown += 1
            hint = did_you_mean(name, ASKED) if unknown <= HINTS_MOST else ""
            yield Fault(pointer(name), f"unknown column{hint}")
        elif name in IDS and value is not None and not is_text(value):
            yield Fault(pointer(name), "must be text")


def is_text(value: object) -> bool:
    """Tell whether a value is text that UTF-8 can write."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def said(faults: Iterable[Fault]) -> str:
    """Say faults in one line, each with its place."""
    return "; ".join(f"{fault.pointer}: {fault.detail}" if fault.pointer else fault.detail for fault in faults)


def schedule(table: Any, book: RuleBook, *, as_of: date | None = None, now: datetime | None = None) -> Any:
    """Give the dates of a table of questions as a pyarrow Table: columns as this module's docstring has them.

    The questions are a pyarrow Table, or whatever gives itself as Arrow, as data frames of pandas and polars do.
    Invoices stand as of `as_of`, or today where `now` (aware) is given; see `Batches`. Raises TableRefused for columns
    that are missing, unknown, given twice, or of another type, for clock times where days are asked for, and for a
    dictionary that lacks what a row points to; a bad row has its `reason` instead.

    >>> import pyarrow as pa
    >>> from ebill import bookfile
    >>> book = bookfile.load(bookfile.SHIPPED).book
    >>> table = pa.table({"account_id": ["A1", "A2"], "state": ["PA", "XX"], "coverage_month": ["2026-08"] * 2})
    >>> answer = schedule(table, book, as_of=date(2026, 8, 3))
    >>> answer.select(["account_id", "due_date", "grace_end_date", "standing", "reason"]).to_pylist()[0]
    {'account_id': 'A1', 'due_date': datetime.date(2026, 8, 1), 'grace_end_date': datetime.date(2026, 8, 31), \
'standing': 'in_grace', 'reason': None}
    >>> answer.column("detail")[1].as_py()
    '/state: No state "XX" is configured; the configured states are DE, NY, PA, WV.'
    """
    pa = arrow()
    table = table if isinstance(table, pa.Table) else pa.table(table)
    wanted = readable_schema(table.schema)
    most = TABLE if wanted.equals(table.schema) else BATCH
    found = answers(book, table.to_batches(max_chunksize=most), as_of=as_of, now=now)
    return pa.Table.from_batches(found, schema(wanted))


def answers(
    book: RuleBook, batches: Iterable[Any], *, as_of: date | None = None, now: datetime | None = None
) -> Iterator[Any]:
    """Give the dates of a stream of pyarrow record batches, batch by batch; as `schedule`."""
    asked = Batches(book, as_of=as_of, now=now)
    return (asked.answer(batch).record_batch() for batch in batches)


def schema(asked: Any) -> Any:
    """Give the schema of the answer to a table whose schema is this one: see `readable_schema`."""
    pa = arrow()
    words = pa.dictionary(pa.int8(), pa.string())
    types = {name: asked.field(name).type for name in ECHOED if name in asked.names}
    types["coverage_month"] = pa.string() if pa.types.is_date32(types["coverage_month"]) else types["coverage_month"]
    types |= {**dict.fromkeys((*DATE_NAMES, "as_of"), pa.date32()), "standing": words, "warnings": words}
    if "paid_at" in asked.names:
        types |= {**dict.fromkeys(PAID[:3], pa.date32()), **dict.fromkeys(PAID[3:], words)}
    return pa.schema([*types.items(), ("reason", pa.string()), ("detail", pa.string())])


def posted(given: Moments, kinds: Numbers, laid: Laid) -> Posted:
    """Give when payments post, accounts that pay alike together."""
    of_row = laid.ways_of(kinds)
    found = Posted(*(np.full(len(kinds), NONE, np.int32) for _ in Posted._fields))
    present = np.flatnonzero(np.bincount(of_row, minlength=1)).tolist()
    for number in present:
        if way := laid.ways[number]:
            rows = slice(None) if len(present) == 1 else np.flatnonzero(of_row == number)
            for column, days in zip(found, moments.posted(given.take(rows), way), strict=True):
                column[rows] = days
    return found


def _dates(days: Numbers) -> Any:
    pa = arrow()
    none = days == NONE
    valid = pa.py_buffer(np.packbits(~none, bitorder="little")) if none.any() else None
    days = np.ascontiguousarray(days, np.int32)
    return pa.Array.from_buffers(pa.date32(), len(days), [valid, pa.py_buffer(days)])


def _words(numbers: Any, words: Sequence[str]) -> Any:
    pa = arrow()
    none = numbers < 0
    valid = pa.py_buffer(np.packbits(~none, bitorder="little")) if none.any() else None
    indices = pa.Array.from_buffers(pa.int8(), len(numbers), [valid, pa.py_buffer(np.ascontiguousarray(numbers))])
    return pa.DictionaryArray.from_arrays(indices, _dictionary(words))


@cache
def _dictionary(words: tuple[str, ...]) -> Any:
    return arrow().array(words, arrow().string())
