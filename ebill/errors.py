"""Every way we refuse, one class each.

A refusal takes facts, owns its sentence and keeps the facts as attributes. `code` is stable: programs may
depend on it, people read the sentence. Where a refusal is about something that was given, `faults` name each
place; a place is a JSON pointer (RFC 6901) into what was given. The core knows no HTTP: one table in `ebill.web`
maps these classes to statuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import ClassVar, NamedTuple

SHOWN = 64
"""How many characters of somebody's input a refusal repeats at most."""


def shown(text: object) -> str:
    """Give somebody's input back escaped and cut to `SHOWN` characters, fit for any log or page."""
    plain = str(text).encode("unicode_escape", "surrogatepass").decode("ascii")
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """Give ` (did you mean "grace"?)`, or nothing where no known word is near, or what was given is no word."""
    if not isinstance(given, str):
        return ""
    from difflib import get_close_matches  # who gives no wrong word does not need it

    near = get_close_matches(given[:SHOWN], list(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


class Fault(NamedTuple):
    """One thing wrong with what was given: where (a JSON pointer, "" for the whole), and what would mend it."""

    pointer: str
    detail: str

    def below(self, pointer: str) -> Fault:
        """Give the same fault as seen from outside, where the faulty part stands at `pointer`."""
        return Fault(pointer + self.pointer, self.detail)


def pointer(*path: object) -> str:
    """Give the JSON pointer of a path of keys and indexes.

    >>> pointer("rules", 0, "a/b")
    '/rules/0/a~1b'
    """
    return "".join("/" + shown(step).replace("~", "~0").replace("/", "~1") for step in path)


class Refusal(Exception):
    """Whatever we decline to answer. `code` is stable; `faults` may be empty."""

    code: ClassVar[str] = "refused"

    def __init__(self, sentence: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(sentence)
        self.faults = tuple(faults)


class InvalidInput(Refusal):
    """What was given can be read, but not meant: every fault with its place."""

    code = "invalid_input"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"The input has {count}; nothing was done.", faults)


class UnknownState(Refusal):
    """No such state in the rule book."""

    code = "state_not_found"

    def __init__(self, state: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f'No state "{shown(state)}" is configured; the configured states are {", ".join(known)}.')
        self.state = state


class UnknownProduct(Refusal):
    """No such product in the rule book."""

    code = "product_not_found"

    def __init__(self, product: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f'No product "{shown(product)}" is configured; the configured products are {names}.')
        self.product = product


class UnknownCalendar(Refusal):
    """Neither the rule book nor the `holidays` library knows a calendar of this name."""

    code = "unknown_calendar"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        hint = did_you_mean(name, known)
        super().__init__(f'"{shown(name)}" names no calendar{hint}; try XFED, XNYS or a code such as US-PA.')
        self.name = name


class OutsideCalendar(Refusal):
    """A date would need a business day of a year for which the calendar has no evidence."""

    code = "outside_calendar"

    def __init__(self, calendar: str, coverage_month: str, name: str, first: date, last: date) -> None:
        super().__init__(
            f"{name} of coverage month {coverage_month} needs business days that calendar {calendar} does not know: "
            f"it covers {first} to {last}."
        )
        self.calendar, self.coverage_month, self.name, self.first, self.last = (
            calendar,
            coverage_month,
            name,
            first,
            last,
        )


class PaymentOutsideCalendar(Refusal):
    """A payment would be received or posted in a year for which the calendar has no evidence."""

    code = "outside_calendar"

    def __init__(self, calendar: str, paid_on: date, first: date, last: date) -> None:
        super().__init__(
            f"When a payment of {paid_on} posts is beyond calendar {calendar}, which covers {first} to {last}."
        )
        self.calendar, self.paid_on, self.first, self.last = calendar, paid_on, first, last


class DatesOutOfOrder(Refusal):
    """The rules break generation < due <= grace end in a month they would govern; the first such month is named."""

    code = "dates_out_of_order"

    def __init__(self, coverage_month: str, generation: date, due: date, grace_end: date) -> None:
        super().__init__(
            f"In coverage month {coverage_month} the invoice would be generated {generation}, due {due}, and its grace "
            f"would end {grace_end}; an invoice is generated before it is due, and its grace ends on the due date or "
            "later."
        )
        self.coverage_month, self.generation, self.due, self.grace_end = (
            coverage_month,
            generation,
            due,
            grace_end,
        )


class BelowFloor(Refusal):
    """A grace rule was entered that a floor would overrule."""

    code = "below_floor"

    def __init__(self, coverage_month: str, grace_end: date, floor: date, cite: str) -> None:
        super().__init__(
            f"In coverage month {coverage_month} the grace would end {grace_end}, before the floor of {floor} ({cite})."
        )
        self.coverage_month, self.grace_end, self.floor, self.cite = (
            coverage_month,
            grace_end,
            floor,
            cite,
        )


class ExceptionTooFar(Refusal):
    """A fixed date lies so far from the computed one that it must be a slip of the pen."""

    code = "exception_too_far"

    def __init__(self, coverage_month: str, name: str, given: date, computed: date, limit: int) -> None:
        super().__init__(
            f"The exception for {coverage_month} puts {name} on {given}, {abs((given - computed).days)} days from the "
            f"computed {computed}; at most {limit} are taken."
        )
        self.coverage_month, self.name, self.given, self.computed = (
            coverage_month,
            name,
            given,
            computed,
        )


class NotBilled(Refusal):
    """The coverage month has no invoice, so there is nothing to fix or to pay."""

    code = "month_not_billed"

    def __init__(self, coverage_month: str, reason: str) -> None:
        super().__init__(f"No invoice bills coverage month {coverage_month}: {reason}.")
        self.coverage_month = coverage_month


class NoRuleInForce(Refusal):
    """No layer has a rule of this kind for the coverage month."""

    code = "no_rule_in_force"

    def __init__(self, kind: str, coverage_month: str, first: str | None) -> None:
        begins = f"; one governs from {first}" if first else ""
        super().__init__(f"No {kind} rule is in force for coverage month {coverage_month}{begins}.")
        self.kind, self.coverage_month = kind, coverage_month


class CutoffNotDaily(Refusal):
    """A cut-off falls into a change of daylight saving time, so on some day it is missing or comes twice."""

    code = "cutoff_not_daily"

    def __init__(self, cutoff: str, timezone: str, day: date) -> None:
        super().__init__(
            f"The cut-off {cutoff} does not come exactly once on {day} in {timezone}; choose another time."
        )
        self.cutoff, self.timezone, self.day = cutoff, timezone, day


class BookFault(NamedTuple):
    """One thing wrong in a rule-book file. `line` counts from 1; None where the fault is what is missing."""

    line: int | None
    key: str
    detail: str

    def within(self, file: str) -> str:
        """Say it in one line, as compilers say theirs."""
        place = file if self.line is None else f"{file}:{self.line}"
        return f"{place}: {self.key}: {self.detail}"


class BookRefused(Refusal):
    """A rule book that cannot be taken as it stands: every fault with its line and key."""

    code = "rulebook_refused"

    def __init__(self, file: str, faults: Sequence[BookFault]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{file} is refused, with {count}:", *(fault.within(file) for fault in faults)]))
        self.file = file
        self.book_faults = tuple(faults)


class StoreRefused(Refusal):
    """The store cannot be opened, copied or written to as asked."""

    code = "store_refused"


class StoreLoginRefused(StoreRefused):
    """PostgreSQL answers, and lets nobody in so. Waiting does not mend it; the address is not repeated."""

    code = "store_login_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"PostgreSQL refuses the login: {why}. Look at EBILL_DATABASE_URL, and at PostgreSQL's log.")
        self.why = why


class SettingRefused(Refusal):
    """A setting of the environment that cannot be meant, or is missing. It is not repeated: it may hold a password."""

    code = "setting_refused"

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name} {detail}.")
        self.name = name


class SettingsRefused(Refusal):
    """Settings that belong together and cannot be meant so: all of them that are wrong, each by its name."""

    code = "settings_refused"

    def __init__(self, found: Sequence[tuple[str, str]]) -> None:
        super().__init__(" ".join(f"{name} {detail}." for name, detail in found))
        self.names = tuple(name for name, _ in found)


class StoreUnavailable(Refusal):
    """The store does not answer just now; nothing was changed. Trying again later may do."""

    code = "store_unavailable"
    sentence: ClassVar[str] = "The store does not answer just now, and nothing was changed. Please try again later."

    def __init__(self) -> None:
        super().__init__(self.sentence)


class OutcomeUnknown(StoreUnavailable):
    """The store was lost while it kept a change: it may have kept it or not, but not half of it."""

    code = "outcome_unknown"
    sentence = (
        "The store was lost in the moment of keeping the change, which was either made or not. Read what is there "
        "before making it again; a request with an Idempotency-Key can simply be sent again."
    )


class NotReady(Refusal):
    """The service cannot answer as it should, and asking again does not mend it: somebody has to."""

    code = "not_ready"

    def __init__(self, why: str) -> None:
        super().__init__(f"The service is not ready: {why}.")


class TooBusy(Refusal):
    """As many passwords are being checked as this machine is given to at once."""

    code = "too_busy"

    def __init__(self) -> None:
        super().__init__("Too many are signing in at this very moment. Please try again in a few seconds.")


class BatchesBusy(Refusal):
    """As many batches are being answered as this process answers at once."""

    code = "batches_busy"

    def __init__(self) -> None:
        super().__init__("Other batches are being answered at this very moment. Please try again in a few seconds.")


class Overloaded(Refusal):
    """As many requests are being answered, and as many wait, as this process takes. Nothing was done."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("Too much is asked at this very moment, and nothing was done. Please try again in a second.")


class AskedTooOften(Refusal):
    """The API was asked too often by a token, or from an address; `seconds` is how long to wait."""

    code = "asked_too_often"

    def __init__(self, seconds: int) -> None:
        unit = "second" if seconds == 1 else "seconds"
        super().__init__(f"This was asked too often, and nothing was done. Please wait {seconds} {unit}.")
        self.seconds = seconds


class KeyReused(Refusal):
    """An Idempotency-Key came again with another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; give each new request a new key.")


class Unauthenticated(Refusal):
    """Nobody knows who is asking. The same sentence for a token that is missing, wrong, expired or revoked."""

    code = "unauthenticated"

    def __init__(self, *, for_metrics: bool = False) -> None:
        needed = "The token that EBILL_METRICS_TOKEN is set to" if for_metrics else "A valid access token"
        super().__init__(f"{needed} is needed: Authorization: Bearer {'…' if for_metrics else 'ebp_…'}")


class MissingEntitlement(Refusal):
    """The user lacks an entitlement that the route asks for, whatever it is asked about."""

    code = "missing_entitlement"

    def __init__(self, entitlement: str) -> None:
        super().__init__(f"This needs the entitlement {entitlement}; ask your administrator for it.")
        self.entitlement = entitlement


class NotAllowed(Refusal):
    """The user's role may not do this, whatever it is asked about."""

    code = "not_allowed"

    def __init__(self, role: str) -> None:
        article = "An" if role[0] in "aeiou" else "A"
        super().__init__(f"{article} {role.replace('_', ' ')} may not do this.")
        self.role = role


class OutsideScope(Refusal):
    """The user may do this, but not by a token of this scope: one for `what` alone, whatever it is asked about."""

    code = "outside_scope"

    def __init__(self, what: str) -> None:
        super().__init__(f"This token is for {what} alone. Ask with one of another scope.")
        self.what = what


class TermsNotAccepted(Refusal):
    """A producer records payments only once the electronic payment terms are accepted."""

    code = "payment_terms_not_accepted"

    def __init__(self) -> None:
        super().__init__(
            "Accept the electronic payment terms first (PUT /v1/me/payment-terms); until then everything can still be "
            "read."
        )


class PaidBeforeInvoice(Refusal):
    """A payment cannot be for an invoice that was not there yet."""

    code = "paid_before_invoice"

    def __init__(self, coverage_month: str, paid_on: date, generated: date) -> None:
        super().__init__(
            f"The invoice for coverage month {coverage_month} is generated {generated}; "
            f"it cannot have been paid on {paid_on}."
        )
        self.coverage_month, self.paid_on, self.generated = coverage_month, paid_on, generated


class NotPaidYet(Refusal):
    """A notice is of a payment that was made; one to come, if only later today (`is_today`), is previewed."""

    code = "not_paid_yet"

    def __init__(self, *, is_today: bool = False) -> None:
        self.is_today = is_today
        super().__init__(
            "This payment is yet to be made, where the account is. Record it once it is made; "
            "until then ask for a preview of it."
        )


class PaymentRecorded(Refusal):
    """A notice of a payment of this month is in force already; another one must say that it replaces it."""

    code = "payment_already_recorded"

    def __init__(self, coverage_month: str, payment_id: str) -> None:
        super().__init__(
            f"Payment {payment_id} of coverage month {coverage_month} is recorded already; to correct it, send "
            "its id as `replaces`."
        )
        self.coverage_month, self.payment_id = coverage_month, payment_id


class PaymentNotInForce(Refusal):
    """The notice to be replaced is not the one in force for this account and month."""

    code = "payment_not_in_force"

    def __init__(self, coverage_month: str, payment_id: str | None) -> None:
        now = f"payment {payment_id} is" if payment_id else "none is"
        super().__init__(f"Only the notice in force can be replaced: for coverage month {coverage_month}, {now}.")
        self.coverage_month, self.payment_id = coverage_month, payment_id


class BilledElsewhere(Refusal):
    """The coverage month is billed on another platform, and what is paid for it is known there."""

    code = "billed_elsewhere"

    def __init__(self, coverage_month: str, detail: str) -> None:
        super().__init__(f"Coverage month {coverage_month} is {detail}.")
        self.coverage_month = coverage_month


class ClientNotFound(Refusal):
    """There is no such client, or none that the user may see: the sentence is the same, and so is its cost."""

    code = "client_not_found"

    def __init__(self) -> None:
        super().__init__(
            "No client of this id is open to you. A producer asks the client management team for access: "
            "POST /v1/access-requests with the ids of the clients, several at once if need be."
        )


class AccountNotFound(Refusal):
    """The client has no such bill account."""

    code = "bill_account_not_found"

    def __init__(self) -> None:
        super().__init__("This client has no bill account of this id.")


class PreconditionMissing(Refusal):
    """A change did not say which version it changes."""

    code = "precondition_required"

    def __init__(self) -> None:
        super().__init__("Say which version you change: If-Match with its ETag, or If-None-Match: * for a new one.")


class Stale(Refusal):
    """A change was made to another version than the current one."""

    code = "stale_version"

    def __init__(self, version: int | None) -> None:
        now = "there is none yet" if version is None else f'it is now "{version}"'
        super().__init__(f"The version changed is not the current one: {now}. Read it again, and change that.")
        self.version = version


class MovesGeneratedInvoice(Refusal):
    """A row would move the dates of an invoice that was already generated, and does not own up to it."""

    code = "moves_generated_invoice"

    def __init__(self, account: str, coverage_month: str, generated: date) -> None:
        super().__init__(
            f"This moves the dates of the {coverage_month} invoice of bill account {account}, generated {generated}. "
            "Say retroactive = true and give a reason if that is meant."
        )
        self.account, self.coverage_month, self.generated = account, coverage_month, generated


class PreviewOutdated(Refusal):
    """A change was to be saved as it was previewed, and would now do something else, or was made already.

    `changed` names what is not what it was then.
    """

    code = "preview_outdated"

    def __init__(self, changed: Sequence[str] = ()) -> None:
        what = ", ".join(changed) or "the client, the rules, or what you entered"
        super().__init__(
            f"Something has changed since this was previewed: {what}. Nothing was saved; look at what it would do now."
        )
        self.changed = tuple(changed)


class HazardsNotAcknowledged(Refusal):
    """A change has hazards that nobody has owned up to knowing."""

    code = "hazards_not_acknowledged"

    def __init__(self, count: int) -> None:
        found = "a hazard" if count == 1 else f"{count} hazards"
        super().__init__(
            f"This has {found}. Nothing was saved: read what is hazardous about it, and say that you have."
        )
        self.count = count
        self.faults = (Fault("/acknowledged", "say that you have read what is hazardous about this"),)


class NotKnownThen(Refusal):
    """At the instant asked about, the service knew nothing of this yet."""

    code = "not_known_then"

    def __init__(self) -> None:
        super().__init__("At that instant nothing was known of this yet; ask as of a later one.")


class UserNotFound(Refusal):
    """There is no such user."""

    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("There is no user of this id.")


class TeamNotFound(Refusal):
    """There is no such team."""

    code = "team_not_found"

    def __init__(self) -> None:
        super().__init__("There is no team of this id.")


class TokenNotFound(Refusal):
    """There is no such token, or it is somebody else's."""

    code = "token_not_found"

    def __init__(self) -> None:
        super().__init__("You have no token of this id that could be revoked.")


class SessionNotFound(Refusal):
    """There is no such session, or it has ended, or it is somebody else's."""

    code = "session_not_found"

    def __init__(self) -> None:
        super().__init__("You have no session of this id that could be ended.")


class NotSignedIn(Refusal):
    """Nobody could be signed in. The same sentence for an unknown user, a wrong password and a disabled user."""

    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__("This user id and this password do not belong together.")


class WrongPassword(Refusal):
    """Somebody who is signed in does not know the password that they have."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("That is not the password that you have now; nothing was changed.")


class ProofNeeded(Refusal):
    """What hands on or ends what somebody holds is done by nobody who only found their browser open."""

    code = "proof_needed"

    def __init__(self, *, has_password: bool) -> None:
        how = "Give your password with it." if has_password else "Sign out, sign in again, and do it then."
        super().__init__(f"It is more than 15 minutes since you signed in. {how}")
        self.has_password = has_password


class NotIdentified(Refusal):
    """An identity provider's word did not lead to a user who may sign in. Why is for the log, whatever it is.

    `why` is a word of ours, never of anybody else's.
    """

    code = "not_identified"

    def __init__(self, why: str) -> None:
        super().__init__(
            "Nobody could be signed in this way. Try once more; if it stays so, ask your administrator whether your "
            "account here is linked to the one there."
        )
        self.why = why


class TooManyTries(Refusal):
    """Passwords were tried too often, for a user or from an address; `seconds` is how long to wait."""

    code = "too_many_tries"

    def __init__(self, seconds: int) -> None:
        unit = "second" if seconds == 1 else "seconds"
        super().__init__(f"That was tried too often. Please wait {seconds} {unit}, then try again.")
        self.seconds = seconds


class ForgedForm(Refusal):
    """A form that was not sent from a page of ours, or not from this session's."""

    code = "forged_form"

    def __init__(self) -> None:
        super().__init__(
            "This form did not come from a page that you have open here. Open the page again, and send it from there."
        )


class FeedNotFound(Refusal):
    """There is no such calendar feed, or none any more, or it is somebody else's: the sentence is the same."""

    code = "feed_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such calendar feed.")


class RequestNotFound(Refusal):
    """There is no such access request that this user could decide."""

    code = "access_request_not_found"

    def __init__(self) -> None:
        super().__init__("No access request of this id waits for your decision on these clients.")


class CellFault(NamedTuple):
    """One faulty cell of an imported file. `line` counts from 1, the header being line 1; "" is the whole row."""

    line: int
    column: str
    detail: str


class ImportRefused(Refusal):
    """A file that cannot be imported as it stands; nothing of it was kept."""

    code = "import_refused"

    def __init__(self, cells: Sequence[CellFault]) -> None:
        count = "1 fault" if len(cells) == 1 else f"{len(cells)} faults"
        super().__init__(
            f"The file has {count}; nothing was imported.",
            [Fault(pointer(cell.line, cell.column), cell.detail) for cell in cells],
        )
        self.cells = tuple(cells)


class MalformedJson(Refusal):
    """What was sent cannot be read as JSON at all."""

    code = "malformed_json"

    def __init__(self, detail: str) -> None:
        super().__init__(f"This is not JSON as RFC 8259 has it: {detail}.")


class BadRequest(Refusal):
    """A request that can be read in two ways, or in none."""

    code = "bad_request"


class TooLarge(Refusal):
    """A body beyond what is taken."""

    code = "body_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than the {limit:,} bytes that are taken.")


class UnsupportedMediaType(Refusal):
    """A body in another form than the one that is taken."""

    code = "unsupported_media_type"

    def __init__(self, taken: str = "application/json") -> None:
        super().__init__(f"The body must be {taken} in UTF-8, without a Content-Encoding.")
        self.taken = taken


class KeyMissing(BadRequest):
    """A change that must not be made twice came without a usable Idempotency-Key."""

    code = "idempotency_key_missing"

    def __init__(self) -> None:
        super().__init__(
            "Send an Idempotency-Key of your own making with this request, 1 to 255 printable ASCII characters: "
            "whoever sends it again with the same key gets the same answer, and nothing is done twice."
        )


class FeedAlreadyShown(Refusal):
    """The request for a calendar feed came again; its address was shown the first time, and is kept nowhere."""

    code = "feed_already_shown"

    def __init__(self, feed_id: str) -> None:
        super().__init__(
            f"This request made feed {feed_id} already, and its address was shown then, once. If you do not have it, "
            f"revoke it (DELETE /v1/feeds/{feed_id}) and make another with a new Idempotency-Key."
        )
        self.feed_id = feed_id


class TokenAlreadyShown(Refusal):
    """The request for a token came again; its text was shown the first time, and is kept nowhere."""

    code = "token_already_shown"

    def __init__(self, token_id: str) -> None:
        super().__init__(
            f"This request made token {token_id} already, and its text was shown then, once. If you do not have it, "
            f"revoke it (DELETE /v1/tokens/{token_id}) and make another with a new Idempotency-Key."
        )
        self.token_id = token_id


class TableRefused(Refusal):
    """A table whose columns cannot be read as questions at all."""

    code = "table_refused"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"The columns have {count}; nothing was done.", faults)
        for fault in faults:  # who calls the library sees them below the error
            self.add_note(f"{fault.pointer}: {fault.detail}")


class FileRefused(Refusal):
    """A file that cannot be read or made."""

    code = "file_refused"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{shown(name)}: {why}.")
        self.name = name


class TooManyRows(Refusal):
    """A batch of more rows than are taken."""

    code = "too_many_rows"

    def __init__(self, most: int) -> None:
        super().__init__(f"At most {most:,} rows are taken at once; for more there is the command `ebill batch`.")
        self.most = most


class LineTooLong(Refusal):
    """A batch with a line of more bytes than are taken."""

    code = "line_too_long"

    def __init__(self, most: int) -> None:
        super().__init__(f"A line may have at most {most:,} bytes; nothing was answered.")
        self.most = most


class TooManyRuleSets(Refusal):
    """A row of a batch whose rules are not checked, since those of so many rows before it are."""

    code = "too_many_rule_sets"

    def __init__(self, most: int) -> None:
        super().__init__(f"At most {most:,} kinds of accounts (state, product, rules, exceptions) are taken at once.")
        self.most = most


class OtherRelease(Refusal):
    """A machine has another release of the `holidays` library than the one that asks it."""

    code = "other_release"

    def __init__(self, ours: str, theirs: str) -> None:
        super().__init__(
            f"This machine has holidays {shown(theirs)} where {shown(ours)} is asked for: install the same."
        )
        self.ours, self.theirs = ours, theirs
