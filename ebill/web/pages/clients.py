"""A client: each bill account's open invoices drawn to scale, its year, what to pay when, and who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, fields

from ebill import access
from ebill.errors import ClientNotFound, InvalidInput, Refusal
from ebill.grammar import Month, Strict
from ebill.service import clients, history, payments
from ebill.service.clients import Window
from ebill.service.forms import Id
from ebill.web.pages.page import Look, Page, Shown
from ebill.web.pages.payments import no_moment
from ebill.web.pages.timeline import timeline

MONTHS: Final = 12
BACK: Final = 2
"""Months before the current one that a year begins with: what they billed may be open still."""
CHANGES: Final = 20
_LONGEST: Final = 16
_CALLED: Final = {"paid_on": "Date", "pay_at": "Time"}


class Short(fields.Field[str]):
    """A short text, for the service to read."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if len(value) > _LONGEST:
            raise ValidationError(f"must be at most {_LONGEST} characters")
        return str(value)


class ClientPageSchema(Strict):
    """From which coverage month on; and what if an account's month is paid on a day, at a time."""

    from_ = Month(data_key="from")
    account = Id()
    month = Month()
    pay_on = Short()
    pay_at = Short()


def client_page(look: Look) -> Shown:
    """Show a client."""
    client_id, query = look.path["client_id"], look.query
    found, _ = clients.client(look.connection, look.user, client_id)
    window = Window(query.get("from_"), MONTHS, explain=True, back=BACK)
    schedule, refusal = None, None
    try:
        schedule = clients.schedule(look.connection, look.book, look.user, client_id, None, window, look.now)
    except ClientNotFound:
        raise
    except Refusal as why:
        refusal = why
    accounts = schedule["bill_accounts"] if schedule else []
    asked = _asked(look, accounts)
    of_client = history.Sought(client_id=client_id, newest=True)
    values = {
        "client": found,
        "accounts": [{**each, "timeline": timeline(each["invoices"], each["as_of"])} for each in accounts],
        "rulebook": schedule and schedule["rulebook"],
        "refusal": refusal,
        "changes": history.list_audit(look.connection, look.user, CHANGES, None, look.seal, of_client)["data"],
        "may_configure": access.may(look.user, "configure_client"),
        "may_record": access.may(look.user, "record_payments"),
        "asked": asked,
        "from_month": str(query["from_"]) if "from_" in query else None,
        **_paid(look, asked),
    }
    return Shown("client.html", values, 422 if values["pay_faults"] else 200)


def _asked(look: Look, accounts: list[dict[str, Any]]) -> dict[str, Any]:
    """Give what the form "if I pay" says: what it was sent with, or else the invoice that is to be paid first."""
    query = look.query
    billed = [(each, invoice) for each in accounts for invoice in each["invoices"] if "due_date" in invoice]
    waiting = [pair for pair in billed if pair[1]["standing"] in ("in_grace", "invoiced")] or billed
    account, invoice = min(waiting, key=lambda pair: pair[1]["due_date"], default=(None, None))
    first = account or (accounts[0] if accounts else None)
    of = query.get("account", first["account_id"] if first else "")
    month = str(query["month"]) if "month" in query else (invoice["coverage_month"] if invoice else "")
    asked_for = [each for account, each in billed if (account["account_id"], each["coverage_month"]) == (of, month)]
    return {
        "account": of,
        "month": month,
        "recorded": next((each["payment"] for each in asked_for if "payment" in each), None),
        "pay_on": query.get("pay_on", first["as_of"] if first else None),
        "pay_at": query.get("pay_at", ""),
        "months": sorted({invoice["coverage_month"] for _, invoice in billed}),
        "is_sent": "pay_on" in query,
    }


def _paid(look: Look, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a payment would mean, or why it cannot be said."""
    if not asked["is_sent"]:
        return {"paid": None, "pay_faults": []}
    at = f"{asked['pay_on']}T{asked['pay_at']}" if asked["pay_at"] else str(asked["pay_on"])
    body = {"coverage_month": asked["month"], "paid_at": at}
    of = look.path["client_id"], asked["account"]
    try:
        paid = payments.preview(look.connection, look.book, look.user, *of, body, look.now)
    except ClientNotFound:
        raise
    except Refusal as refusal:
        typed = {"paid_on": asked["pay_on"], **({"pay_at": asked["pay_at"]} if asked["pay_at"] else {})}
        wrong = no_moment(typed) if isinstance(refusal, InvalidInput) else {}
        told = [f"{_CALLED[name]}: {detail}" for name, detail in wrong.items()]
        return {"paid": None, "pay_faults": told or [fault.detail for fault in refusal.faults] or [str(refusal)]}
    return {"paid": paid, "pay_faults": []}


PAGES: Final = (
    Page(method="GET", path="/clients/{client_id}", allows="read_client", view=client_page, query=ClientPageSchema),
)
