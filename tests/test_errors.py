"""A refusal says what is wrong, where, and what would mend it; and it repeats nothing that could do harm."""

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from datetime import date
from inspect import signature
from typing import Any

import pytest

from ebill import errors
from ebill.errors import (
    SHOWN,
    BelowFloor,
    BookFault,
    BookRefused,
    CellFault,
    CutoffNotDaily,
    DatesOutOfOrder,
    ExceptionTooFar,
    Fault,
    ImportRefused,
    InvalidInput,
    MalformedJson,
    MissingEntitlement,
    MovesGeneratedInvoice,
    NoRuleInForce,
    NotAllowed,
    NotBilled,
    OutsideCalendar,
    OutsideScope,
    PaymentOutsideCalendar,
    ProofNeeded,
    Refusal,
    Stale,
    TokenAlreadyShown,
    TooLarge,
    UnknownCalendar,
    UnknownProduct,
    UnknownState,
    did_you_mean,
    pointer,
    shown,
)

HIGHLIGHT = "\x1b[31m"
FIRST, LAST = date(1999, 1, 1), date(2100, 12, 31)


def kinds(of: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    """Give every kind of refusal that the module has."""
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


KINDS = [kind for kind in kinds() if kind.__module__ == errors.__name__]


# What is repeated of somebody's input


@pytest.mark.parametrize(
    ("given", "repeated"),
    [
        ("PA", "PA"),
        ("", ""),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "…"),
        ("x" * 1_000_000, "x" * 63 + "…"),
        ("é", r"\xe9"),
        ("a\nb\tc\0", r"a\nb\tc\x00"),
        (HIGHLIGHT, r"\x1b[31m"),
        ("\u202e", r"\u202e"),
        ("\ud800", r"\ud800"),
        ("\U0001f600", r"\U0001f600"),
        ("\U0001f600" * 7, r"\U0001f600" * 6 + r"\U0…"),
        ("a\\b", r"a\\b"),
        (7, "7"),
        (None, "None"),
    ],
    ids=[
        *("a word", "nothing", "64", "65", "a million", "a letter beyond ASCII", "controls", "a terminal's escape"),
        *("a change of direction", "half a character", "an emoji", "seven emoji", "a backslash", "a number", "None"),
    ],
)
def test_what_somebody_gave_is_repeated_escaped_and_cut(given: object, repeated: str) -> None:
    assert shown(given) == repeated
    assert len(shown(given)) <= SHOWN == 64
    assert shown(given).isprintable()


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("grase", ' (did you mean "grace"?)'),
        ("grace", ' (did you mean "grace"?)'),
        ("Grace", ' (did you mean "grace"?)'),
        ("pay-by", ' (did you mean "pay_by"?)'),
        ("due_date", ""),
        ("xyz", ""),
        ("", ""),
        ("grace" + "x" * 1_000_000, ""),
    ],
    ids=lambda text: text[:12],
)
def test_the_nearest_known_word_is_offered_and_none_where_none_is_near(given: str, hint: str) -> None:
    assert did_you_mean(given, ["due", "grace", "pay_by"]) == hint
    assert did_you_mean(given, []) == ""


def test_no_word_is_offered_for_what_is_no_word() -> None:
    """Python itself refuses to write out a whole number of 5,000 digits."""
    for given in (7, None, True, 10**5_000, ["grace"], {"grace": 1}):
        assert did_you_mean(given, ["grace", "True"]) == ""


# Where it stands


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), ""),
        (("rules", 0, "since"), "/rules/0/since"),
        (("a/b", "c~d", "~1"), "/a~1b/c~0d/~01"),
        (("",), "/"),
        (("x" * 100,), "/" + "x" * 63 + "…"),
        (("a\nb",), r"/a\nb"),
    ],
)
def test_a_place_is_a_json_pointer(path: tuple[object, ...], expected: str) -> None:
    """RFC 6901, section 3: ~ is written ~0 and / is written ~1."""
    assert pointer(*path) == expected


def test_a_fault_is_seen_from_outside_at_its_place_there() -> None:
    assert Fault("/day", "is required").below("/rules/due") == Fault("/rules/due/day", "is required")
    assert Fault("", "must not be null").below("/rules") == Fault("/rules", "must not be null")


# Every kind


def test_every_kind_of_refusal_has_a_code_of_its_own_and_says_in_a_line_what_it_refuses() -> None:
    codes = Counter(kind.code for kind in KINDS)
    # One code for one thing: a date, and a payment, of which the calendar knows nothing.
    assert [code for code, count in codes.items() if count > 1] == ["outside_calendar"]
    assert OutsideCalendar.code == PaymentOutsideCalendar.code
    for kind in KINDS:
        assert "code" in vars(kind), kind
        assert kind.code.replace("_", "").isalpha()
        assert kind.code.islower()
        assert (kind.__doc__ or "").split("\n")[0].endswith((".", ":")), kind


def test_a_refusal_is_an_exception_with_its_sentence_and_no_faults_unless_told() -> None:
    plain = Refusal("No.")
    assert (str(plain), plain.code, plain.faults) == ("No.", "refused", ())
    assert Refusal("No.", [Fault("/a", "b")]).faults == (Fault("/a", "b"),)
    assert not any(issubclass(kind, ValueError | LookupError) for kind in KINDS)


DAY, OTHER = date(2026, 8, 1), date(2026, 8, 31)


@pytest.mark.parametrize(
    ("refusal", "code", "sentence", "facts"),
    [
        (
            UnknownState("OH", {"WV": 1, "DE": 2}),
            "state_not_found",
            'No state "OH" is configured; the configured states are DE, WV.',
            {"state": "OH"},
        ),
        (
            UnknownProduct("cobbra", ["medicare_part_d", "cobra"]),
            "product_not_found",
            'No product "cobbra" is configured; the configured products are cobra, medicare_part_d.',
            {"product": "cobbra"},
        ),
        (
            UnknownProduct("cobra", []),
            "product_not_found",
            'No product "cobra" is configured; the configured products are none.',
            {},
        ),
        (
            UnknownCalendar("XFEDD", ["XFED", "XNYS"]),
            "unknown_calendar",
            '"XFEDD" names no calendar (did you mean "XFED"?); try XFED, XNYS or a code such as US-PA.',
            {"name": "XFEDD"},
        ),
        (
            UnknownCalendar("?"),
            "unknown_calendar",
            '"?" names no calendar; try XFED, XNYS or a code such as US-PA.',
            {},
        ),
        (
            OutsideCalendar("JP", "2099-12", "safe_pay_by_date", FIRST, LAST),
            "outside_calendar",
            (
                "safe_pay_by_date of coverage month 2099-12 needs business days that calendar JP does not know: "
                "it covers 1999-01-01 to 2100-12-31."
            ),
            {
                "calendar": "JP",
                "coverage_month": "2099-12",
                "name": "safe_pay_by_date",
                "first": FIRST,
                "last": LAST,
            },
        ),
        (
            PaymentOutsideCalendar("JP", DAY, FIRST, LAST),
            "outside_calendar",
            "When a payment of 2026-08-01 posts is beyond calendar JP, which covers 1999-01-01 to 2100-12-31.",
            {"calendar": "JP", "paid_on": DAY, "first": FIRST, "last": LAST},
        ),
        (
            DatesOutOfOrder("2026-08", OTHER, DAY, DAY),
            "dates_out_of_order",
            (
                "In coverage month 2026-08 the invoice would be generated 2026-08-31, due 2026-08-01, and its grace "
                "would end 2026-08-01; an invoice is generated before it is due, and its grace ends on the due date or "
                "later."
            ),
            {"coverage_month": "2026-08", "generation": OTHER, "due": DAY, "grace_end": DAY},
        ),
        (
            BelowFloor("2026-08", DAY, OTHER, "40 P.S. 1"),
            "below_floor",
            "In coverage month 2026-08 the grace would end 2026-08-01, before the floor of 2026-08-31 (40 P.S. 1).",
            {"coverage_month": "2026-08", "grace_end": DAY, "floor": OTHER, "cite": "40 P.S. 1"},
        ),
        (
            ExceptionTooFar("2026-08", "due_date", date(2062, 8, 1), DAY, 62),
            "exception_too_far",
            (
                "The exception for 2026-08 puts due_date on 2062-08-01, 13149 days from the computed 2026-08-01; "
                "at most 62 are taken."
            ),
            {"coverage_month": "2026-08", "name": "due_date", "given": date(2062, 8, 1), "computed": DAY},
        ),
        (
            NotBilled("2026-08", "it is skipped"),
            "month_not_billed",
            "No invoice bills coverage month 2026-08: it is skipped.",
            {"coverage_month": "2026-08"},
        ),
        (
            NoRuleInForce("grace", "2019-12", "2020-01"),
            "no_rule_in_force",
            "No grace rule is in force for coverage month 2019-12; one governs from 2020-01.",
            {"kind": "grace", "coverage_month": "2019-12"},
        ),
        (
            NoRuleInForce("grace", "2019-12", None),
            "no_rule_in_force",
            "No grace rule is in force for coverage month 2019-12.",
            {},
        ),
        (
            CutoffNotDaily("02:30", "America/New_York", date(2026, 3, 8)),
            "cutoff_not_daily",
            "The cut-off 02:30 does not come exactly once on 2026-03-08 in America/New_York; choose another time.",
            {"cutoff": "02:30", "timezone": "America/New_York", "day": date(2026, 3, 8)},
        ),
        (
            MissingEntitlement("client_administration"),
            "missing_entitlement",
            "This needs the entitlement client_administration; ask your administrator for it.",
            {"entitlement": "client_administration"},
        ),
        (
            OutsideScope("reading"),
            "outside_scope",
            "This token is for reading alone. Ask with one of another scope.",
            {"what": "reading"},
        ),
        (
            ProofNeeded(has_password=True),
            "proof_needed",
            "It is more than 15 minutes since you signed in. Give your password with it.",
            {"has_password": True},
        ),
        (
            ProofNeeded(has_password=False),
            "proof_needed",
            "It is more than 15 minutes since you signed in. Sign out, sign in again, and do it then.",
            {"has_password": False},
        ),
        (NotAllowed("client_manager"), "not_allowed", "A client manager may not do this.", {"role": "client_manager"}),
        (
            Stale(7),
            "stale_version",
            'The version changed is not the current one: it is now "7". Read it again, and change that.',
            {"version": 7},
        ),
        (
            Stale(None),
            "stale_version",
            "The version changed is not the current one: there is none yet. Read it again, and change that.",
            {"version": None},
        ),
        (
            MovesGeneratedInvoice("A-1", "2026-08", DAY),
            "moves_generated_invoice",
            (
                "This moves the dates of the 2026-08 invoice of bill account A-1, generated 2026-08-01. "
                "Say retroactive = true and give a reason if that is meant."
            ),
            {"account": "A-1", "coverage_month": "2026-08", "generated": DAY},
        ),
        (
            MalformedJson("NaN is no JSON"),
            "malformed_json",
            "This is not JSON as RFC 8259 has it: NaN is no JSON.",
            {},
        ),
        (
            TokenAlreadyShown("t1"),
            "token_already_shown",
            (
                "This request made token t1 already, and its text was shown then, once. If you do not have it, "
                "revoke it (DELETE /v1/tokens/t1) and make another with a new Idempotency-Key."
            ),
            {"token_id": "t1"},
        ),
        (TooLarge(262_144), "body_too_large", "The body is larger than the 262,144 bytes that are taken.", {}),
    ],
)
def test_a_refusal_says_its_facts_and_keeps_them(
    refusal: Refusal, code: str, sentence: str, facts: dict[str, Any]
) -> None:
    assert (refusal.code, str(refusal), refusal.faults) == (code, sentence, ())
    assert {name: getattr(refusal, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("refusal", "code", "said"),
    [
        (errors.PaidBeforeInvoice("2026-08", DAY, OTHER), "paid_before_invoice", ["2026-08 ", str(DAY), str(OTHER)]),
        (errors.PaymentRecorded("2026-08", "p1"), "payment_already_recorded", ["2026-08 ", "p1", "`replaces`"]),
        (errors.PaymentNotInForce("2026-08", "p1"), "payment_not_in_force", ["2026-08,", "payment p1 is"]),
        (errors.PaymentNotInForce("2026-08", None), "payment_not_in_force", ["2026-08,", "none is"]),
        (errors.BilledElsewhere("2026-08", "billed by post"), "billed_elsewhere", ["2026-08 is billed by post."]),
        (errors.FeedAlreadyShown("f1"), "feed_already_shown", ["f1", "DELETE /v1/feeds/f1"]),
    ],
)
def test_a_refusal_about_a_client_says_its_facts(refusal: Refusal, code: str, said: list[str]) -> None:
    assert (refusal.code, refusal.faults) == (code, ())
    assert [words for words in said if words not in str(refusal)] == []


@pytest.mark.parametrize(("count", "said"), [(1, "a hazard"), (2, "2 hazards")])
def test_hazards_are_counted_and_acknowledging_them_is_asked_for(count: int, said: str) -> None:
    refusal = errors.HazardsNotAcknowledged(count)
    assert (
        str(refusal) == f"This has {said}. Nothing was saved: read what is hazardous about it, and say that you have."
    )
    assert [fault.pointer for fault in refusal.faults] == ["/acknowledged"]


def needs_facts(kind: type[Refusal]) -> bool:
    given = [each for each in signature(kind).parameters.values() if each.default is each.empty]
    return "__init__" not in vars(kind) or bool(given)


NOTHING_TO_TELL = [kind for kind in KINDS if not needs_facts(kind)]


@pytest.mark.parametrize("kind", NOTHING_TO_TELL)
def test_a_refusal_without_facts_says_a_whole_sentence(kind: Any) -> None:
    refusal = kind()
    assert str(refusal).endswith((".", "…", "you like."))
    assert str(refusal)[0].isupper()
    assert refusal.faults == ()


def test_who_may_not_see_a_client_and_who_asks_for_none_are_told_the_same_and_what_to_do() -> None:
    assert str(errors.ClientNotFound()) == (
        "No client of this id is open to you. A producer asks the client management team for access: "
        "POST /v1/access-requests with the ids of the clients, several at once if need be."
    )


def test_the_kinds_without_facts_are_found() -> None:
    assert {errors.ClientNotFound, errors.Unauthenticated, errors.StoreUnavailable} <= set(NOTHING_TO_TELL)


# Many faults


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "The input has 1 fault; nothing was done."), (3, "The input has 3 faults; nothing was done.")],
)
def test_bad_input_counts_its_faults_and_names_each(count: int, said: str) -> None:
    found = [Fault(f"/{index}", "is wrong") for index in range(count)]
    refusal = InvalidInput(found)
    assert (str(refusal), refusal.faults) == (said, tuple(found))


def test_a_book_is_refused_with_a_line_for_each_fault() -> None:
    one = BookRefused("states.toml", [BookFault(3, "states.PA", "is wrong")])
    assert str(one) == "states.toml is refused, with 1 fault:\nstates.toml:3: states.PA: is wrong"
    two = BookRefused("states.toml", [BookFault(None, "default", "is required"), BookFault(3, "x", "is wrong")])
    assert str(two).split("\n") == [
        "states.toml is refused, with 2 faults:",
        "states.toml: default: is required",
        "states.toml:3: x: is wrong",
    ]
    assert (two.file, [fault.line for fault in two.book_faults]) == ("states.toml", [None, 3])


def test_an_import_is_refused_with_the_place_of_every_cell() -> None:
    cells = [CellFault(2, "state", "is unknown"), CellFault(3, "", "is empty"), CellFault(4, "a/b", "is unknown")]
    refusal = ImportRefused(cells)
    assert str(refusal) == "The file has 3 faults; nothing was imported."
    assert [fault.pointer for fault in refusal.faults] == ["/2/state", "/3/", "/4/a~1b"]
    assert refusal.cells == tuple(cells)
    assert str(ImportRefused(cells[:1])) == "The file has 1 fault; nothing was imported."


@pytest.mark.parametrize(
    "refusal",
    [
        UnknownState(HIGHLIGHT + "x" * 1_000, ["PA"]),
        UnknownProduct(HIGHLIGHT + "x" * 1_000, ["cobra"]),
        UnknownCalendar(HIGHLIGHT + "x" * 1_000, ["XFED"]),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_no_sentence_repeats_controls_or_more_than_64_characters(refusal: Refusal) -> None:
    assert str(refusal).replace("…", "").isascii()
    assert str(refusal).isprintable()
    assert len(str(refusal)) < 200
    assert json.loads(json.dumps(str(refusal))) == str(refusal)


def test_faults_are_plain_values() -> None:
    fault = Fault("/a", "is wrong")
    assert fault == Fault("/a", "is wrong") != Fault("/b", "is wrong")
    assert pickle.loads(pickle.dumps(fault)) == fault  # noqa: S301  # our own
    with pytest.raises(AttributeError):
        fault.detail = "is right"  # type: ignore[misc]
