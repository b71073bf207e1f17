"""The pages in a real browser, as people use them: at 360 and 1280 px, with and without JavaScript, light and dark.

What they do is done twice, on a narrow screen without JavaScript and on a wide one with it; how each page looks and is
read, at both widths with it.

It is Debian's Chromium; without one these tests fail. A request to any other origin fails the test that made it, and so
does whatever the browser complains of.
"""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from ebill import demo, passwords
from ebill.service import payments
from ebill.store import clients, grants, sessions, users
from ebill.store import payments as stored
from ebill.store.audit import By
from ebill.store.clients import Account, Client
from ebill.store.engine import Store
from ebill.store.users import User
from tests.browsing import serving
from tests.world import book_file

CHROMIUM = "/usr/bin/chromium"
WORD = "seven green bicycles"
expect.set_options(timeout=30_000)  # a busy machine takes its time
NOBODY = "nobody-in-particular"
HOSTILE = "</title><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">{{7*7}}"
NOW = datetime.now(UTC)
MONTH = NOW.strftime("%Y-%m")
SOON = (NOW + timedelta(days=2)).date().isoformat()
"""A day on which every invoice that is out can be paid, and not the one that the form begins with."""
OPEN_DETAILS = """
    for (const each of document.querySelectorAll("details:not(details details)")) each.open = true;
    for (const each of document.querySelectorAll("details details:first-of-type")) each.open = true;
"""
"""The reasons of one month for each account: those of the others are alike, and take their time."""
PAGES = [
    "/sign-in",
    "/calculator",
    f"/calculator?state=PA&from={MONTH}&months=3&grace=after_due&grace_number=45",
    "/calculator?state=PA&from=soon&grace_number=x",
    "/home",
    "/home?q=nobody-of-this-name",
    "/home?show=due",
    f"/month?month={MONTH}",
    "/clients/C00001",
    f"/clients/C00001?account=MED&month={MONTH}&pay_on={MONTH}-03&pay_at=18:30",
    "/clients/C00001/bill-accounts/MED/payments",
    "/access-requests?show=all",
    "/me",
    "/nowhere",
]
ADMIN_PAGES = [
    "/admin/users",
    "/admin/users?q=nobody-of-this-name",
    "/admin/new-user",
    f"/admin/users/{demo.PRODUCER}",
    f"/admin/users/{demo.MANAGER}",
    "/admin/teams",
    "/audit",
    "/audit?actor=nobody",
]

CHANGE = "way=day_of_month&day_of_month=5&since=2028-03&cite=Letter"
MANAGER_PAGES = [
    "/access-requests",
    "/access-requests?tick=all",
    "/import",
    "/clients",
    "/clients?q=nobody-of-this-name",
    "/clients/C00001/configure",
    "/clients/C00001/bill-accounts/MED/configure",
    *(
        f"/clients/C00001/configure/rule?kind={kind}"
        for kind in ("due", "grace", "pay_by", "posting", "calendar", "timezone", "skip_coverage_months")
    ),
    f"/clients/C00001/configure/rule?kind=generation&{CHANGE}",
    f"/clients/C00001/configure/rule?kind=generation&{CHANGE}&weekday=x&day_of_month=soon".replace(
        "day_of_month=5&", ""
    ),
    "/clients/C00001/bill-accounts/MED/configure/rule?kind=grace&way=days&days=45&since=2025-01",
    "/clients/C00001/configure/settings",
    "/clients/C00001/bill-accounts/MED/configure/exception?tried=yes&way=fix&coverage_month=2028-03&due_date=2028-03-03",
    "/clients/C00001/configure/new-account?version=new&id=NEW&name=New&kind=dental",
    "/new-client?version=new&id=a_b",
    "/clients/HOSTILE/configure",
]


class Served(NamedTuple):
    """Where the service is, and the cookies of sessions that were begun before."""

    url: str
    sessions: dict[str, str]
    file: Path

    def renew(self, user_id: str) -> str:
        """Begin another session, in place of one that has ended."""
        store, now = Store(f"sqlite:///{self.file}"), datetime.now(UTC)
        with store.writing(By("setup", now)) as write:
            cookie = sessions.new_session(write.connection, user_id, now)
            write.audit("setup")
        store.close()
        return cookie


@pytest.fixture(scope="module")
def served(ready: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service as it is run, on a small sample book with a hostile client and a payment that waits."""
    folder = tmp_path_factory.mktemp("served")
    file = folder / "ebill.db"
    file.write_bytes(Path(ready.removeprefix("sqlite:///")).read_bytes())
    cookies = _fill(Store(f"sqlite:///{file}"))
    with serving(file) as url:
        yield Served(url, cookies, file)


def _fill(store: Store) -> dict[str, str]:
    now, book = datetime.now(UTC), book_file().book
    demo.fill(store, book, 40, now)
    with store.writing(By("setup", now)) as write:
        users.set_password(write.connection, demo.PRODUCER, passwords.hashed(WORD))
        client = Client(client_id="HOSTILE", version=1, team_id="east", name=HOSTILE, state="PA")
        clients.put_client(write.connection, client, "setup", now)
        account = Account(client_id="HOSTILE", account_id="MED", version=1, kind=HOSTILE, name=HOSTILE)
        clients.put_account(write.connection, account, "setup", now)
        grants.grant(write.connection, demo.PRODUCER, "HOSTILE", "setup", now)
        four = Client(client_id="FOUR", version=1, team_id="east", name="A client with four accounts", state="PA")
        clients.put_client(write.connection, four, "setup", now)
        for number in range(4):
            account = Account(client_id="FOUR", account_id=f"A{number}", version=1, kind="medical", name="Medical")
            clients.put_account(write.connection, account, "setup", now)
        admin = users.user(write.connection, demo.ADMIN)
        assert admin
        paid = {"coverage_month": MONTH, "paid_at": (now - timedelta(days=1)).date().isoformat()}
        before = stored.in_force(write.connection, "C00001").get("MED", {}).get(MONTH)
        payments.record(write, book, admin, "C00001", "MED", paid | ({"replaces": before.payment_id} if before else {}))
        users.add_user(write.connection, User(NOBODY, "N", "producer", "PA", 1, frozenset(), frozenset()), now)
        cookies = {user: sessions.new_session(write.connection, user, now) for user in demo.PEOPLE}
    store.close()
    return cookies


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@contextmanager
def visit(chromium: Browser, served: Served, width: int, **how: Any) -> Iterator[Page]:
    """Open a browser that goes nowhere else; fail with whatever it complained of."""
    complaints: list[str] = []

    def guard(route: Route) -> None:
        if route.request.url.startswith(f"{served.url}/"):
            route.continue_()
        else:
            complaints.append(f"asked for {route.request.url}")
            route.abort()

    context = chromium.new_context(viewport={"width": width, "height": 900}, base_url=served.url, **how)
    context.set_default_timeout(30_000)
    context.route("**/*", guard)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if _is_complaint(said.text) else None)
    yield page
    context.close()
    assert complaints == []


def _is_complaint(said: str) -> bool:
    """Tell whether a line of the console is more than that a page was refused, or a browser told to forget."""
    return not said.startswith(
        ("Failed to load resource: the server responded with a status of 4", "Clear-Site-Data header on")
    )


def sign_in(page: Page) -> None:
    """Sign the producer in by the form."""
    page.goto("/sign-in")
    page.get_by_label("User id").fill(demo.PRODUCER)
    page.get_by_label("Password").fill(WORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_title("Home · eBill")


def come_in(page: Page, served: Served, user_id: str = demo.PRODUCER) -> None:
    """Come in with a session that was begun before."""
    page.context.add_cookies([{"name": "sid", "value": served.sessions[user_id], "url": served.url}])


def is_within(page: Page) -> bool:
    """Tell whether nothing has to be scrolled for sideways."""
    page.wait_for_load_state()  # the style sheet, too
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.fixture(params=[(360, False), (1280, True)], ids=str)
def page(request: pytest.FixtureRequest, chromium: Browser, served: Served) -> Iterator[Page]:
    width, script = request.param
    with visit(chromium, served, width, java_script_enabled=script) as opened:
        yield opened


def test_a_producer_s_morning(page: Page) -> None:
    page.goto("/home")
    expect(page).to_have_title("Sign in · eBill")
    sign_in(page)
    for group in ("Grace running out", "Due within a week", "Pay by, to make the next invoice", "Waiting to post"):
        expect(page.get_by_role("heading", name=group)).to_be_visible()
    waiting = page.locator("section.posting")
    expect(waiting.locator("a[href='/clients/C00001#MED']")).to_be_visible()
    page.get_by_label("Client", exact=True).fill("C00001")
    page.get_by_label("State", exact=True).select_option("PA")
    page.get_by_label("Standing").select_option("payment_pending")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("section.posting tbody tr")).to_have_count(1)
    expect(page.locator("section.grace tbody tr")).to_have_count(0)
    page.locator("section.posting tbody a").click()
    expect(page.locator("main .lead")).to_contain_text("C00001 · PA")


def test_the_docs_page_has_headings_and_tries_what_it_shows_as_it_stands(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280) as page:
        page.goto("/docs")
        expect(page.get_by_role("heading", name="Clients and bill accounts")).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        expect(page.get_by_role("heading", level=3)).to_have_count(8)
        for operation, status in (("state", "200"), ("get_client", "401")):
            section = page.locator(f"[id$='-{operation}']")
            section.locator(".opblock-summary").click()
            section.get_by_role("button", name="Try it out").click()
            section.get_by_role("button", name="Execute").click()
            answer = section.locator(".live-responses-table tbody")
            expect(answer.locator(".response-col_status").first).to_contain_text(status)
        asked = page.locator("[id$='-get_client'] .request-url")
        expect(asked).to_contain_text(f"/v1/clients/{demo.FIRST_CLIENT}")


def test_a_month_and_a_day_of_it(page: Page, served: Served) -> None:
    come_in(page, served)
    page.goto("/home")
    page.get_by_role("link", name="Month", exact=True).first.click()
    page.get_by_role("list", name="Only one kind of date").get_by_role("link", name="Due").click()
    page.locator("table.calendar li.due a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Due,")
    assert page.locator("table.deadlines tbody tr").count() > 0


def test_a_client_its_why_and_what_if_i_pay(page: Page, served: Served) -> None:
    come_in(page, served)
    page.goto("/clients/C00001")
    medical = page.locator("section.account", has=page.locator("#MED"))
    drawn = medical.locator("svg.timeline")
    expect(drawn).to_be_visible()
    assert "a payment posts from" in (drawn.locator("desc").text_content() or "")
    dates = medical.locator(".key-dates details")
    dates.first.locator("summary").click()
    expect(dates.first).to_contain_text("before the due date")
    page.locator("details.pay > summary").click()
    page.get_by_label("Bill account", exact=True).select_option("COB")
    page.get_by_label("Date", exact=True).fill(SOON)
    page.get_by_label("Time, if known").fill("18:30")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#paid")).to_contain_text("Received")


def test_a_date_stands_beside_what_it_is_the_date_of(page: Page, served: Served) -> None:
    come_in(page, served)
    page.goto("/clients/C00001")
    page.wait_for_load_state()
    outside = page.evaluate("""() => [...document.querySelectorAll(".key-dates li")].filter((li) => {
        const around = li.getBoundingClientRect(), date = li.querySelector("time").getBoundingClientRect();
        return date.top < around.top || date.bottom > around.bottom + 1;
    }).map((li) => li.innerText)""")
    assert outside == []


def test_a_payment_is_recorded_corrected_and_withdrawn(page: Page, served: Served) -> None:
    come_in(page, served, demo.MANAGER)
    page.goto("/clients/FOUR")
    page.get_by_role("link", name="Record its payment").first.click()
    expect(page.get_by_role("heading", name="Payments", exact=True)).to_be_visible()
    month = page.get_by_label("Coverage month").input_value()
    page.get_by_label("Paid on").fill((NOW - timedelta(days=1)).date().isoformat())
    page.get_by_label("Time, if known").fill("16:30")
    page.get_by_role("button", name="Record it").click()
    expect(page.get_by_role("heading", name="Recorded:")).to_be_visible()
    assert is_within(page)
    page.get_by_role("link", name="Correct the payment").first.click()
    expect(page.get_by_label("Time, if known")).to_have_value("16:30")
    assert is_within(page)
    page.get_by_label("Time, if known").fill("09:15")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="Replaced").first).to_be_visible()
    page.get_by_role("link", name="Correct the payment").first.click()
    page.get_by_label("It was not paid").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("say why")
    assert is_within(page)
    page.get_by_label("Reason").fill("The check bounced")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Withdrawn:")).to_be_visible()
    assert page.get_by_label("Coverage month").locator(f'option[value="{month}"]').count() == 1


def test_a_question_to_the_calculator(page: Page) -> None:
    page.goto("/")
    page.get_by_label("State", exact=True).select_option("DE")
    page.get_by_label("First coverage month").fill("2027-02")
    page.get_by_label("How many months").fill("2")
    page.get_by_text("Change the rules").click()
    page.get_by_role("group", name="Grace").get_by_label("How many").fill("45")
    page.get_by_role("button", name="Show the dates").click()
    expect(page.locator("#answer table.year tbody tr")).to_have_count(2)
    expect(page.locator("#answer")).to_contain_text("Thu Mar 18, 2027")
    expect(page.get_by_label("And for programs")).to_contain_text('"rules": {"grace": {"days": 45}}')
    page.goto(page.get_by_label("This very question, as a link").input_value())
    expect(page.locator("#answer")).to_contain_text("Thu Mar 18, 2027")
    page.get_by_role("group", name="Grace").get_by_label("How many").fill("four")
    page.get_by_role("button", name="Show the dates").click()
    expect(page.locator("#answer").get_by_role("alert")).to_contain_text("must be a whole number")


def test_a_client_manager_s_change(page: Page, served: Served, request: pytest.FixtureRequest) -> None:
    _, script = request.node.callspec.params["page"]
    number = str(31 + script)
    come_in(page, served, demo.MANAGER)
    page.goto("/home")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Clients").click()
    page.get_by_label("Client", exact=True).fill("C00001")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Configure").click()
    page.get_by_role("row", name="Grace").first.get_by_role("link", name="Change").click()
    page.get_by_label("How many days").fill(number)
    page.get_by_label("From coverage month").select_option(_later(24))
    does = page.locator("#preview")
    if not script:
        page.get_by_role("button", name="Show what it does").click()
    expect(does.get_by_role("status")).to_contain_text("would move")
    expect(does.get_by_text("To save it, fill in who says so.")).to_be_visible()
    page.get_by_label("Who says so").fill("Letter of a test")
    if not script:
        page.get_by_role("button", name="Show what it does").click()
    expect(does.locator("table.worked td.moved").first).to_be_visible()
    does.get_by_label("Reason").fill(f"Agreed: {number}")
    if does.get_by_label("I have read").count():
        does.get_by_label("I have read").check()
    does.get_by_role("button", name="Save").click()
    saved = page.locator("#saved")
    expect(saved).to_contain_text(f"Agreed: {number}")
    expect(saved).to_contain_text(demo.MANAGER)
    expect(page.get_by_role("row", name="Grace").first).to_contain_text(f"{number} days after the due date")
    assert is_within(page)


def _later(months: int) -> str:
    year, month = divmod(12 * int(MONTH[:4]) + int(MONTH[5:]) - 1 + months, 12)
    return f"{year}-{month + 1:02d}"


def test_what_two_look_at_is_saved_once_and_the_other_is_told(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280, java_script_enabled=False) as page:
        come_in(page, served, demo.MANAGER)
        change = "kind=pay_by&way=own&days_before_next_invoice=2&cite=Letter"
        tabs = [page, page.context.new_page()]
        for tab in tabs:
            tab.goto(f"/clients/C00002/configure/rule?{change}&since={_later(20)}")
        for tab in tabs:
            does = tab.locator("#preview")
            for box in does.get_by_role("checkbox").all():
                box.check()
            does.get_by_role("button", name="Save").click()
        expect(page.locator("#saved")).to_be_visible()
        expect(tabs[1].get_by_role("alert")).to_contain_text("Nothing was saved just now.")
        expect(tabs[1].get_by_role("alert")).to_contain_text(demo.MANAGER)


def test_one_s_own_page(page: Page) -> None:
    sign_in(page)
    page.goto("/me")
    page.get_by_role("button", name="Accept the terms").click()
    page.get_by_role("button", name="Decline the terms").click()
    page.get_by_text("Make a token", exact=True).click()
    page.locator("#token_name").fill("Of a test")
    page.locator("form[action='/me/tokens'] button").click()
    assert page.get_by_label("Token", exact=True).input_value().startswith("ebp_")
    page.get_by_role("link", name="Back to my page").click()
    page.get_by_role("button", name="Revoke the token Of a test").first.click()
    page.get_by_text("Make a calendar", exact=True).click()
    page.locator("form[action='/me/feeds'] button").click()
    assert page.get_by_label("Address for Outlook and Google").input_value().endswith(".ics")
    page.get_by_role("link", name="Back to my page").click()
    page.get_by_role("button", name="Revoke the calendar").first.click()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/me")
    expect(page).to_have_title("Sign in · eBill")


def test_what_is_wrong_with_a_form_is_in_sight_where_a_page_has_several(page: Page) -> None:
    sign_in(page)
    page.goto("/me")
    page.get_by_text("Make a token", exact=True).click()
    page.fill("#token_name", "Nightly export")
    page.fill("#token_days", "999")
    page.locator("form[action='/me/tokens'] button").click()
    expect(page.locator(".notice.bad")).to_be_in_viewport()
    expect(page.locator(".notice.bad")).to_be_focused()
    expect(page.locator("#token_days")).to_have_value("999")


def test_a_new_producer_from_an_administrator_s_form_to_their_own_password(page: Page, served: Served) -> None:
    come_in(page, served, demo.ADMIN)
    user_id = f"nia-{secrets.token_hex(4)}"
    page.goto("/admin/users")
    page.get_by_role("link", name="New user").click()
    page.get_by_label("User id").fill(user_id)
    page.get_by_label("Name", exact=True).fill("Nia New")
    page.get_by_label("State", exact=True).select_option("NY")
    page.get_by_role("button", name="Make the user").click()
    expect(page.get_by_label("General agency administrator")).to_be_checked()
    expect(page.get_by_label("Agency reports")).not_to_be_checked()
    page.get_by_label("Grant clients, by their ids").fill("C00001, C00002")
    page.get_by_role("button", name="Grant them").click()
    expect(page.locator("section", has=page.locator("#grants")).locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Withdraw C00002").click()
    page.get_by_role("button", name="Give a first password").click()
    first = page.get_by_label("First password").input_value()
    page.get_by_role("link", name="Back to the user").click()
    expect(page.locator("section", has=page.locator("#password"))).to_contain_text("to be changed")
    page.get_by_role("button", name="Sign out").click()
    served.sessions[demo.ADMIN] = served.renew(demo.ADMIN)
    page.get_by_label("User id").fill(user_id)
    page.get_by_label("Password", exact=True).fill(first)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
    page.get_by_label("The password you were given").fill(first)
    page.get_by_label("A password of your own").fill("nine yellow submarines")
    page.get_by_role("button", name="Keep it and sign in").click()
    expect(page).to_have_title("Home · eBill")
    page.goto("/me")
    page.get_by_text("Change the password", exact=True).click()
    page.get_by_label("The one you have").fill("nine yellow submarines")
    page.get_by_label("The new one").fill("ten purple locomotives")
    page.get_by_role("button", name="Change it").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is changed")


def test_a_user_who_was_changed_meanwhile_is_shown_again(page: Page, served: Served) -> None:
    come_in(page, served, demo.ADMIN)
    path = f"/admin/users/{demo.PRODUCER}"
    page.goto(path)
    other = page.context.new_page()
    other.goto(path)
    name = f"Sample producer {secrets.token_hex(2)}"
    other.get_by_label("Name", exact=True).fill(name)
    other.get_by_role("button", name="Keep the changes").click()
    expect(other.get_by_role("status")).to_contain_text("is changed")
    page.get_by_label("Name", exact=True).fill("Sample producer")
    page.get_by_role("button", name="Keep the changes").click()
    expect(page.get_by_role("alert").last).to_contain_text(name)
    page.get_by_role("button", name="Keep the changes").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Sample producer")
    page.get_by_role("link", name="Audit").click()
    page.get_by_label("What", exact=True).select_option("put_user")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("table.audit tbody tr").first).to_contain_text(name)


def test_a_team_is_made_and_renamed(page: Page, served: Served) -> None:
    come_in(page, served, demo.ADMIN)
    page.goto("/admin/teams")
    team_id = f"t-{secrets.token_hex(4)}"
    page.get_by_label("Team id").fill(team_id)
    page.get_by_label("Name", exact=True).fill("West")
    page.get_by_role("button", name="Make the team").click()
    page.get_by_label(f"Name of team {team_id}").fill("Far West")
    page.get_by_role("button", name=f"Rename team {team_id}").click()
    expect(page.get_by_label(f"Name of team {team_id}")).to_have_value("Far West")


def test_a_hostile_name_is_text_and_runs_nothing(page: Page, served: Served) -> None:
    come_in(page, served)
    come_in(page, served, demo.MANAGER)
    for path in ("/clients/HOSTILE/configure", "/clients?q=HOSTILE", "/clients/HOSTILE/configure/settings"):
        page.goto(path)
        expect(page.get_by_text("{{7*7}}").first).to_be_attached()
        assert page.title() != "pwned"
    come_in(page, served)
    for path in (
        "/clients/HOSTILE",
        "/home?q=HOSTILE",
        f"/home?day={MONTH}-01&q=HOSTILE",
        f"/month?month={MONTH}&q=HOSTILE",
    ):
        page.goto(path)
        expect(page.get_by_text("{{7*7}}").first).to_be_attached()
        assert page.title() != "pwned"
        assert page.locator("img[src=x]").count() == 0


def test_an_answer_comes_as_one_types(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280) as page:
        come_in(page, served)
        page.goto("/clients/C00001")
        page.locator("details.pay > summary").click()
        page.get_by_label("Date", exact=True).fill(SOON)
        expect(page.locator("#paid")).to_contain_text("Received")
        assert page.url.endswith("/clients/C00001")


def test_a_session_that_has_ended_elsewhere_leads_to_sign_in_as_one_types(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280) as page:
        come_in(page, served, demo.MANAGER)
        page.goto("/clients/C00001")
        page.locator("details.pay > summary").click()
        page.context.clear_cookies()
        page.get_by_label("Date", exact=True).fill(SOON)
        expect(page).to_have_title("Sign in · eBill")


def imported(name: str, *more: str) -> bytes:
    """Write a file of a new client, and whatever rows more."""
    rows = (f"client,{name},New Ltd,east,PA,,,,,,", f"bill_account,{name},Medical,,,MED,medical,,,,", *more)
    return "\r\n".join(("record,client_id,name,team_id,state,account_id,kind,since,rule,cite,reason", *rows)).encode()


def chosen(page: Page, file: bytes) -> None:
    """Try a file, as people choose one."""
    page.goto("/import")
    page.get_by_label("A CSV file").set_input_files({"name": "clients.csv", "mimeType": "text/csv", "buffer": file})
    page.get_by_role("button", name="Show what it would do").click()


def test_clients_are_asked_for_and_granted(page: Page, served: Served) -> None:
    why = f"New broker {time.time_ns()}"
    come_in(page, served)
    page.goto("/home")
    page.get_by_role("link", name="Access", exact=True).click()
    page.get_by_label("Client ids").fill("C00002\nno_id, C00005")
    page.get_by_label("Why").fill(why)
    page.get_by_role("button", name="Ask for them").click()
    expect(page.get_by_role("alert")).to_contain_text('no id of a client: "no_id"')
    page.get_by_label("Client ids").fill("C00002\nNOBODY, C00005")
    page.get_by_role("button", name="Ask for them").click()
    asked = page.locator("article.asked", has_text=why)
    expect(asked.get_by_text("Waiting")).to_have_count(3)
    come_in(page, served, demo.MANAGER)
    page.goto("/home")
    page.get_by_role("link", name="Access").click()
    group = page.get_by_role("group").filter(has_text=why)
    boxes = group.get_by_role("checkbox")
    count = boxes.count()
    assert count in (1, 2)  # of those asked for, the ones of the manager's team
    for box in boxes.all():
        box.check()
    page.get_by_label("A word to whoever asked").fill("Welcome")
    page.get_by_role("button", name="Grant what is ticked").click()
    expect(page.get_by_role("group").filter(has_text=why)).to_have_count(0)
    expect(page.locator("section", has=page.locator("#decided")).get_by_text("Welcome").first).to_be_visible()
    come_in(page, served)
    page.goto("/access-requests")
    expect(asked.get_by_text("Granted")).to_have_count(count)
    expect(asked.get_by_text("Waiting")).to_have_count(3 - count)


def test_a_file_is_mended_and_imported(page: Page, served: Served) -> None:
    name = f"IMP{time.time_ns()}"
    come_in(page, served)
    assert page.goto("/import").status == 403  # type: ignore[union-attr]
    come_in(page, served, demo.MANAGER)
    chosen(page, imported(name, f"rule,{name},,,,,,soon,{{}},Letter,"))
    expect(page.get_by_role("heading", level=1)).to_have_text("The file has faults")
    expect(page.locator("tr#line-4 td.bad").first).to_contain_text("must be")
    assert is_within(page)
    chosen(page, imported(name))
    expect(page.get_by_role("heading", level=1)).to_have_text("What the import would do")
    assert is_within(page)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Imported")
    page.goto(f"/clients/{name}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("New Ltd")


def test_text_is_pasted_and_what_is_hazardous_is_owned_up_to(page: Page, served: Served) -> None:
    come_in(page, served, demo.ADMIN)
    page.goto("/import")
    year = datetime.now(UTC).year + 2
    rule = f'rule,C00003,{year}-01,"{{""grace"": {{""days"": {10 + time.time_ns() % 15}}}}}",Letter {time.time_ns()}'
    page.get_by_label("Or its text, pasted").fill(f"record,client_id,since,rule,cite\n{rule}")
    page.get_by_role("button", name="Show what it would do").click()
    owned = page.get_by_label("I have read the")
    if owned.count():
        owned.check()
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Imported")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_everybody_can_use_what_a_file_is_answered_with(
    chromium: Browser, served: Served, width: int, scheme: str
) -> None:
    found = []
    year = datetime.now(UTC).year + 1
    earlier = f'rule,C00001,,,,,,{year}-03,"{{""grace"": {{""days"": 9}}}}",Letter,'
    many = [f"client,X{n},=1+1 {HOSTILE[:40]},east,XX,,,,,," for n in range(60)]
    with visit(chromium, served, width, color_scheme=scheme) as page:
        come_in(page, served, demo.MANAGER)
        for what, file in {
            "good": imported("AXE1", earlier),
            "faulty": imported("AXE1", "rule,AXE1,,,,,,soon,{},,", "what,AXE1"),
            "many faults": imported("AXE1", *many),
            "nothing new": b"record,client_id\r\n",
        }.items():
            chosen(page, file)
            page.evaluate(OPEN_DETAILS)
            found += _violations(page, what)
            if not is_within(page):
                found.append(f"{what}: wider than {width} px")
        page.goto("/import")
        page.get_by_role("button", name="Show what it would do").click()
        found += _violations(page, "no file")
    assert "\n".join(found) == ""


def test_a_keyboard_is_enough(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280, java_script_enabled=False) as page:
        page.goto("/sign-in")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.locator("#user_id").focus()
        page.keyboard.type(demo.PRODUCER)
        page.keyboard.press("Tab")
        page.keyboard.type(WORD)
        page.keyboard.press("Enter")
        expect(page).to_have_title("Home · eBill")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_everybody_can_use_every_page(chromium: Browser, served: Served, width: int, scheme: str) -> None:
    found = []
    with visit(chromium, served, width, color_scheme=scheme) as page:
        page.goto(PAGES[0])
        found += _violations(page, PAGES[0])
        come_in(page, served)
        found += _troubles(page, PAGES[1:], width)
        come_in(page, served, demo.MANAGER)
        found += _troubles(page, MANAGER_PAGES, width)
    assert found == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_everybody_can_use_the_pages_of_administrators(
    chromium: Browser, served: Served, width: int, scheme: str
) -> None:
    with visit(chromium, served, width, color_scheme=scheme) as page:
        come_in(page, served, demo.ADMIN)
        found = _troubles(page, ADMIN_PAGES, width)
        page.goto(f"/admin/users/{demo.PRODUCER}")
        page.get_by_label("Grant clients, by their ids").fill("C00001 NOBODY-1")
        page.get_by_role("button", name="Grant them").click()
        found += _violations(page, "a refused grant")
        page.goto(f"/admin/users/{NOBODY}")
        page.get_by_role("button", name="Give a first password").click()
        found += _violations(page, "a first password")
    assert found == []


def _troubles(page: Page, paths: list[str], width: int) -> list[str]:
    found = []
    for path in paths:
        page.goto(path)
        page.evaluate(OPEN_DETAILS)
        found += _violations(page, path)
        if not is_within(page):
            found.append(f"{path}: wider than {width} px")
    return found


def _violations(page: Page, path: str) -> list[str]:
    page.wait_for_load_state()
    answer = Axe().run(page).response
    return [f"{path}: {each['id']}: {each['nodes'][0]['html'][:200]}" for each in answer["violations"]]


def test_the_check_of_that_can_fail(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280) as page:
        page.goto("/calculator")
        page.evaluate("document.querySelector('label[for=state]').remove()")
        assert any("select-name" in each for each in _violations(page, "/calculator"))


def test_a_request_elsewhere_fails_a_test(chromium: Browser, served: Served) -> None:
    def elsewhere() -> None:
        with visit(chromium, served, 1280) as page:
            page.goto("/calculator")
            page.evaluate(
                "new Promise((done) => { const i = new Image(); i.onerror = done; i.src = 'http://a.example/'; })"
            )

    with pytest.raises(AssertionError):
        elsewhere()


def test_a_client_s_year_prints_without_what_is_for_the_screen(chromium: Browser, served: Served) -> None:
    with visit(chromium, served, 1280) as page:
        come_in(page, served)
        page.goto("/clients/HOSTILE")
        page.emulate_media(media="print")
        expect(page.locator("table.year")).to_be_visible()
        for hidden in ("header.bar", "footer", "details.pay"):
            expect(page.locator(hidden)).to_be_hidden()


@pytest.mark.parametrize("sheet", ["Letter", "A4"])
def test_a_client_s_year_with_four_accounts_is_one_sheet(chromium: Browser, served: Served, sheet: str) -> None:
    with visit(chromium, served, 1280) as page:
        come_in(page, served, demo.ADMIN)
        page.goto("/clients/FOUR")
        expect(page.locator("table.year")).to_have_count(4)
        assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format=sheet))) == 1
