"""What a payment date means, to the day, the hour and the microsecond."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ebill.dates import DAY, FIRST_DAY, LAST_DAY, library_calendar
from ebill.errors import CutoffNotDaily, InvalidInput, PaymentOutsideCalendar
from ebill.posting import day_without, latest_in_time, local, posts, received, reflected, timeliness
from ebill.questions import PostingQuestion
from ebill.rules import Posting
from ebill.service import posting
from tests import oracle
from tests.strategies import DEFAULTS, ask, calendar, day, house

BANK = library_calendar("XFED")
FAQ = Posting(2, 3, time(17))
EASTERN = ZoneInfo("America/New_York")


@pytest.fixture
def anew() -> None:
    """What another test found does not count."""
    day_without.cache_clear()


def on(*texts: str) -> Any:
    return np.array([day(text) for text in texts], DAY)


# Received, then posted

WINDOWS = [
    # paid on, at or after the cut-off, received, posts from, posts by
    ("2026-07-01 Wed", False, "2026-07-01 Wed", "2026-07-03 Fri", "2026-07-06 Mon"),
    # The specification's example: the Friday is a bank day, for Reserve Banks do not move a Saturday holiday.
    ("2026-07-02 Thu", False, "2026-07-02 Thu", "2026-07-06 Mon", "2026-07-07 Tue"),
    ("2026-07-02 Thu", True, "2026-07-03 Fri", "2026-07-07 Tue", "2026-07-08 Wed"),
    ("2026-07-03 Fri", True, "2026-07-06 Mon", "2026-07-08 Wed", "2026-07-09 Thu"),
    # The whole weekend is received on the Monday, and only then counted.
    ("2026-07-04 Sat", False, "2026-07-06 Mon", "2026-07-08 Wed", "2026-07-09 Thu"),
    ("2026-07-05 Sun", False, "2026-07-06 Mon", "2026-07-08 Wed", "2026-07-09 Thu"),
    ("2026-07-05 Sun", True, "2026-07-06 Mon", "2026-07-08 Wed", "2026-07-09 Thu"),
    ("2026-07-06 Mon", False, "2026-07-06 Mon", "2026-07-08 Wed", "2026-07-09 Thu"),
    # A bank holiday in the week, and one that makes a long weekend.
    ("2026-11-10 Tue", True, "2026-11-12 Thu", "2026-11-16 Mon", "2026-11-17 Tue"),
    ("2026-11-11 Wed", False, "2026-11-12 Thu", "2026-11-16 Mon", "2026-11-17 Tue"),
    ("2026-05-22 Fri", True, "2026-05-26 Tue", "2026-05-28 Thu", "2026-05-29 Fri"),
    # A holiday between receipt and posting.
    ("2026-05-21 Thu", False, "2026-05-21 Thu", "2026-05-26 Tue", "2026-05-27 Wed"),
    # Over the end of a year.
    ("2026-12-31 Thu", True, "2027-01-04 Mon", "2027-01-06 Wed", "2027-01-07 Thu"),
]


def check_window(paid_on: str, late: bool, received_on: str, posts_from: str, posts_by: str) -> None:
    arrived = received(on(paid_on), np.array([late]), BANK)
    assert arrived == on(received_on)
    assert posts(arrived, FAQ, BANK) == (on(posts_from), on(posts_by))


@pytest.mark.parametrize(("paid_on", "late", "received_on", "posts_from", "posts_by"), WINDOWS)
def test_a_payment_is_received_and_posts(
    paid_on: str, late: bool, received_on: str, posts_from: str, posts_by: str
) -> None:
    check_window(paid_on, late, received_on, posts_from, posts_by)


def test_many_payments_at_once() -> None:
    arrived = received(on(*(row[0] for row in WINDOWS)), np.array([row[1] for row in WINDOWS]), BANK)
    assert (arrived == on(*(row[2] for row in WINDOWS))).all()
    first, last = posts(arrived, FAQ, BANK)
    assert (first == on(*(row[3] for row in WINDOWS))).all()
    assert (last == on(*(row[4] for row in WINDOWS))).all()


def test_a_payment_may_post_on_the_day_it_is_received() -> None:
    arrived = on("2026-07-02 Thu")
    assert posts(arrived, Posting(0, 0, time(17)), BANK) == (arrived, arrived)
    assert posts(arrived, Posting(0, 1, time(17)), BANK) == (arrived, on("2026-07-03 Fri"))


@pytest.mark.parametrize(
    ("before", "lag", "latest"),
    [
        ("2026-02-09 Mon", 3, "2026-02-03 Tue"),
        ("2026-08-12 Wed", 3, "2026-08-06 Thu"),
        ("2026-11-11 Wed", 3, "2026-11-05 Thu"),  # a bank holiday itself
        ("2026-11-12 Thu", 3, "2026-11-05 Thu"),  # the day after it
        ("2026-07-12 Sun", 0, "2026-07-10 Fri"),
        ("2026-07-13 Mon", 0, "2026-07-10 Fri"),
        ("2026-07-14 Tue", 0, "2026-07-13 Mon"),
    ],
)
def test_the_latest_day_to_pay_in_time(before: str, lag: int, latest: str) -> None:
    assert latest_in_time(on(before), Posting(0, lag, time(17)), BANK) == on(latest)


# In time?

DUE, GRACE_END = day("2026-08-01 Sat"), day("2026-08-31 Mon")


def check_timeliness() -> None:
    judged = {
        n: timeliness(DUE + timedelta(n), DUE, GRACE_END)
        for n in (-400, -1, 0, 1, 29, 30, 31, 400)
    }  # fmt: skip
    assert judged == {
        **dict.fromkeys((-400, -1, 0), "on_time"),
        **dict.fromkeys((1, 29, 30), "in_grace"),
        **dict.fromkeys((31, 400), "late"),
    }
    assert timeliness(DUE, DUE, DUE) == "on_time"
    assert timeliness(DUE + timedelta(1), DUE, DUE) == "late"


def test_the_due_date_is_on_time_and_the_grace_end_in_grace() -> None:
    check_timeliness()


def check_reflected() -> None:
    generated = day("2026-08-12 Wed")
    before, after = generated - timedelta(1), generated + timedelta(1)
    assert reflected(before, before, generated) == "yes"
    assert reflected(before, generated, generated) == "maybe"  # posts by the very day, which is too late
    assert reflected(before, after, generated) == "maybe"
    assert reflected(generated, generated, generated) == "no"
    assert reflected(generated, after, generated) == "no"
    assert reflected(after, after, generated) == "no"
    assert reflected(before, before, None) == "no"


def test_a_payment_is_reflected_when_it_has_posted_before_the_next_invoice_is_generated() -> None:
    check_reflected()


PAID_FOR_AUGUST = [
    ("2026-08-05", "on 2026-08-10 at the latest", "yes"),
    ("2026-08-06", "on 2026-08-11 at the latest: the safe pay-by date", "yes"),
    ("2026-08-06T17:00", "at the cut-off: on 2026-08-12 at the latest", "maybe"),
    ("2026-08-07", "2026-08-11 to 2026-08-12", "maybe"),
    ("2026-08-09", "the recommended pay-by date, a Sunday: 2026-08-12 to 2026-08-13", "no"),
    ("2026-08-10", "2026-08-12 to 2026-08-13", "no"),
]


@pytest.mark.parametrize(("paid_at", "why", "expected"), PAID_FOR_AUGUST)
def test_a_payment_for_august_shows_on_the_invoice_generated_on_the_12th(paid_at: str, why: str, expected: str) -> None:
    answer = ask(state="PA", coverage_month="2026-08", paid_at=paid_at)
    assert answer["payment"]["reflected_on_next_invoice"] == expected, why
    assert answer["payment"]["timeliness"] == "in_grace"


def test_timeliness_goes_by_the_local_date_of_payment_and_not_by_when_it_is_received() -> None:
    """The grace ends Mon 2026-08-31 at local midnight; received after the cut-off is still paid in time."""
    for paid_at, expected in (
        ("2026-08-31T23:59:59.999999", "in_grace"),
        ("2026-09-01T00:00", "late"),
        ("2026-09-01T03:59:59Z", "in_grace"),  # 23:59:59 in New York
        ("2026-09-01T04:00:00Z", "late"),
        ("2026-08-01T23:59", "on_time"),
        ("2026-08-02T00:00", "in_grace"),
    ):
        payment = ask(state="PA", coverage_month="2026-08", paid_at=paid_at)["payment"]
        assert payment["timeliness"] == expected, paid_at


# The wall clock


def check_cutoff() -> None:
    cutoff = datetime(2026, 7, 2, 17)  # noqa: DTZ001  # a wall time
    for microseconds, received_date in ((-1, day("2026-07-02 Thu")), (0, day("2026-07-03 Fri")), (1, date(2026, 7, 3))):
        for paid_at in (
            cutoff + timedelta(microseconds=microseconds),
            (cutoff + timedelta(microseconds=microseconds)).replace(tzinfo=EASTERN),
            (cutoff + timedelta(microseconds=microseconds)).replace(tzinfo=EASTERN).astimezone(UTC),
        ):
            assert posting(house(), PostingQuestion("PA", paid_at))["received_date"] == received_date


def test_the_cutoff_itself_is_too_late_and_a_microsecond_before_is_not() -> None:
    check_cutoff()


def test_a_bare_date_means_before_the_cutoff() -> None:
    answer = posting(house(), PostingQuestion("PA", day("2026-07-02 Thu")))
    assert answer["received_date"] == day("2026-07-02 Thu")
    assert (answer["posts_from_date"], answer["posts_by_date"]) == (day("2026-07-06 Mon"), day("2026-07-07 Tue"))
    assert answer["paid_at"] == day("2026-07-02 Thu")
    assert answer["calendar"] == "XFED"


@pytest.mark.parametrize(
    ("paid_at", "zone", "expected"),
    [
        (date(2026, 7, 2), "America/New_York", (date(2026, 7, 2), None)),
        (datetime(2026, 7, 2), "America/New_York", (date(2026, 7, 2), time(0))),  # noqa: DTZ001  # midnight is a time
        (datetime(2026, 7, 2, 23, 59, 59, 999_999), "Pacific/Apia", (date(2026, 7, 2), time(23, 59, 59, 999_999))),  # noqa: DTZ001
        (datetime(2026, 7, 2, 3, 59, tzinfo=UTC), "America/New_York", (date(2026, 7, 1), time(23, 59))),
        (datetime(2026, 7, 2, 4, 0, tzinfo=UTC), "America/New_York", (date(2026, 7, 2), time(0))),
        (datetime(2026, 1, 2, 4, 59, tzinfo=UTC), "America/New_York", (date(2026, 1, 1), time(23, 59))),
        (datetime(2026, 7, 2, 12, 0, tzinfo=UTC), "Pacific/Kiritimati", (date(2026, 7, 3), time(2))),
        (datetime(2026, 7, 2, 11, 59, tzinfo=UTC), "Etc/GMT+12", (date(2026, 7, 1), time(23, 59))),
        # Either side of the changes of the clock: 01:59 is followed by 03:00, and by 01:00 in autumn.
        (datetime(2026, 3, 8, 6, 59, tzinfo=UTC), "America/New_York", (date(2026, 3, 8), time(1, 59))),
        (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), "America/New_York", (date(2026, 3, 8), time(3))),
        (datetime(2026, 11, 1, 5, 59, tzinfo=UTC), "America/New_York", (date(2026, 11, 1), time(1, 59))),
        (datetime(2026, 11, 1, 6, 0, tzinfo=UTC), "America/New_York", (date(2026, 11, 1), time(1, fold=1))),
    ],
)
def test_the_local_day_and_time_of_a_payment(paid_at: Any, zone: str, expected: tuple[date, time | None]) -> None:
    assert local(paid_at, ZoneInfo(zone)) == expected
    assert type(local(paid_at, ZoneInfo(zone))[0]) is date


def test_a_date_time_without_an_offset_is_local_to_the_account_whatever_the_machine() -> None:
    given = datetime(2026, 7, 2, 16, 59)  # noqa: DTZ001  # a wall time
    for zone in ("America/New_York", "Asia/Tokyo"):
        assert local(given, ZoneInfo(zone)) == (date(2026, 7, 2), time(16, 59))


# A cut-off that comes once a day


@pytest.mark.parametrize(
    ("cutoff", "first"),
    [
        (time(1, 0), "2000-10-29 Sun"),  # comes again when 2:00 is turned back to 1:00
        (time(1, 30), "2000-10-29 Sun"),
        (time(1, 59), "2000-10-29 Sun"),
        (time(2, 0), "2000-04-02 Sun"),  # left out when 2:00 is put on to 3:00
        (time(2, 30), "2000-04-02 Sun"),
        (time(2, 59), "2000-04-02 Sun"),
        (time(0, 59), None),
        (time(3, 0), None),
        (time(17, 0), None),
    ],
)
@pytest.mark.usefixtures("anew")
def test_in_new_york_a_cutoff_between_one_and_three_at_night_is_not_daily(cutoff: time, first: str | None) -> None:
    assert day_without(cutoff, "America/New_York") == (first and day(first))


@pytest.mark.parametrize(
    ("zone", "cutoff", "first"),
    [
        ("Pacific/Honolulu", time(2, 30), None),  # no daylight saving time
        ("America/Phoenix", time(1, 30), None),
        ("Etc/UTC", time(0), None),
        ("America/St_Johns", time(0), "2000-10-29 Sun"),  # turned back at one minute past midnight
        ("America/St_Johns", time(0, 1), "2000-04-02 Sun"),
        ("America/St_Johns", time(12), None),
        ("Pacific/Apia", time(12), "2011-12-30 Fri"),  # a day that Samoa never had
        ("Pacific/Apia", time(0), "2010-09-26 Sun"),  # put on at midnight
        ("Australia/Lord_Howe", time(1, 45), "2000-03-26 Sun"),  # turned back by half an hour
        ("Africa/Cairo", time(0, 30), "2000-04-28 Fri"),
    ],
)
@pytest.mark.usefixtures("anew")
def test_in_other_zones_other_hours_are_not_daily(zone: str, cutoff: time, first: str | None) -> None:
    assert day_without(cutoff, zone) == (first and day(first))


def scan(cutoff: time, zone: str, first: date, last: date) -> date | None:
    """Look at each day: a wall time that is there once survives a trip through UTC, and has no second one."""
    where = ZoneInfo(zone)
    for offset in range((last - first).days + 1):
        wall = datetime.combine(first + timedelta(offset), cutoff)
        early, late = (wall.replace(tzinfo=where, fold=fold).astimezone(UTC) for fold in (0, 1))
        if early != late:
            return wall.date()
    return None


CLOCKS = (time(2, 30), time(1, 30), time(0), time(23, 30), time(17))
ODD_ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Indiana/Knox",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Caracas",  # half an hour, twice
    "Africa/Casablanca",  # back and on again around Ramadan
    "Africa/Cairo",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Honolulu",
)


@pytest.mark.parametrize("zone", ODD_ZONES)
@pytest.mark.usefixtures("anew")
def test_a_cutoff_is_found_not_daily_as_by_looking_at_every_day(zone: str) -> None:
    for cutoff in CLOCKS:
        found = day_without(cutoff, zone)
        assert found == scan(cutoff, zone, FIRST_DAY, found or date(2040, 12, 31)), cutoff
        if found is None:
            assert scan(cutoff, zone, date(2099, 1, 1), LAST_DAY) is None


@pytest.mark.parametrize(
    ("zone", "cutoff", "change"),
    [
        ("America/New_York", time(2, 30), "2000-04-02 Sun"),
        ("America/Sao_Paulo", time(23, 30), "2000-02-26 Sat"),  # turned back at midnight: after noon of the day itself
    ],
)
def test_a_cutoff_is_looked_for_from_the_first_day_to_the_last_whatever_their_weekdays(
    zone: str, cutoff: time, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_day = day(change)
    about = [on_day + timedelta(n) for n in range(-8, 9)]
    for first in about:
        for last in (last for last in about if last >= first):
            monkeypatch.setattr("ebill.posting.FIRST_DAY", first)
            monkeypatch.setattr("ebill.posting.LAST_DAY", last)
            found = day_without.__wrapped__(cutoff, zone)
            assert found == (on_day if first <= on_day <= last else None), (first, last)


@pytest.mark.parametrize(("cutoff", "on_day"), [("02:30", "2000-04-02"), ("01:30", "2000-10-29")])
@pytest.mark.usefixtures("anew")
def test_a_cutoff_inside_a_change_of_the_clock_is_refused(cutoff: str, on_day: str) -> None:
    rules = {"posting": {**DEFAULTS["posting"], "cutoff": cutoff}}
    with pytest.raises(CutoffNotDaily) as refused:
        ask(state="PA", coverage_month="2026-08", rules=rules)
    assert str(refused.value) == (
        f"The cut-off {cutoff} does not come exactly once on {on_day} in America/New_York; choose another time."
    )
    assert refused.value.code == "cutoff_not_daily"
    assert [fault.pointer for fault in refused.value.faults] == ["/rules/posting/cutoff"]
    ask(state="PA", coverage_month="2026-08", rules={**rules, "timezone": "Pacific/Honolulu"})


# The ends of what is known


def test_the_first_and_the_last_day_of_payment() -> None:
    first = posting(house(), PostingQuestion("PA", day("2000-01-01 Sat")))
    assert (first["received_date"], first["posts_by_date"]) == (day("2000-01-03 Mon"), day("2000-01-06 Thu"))
    last = posting(house(), PostingQuestion("PA", day("2099-12-31 Thu")))
    assert (last["received_date"], last["posts_by_date"]) == (day("2099-12-31 Thu"), day("2100-01-06 Wed"))


def test_a_payment_whose_local_day_is_outside_the_century_is_refused() -> None:
    for paid_at in (datetime(2100, 1, 1, 5, tzinfo=UTC), datetime(2000, 1, 1, 4, 59, tzinfo=UTC)):
        with pytest.raises(InvalidInput) as refused:
            posting(house(), PostingQuestion("PA", paid_at))
        assert [(fault.pointer, fault.detail) for fault in refused.value.faults] == [
            ("/paid_at", "must be a local date from 2000-01-01 to 2099-12-31")
        ]
    kept = posting(house(), PostingQuestion("PA", datetime(2100, 1, 1, 4, 59, tzinfo=UTC)))
    assert kept["received_date"] == day("2100-01-04 Mon")  # after the cut-off of 2099-12-31


def test_a_payment_that_posts_beyond_the_calendar_is_refused() -> None:
    """The library has no rules for Japan after 2099."""
    with pytest.raises(PaymentOutsideCalendar) as refused:
        ask(
            state="PA",
            coverage_month="2099-10",
            paid_at="2099-12-30",
            last_coverage_month="2099-10",
            rules={"calendar": "JP"},
        )
    assert refused.value.code == "outside_calendar"
    assert str(refused.value) == (
        "When a payment of 2099-12-30 posts is beyond calendar JP, which covers 1999-01-01 to 2099-12-31."
    )


@pytest.mark.parametrize("name", ["XFED", "XNYS", "XFED-SHUT"])
def test_a_year_of_payments_is_that_of_the_oracle(name: str) -> None:
    rules: Mapping[str, Any] = {**DEFAULTS, "calendar": name}
    days = [date(2026, 1, 1) + timedelta(n) for n in range(365)]
    for hour in (time(16, 59), time(17)):
        walked = [oracle.posting(rules, datetime.combine(one, hour)) for one in days]
        arrived = received(np.array(days, DAY), np.array(hour >= FAQ.cutoff), calendar(name))
        first, last = posts(arrived, FAQ, calendar(name))
        assert arrived.tolist() == [window["received_date"] for window in walked]
        assert first.tolist() == [window["posts_from_date"] for window in walked]
        assert last.tolist() == [window["posts_by_date"] for window in walked]
    latest = latest_in_time(np.array(days, DAY), FAQ, calendar(name))
    assert latest.tolist() == [oracle.safe_pay_by_date(rules, one) for one in days]
