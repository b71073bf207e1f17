"""JSON is read as RFC 8259 has it, and what two readers could take for two things is refused."""

import json
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebill.errors import MalformedJson
from ebill.strictjson import DEEPEST, loads
from tests.strategies import PROFILE

pytestmark = pytest.mark.anywhere

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)


def refusal(source: bytes) -> str:
    with pytest.raises(MalformedJson) as refused:
        loads(source)
    assert refused.value.faults == ()
    prefix = "This is not JSON as RFC 8259 has it: "
    assert str(refused.value).startswith(prefix)
    return str(refused.value).removeprefix(prefix)


# What is taken


@PROFILE
@given(VALUES)
def test_whatever_json_can_say_is_read_as_it_was_meant(value: Any) -> None:
    for ascii_ in (True, False):
        written = json.dumps(value, ensure_ascii=ascii_).encode("utf-8")
        assert repr(loads(written)) == repr(value)
        assert repr(loads(b" \t\r\n" + written + b"\n")) == repr(value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b"1.50", 1.5),
        (b"1E2", 100.0),
        (b"1e-400", 0.0),
        (b'"\\u00e9\\ud83d\\ude00\\/"', "\u00e9\U0001f600/"),
        ('"é😀"'.encode(), "é😀"),
        (b'{"a": 1, "A": 2, " a": 3, "": 4}', {"a": 1, "A": 2, " a": 3, "": 4}),
        (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        (b'{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
    ],
)
def test_json_is_read(source: bytes, value: Any) -> None:
    found = loads(source)
    assert found == value
    assert type(found) is type(value)


def test_a_key_in_two_forms_of_one_letter_is_two_keys() -> None:
    assert loads('{"é": 1, "e\u0301": 2}'.encode()) == {"é": 1, "e\u0301": 2}


# What is not


@pytest.mark.parametrize("source", [b"1e400", b"[-1e309]", b'{"a": 1E+999999999}', b"9" * 400 + b".0"])
def test_a_number_that_no_double_holds_is_refused(source: bytes) -> None:
    assert refusal(source) == "a number is too large to read."


def test_the_largest_double_is_read() -> None:
    assert loads(b"[1.7976931348623157e308, -1.7976931348623157e308]") == [sys.float_info.max, -sys.float_info.max]


@pytest.mark.parametrize("source", [b"", b" ", b"\r\n\t "])
def test_there_must_be_something(source: bytes) -> None:
    assert refusal(source) == "there is no JSON."


@pytest.mark.parametrize(
    "source",
    ["{}".encode("utf-16"), b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"', b'"\xe9"', b'"\xc3'],
    ids=["UTF-16", "a stray byte", "a surrogate", "an overlong slash", "beyond Unicode", "Latin-1", "half a letter"],
)
def test_what_is_no_utf_8_is_refused(source: bytes) -> None:
    assert refusal(source) == "JSON is UTF-8."


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_other_encodings_without_a_mark_are_refused(encoding: str) -> None:
    assert refusal('{"state": "PA"}'.encode(encoding)).startswith("line 1, column ")


def test_a_byte_order_mark_is_refused() -> None:
    assert refusal(b"\xef\xbb\xbf{}") == "JSON has no byte order mark."


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("around", ["%s", "[%s]", '{"a": [0, {"b": %s}]}'])
def test_what_json_has_no_number_for_is_refused(name: str, around: str) -> None:
    assert refusal((around % name).encode()) == f"{name} is no JSON."


@pytest.mark.parametrize(
    "source",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "b": 2, "a": 3}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"": 1, "": 2}',
        b'[[{"x": {"a": 1, "a": 2}}]]',
        b'{"a": {"b": 1, "b": 2}, "a": 3}',
    ],
)
def test_a_key_given_twice_in_one_table_is_refused(source: bytes) -> None:
    assert refusal(source) == "a key is given twice in one table."


def lists(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def tables(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def mixed(depth: int) -> bytes:
    pairs, one = divmod(depth, 2)
    return b'[{"b":0,"a":' * pairs + (b"[]" if one else b"1") + b'},"c"]' * pairs


@pytest.mark.parametrize("make", [lists, tables, mixed])
def test_tables_and_lists_stand_in_one_another_so_deep_and_no_deeper(make: Callable[[int], bytes]) -> None:
    assert DEEPEST == 32
    for depth in (1, 2, 31, 32):
        assert loads(make(depth)) == json.loads(make(depth))
    for depth in (33, 34, 900, 20_000):
        assert refusal(make(depth)) == "at most 32 tables and lists may stand in one another."


def test_what_stands_side_by_side_or_in_a_text_is_not_deep() -> None:
    assert loads(b"[" + b"[]," * 999 + b"{}]") == [[]] * 999 + [{}]
    assert loads(b'"' + b"[{" * 999 + b'"') == "[{" * 999


def test_what_is_opened_too_often_and_never_closed_is_refused_in_time() -> None:
    for source in (b"[" * 250_000, b'{"a":' * 50_000, b"[{}," * 60_000, b'[{"a":' * 40_000):
        assert refusal(source) == "at most 32 tables and lists may stand in one another."


def test_a_number_may_be_long_but_not_endless() -> None:
    assert loads(b"9" * 4_300) == 10**4_300 - 1
    assert refusal(b"9" * 4_301) == "a number is too long to read."
    assert refusal(b"[-" + b"9" * 200_000 + b"]") == "a number is too long to read."


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (b'{"state": PA}', "line 1, column 11"),
        (b'{"state": "PA",\n "months": 012}', "line 2, column 13"),
        (b'{\n\n  "a" 1}', "line 3, column 7"),
        (b"{} {}", "line 1, column 4"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'"a\nb"', "line 1, column 3"),
        (b'"a\0b"', "line 1, column 3"),
        (b'"\\x41"', "line 1, column 2"),
        (b'"\\u00g1"', "line 1, column 3"),
        (b"[1 2]", "line 1, column 4"),
        (b"True", "line 1, column 1"),
        (b"+1", "line 1, column 1"),
        (b".5", "line 1, column 1"),
        (b"1.", "line 1, column 2"),
        (b"0x10", "line 1, column 2"),
        (b"1_000", "line 1, column 2"),
        (b"// a\n{}", "line 1, column 1"),
        ("1\u00a0".encode(), "line 1, column 2"),
        (b"\x0c1", "line 1, column 1"),
        ("[\u0663]".encode(), "line 1, column 2"),
    ],
)
def test_what_is_no_json_is_refused_where_it_stops_being_it(source: bytes, where: str) -> None:
    assert refusal(source).startswith(f"{where}: ")


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    for source in (b'{"swordfish": swordfish}', b'["swordfish', b'{"swordfish": 1, "swordfish": 2}', b'"\\swordfish"'):
        assert "swordfish" not in refusal(source)


# Against another strict reader

DOCUMENT = json.dumps(
    {"state": "PA", "from": "2026-08", "months": 12, "rules": {"due": {"day": -1}, "skip": [7, 8]}, "é": [1.5, None]},
    ensure_ascii=False,
).encode()
PIECES = [b"[", b"]", b"{", b"}", b'"', b",", b":", b"0", b"-", b".", b"e", b"\\", b"\\u", b" ", b"\n", b"null", b"NaN",
          b"\xff", b"\0", b"\xc3", b"//", b"'", b"+", b"1e5"]  # fmt: skip


def test_a_spoilt_document_is_read_as_another_strict_reader_reads_it_or_refused() -> None:
    draw = random.Random(8259)  # noqa: S311  # the same documents on every run
    read = refused = 0
    for _ in range(20_000):
        spoilt = bytearray(DOCUMENT)
        for _ in range(draw.choice((1, 1, 2, 4))):
            at = draw.randrange(len(spoilt))
            spoilt[at : at + draw.choice((0, 1, 1, 2, 9))] = draw.choice((b"", draw.choice(PIECES)))
        source = bytes(spoilt)
        try:
            found = loads(source)
        except MalformedJson as refusal:
            refused += 1
            if "given twice" not in str(refusal):
                with pytest.raises(orjson.JSONDecodeError):
                    orjson.loads(source)
        else:
            read += 1
            if not re.search(r"\\\\u[dD][89a-fA-F]", repr(source)):  # half a surrogate pair is for the fields to refuse
                assert repr(orjson.loads(source)) == repr(found)
    assert read > 1_000
    assert refused > 10_000


def test_half_a_surrogate_pair_is_left_to_the_fields_to_refuse() -> None:
    assert loads(b'["\\ud800", "\\udc00\\ud800"]') == ["\ud800", "\udc00\ud800"]
