"""The audit, as whoever looks at it may read it: the newest first, and what each change made different."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ebill.grammar import Day, Strict, Word
from ebill.render import listed
from ebill.service import history
from ebill.service.forms import Id
from ebill.service.history import Line, Sought
from ebill.service.listing import PAGE
from ebill.web.pages.differences import differences
from ebill.web.pages.page import File, Later, Look, Page, Reading, Shown
from ebill.web.pages.paging import following
from ebill.web.queries import Cursor

AT: Final = "/audit"


class AuditFileSchema(Strict):
    """Which rows: about a client, by somebody, of an action, of UTC days from one to another."""

    client_id = Id(data_key="client")
    actor = Id()
    action = Word()
    first = Day(data_key="from")
    last = Day(data_key="to")


class AuditPageSchema(AuditFileSchema):
    """And which page of them."""

    cursor = Cursor(load_default=None)


def audit_page(look: Look) -> Shown:
    """Show the audit."""
    query = dict(look.query)
    cursor = query.pop("cursor")
    page = history.list_audit(look.connection, look.user, PAGE, cursor, look.seal, _sought(query))
    filters = _written(query)
    rows = [{**row, "differences": differences(row["before"], row["after"])} for row in page["data"]]
    values = {
        "data": rows,
        "filters": filters,
        "is_first": cursor is None,
        "following": following(AT, filters, page["next_cursor"]),
        "is_all": look.user.role == "admin",
    }
    return Shown("audit.html", values)


def audit_file(look: Look) -> Later:
    """Give all of the audit that the page would, as CSV."""
    sought = _sought(look.query)
    history.list_audit(look.connection, look.user, 1, None, look.seal, sought)

    def finish(reading: Reading) -> File:
        rows = history.every_line(reading, look.user, look.seal, sought)
        return File(listed.as_csv(Line, rows), "text/csv; charset=utf-8", "audit.csv")

    return Later(finish)


def _sought(query: Mapping[str, Any]) -> Sought:
    only = (query["action"],) if "action" in query else None
    return Sought(**{name: value for name, value in query.items() if name != "action"}, only=only, newest=True)


def _written(query: dict[str, Any]) -> dict[str, str]:
    """Give a query as the form writes it."""
    fields = AuditFileSchema().fields
    return {fields[name].data_key or name: str(value) for name, value in query.items()}


PAGES: Final = (
    Page(method="GET", path=AT, allows="read_audit", view=audit_page, query=AuditPageSchema),
    Page(method="GET", path="/audit.csv", allows="read_audit", view=audit_file, query=AuditFileSchema),
)
