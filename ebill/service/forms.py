"""What can be entered about clients: read strictly from plain data, by the grammar that reads the rule book."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import orjson
from marshmallow import ValidationError, fields, post_load, validates_schema

from ebill.errors import Fault, InvalidInput
from ebill.grammar import (
    KINDS,
    Flag,
    Month,
    OwnRulesSchema,
    RowSchema,
    SkippedMonths,
    Strict,
    Text,
    Word,
    Zone,
    faults,
)
from ebill.questions import ExceptionSchema
from ebill.rules import Inherited, Rule
from ebill.schedule import FIXED_NAMES
from ebill.store.clients import Account, Client, ExceptionEntry, RuleEntry

ID: Final = re.compile(r"[A-Za-z0-9-]{1,32}")
SUBJECT: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
REASON_NEEDED: Final = "is required with retroactive = true"
NO_ID: Final = "must be an id: letters, digits and -, at most 32"
CLIENTS_AT_ONCE: Final = 200
"""How many clients are named at once at most."""


class Id(fields.Field[str]):
    """The id of something of ours: letters, digits and -, at most 32."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str or not ID.fullmatch(value):
            raise ValidationError(NO_ID)
        return value


class Subject(fields.Field[str]):
    """By what an identity provider knows somebody, its claim `sub`: at most 255 printable ASCII characters, or null."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> str:
        if type(value) is not str or not SUBJECT.fullmatch(value):
            raise ValidationError("must be a subject: 1 to 255 printable ASCII characters")
        return value


class Owned(Strict):
    """What every change says that may move invoices already generated: that it is meant, and why."""

    retroactive = Flag(load_default=False)
    reason = Text(load_default=None)

    @validates_schema
    def refuse_unreasoned(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse a retroactive change without a reason."""
        if data["retroactive"] and not data["reason"]:
            raise ValidationError({"reason": [REASON_NEEDED]})


class SettingsSchema(Owned):
    """What a client and a bill account have in common."""

    name = Text(required=True)
    product = Word(load_default=None)
    timezone = Zone(load_default=None)
    first_coverage_month = Month(load_default=None)
    last_coverage_month = Month(load_default=None)
    skip_coverage_months = SkippedMonths(load_default=None)

    @validates_schema
    def refuse_reversed(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse an end before the beginning."""
        first, last = data["first_coverage_month"], data["last_coverage_month"]
        if first is not None and last is not None and first > last:
            raise ValidationError({"last_coverage_month": ["must not be before first_coverage_month"]})

    @post_load
    def plain(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Give what the store keeps."""
        for name, value in data.items():
            if isinstance(value, np.datetime64):
                data[name] = str(value)
        if data["timezone"] is not None:
            data["timezone"] = data["timezone"].name
        if data["skip_coverage_months"] is not None:
            data["skip_coverage_months"] = data["skip_coverage_months"].months
        return data


class ClientSchema(SettingsSchema):
    """The body of `PUT /v1/clients/{client_id}`."""

    team_id = Id(required=True)
    state = Word(required=True)
    bills_here_since = Month(load_default=None)


class AccountSchema(SettingsSchema):
    """The body of `PUT /v1/clients/{client_id}/bill-accounts/{account_id}`."""

    kind = Text(required=True)
    state = Word(load_default=None)


class RuleEntrySchema(OwnRulesSchema, RowSchema, Owned):
    """The body of `POST …/rules`: a row as in the rule book, and whether it may move what was generated.

    In the rule's place may stand `"inherited"`: from then on the client or account has none of its own of that kind,
    and what the layers below say shows through.
    """

    class Meta:
        """A floor is law, and so a state's or a product's."""

        unknown = "include"
        exclude = ("grace_floor",)

    @validates_schema
    def refuse_assumed(self, data: Mapping[str, Any], **_: Any) -> None:
        """Refuse to assume what is no rule: whether the one that shows through is assumed, its own row says."""
        if data["assumed"] and any(isinstance(value, Inherited) for value in data.values()):
            raise ValidationError(
                {"assumed": ["must not be true: what is inherited says itself whether it is assumed"]}
            )


class ExceptionEntrySchema(ExceptionSchema):
    """The body of `POST …/exceptions`: fixed dates of one month, or `withdrawn` to take earlier ones back."""

    retroactive = Flag(load_default=False)
    withdrawn = Flag(load_default=False)

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_empty(self, data: Mapping[str, Any], original: Any, **_: Any) -> None:
        """Refuse an exception that neither fixes nor withdraws, or does both."""
        if not isinstance(original, Mapping):
            return
        fixes = any(name in original for name in FIXED_NAMES)
        if fixes == (original.get("withdrawn") is True):
            raise ValidationError(f"must fix at least one of {', '.join(FIXED_NAMES)}, or else be withdrawn")

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        """Keep plain data: the entry is made where its client is known."""
        return data


NAME: Final = Text(required=True)
_CLIENT: Final = ClientSchema()
_ACCOUNT: Final = AccountSchema()
_RULE: Final = RuleEntrySchema()
_EXCEPTION: Final = ExceptionEntrySchema()


def client_id(text: str, place: str = "/client_id") -> str:
    """Read the id of a client, or of something of it. Raises InvalidInput, with the place."""
    if not ID.fullmatch(text):
        raise InvalidInput([Fault(place, NO_ID)])
    return text


def client(body: Any, named: str, version: int) -> tuple[Client, bool, str | None]:
    """Read a client of an id; with whether it may move what was generated, and the reason. Raises InvalidInput."""
    data = load(_CLIENT, body, client_id=named)
    retroactive, reason = data.pop("retroactive"), data.pop("reason")
    return Client(client_id=named, version=version, **data), retroactive, reason


def account(body: Any, of: str, named: str, version: int) -> tuple[Account, bool, str | None]:
    """Read a bill account of a client, as `client`."""
    data = load(_ACCOUNT, body, account_id=named)
    retroactive, reason = data.pop("retroactive"), data.pop("reason")
    return Account(client_id=of, account_id=named, version=version, **data), retroactive, reason


def rule_entry(body: Any, of: str, account_id: str | None) -> RuleEntry:
    """Read a dated rule for a client, or for one account of it. Raises InvalidInput."""
    data = load(_RULE, body)
    kind = next(kind for kind in KINDS if kind in data)
    rule = cast(Rule, data[kind])
    return RuleEntry(
        client_id=of,
        account_id=account_id,
        since=str(data["since"]),
        kind=kind,
        rule=orjson.dumps({kind: rule.as_data()}).decode(),
        cite=data["cite"],
        assumed=data["assumed"],
        retroactive=data["retroactive"],
        reason=data["reason"],
    )


def exception_entry(body: Any, of: str, account_id: str | None) -> ExceptionEntry:
    """Read an exception for a client, or for one account of it. Raises InvalidInput."""
    data = load(_EXCEPTION, body)
    return ExceptionEntry(
        client_id=of, account_id=account_id, **{**data, "coverage_month": str(data["coverage_month"])}
    )


def id_faults(**ids: str) -> list[Fault]:
    """Find ids that are none, by the names under which they were given."""
    return [Fault(f"/{name}", NO_ID) for name, text in ids.items() if not ID.fullmatch(text)]


def load(schema: Strict, body: Any, **ids: str) -> dict[str, Any]:
    """Read a body by its schema; raise InvalidInput with its faults, and with those of the ids it is sent to."""
    found = id_faults(**ids)
    try:
        data = cast("dict[str, Any]", schema.load(body))
    except ValidationError as error:
        raise InvalidInput([*found, *faults(error.messages)]) from None
    if found:
        raise InvalidInput(found)
    return data
