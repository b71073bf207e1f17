"""Reads a rule book from TOML text, strictly: all of it or nothing, every fault at once, with its line and key.

The shape is checked by the schemas of `ebill.grammar`; what the rows mean together (a rule missing, a row repeated,
a calendar nobody knows) is checked here. A book in which nothing is wrong so far is tried, over every state and
product and every supported month. A *finding* is a place in the text and what is wrong there.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from marshmallow import Schema, ValidationError, fields, validate

from ebill.dates import EVIDENCE, Calendar, as_month, library_calendar
from ebill.errors import (
    BelowFloor,
    BookFault,
    BookRefused,
    CutoffNotDaily,
    DatesOutOfOrder,
    Refusal,
    UnknownCalendar,
    shown,
)
from ebill.grammar import KINDS, RowSchema, Strict, Text, TomlDay, flatten
from ebill.grammar import Calendar as CalendarField
from ebill.places import Path, Places
from ebill.rulebook import LAYERS, NEEDED, InForce, Layer, Row, RuleBook, Scope, Section, Timeline
from ebill.rules import CalendarName, Kind

STATE: Final = re.compile(r"[A-Z]{2}")
PRODUCT: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
CALENDAR: Final = re.compile(r"[A-Z0-9-]{1,16}")
DEEPEST: Final = 32
"""How deep tables and lists may be nested; a rule book needs 6."""
WHOLE_FILE: Final = "(file)"
"""Stands for the key of a fault that is about no key."""

_GROUPS: Final[Mapping[str, Layer]] = {"states": "state", "products": "product"}
_PLAIN_NUMBER = re.compile(r"-?[0-9]+")
_HINTS: Final = (
    (re.compile("[\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}]"), "text stands in straight quotes"),
    (re.compile(r"=\s*[+-]?0[0-9]"), "a number has no leading zero"),
    (re.compile(r"=\s*(null|nil|None)\b"), "a key without a value is left out"),
    (re.compile(r"=\s*[A-Za-z]"), "text stands in quotes"),
    (re.compile(r"=.*{"), "a table in braces stands on one line, without a comma after its last value"),
)

Finding = tuple[Path, str]


class ClosureSchema(Strict):
    """A day on which a calendar's business stops for once."""

    date = TomlDay(required=True)
    reason = Text(required=True)


class CalendarSchema(Strict):
    """A named calendar: one of the library's (`holidays`, by default of the same name), and dated closures."""

    name = Text(required=True)
    holidays = CalendarField()
    closures = fields.List(fields.Nested(ClosureSchema), load_default=list)


class RulesOnlySchema(Strict):
    """The house's own rules."""

    rules = fields.List(
        fields.Nested(RowSchema), required=True, validate=validate.Length(min=1, error="must have at least one row")
    )


class SectionSchema(RulesOnlySchema):
    """A state or a product: its name, and its rules."""

    name = Text(required=True)


class Named(fields.Field[dict[str, Any]]):
    """A table of tables, each under a name of its own."""

    def __init__(self, name: re.Pattern[str], like: str, schema: type[Schema], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.name_pattern, self.like, self.schema = name, like, schema()

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not value:
            raise ValidationError("must be a table with at least one entry")
        loaded: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        for name, inner in value.items():
            if not self.name_pattern.fullmatch(name):
                wrong[name] = [f"is not a name such as {self.like}"]
                continue
            try:
                loaded[name] = self.schema.load(inner)
            except ValidationError as error:
                wrong[name] = error.messages
        if wrong:
            raise ValidationError(wrong, valid_data=loaded)
        return loaded


class BookSchema(Strict):
    """The whole file."""

    default = fields.Nested(RulesOnlySchema, required=True)
    states = Named(STATE, "PA", SectionSchema, required=True)
    products = Named(PRODUCT, "cobra", SectionSchema, load_default=dict)
    calendars = Named(CALENDAR, "XFED", CalendarSchema, load_default=dict)


class Reading(NamedTuple):
    """A rule book, and the text it was read from and the calendars in it: what a second look needs."""

    book: RuleBook
    text: str
    calendars: Mapping[str, Any]

    @property
    def remarks(self) -> tuple[BookFault, ...]:
        """What in the file deserves a second look, found anew each time: who answers does not need to know."""
        places = Places(self.text)
        return tuple(_placed(_remarks(self.book, self.calendars, places), places))


def read(source: bytes, file: str) -> Reading:
    """Read a rule book. Raises BookRefused with every fault found; `file` is how faults name the file."""
    text = _text(source, file)
    data = _data(text, file)

    def refuse(findings: Iterable[Finding]) -> None:
        if found := list(findings):
            raise BookRefused(file, _placed(found, Places(text)))

    findings: list[Finding] = []
    try:
        loaded = BookSchema().load(data)
    except ValidationError as error:
        findings += flatten(error.messages)
        loaded = error.valid_data
    findings += [*_repeated(data), *_missing(data), *_misplaced_floors(data), *_unknown_calendars(data)]
    findings += _impossible_calendars(loaded.get("calendars", {}))
    refuse(findings)
    book = _book(data, loaded, source)
    refuse(_broken(book))
    return Reading(book, text, loaded["calendars"])


# From bytes to data


def _text(source: bytes, file: str) -> str:
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise _refused(file, line, "must be UTF-8 text") from None
    if text.startswith("\ufeff"):
        raise _refused(file, 1, "must be UTF-8 text without a byte order mark")
    if "\0" in text:  # as in UTF-16
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _refused(file, line, "must be UTF-8 text, which has no NUL")
    return text


def _data(text: str, file: str) -> dict[str, Any]:
    """Parse TOML; whatever the parser trips over becomes one fault with its line."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refused(file, *_not_toml(str(error), text)) from None
    except RecursionError:
        raise _refused(file, _deepest_line(text), "is nested too deeply") from None
    except ValueError:  # Python refuses to read a number of thousands of digits
        longest = max(re.finditer("[0-9_]+", text), key=lambda digits: len(digits[0]))
        line = text.count("\n", 0, longest.start()) + 1
        raise _refused(file, line, "has a number that is too long to read") from None
    if _reaches(data, DEEPEST):
        raise _refused(file, _deepest_line(text), "is nested too deeply")
    return data


def _not_toml(trouble: str, text: str) -> tuple[int, str]:
    """Give the line of what the parser tripped over, and its words with a hint at the usual slips."""
    lines = text.split("\n")
    at = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", trouble)
    line = int(at[1]) if at and at[1] else len(lines)
    hint = next((f"; {hint}" for slip, hint in _HINTS if slip.search(lines[line - 1])), "")
    return line, f"is not TOML: {shown(trouble[: at.start()] if at else trouble)}{hint}"


def _reaches(data: object, depth: int) -> bool:
    """Tell whether there is anything below so many levels of tables and lists."""
    level = [data]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _deepest_line(text: str) -> int:
    """Find about where a text is nested most deeply, by its brackets and the dots of its keys."""
    depth = deepest = 0
    found = 1
    for number, line in enumerate(text.split("\n"), 1):
        dots = 0
        for sign in re.findall(r"[\[\]{}.]", line):
            dots += sign == "."
            depth += (sign in "[{") - (sign in "]}")
            if depth + dots > deepest:
                deepest, found = depth + dots, number
    return found


def _refused(file: str, line: int | None, detail: str) -> BookRefused:
    return BookRefused(file, [BookFault(line, WHOLE_FILE, detail)])


# What the rows mean together, as far as a file in which other things are wrong can tell


def _rows(data: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give each row in the file with its path, whatever shape the rest is in."""
    sections: list[tuple[Path, Any]] = [(("default",), data.get("default"))]
    for group in _GROUPS:
        entries = data.get(group)
        if isinstance(entries, dict):
            sections += [((group, name), section) for name, section in entries.items()]
    for path, section in sections:
        rows = section.get("rules") if isinstance(section, dict) else None
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, dict):
                yield (*path, "rules", index), row


def _repeated(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find rows that say again what is in force anyway. One that differs is a correction, or takes one back."""
    latest: dict[Path, dict[str, Any]] = {}
    for path, row in _rows(data):
        row_of = (*path[:-1], str(row.get("since")), *(kind for kind in KINDS if kind in row))
        said = {"assumed": False, **row}
        if latest.get(row_of) == said:
            yield path, "is the same row again"
        latest[row_of] = said


def _missing(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find states for which no row gives a rule that every date needs."""
    given: dict[Path, set[str]] = {}
    for path, row in _rows(data):
        given.setdefault(path[:2] if path[0] in _GROUPS else path[:1], set()).update(row)
    default = given.get(("default",), set())
    states = [path for path in given if path[0] == "states"]
    for kind in NEEDED if default and states else ():
        lacking = [path for path in states if kind not in default | given[path]]
        if lacking == states:
            yield ("default",), f"has no {kind} rule, and neither has any state"
        else:
            yield from ((path, f"has no {kind} rule, and neither has default") for path in lacking)


def _misplaced_floors(data: Mapping[str, Any]) -> Iterator[Finding]:
    for path, row in _rows(data):
        if path[0] == "default" and "grace_floor" in row:
            yield (*path, "grace_floor"), "is set by a state or a product, not by the house"


def _unknown_calendars(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find rows that name a calendar which neither the file nor the library has."""
    named = data.get("calendars")
    for path, row in _rows(data):
        name = row.get("calendar")
        if type(name) is str and not (isinstance(named, dict) and name in named):
            try:
                CalendarField().deserialize(name)
                library_calendar(name)
            except ValidationError:  # told as a fault of the row
                pass
            except UnknownCalendar as refusal:
                yield (*path, "calendar"), str(refusal)


def _impossible_calendars(tables: Mapping[str, Any]) -> Iterator[Finding]:
    """Find named calendars that the library does not have, and closures that mean nothing."""
    for name, table in tables.items():
        path: Path = ("calendars", name)
        try:
            calendar = _base(name, table)
        except UnknownCalendar as refusal:
            yield (*path, "holidays"), str(refusal)
            continue
        days = [closure["date"] for closure in table["closures"]]
        for index, day in enumerate(days):
            if day in days[:index]:
                yield (*path, "closures", index), f"{day} is closed twice"
            if not calendar.first <= day <= calendar.last:
                known = f"{calendar.first} to {calendar.last}"
                yield (*path, "closures", index), f"{day} is beyond what {calendar.name} knows, {known}"


def _base(name: str, table: Mapping[str, Any]) -> Calendar:
    """Give the library's calendar that a named one builds on."""
    return library_calendar(table["holidays"].name if "holidays" in table else name)


# The book, and what only trying it shows


def _book(data: Mapping[str, Any], loaded: Mapping[str, Any], source: bytes) -> RuleBook:
    content = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    sections = {
        group: {
            name: Section(table["name"], _book_rows(table["rules"], layer, name))
            for name, table in loaded[group].items()
        }
        for group, layer in _GROUPS.items()
    }
    calendars = {
        name: _base(name, table).with_closures({c["date"]: c["reason"] for c in table["closures"]}, name)
        for name, table in loaded["calendars"].items()
    }
    return RuleBook(
        version=f"sha256:{hashlib.sha256(content).hexdigest()[:16]}",
        default=_book_rows(loaded["default"]["rules"], "default", ""),
        states=sections["states"],
        products=sections["products"],
        calendars=calendars,
        source=source,
    )


def _book_rows(rows: Iterable[Mapping[str, Any]], layer: Layer, scope: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            since=row["since"],
            rule=next(row[kind] for kind in KINDS if kind in row),
            cite=row["cite"],
            layer=layer,
            scope=scope,
            assumed=row["assumed"],
            recorded=index,
        )
        for index, row in enumerate(rows)
    )


def _broken(book: RuleBook) -> Iterator[Finding]:
    """Try every state, and every product in it; say once what goes wrong in the same way in several."""
    scopes: dict[Finding, list[str]] = {}
    for state in book.states:
        for scope in (Scope(state), *(Scope(state, product) for product in book.products)):
            findings = list(_broken_in(book, scope))
            for finding in findings:
                scopes.setdefault(finding, []).append(f"{state} {scope.product}" if scope.product else state)
            if findings and not scope.product:
                break
    for (path, detail), names in scopes.items():
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        yield path, f"in {', '.join(names[:4])}{more}: {detail}"


def _broken_in(book: RuleBook, scope: Scope) -> Iterator[Finding]:
    try:
        life = book.life(scope)
    except Refusal as refusal:
        timeline = Timeline(book.rows(scope.state, scope.product), book.calendar)
        yield _path(_culprit(timeline, refusal)), str(refusal)
        return
    dates = life.schedule
    lasting = dates.days("grace_end_date") - dates.days("due_date")
    begins = [dates.row(span.first) for span in dates.spans]
    for stretch, begin, end in zip(life.timeline.stretches, begins, [*begins[1:], dates.count], strict=True):
        grace, posting = stretch.rule("grace"), stretch.rule("posting")
        short = lasting[begin:end] < np.timedelta64(posting.max_business_days, "D")
        if (short & dates.billed[begin:end]).any():
            row = _latest(stretch, "grace", "posting")
            yield _path(row), f"grace ({grace}) is shorter than posting ({posting})"


def _culprit(timeline: Timeline, refusal: Refusal) -> Row:
    """Give the row that most likely brought about what a book is refused for."""
    match refusal:
        case DatesOutOfOrder(coverage_month=month, generation=generation, due=due):
            return _latest(timeline.at(as_month(month)), "generation" if generation >= due else "grace", "due")
        case BelowFloor(coverage_month=month):
            return _latest(timeline.at(as_month(month)), "grace")
        case CutoffNotDaily(cutoff=cutoff, timezone=timezone):
            return next(
                _latest(stretch, "posting", "timezone")
                for stretch in timeline.stretches
                if (f"{stretch.rule('posting').cutoff:%H:%M}", stretch.rule("timezone").name) == (cutoff, timezone)
            )
        case _:
            raise refusal


def _latest(stretch: InForce, *kinds: Kind) -> Row:
    """Give that row in force which replaced the others' state of things: of the highest layer, then the latest."""
    return max((stretch.rows[kind] for kind in kinds), key=lambda row: (LAYERS.index(row.layer), row.since))


def _path(row: Row) -> Path:
    """Give the path of a row of the book in its file."""
    group = {"state": "states", "product": "products"}.get(row.layer)
    section: Path = (group, row.scope) if group else ("default",)
    return (*section, "rules", row.recorded, row.kind)


def _remarks(book: RuleBook, tables: Mapping[str, Any], places: Places) -> Iterator[Finding]:
    """Note what is allowed, but easily a slip of the pen."""
    for path, number in places.numbers.items():
        if not _PLAIN_NUMBER.fullmatch(number):
            yield path, f"{number} is easily misread; write it in plain digits"
    for name, table in tables.items():
        for index, closure in enumerate(table["closures"]):
            if why := _base(name, table).why_closed(closure["date"]):
                yield ("calendars", name, "closures", index), f"{closure['date']} is closed anyway: {why}"
    for section in (*book.states.values(), *book.products.values(), Section("", book.default)):
        for row in section.rows:
            if isinstance(row.rule, CalendarName):
                calendar = book.calendar(row.rule.name)
                if calendar.first.year > EVIDENCE.start or calendar.last.year < EVIDENCE.stop - 1:
                    known = f"{calendar.first} to {calendar.last}"
                    yield _path(row), f"{calendar.name} knows {known} only; dates that need other days are refused"


# Where it stands


def _placed(findings: Iterable[Finding], places: Places) -> list[BookFault]:
    """Make faults of findings, each once, in the order of their lines."""
    faults = {BookFault(places.line(path), _key(path), detail) for path, detail in findings}
    return sorted(faults, key=lambda fault: (fault.line or 0, fault.key, fault.detail))


def _key(path: Path) -> str:
    """Write a path as a person would: `states.PA.rules[0].since`."""
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path)
    return key.removeprefix(".") or WHOLE_FILE
