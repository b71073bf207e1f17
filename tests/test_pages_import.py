"""A file of clients by the pages: tried as the API tries it, every fault in its cell, imported only as it was shown."""

import csv
import hashlib
import random
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from io import BytesIO, StringIO
from typing import Any

import pytest

from ebill.errors import CellFault
from ebill.service import imports, trial
from ebill.service.excerpts import CELL_MOST, COLUMNS_MOST, WHOLE, excerpt
from ebill.store.engine import Store
from ebill.web import reading
from ebill.web.pages import cookies, door, importing
from tests.sample import count_of
from tests.visits import MULTIPART, Visits, text_of, visits
from tests.world import ACME, MARK, ZENITH

pytestmark = pytest.mark.anywhere

NEXT = datetime.now(UTC).year + 1
HEAD = "record,client_id,account_id,name,team_id,state,kind,since,rule,cite,coverage_month,due_date,reason\r\n"
NEW = HEAD + (
    "client,NEW,,New Ltd,north,PA,,,,,,,\r\n"
    "bill_account,NEW,MED,Medical,,,medical,,,,,,\r\n"
    f'rule,NEW,,,,,,{NEXT}-01,"{{""grace"": {{""days"": 45}}}}",Letter,,,\r\n'
)
EARLIER = HEAD + f'rule,{ACME},,,,,,{NEXT}-03,"{{""grace"": {{""days"": 20}}}}",Letter,,,\r\n'
"""Gives people less time: a hazard."""
WRONG = HEAD + (
    "client,NEW,,=1+1,north,XX,,,,,,,\r\n"
    "bill_account,NEW,MED,<b>Med</b>,,,,,,,,,\r\n"
    f'rule,NEW,,,,,,{NEXT}-13,"{{""grace"": {{""days"": 999}}}}",,,,\r\n'
    "what,NEW,,,,,,,,,,,\r\n"
    "client,NEW\r\n"
)


@pytest.fixture
def opened(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    copy = shutil.copy(ready.removeprefix("sqlite:///"), tmp_path_factory.mktemp("imports"))
    store = Store(f"sqlite:///{copy}")
    yield visits(store)
    store.close()


def tried(opened: Visits, file: str | bytes, actor: str = "manager") -> Any:
    return opened.send(actor, "/import/trial", file=file.encode() if isinstance(file, str) else file)


def fields(answer: Any) -> dict[str, str]:
    """Give what the form that imports would send."""
    text = text_of(answer)
    form = text[text.index('action="/import"') :]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in found if name != "form_token"}


def imported(opened: Visits, form: dict[str, str], actor: str = "manager", file: bytes | None = None) -> Any:
    return opened.send(actor, "/import", form, multipart=True, file=file)


def by_api(opened: Visits, file: bytes, actor: str = "manager", *, dry_run: bool = True, key: str = "a") -> Any:
    headers = {"Content-Type": "text/csv", **({} if dry_run else {"Idempotency-Key": key})}
    path = f"/v1/imports/clients?dry_run={str(dry_run).lower()}"
    return opened.client.post(
        path, data=file, headers={**headers, "Authorization": f"Bearer {opened.world.tokens[actor]}"}
    )


def counts(opened: Visits) -> dict[str, int]:
    return {table: count_of(opened.store, table) for table in ("client", "bill_account", "rule", "exception", "audit")}


def facts(text: str) -> list[int]:
    """Give the counts of a page: clients, accounts, rules, exceptions, rows that change nothing."""
    names = ("Clients", "Bill accounts", "Rules", "Exceptions", "Rows that change nothing")
    return [int(re.findall(rf"<dt>{name}</dt><dd>([\d,]+)</dd>", text)[0]) for name in names]


# Choosing


def test_the_example_can_be_imported_as_it_is_by_whoever_gets_it(opened: Visits) -> None:
    form: dict[str, str] = {}
    for actor in ("manager", "admin"):
        answer = opened.look(actor, "/import/example.csv")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="clients-example.csv"'
        shown = tried(opened, answer.get_data(), actor)
        assert shown.status_code == 200
        assert facts(text_of(shown)) == [1, 2, 3, 1, 0]
        form = fields(shown)
    before = counts(opened)
    assert "All of <bdi>clients.csv</bdi> is in force" in text_of(imported(opened, form, "admin"))
    assert counts(opened) == {
        "client": before["client"] + 1,
        "bill_account": before["bill_account"] + 2,
        "rule": before["rule"] + 3,
        "exception": before["exception"] + 1,
        "audit": before["audit"] + 1,
    }


def test_each_row_of_the_example_moves_a_date_or_is_needed_by_one_that_does(opened: Visits) -> None:
    header, *rows = opened.look("manager", "/import/example.csv").get_data().splitlines(keepends=True)

    def accounts(client_id: str, of: list[bytes]) -> Any:
        """Import rows as those of another client, and give the dates of its accounts; None where they are refused."""
        file = b"".join([header, *of]).replace(b"EXAMPLE-1", client_id.encode())
        if by_api(opened, file, dry_run=False, key=client_id).status_code == 422:
            return None
        answer = opened.ask("manager", "GET", f"/v1/clients/{client_id}/schedule?from={NEXT}-01&months=12")
        return answer.get_json()["bill_accounts"]

    whole = accounts("WHOLE", rows)
    assert (len(rows), len(whole)) == (7, 2)
    assert accounts("AGAIN", rows) == whole
    for number, row in enumerate(rows):
        assert accounts(f"BUT-{number}", rows[:number] + rows[number + 1 :]) != whole, row


def test_text_may_be_pasted_instead(opened: Visits) -> None:
    by_file = tried(opened, NEW)
    by_text = opened.send("manager", "/import/trial", {"text": NEW}, multipart=True)
    assert by_text.status_code == 200
    form, other = fields(by_file), fields(by_text)
    assert form.pop("state_seen").partition("@")[0] == other.pop("state_seen").partition("@")[0] != ""
    assert form == {**other, "name": "clients.csv"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"form": {}, "multipart": True}, "choose a file, or paste its text"),
        ({"form": {"text": "  "}, "multipart": True}, "choose a file, or paste its text"),
        ({"form": {}, "file": b""}, "choose a file, or paste its text"),
        ({"form": {"text": NEW}, "file": NEW.encode()}, "choose a file or paste its text, not both"),
        ({"form": {"other": "x"}, "multipart": True}, "unknown"),
    ],
)
def test_a_slip_in_choosing_is_said_at_the_field(opened: Visits, how: Any, said: str) -> None:
    answer = opened.send("manager", "/import/trial", **how)
    assert answer.status_code == 422
    assert said in unescape(text_of(answer))


# Trying


def test_a_trial_says_what_the_api_says_and_keeps_nothing(opened: Visits) -> None:
    before = counts(opened)
    for file in (NEW, EARLIER, NEW + EARLIER.removeprefix(HEAD), HEAD):
        answer = tried(opened, file)
        api = by_api(opened, file.encode()).get_json()
        text = text_of(answer)
        assert answer.status_code == 200
        assert facts(text) == [*api["kept"].values(), api["rows_unchanged"]]
        moved = [move for change in api["effect"]["changes"] for move in change["moved"]]
        shown = re.findall(r'data-label="After">(?:<time datetime="([\d-]+)">|-)', text)
        assert shown == [move["after"] or "" for move in moved]
        hazards = [hazard for change in api["effect"]["changes"] for hazard in change["hazards"]]
        assert text.count("I have read the") == bool(hazards)
        assert (f"I have read the {len(hazards)} hazard" in text) == bool(hazards)
        assert hashlib.sha256(file.encode()).hexdigest() in text
    assert counts(opened) == before


def test_what_is_known_already_leaves_nothing_to_import(opened: Visits) -> None:
    exported = opened.ask("manager", "GET", "/v1/exports/clients").get_data()
    text = text_of(tried(opened, exported))
    assert "There is nothing to import" in text
    assert 'action="/import"' not in text


def cells_of(text: str) -> dict[tuple[int, str], list[str]]:
    """Give the faults of a page by line and column, as they stand in the table; "" is below a row."""
    table = text[text.index('<table class="file"') : text.index("</table>")]
    names = [re.sub("<.*?>", "", name) for name in re.findall(r'<th scope="col">(.*?)</th>', table)][1:]
    found: dict[tuple[int, str], list[str]] = {}
    line = 0
    for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]:
        if number := re.search(r'<th scope="row">(\d+)</th>', row):
            line = int(number[1])
        cells = re.findall(r"<td.*?</td>", row, re.DOTALL)
        for place, cell in zip(names if number else [""], cells, strict=not number):
            for said in re.findall(r'<span class="fault">(.*?)</span>', cell):
                found.setdefault((line, place), []).append(unescape(re.sub("<.*?>", "", said)))
    return found


def test_every_fault_stands_in_its_cell_and_in_the_list(opened: Visits) -> None:
    answer = tried(opened, WRONG)
    api = by_api(opened, WRONG.encode()).get_json()
    assert answer.status_code == api["status"] == 422
    text = text_of(answer)
    places = {(int(line), column) for line, column in (each["pointer"][1:].split("/") for each in api["errors"])}
    assert len(places) >= 7
    shown = cells_of(text)
    assert {(line, column) for line, column in shown if column} == {place for place in places if place[1]}
    assert {line for line, column in shown if not column} == {line for line, column in places if not column}
    assert sum(map(len, shown.values())) == len(api["errors"])
    assert text.count('<a href="#line-') == len(api["errors"])
    assert "Nothing was imported." in text


def test_hostile_cells_are_text_and_formulas_are_shown_as_they_stand(opened: Visits) -> None:
    text = text_of(tried(opened, WRONG))
    assert "<b>Med</b>" not in text
    assert "&lt;b&gt;Med&lt;/b&gt;" in text
    assert "<bdi>=1+1</bdi>" in text
    name = '"><script>alert(1)</script>.csv'
    form = {**fields(tried(opened, NEW)), "name": name, "state_seen": "x"}
    assert "<script>alert" not in text_of(imported(opened, form))


def test_of_a_long_file_the_faulty_rows_and_their_neighbours_are_shown(opened: Visits) -> None:
    good = "".join(f"client,L{n},,Long {n},north,PA,,,,,,,\r\n" for n in range(300))
    lines = (HEAD + good).split("\r\n")
    for line in (1, 150, 151, 300):
        lines[line] = lines[line].replace("PA", "XX")
    text = text_of(tried(opened, "\r\n".join(lines)))
    shown = [int(line) for line in re.findall(r'<th scope="row">(\d+)</th>', text)]
    assert shown == [2, 3, 150, 151, 152, 153, 300, 301]
    assert text.count('class="gap"') == 2
    assert "Of 300 rows" in text


def test_every_fault_is_listed_however_many(opened: Visits) -> None:
    bad = HEAD + "".join(f"client,B{n},,Bad {n},north,XX,,,,,,,\r\n" for n in range(400))
    text = text_of(tried(opened, bad))
    assert len(cells_of(text)) == text.count('<a href="#line-') == 400
    more = bad + "".join(f"client,D{n},,Bad {n},north,XX,,,,,,,\r\n" for n in range(900))
    assert f"The first {imports.MOST_FAULTS:,} faults are told; there may be more" in text_of(tried(opened, more))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"record,client_id\r\nclient,A\r\nclient,M\xfc\r\n", "it is not in UTF-8: save it as CSV in UTF-8"),
        ("record,client_id\r\nclient,A\r\n".encode("utf-16"), "it is in UTF-16, as it seems"),
        ("record,client_id\r\nclient,A\r\n".encode("utf-16-le"), "it is in UTF-16, as it seems"),
        (b"\xef\xbb\xbfrecord;client_id\r\nclient;A\r\n", "its columns are parted by semicolons: save it with commas"),
        (b"record\tclient_id\r\nclient\tA\r\n", "its columns are parted by tabs"),
        (b'record,client_id\r\nclient,"A\r\n', "cannot be read as CSV"),
        (b"recrod,client_id\r\nclient,A\r\n", 'did you mean "record"?'),
        (b"client_id\r\nA\r\n", "is required as a column"),
        (b"\x00", "it is in UTF-16, as it seems"),
        (b"record,client_id,,\r\nclient,A,,\r\n", "names a column twice"),
        (b"record,client_id,<b>x</b>\r\nclient,A,\r\n", "is no known column"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(opened: Visits, file: bytes, said: str) -> None:
    answer = tried(opened, file)
    assert answer.status_code == 422
    text = text_of(answer)
    assert said in unescape(re.sub("<.*?>", "", text))
    assert "<b>x</b>" not in text


def test_what_is_said_of_anothers_client_does_not_tell_it(opened: Visits) -> None:
    row = "client,{},,Mine,north,PA,,,,,,,\r\n"
    text = text_of(tried(opened, HEAD + row.format(ZENITH)))
    assert "is no client of yours, and the id is taken" in text
    assert MARK not in text


def test_files_torn_at_random_never_trip(opened: Visits) -> None:
    rng = random.Random(4)  # noqa: S311  # no secret
    for _ in range(60):
        torn = bytearray(rng.choice((NEW, WRONG, EARLIER)).encode())
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(torn))
            torn[at : at + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 3))
        answer = tried(opened, bytes(torn) or b"x")
        assert answer.status_code == (422 if by_api(opened, bytes(torn) or b"x").status_code == 422 else 200)


# Importing


def test_just_the_bytes_that_were_tried_are_imported_and_once(opened: Visits) -> None:
    form = fields(tried(opened, NEW))
    assert form["held"] == b64encode(NEW.encode()).decode()
    answer = imported(opened, form)
    assert answer.status_code == 200
    assert facts(text_of(answer)) == [1, 1, 1, 0, 0]
    assert opened.look("manager", "/clients/NEW").status_code == 200
    before = counts(opened)
    again = imported(opened, form)
    assert again.status_code == 412
    assert "or it was imported already" in text_of(again)
    assert counts(opened) == before


def test_an_import_by_the_page_leaves_what_one_by_the_api_leaves(opened: Visits) -> None:
    imported(opened, fields(tried(opened, NEW)))
    of_page = opened.ask("manager", "GET", "/v1/exports/clients").get_data()
    assert by_api(opened, NEW.encode(), dry_run=False).get_json()["rows_unchanged"] == 3
    assert opened.ask("manager", "GET", "/v1/exports/clients").get_data() == of_page


def test_where_what_it_would_do_has_changed_it_is_shown_anew_and_not_imported(opened: Visits) -> None:
    form = fields(tried(opened, EARLIER)) | {"acknowledged": "yes"}
    body = {"since": f"{NEXT}-05", "grace": {"days": 25}, "cite": "another letter"}
    entered = opened.ask("manager", "POST", f"/v1/clients/{ACME}/rules", body, {"Idempotency-Key": "b"})
    assert entered.status_code == 201
    before = counts(opened)
    answer = imported(opened, form)
    assert answer.status_code == 412
    assert "Something has changed since you saw" in text_of(answer)
    assert _named(answer) == f"what it would do, client {ACME} (by nora-north)"
    assert counts(opened) == before
    assert imported(opened, fields(answer) | {"acknowledged": "yes"}).status_code == 200
    assert counts(opened)["rule"] == before["rule"] + 1


def _named(answer: Any) -> str:
    """Give what a page says that was changed meanwhile."""
    (said,) = re.findall(r"<p>Changed meanwhile: (.*)[.]</p>", text_of(answer))
    return str(said)


def test_a_rule_book_that_has_changed_is_named_and_clients_that_are_not_in_the_file_are_not(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = fields(tried(opened, NEW))
    body = {"since": f"{NEXT}-05", "grace": {"days": 25}, "cite": "another letter"}
    entered = opened.ask("manager", "POST", f"/v1/clients/{ACME}/rules", body, {"Idempotency-Key": "b"})
    assert entered.status_code == 201
    monkeypatch.setattr(opened.app.extensions["ebill.signed"].books.book, "version", "sha256:another")
    assert _named(imported(opened, form)) == "the rule book"


def test_of_many_clients_that_were_changed_meanwhile_some_are_named(
    opened: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "NAMED_MOST", 1)
    rows = NEW.removeprefix(HEAD)
    many = NEW + rows.replace("NEW", "NEW-2") + rows.replace("NEW", "NEW-3")
    form = fields(tried(opened, many))
    assert imported(opened, form).status_code == 200
    assert _named(imported(opened, form)) == "what it would do, client NEW (by nora-north), 2 more"


def test_what_changed_elsewhere_is_no_matter(opened: Visits) -> None:
    form = fields(tried(opened, NEW))
    opened.ask("other manager", "POST", f"/v1/clients/{ZENITH}/rules", {}, {"Idempotency-Key": "c"})
    opened.send("producer", "/me/tokens", {"name": "One"})
    assert imported(opened, form).status_code == 200


def test_hazards_are_acknowledged_first(opened: Visits) -> None:
    form = fields(tried(opened, EARLIER))
    before = counts(opened)
    answer = imported(opened, form)
    assert answer.status_code == 422
    assert "Read what is hazardous about it" in text_of(answer)
    assert counts(opened) == before
    assert imported(opened, form | {"acknowledged": "yes"}).status_code == 200


def test_what_has_come_to_be_faulty_is_shown_with_its_faults(opened: Visits) -> None:
    form = fields(tried(opened, NEW))
    body = {"name": "Theirs", "team_id": "south", "state": "PA"}
    opened.ask("other manager", "PUT", "/v1/clients/NEW", body, {"If-None-Match": "*"})
    before = counts(opened)
    answer = imported(opened, form)
    assert answer.status_code == 422
    assert "is no client of yours, and the id is taken" in text_of(answer)
    assert counts(opened) == before


@pytest.mark.parametrize("change", [{"state_seen": "0" * 64}, {"state_seen": ""}, {"held": b64encode(b"x").decode()}])
def test_what_the_form_carries_cannot_be_changed_on_the_way(opened: Visits, change: dict[str, str]) -> None:
    form = fields(tried(opened, NEW))
    before = counts(opened)
    assert imported(opened, form | change).status_code in (412, 422)
    for since in ("", "x", "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00Z"):
        assert imported(opened, form | {"state_seen": f"{'0.' * 2}0@{since}"}).status_code == 412
    assert imported(opened, form | {"held": "not base64!"}).status_code == 400
    assert counts(opened) == before


def test_a_large_file_is_chosen_once_more_and_must_be_the_same(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "HELD_MOST", 100)
    answer = tried(opened, NEW)
    form = fields(answer)
    assert "held" not in form
    assert "The same file once more" in text_of(answer)
    other = imported(opened, form, file=NEW.replace("New Ltd", "Old Ltd").encode())
    assert other.status_code == 412
    assert "This is another file than the one that you saw" in text_of(other)
    assert imported(opened, form).status_code == 422
    assert imported(opened, form, file=NEW.encode()).status_code == 200


# What of a request is taken


def raw(opened: Visits, data: bytes, content_type: str = f"{MULTIPART}; boundary=b", **headers: str) -> Any:
    around = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", **opened.cookie("manager"), **headers}
    return opened.client.post("/import/trial", data=data, content_type=content_type, headers=around, buffered=True)


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def test_a_form_with_a_file_is_read_strictly(opened: Visits) -> None:
    token = part(
        "form_token", re.findall(r'form_token" value="(\w+)"', text_of(opened.look("manager", "/import")))[0].encode()
    )
    file = part("file", NEW.encode(), '; filename="a.csv"')
    end = b"--b--\r\n"
    assert raw(opened, token + file + end).status_code == 200
    assert raw(opened, file + end).status_code == 403
    assert raw(opened, token + file + file + end).status_code == 400
    assert raw(opened, token + token + file + end).status_code == 400
    assert raw(opened, token + part("other", b"x", '; filename="a.csv"') + end).status_code == 422
    assert raw(opened, token + file).status_code == 400
    assert raw(opened, token + file[:-40]).status_code == 400
    assert raw(opened, b"nothing of the kind").status_code == 400
    assert raw(opened, b"form_token=x", "application/x-www-form-urlencoded").status_code == 415
    assert raw(opened, NEW.encode(), "text/csv").status_code == 415
    assert raw(opened, token + file + end, **{"Content-Encoding": "gzip"}).status_code == 415
    assert raw(opened, token + file + end, **{"Transfer-Encoding": "chunked"}).status_code == 400
    assert raw(opened, token + b"".join(part(f"f{n}", b"x") for n in range(20)) + end).status_code == 413


def test_a_file_is_as_large_as_at_the_api_and_no_larger(opened: Visits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_FILE", len(NEW))
    assert tried(opened, NEW).status_code == by_api(opened, NEW.encode()).status_code == 200
    longer = NEW + "\r\n"
    assert tried(opened, longer).status_code == by_api(opened, longer.encode()).status_code == 413


def test_no_field_beside_the_file_is_large(opened: Visits) -> None:
    answer = raw(opened, part("text", b"x" * (door.LARGEST_HELD + 1)) + b"--b--\r\n")
    assert answer.status_code == 413
    assert f"{door.LARGEST_HELD:,}" in text_of(answer)


def test_a_form_that_brings_no_file_elsewhere_is_refused_with_one(opened: Visits) -> None:
    assert opened.send("producer", "/me/tokens", {"name": "x"}, file=b"x").status_code == 415


# Excerpts


def excerpted(text: str, *faults: tuple[int, str]) -> Any:
    return excerpt(StringIO(text, newline=""), [CellFault(line, column, f"{line} {column}") for line, column in faults])


def test_rows_over_several_lines_are_told_by_the_line_they_begin_on() -> None:
    found = excerpted('a,b\r\n1,"x\ny"\r\n2,z\r\n', (2, "b"), (4, "a"), (4, "nowhere"), (9, ""))
    assert [(row.line, row.faults, row.of_all) for row in found.rows] == [
        (2, {1: ["2 b"]}, []),
        (4, {0: ["4 a"]}, [("nowhere", "4 nowhere")]),
    ]
    assert found.rows[0].cells[1] == "x␊y"
    assert [fault.line for fault in found.elsewhere] == [9]


def test_what_is_shown_of_a_file_is_bounded() -> None:
    head = ",".join(f"c{n}" for n in range(500))
    long = ",".join("x" * 5000 for _ in range(500))
    found = excerpted(f"{head}\r\n{long}\r\n", (2, "c499"))
    assert len(found.columns) == COLUMNS_MOST + 1
    assert {len(cell) for cell in found.rows[0].cells.values()} == {CELL_MOST}
    assert found.columns[499] == "c499"


@pytest.mark.parametrize("count", [WHOLE, WHOLE + 1])
def test_a_short_file_is_shown_whole(count: int) -> None:
    found = excerpted("a\r\n" + "x\r\n" * count, (20, "a"))
    assert (found.whole, len(found.rows)) == ((True, WHOLE) if count == WHOLE else (False, 3))


def test_the_example_is_written_in_the_columns_of_an_export(opened: Visits) -> None:
    rows = list(csv.reader(StringIO(opened.look("admin", "/import/example.csv").get_data(as_text=True), newline="")))
    exported = opened.ask("admin", "GET", "/v1/exports/clients").get_data(as_text=True)
    assert rows[0] == next(csv.reader(StringIO(exported, newline="")))
    assert BytesIO(opened.look("admin", "/import/example.csv").get_data()).read(6) == b"record"


def test_a_form_that_is_no_utf_8_is_refused_and_nothing_put_in_the_place_of_its_bytes(opened: Visits) -> None:
    around = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", **opened.cookie("producer")}
    token = cookies.form_token(opened.seal, opened.sessions["producer"])
    for name in (b"\xff", b"%ff", b"caf%e9"):
        body = b"form_token=" + token.encode() + b"&client_ids=C1&reason=" + name
        plain = opened.client.post(
            "/access-requests", data=body, headers=around, content_type="application/x-www-form-urlencoded"
        )
        assert plain.status_code == 400
        assert "UTF-8" in plain.get_data(as_text=True)
    around |= opened.cookie("manager")
    token = cookies.form_token(opened.seal, opened.sessions["manager"])
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % (b"form_token", token.encode()) + part % (b"text", b"record,client_id\xff\n") + b"--b--\r\n"
    filed = opened.client.post(
        "/import/trial", data=body, headers=around, content_type="multipart/form-data; boundary=b"
    )
    assert filed.status_code == 400
    assert "UTF-8" in filed.get_data(as_text=True)


@pytest.mark.parametrize("said", ["form-data", 'form-data; filename="a.csv"', 'form-data; name="form_to\\\n'])
@pytest.mark.parametrize("path", ["/import/trial", "/import"])
def test_a_form_with_a_part_that_has_no_name_is_refused(opened: Visits, path: str, said: str) -> None:
    body = f"--b\r\nContent-Disposition: {said}\r\n\r\nd225\r\n--b--\r\n".encode()
    around = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin", **opened.cookie("manager")}
    answer = opened.client.post(path, data=body, headers=around, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 400
    assert "has no name" in answer.get_data(as_text=True)
