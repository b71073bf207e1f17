"""Pictures of the main pages for the README, taken of the service as it runs on the sample book: `make screenshots`."""

import os
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlencode

from dateutil.relativedelta import relativedelta
from playwright.sync_api import sync_playwright

from ebill import demo
from ebill.store import sessions
from ebill.store.audit import By
from ebill.store.engine import Store
from tests.browsing import CHROMIUM, serving
from tests.world import book_file

FOLDER: Final = Path(__file__).with_name("pictures")
NEXT_YEAR: Final = f"{datetime.now(UTC) + relativedelta(years=1):%Y}-01"
CHANGE: Final = {
    "kind": "generation",
    "way": "days_before_due",
    "days_before_due": "25",
    "since": NEXT_YEAR,
    "cite": "Billing change form",
}
PAGES: Final = {
    "home": (demo.PRODUCER, "/home"),
    "client": (demo.PRODUCER, f"/clients/{demo.FIRST_CLIENT}"),
    "month": (demo.PRODUCER, "/month"),
    "change": (demo.MANAGER, f"/clients/{demo.FIRST_CLIENT}/configure/rule?{urlencode(CHANGE)}"),
}
"""Who looks at which page, by the name of its picture."""
WIDTH: Final = 1280
HEIGHTS: Final = {"change": 1600}
HEIGHT: Final = 1000


def main() -> None:
    """Take all of them anew."""
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ebill.db"
        cookies = _fill(f"sqlite:///{file}")
        with serving(file) as url, sync_playwright() as playwright:
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
            for name, (user_id, path) in PAGES.items():
                context = browser.new_context(
                    viewport={"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)}, color_scheme="light"
                )
                context.add_cookies([{"name": "sid", "value": cookies[user_id], "url": url}])
                page = context.new_page()
                page.goto(url + path)
                page.screenshot(path=FOLDER / f"{name}.png")
                context.close()
            browser.close()


def _fill(url: str) -> dict[str, str]:
    now = datetime.now(UTC)
    store = Store(url)
    store.upgrade()
    demo.fill(store, book_file().book, 200, now)
    with store.writing(By("setup", now)) as write:
        cookies = {user: sessions.new_session(write.connection, user, now) for user in demo.PEOPLE}
        write.audit("setup")
    store.close()
    return cookies


if __name__ == "__main__":
    main()
