"""Answers as tables that people like to read: dates with their weekday, warnings in words.

A table takes the width it needs, also where the output is no terminal: a date that is cut off would be a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from ebill.render.words import WARNINGS, because, day, source
from ebill.schedule import DATE_NAMES, DateName

if TYPE_CHECKING:  # a schedule needs nothing of a difference
    from ebill.preview import Difference, Moved

NAMES: Final[Mapping[DateName, str]] = {
    "generation_date": "generated",
    "due_date": "due",
    "grace_end_date": "grace ends",
    "next_generation_date": "next invoice",
    "recommended_pay_by_date": "pay by",
    "safe_pay_by_date": "pay by, safe",
}
MOVED: Final = ("coverage", "date", "before", "after", "days")
SHOWN_ACCOUNTS: Final = 10
SHOWN_OF_A_KIND: Final = 3
"""Warnings of one kind that are said in full; of the others only the month is named."""


def schedule(answer: Mapping[str, Any]) -> str:
    """Write an answer's invoices, what to beware of, a payment, and, where asked for, why each date is what it is."""
    invoices = answer["invoices"]
    product = f", {answer['product']}" if "product" in answer else ""
    parts = [f"{answer['state']}{product} · {answer['timezone']} · as of {day(answer['as_of'])}\n"]
    if invoices:
        header = ["coverage", *NAMES.values(), "standing"]
        rows = (
            [
                invoice["coverage_month"],
                *(day(invoice[name]) for name in NAMES),
                invoice["standing"].replace("_", " "),
            ]
            for invoice in invoices
        )
        parts.append(table(header, rows))
    parts += _lines(_not_billed(answer.get("not_billed", ())))
    parts += _lines(_beware(invoices))
    if "payment" in answer:
        parts += _lines(_payment(answer["payment"]))
    parts += _lines(_why(invoices))
    parts.append(f"\n{_versions(answer)}\n")
    return "".join(parts)


def posting(answer: Mapping[str, Any]) -> str:
    """Write when a payment posts."""
    lines = [
        f"{answer['state']} · {answer['timezone']} · calendar {answer['calendar']}",
        "",
        f"paid         {_moment(answer['paid_at'])}",
        f"received     {day(answer['received_date'])}",
        f"posts from   {day(answer['posts_from_date'])}",
        f"posts by     {day(answer['posts_by_date'])}",
        "",
        f"{because(answer['explanation'])}",
        *(f"  passed over {day(closed['date'])}: {closed['reason']}" for closed in answer["explanation"]["skipped"]),
        "",
        _versions(answer),
    ]
    return "".join(f"{line}\n" for line in lines)


def difference(found: Difference) -> str:
    """Write which dates move between two rule books, state by state."""
    lines: list[str] = []
    for what, codes in (
        ("New state", found.states_added),
        ("State no longer there", found.states_removed),
        ("New product", found.products_added),
        ("Product no longer there", found.products_removed),
    ):
        lines += [f"{what}: {code}" for code in codes]
    for (state, product), moved in _by_account(found.moved):
        months = len({move.coverage_month for move in moved})
        earlier = sum(move.earlier for move in moved)
        whose = f"{state}, {product}" if product else state
        moves = f"{_count(len(moved), 'date')} of {_count(months, 'month')} move, {earlier} of them to an earlier day"
        lines += ["", f"{whose}: {moves}"]
        rows = (
            [move.coverage_month, NAMES[move.name], day(move.before), day(move.after), _by(move.before, move.after)]
            for move in moved
        )
        lines.append(table(MOVED, rows).rstrip("\n"))
    lines += [f"{state}, {product}: nothing moves" for state, product in found.unmoved]
    if not lines:
        lines.append(f"No date moves in the {_count(found.count, 'month')} from {found.first}.")
    return "".join(f"{line}\n" for line in lines).lstrip("\n")


def effect(found: Mapping[str, Any]) -> str:
    """Write what a rule book moves of the accounts in a store: how many, what to beware of, and each way they move."""
    counts = found["counts"]
    looked_at = _count(counts["accounts_looked_at"], "account")
    lines = [
        f"In the coverage months {found['from']} to {found['to']}, {counts['accounts_changed']} of {looked_at} change:",
        f"{counts['dates_moved']} dates move, and {counts['accounts_with_earlier_deadline']} get an earlier deadline.",
    ]
    for each in found["contradicted"]:
        lines.append(f"! {_count(len(each['accounts']), 'account')} would be left without dates: {each['detail']}")
        lines.append(f"  {_accounts(each['accounts'])}")
    for change in found["changes"]:
        lines += ["", f"{_count(len(change['accounts']), 'account')}: {_accounts(change['accounts'])}"]
        hazards: dict[str, list[str]] = {}
        for hazard in change["hazards"]:
            hazards.setdefault(hazard["code"].replace("_", " "), []).append(hazard["coverage_month"])
        lines += [f"! {code}: {', '.join(dict.fromkeys(months))}" for code, months in hazards.items()]
        rows = (
            [move["coverage_month"], NAMES[move["name"]], day(move["before"]), day(move["after"]),
             _by(move["before"], move["after"])]
            for move in change["moved"]
        )  # fmt: skip
        lines.append(table(MOVED, rows).rstrip("\n"))
    return "".join(f"{line}\n" for line in lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Draw a table as wide as it needs to be."""
    cells = [header, *rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    head, *lines = (
        " ".join(f" {cell}{' ' * (width - _width(cell))} " for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "".join(f"{line.rstrip()}\n" for line in (head, " " + "─" * (_width(head) - 2), *lines))


def _width(text: str) -> int:
    """Tell how many columns of a terminal a text takes; in ASCII as many as it has characters."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # people's names need it, dates do not

    return cell_len(text)


def _lines(lines: Iterable[str]) -> list[str]:
    return [f"{line}\n" for line in lines]


def _not_billed(months: Sequence[Mapping[str, str]]) -> Iterator[str]:
    for month in months:
        yield f"{month['coverage_month']}  not billed: {month['reason']}"


def _beware(invoices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say the warnings, kind by kind: what is the same for several months is said once."""
    for code, heading in WARNINGS.items():
        found = [(i["coverage_month"], w["detail"]) for i in invoices for w in i["warnings"] if w["code"] == code]
        if not found:
            continue
        yield ""
        if len(found) == len(invoices) > 1 and len({detail for _, detail in found}) == 1:
            yield f"! {heading}: {found[0][1]}."
            continue
        yield f"! {heading}:"
        for month, detail in found[:SHOWN_OF_A_KIND]:
            yield f"  {month}  {detail}."
        if others := found[SHOWN_OF_A_KIND:]:
            yield f"  likewise {', '.join(month for month, _ in others)}"


def _payment(payment: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield (
        f"A payment of {_moment(payment['paid_at'])} for {payment['coverage_month']} "
        f"is {payment['timeliness'].replace('_', ' ')}: received {day(payment['received_date'])}, "
        f"posts {day(payment['posts_from_date'])} to {day(payment['posts_by_date'])} ({payment['calendar']})."
    )
    yield f"The next invoice shows it: {payment['reflected_on_next_invoice']}."


def _why(invoices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for invoice in invoices:
        if "explanation" not in invoice:
            continue
        yield ""
        yield f"Why, for {invoice['coverage_month']}:"
        for name in DATE_NAMES:
            why = invoice["explanation"][name]
            if why is None:
                continue
            yield f"  {NAMES[name]:13} {day(invoice[name])}: {why['sentence']}"
            origin = source(why["layer"], why["scope"], why["since"])
            yield f"{'':32}{origin}: {why['cite']}{' (assumed)' if why['assumed'] else ''}"
            for move in why["moved"]:
                before = f"from {day(move['from'])} " if move["from"] else ""
                yield f"{'':32}moved {before}by {move['by'].replace('_', ' ')}: {move['detail']}"
            for closed in why["skipped"]:
                yield f"{'':32}passed over {day(closed['date'])}: {closed['reason']}"


def _versions(answer: Mapping[str, Any]) -> str:
    rulebook = answer["rulebook"]
    return f"rule book {rulebook['version']}, holidays {rulebook['holidays']}"


def _moment(value: Any) -> str:
    return f"{value:%a %Y-%m-%d %H:%M:%S%z}".removesuffix(":00") if hasattr(value, "hour") else day(value)


def _by_account(moved: Iterable[Moved]) -> Iterator[tuple[tuple[str, str | None], list[Moved]]]:
    grouped: dict[tuple[str, str | None], list[Moved]] = {}
    for move in moved:
        grouped.setdefault((move.state, move.product), []).append(move)
    yield from grouped.items()


def _by(before: date | None, after: date | None) -> str:
    if before is None or after is None:
        return "new" if before is None else "gone"
    return f"{(after - before).days:+d}"


def _accounts(accounts: Sequence[Mapping[str, str]]) -> str:
    """Name the first accounts, and how many more there are."""
    named = ", ".join(f"{each['client_id']}/{each['account_id']}" for each in accounts[:SHOWN_ACCOUNTS])
    more = len(accounts) - SHOWN_ACCOUNTS
    return f"{named} and {more} more" if more > 0 else named


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
