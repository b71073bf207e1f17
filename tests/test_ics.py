"""A calendar says what RFC 5545 and RFC 7986 would have it say, and another library reads it so."""

import re
import tracemalloc
from collections import deque
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import icalendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebill.render import ics
from ebill.render.ics import Event

GOLDEN = Path(__file__).with_name("golden") / "deadlines.ics"
STAMP = datetime(2026, 8, 3, tzinfo=UTC)
EARLIER = datetime(2026, 7, 1, 12, 30, 15, tzinfo=UTC)
EVENT = Event("uid-1", date(2026, 8, 1), "Premium due", "The last day.", "due", 0, False, EARLIER)
BREAKS = ("\r\n", "\n", "\r", "\x85", "\u2028", "\u2029")
"""Whatever a reader could take for the end of a line, and a name may not."""


def written(*events: Event, name: str = "Deadlines", stamp: datetime = STAMP) -> bytes:
    return b"".join(ics.calendar(events, name, stamp))


def read(calendar: bytes) -> icalendar.Calendar:
    return icalendar.Calendar.from_ical(calendar)


def lines(calendar: bytes) -> list[bytes]:
    """Give the lines of a calendar, which all end in CRLF and have no other break in them."""
    *found, last = calendar.split(b"\r\n")
    assert last == b""
    assert not any(re.search("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", line.decode()) for line in found)
    return found


def unfolded(calendar: bytes) -> list[str]:
    """Give the content lines, each of which may take several lines (RFC 5545, section 3.1)."""
    return b"\r\n".join(lines(calendar)).replace(b"\r\n ", b"").decode().split("\r\n")


def span(event: icalendar.Event) -> tuple[object, object]:
    return event.DTSTART, event.DTEND


def titles(calendar: icalendar.Calendar) -> set[str]:
    """Give the name of a calendar, in both its properties; the library leaves to us what is escaped in them."""
    found = (str(calendar[name]) for name in ("NAME", "X-WR-CALNAME"))
    return {re.sub(r"\\(.)", lambda sign: "\n" if sign[1] in "nN" else sign[1], text) for text in found}


def summary(text: str) -> str:
    """Write a summary, and have it read."""
    [event] = read(written(EVENT._replace(summary=text))).events
    return str(event["SUMMARY"])


# What it says


def test_a_calendar_is_as_the_golden_file_has_it() -> None:
    events = (
        Event(
            "a5d3f8a0-6f2e-5a52-9c39-8d6b6a3c1f10",
            date(2026, 8, 1),
            "Premium due: 1000-ACME / COBRA, 2026-08",
            "The premium of 2026-08 is due on or before this day; the invoice is invoiced.",
            "due",
            0,
            False,
            EARLIER,
        ),
        Event(
            "0c0b2a9e-3f0d-5d0e-8d5f-7a3a3b9e5c11",
            date(2026, 12, 31),
            "Grace ends: Bäckerei Müller & Söhne, Philadelphia; 日本語の名前 🎂🎂🎂 / Main \\ 1, 2026-12",
            "The last day on which a payment keeps the coverage of 2026-12.\nA second line.",
            "grace_end",
            2,
            False,
            datetime(2026, 8, 3, 16, 0, 1, 999_999, tzinfo=UTC),
        ),
        Event(
            "6f9619ff-8b86-5011-b42d-00cf4fc964ff", date(2028, 2, 29), "Cancelled", "It is gone.", "due", 1, True, STAMP
        ),
    )
    assert written(*events, name="Deadlines, all of them") == GOLDEN.read_bytes()


def test_another_library_reads_the_golden_file_as_it_was_meant() -> None:
    calendar = read(GOLDEN.read_bytes())
    assert calendar.errors == []
    assert (calendar["VERSION"], calendar["CALSCALE"]) == ("2.0", "GREGORIAN")
    assert titles(calendar) == {"Deadlines, all of them"}
    assert calendar.get("METHOD") is None
    assert calendar["REFRESH-INTERVAL"].to_ical() == b"PT6H"
    first, second, third = calendar.events
    assert [event.DTEND for event in calendar.events] == [date(2026, 8, 2), date(2027, 1, 1), date(2028, 3, 1)]
    assert str(second["SUMMARY"]).endswith("; 日本語の名前 🎂🎂🎂 / Main \\ 1, 2026-12")
    assert str(second["DESCRIPTION"]).endswith("2026-12.\nA second line.")
    assert [event["SEQUENCE"] for event in calendar.events] == [0, 2, 1]
    assert [event["STATUS"] for event in calendar.events] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert {event["TRANSP"] for event in calendar.events} == {"TRANSPARENT"}
    assert [event.categories for event in calendar.events] == [["due"], ["grace_end"], ["due"]]
    assert (first.DTSTAMP, first.LAST_MODIFIED) == (STAMP, EARLIER)
    assert third["UID"] == "6f9619ff-8b86-5011-b42d-00cf4fc964ff"
    assert [event.errors for event in calendar.events] == [[], [], []]


@pytest.mark.parametrize(
    ("day", "end"),
    [
        (date(2026, 8, 1), date(2026, 8, 2)),
        (date(2026, 8, 31), date(2026, 9, 1)),
        (date(2026, 12, 31), date(2027, 1, 1)),
        (date(2028, 2, 28), date(2028, 2, 29)),
        (date(2028, 2, 29), date(2028, 3, 1)),
        (date(2027, 2, 28), date(2027, 3, 1)),
        (date(2026, 3, 8), date(2026, 3, 9)),
        (date(2000, 1, 1), date(2000, 1, 2)),
        (date(2099, 12, 31), date(2100, 1, 1)),
    ],
    ids=str,
)
def test_an_event_is_all_of_its_day_and_ends_before_the_next(day: date, end: date) -> None:
    calendar = written(EVENT._replace(day=day))
    [event] = read(calendar).events
    assert span(event) == (day, end)
    assert {type(each) for each in span(event)} == {date}
    assert f"DTSTART;VALUE=DATE:{day:%Y%m%d}" in unfolded(calendar)
    assert f"DTEND;VALUE=DATE:{end:%Y%m%d}" in unfolded(calendar)


def test_an_event_that_changed_after_the_stamp_is_stamped_with_its_change() -> None:
    later = STAMP + timedelta(hours=5, microseconds=1)
    [event] = read(written(EVENT._replace(changed_at=later))).events
    assert event.DTSTAMP == event.LAST_MODIFIED == later.replace(microsecond=0)


def test_the_same_events_make_the_same_calendar() -> None:
    assert written(EVENT, EVENT) == written(EVENT, EVENT)


def test_a_calendar_without_events_still_has_a_component() -> None:
    calendar = read(written())
    assert calendar.events == []
    assert [component.name for component in calendar.subcomponents] == ["VTIMEZONE"]
    assert [component.name for component in read(written(EVENT)).subcomponents] == ["VEVENT"]


def test_each_property_stands_once_and_those_that_must_be_there_are() -> None:
    """RFC 5545, sections 3.6 and 3.6.1."""
    found = [re.split("[:;]", line, maxsplit=1)[0] for line in unfolded(written(EVENT))]
    assert len(set(found) - {"BEGIN", "END"}) == len([name for name in found if name not in ("BEGIN", "END")])
    assert found[:2] == ["BEGIN", "VERSION"]
    assert {"PRODID", "VERSION", "UID", "DTSTAMP", "DTSTART"} <= set(found)


# Text of all kinds

NAMES = {
    "quotes": "\"Acme\" 'Ltd' “quoted”",
    "commas": "Acme, Beta, and Sons,",
    "semicolons": ";Acme; Beta;",
    "colons": "SUMMARY:Acme: the company",
    "backslashes": "\\Acme\\n \\, \\; \\\\ \\N\\",
    "a backslash at a fold": "a" * 65 + "\\" * 20 + "n",
    "60 emoji": "🎂" * 60,
    "emoji of several parts": "👩‍👩‍👧‍👦" * 40,
    "500 characters": "Name " * 100,
    "500 characters of three octets": "名" * 500,
    "marks that combine": "é" * 250,
    "from right to left": "שלום عليكم",
    "turned round": "abc\u202edef",
    "no width": "a\u200bb\ufeffc",
    "a script": "<script>alert(1)</script>",
    "a formula": "=cmd|' /C calc'!A0",
    "spaces about it": "  Acme  ",
    "a tab": "Acme\tLtd",
    "a caret": "^n^'^^ %0D%0A",
    "nothing": "",
    "a component": "BEGIN:VEVENT",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_comes_back_as_it_was(name: str) -> None:
    calendar = written(EVENT._replace(summary=name, description=name, category="due"), name=name)
    found = read(calendar)
    [event] = found.events
    assert str(event["SUMMARY"]) == str(event["DESCRIPTION"]) == name
    assert titles(found) == {name}
    assert max(map(len, lines(calendar))) <= 75


INJECTED = "Acme{}ATTENDEE:mailto:someone@example.com{}BEGIN:VALARM{}"


@pytest.mark.parametrize("line_break", BREAKS, ids=ascii)
def test_a_line_break_in_a_name_begins_no_line(line_break: str) -> None:
    name = INJECTED.replace("{}", line_break)
    event = EVENT._replace(uid=name, summary=name, description=name, category=name)
    calendar = written(event, name=name)
    assert [re.split("[:;]", line)[0] for line in unfolded(calendar)] == [
        re.split("[:;]", line)[0] for line in unfolded(written(EVENT))
    ]
    assert summary(name) == INJECTED.replace("{}", " ")
    [found] = read(calendar).events
    assert str(found["DESCRIPTION"]) == INJECTED.replace("{}", "\n")
    assert {str(found["UID"])} == titles(read(calendar)) == {INJECTED.replace("{}", " ")}


CONTROLS = {*map(chr, range(32)), "\x7f", *map(chr, range(0x80, 0xA0)), "\ud800"} - {*BREAKS, "\t"}


@pytest.mark.parametrize("sign", sorted(CONTROLS), ids=ascii)
def test_a_control_character_is_refused(sign: str) -> None:
    for event in (EVENT._replace(summary=f"a{sign}b"), EVENT._replace(description=f"a{sign}b")):
        with pytest.raises(ValueError, match="no control characters"):
            written(event)
    with pytest.raises(ValueError, match="no control characters"):
        written(name=f"a{sign}b")


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from([*BREAKS[1:], "\t", *'\\;,:"']))


@given(TEXT, TEXT)
def test_every_text_comes_back_but_for_what_its_line_breaks_were(one: str, other: str) -> None:
    calendar = written(EVENT._replace(summary=one, description=other))
    [event] = read(calendar).events
    assert str(event["SUMMARY"]) == re.sub("|".join(BREAKS), " ", one)
    assert str(event["DESCRIPTION"]) == re.sub("|".join(BREAKS), "\n", other)
    assert max(map(len, lines(calendar))) <= 75


# Folding


@pytest.mark.parametrize("sign", ["a", "é", "名", "🎂"])
@pytest.mark.parametrize("before", range(5))
def test_a_line_is_folded_at_75_octets_and_never_within_a_character(sign: str, before: int) -> None:
    for length in range(140 // len(sign.encode())):
        name = "x" * before + sign * length
        calendar = written(EVENT._replace(summary=name))
        found = lines(calendar)
        start = next(number for number, line in enumerate(found) if line.startswith(b"SUMMARY:"))
        parts = [found[start]]
        while found[start + len(parts)].startswith(b" "):
            parts.append(found[start + len(parts)])
        assert b"".join([parts[0], *(part[1:] for part in parts[1:])]) == f"SUMMARY:{name}".encode()
        for part, following in pairwise(parts):
            assert 75 - len(sign.encode()) < len(part) <= 75
            following.decode()
        assert len(parts[-1]) <= 75
        assert parts[-1] != b" "


# However many


def many(count: int) -> Iterable[Event]:
    for number in range(count):
        yield EVENT._replace(uid=f"uid-{number}", day=EVENT.day + timedelta(days=number % 700))


def test_no_event_is_kept_while_others_are_written() -> None:
    def peak(count: int) -> int:
        deque(ics.calendar(many(1000), "Deadlines", STAMP), maxlen=0)
        tracemalloc.start()
        deque(ics.calendar(many(count), "Deadlines", STAMP), maxlen=0)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return found

    assert peak(8000) < peak(1000) + 16_384
