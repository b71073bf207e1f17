"""Tables are read fast where nothing is wrong with them.

marshmallow keeps books on every field, so that it can name all faults at once. Where there is none that is most of its
work. So a table is first read *plainly*, by the very fields, validators and makers of its schema but without the
books: either all of it is good and that is the answer, or something is amiss and it is read again, from the start, with
them. Who is refused pays a little more for that; no fault is found by other code, and none is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

from marshmallow import Schema, ValidationError, fields, missing
from marshmallow.decorators import POST_LOAD, PRE_LOAD, VALIDATES, VALIDATES_SCHEMA

Reader = Callable[[Any], Any]


class NotPlain(Exception):
    """Something is amiss in a table; what it is, is found by reading it with the books."""


class _Column(NamedTuple):
    """A key of a table: what its value is called once it is read, what reads it, and what stands for a missing one."""

    key: str
    name: str
    read: Reader
    takes_null: bool
    is_required: bool
    default: Any


class Plain(Schema):
    """A table that is read plainly first."""

    about_keys: ClassVar[frozenset[str]] = frozenset()
    """Its validators that ask for nothing but known keys: a table with others is not read plainly anyway."""

    def load(self, data: Any, **how: Any) -> Any:
        """Read a table as marshmallow does. Raises its ValidationError with every fault.

        Where marshmallow raises it, it holds itself by what it was raised from, and with that everything that was in
        the hands of whoever asked, until garbage is collected. So it is raised anew.
        """
        if not any(how.values()):
            try:
                return self.plainly(data)
            except NotPlain:
                pass
        try:
            return super().load(data, **how)
        except ValidationError as error:
            raise error.with_traceback(None) from None

    def plainly(self, data: Any) -> Any:
        """Read a table in which nothing is wrong, or raise NotPlain."""
        columns, checks, makers = self._plan
        if type(data) is not dict:
            raise NotPlain
        try:
            found = _values(columns, data)
            for check in checks:
                check(found, data)
            for maker in makers:
                found = maker(found, data)
        except ValidationError:
            raise NotPlain from None
        return found

    @cached_property
    def _plan(self) -> tuple[list[_Column], list[Callable[..., Any]], list[Callable[..., Any]]]:
        """Give the columns, what is checked of all together, and what makes the value of them."""
        if self._hooks[PRE_LOAD] or self._hooks[VALIDATES] or self.partial or self.many:
            raise TypeError(f"{type(self).__name__} has what cannot be read plainly")
        columns = [
            _Column(
                field.data_key or name,
                field.attribute or name,
                _reader(field),
                bool(field.allow_none),
                bool(field.required),
                field.load_default,
            )
            for name, field in self.load_fields.items()
        ]
        checks = [each for name, each in self._each(VALIDATES_SCHEMA) if name not in self.about_keys]
        return columns, checks, [each for _, each in self._each(POST_LOAD)]

    def _each(self, kind: str) -> list[tuple[str, Callable[[Any, Any], Any]]]:
        """Give what the schema does with the values of a table, each to be called with them and with the table."""
        return [
            (name, partial(_called, getattr(self, name), bool(how.get("pass_original"))))
            for name, _, how in self._hooks[kind]
        ]


class Few(fields.List[Any]):
    """A list that is refused unread where it is too long: every fault in it would take seconds to find."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._validate(value)
        return super()._deserialize(value, attr, data, **kwargs)


def _values(columns: Sequence[_Column], data: dict[str, Any]) -> Any:
    """Give the values of a table, in the order of the columns, or raise NotPlain or ValidationError."""
    found, missed = {}, 0
    for key, name, read, takes_null, is_required, default in columns:
        value = data.get(key, missing)
        if value is missing and not is_required:
            missed += 1
            if default is not missing:
                found[name] = default() if callable(default) else default
        elif value is None and takes_null:
            found[name] = None
        elif value is None or value is missing:
            raise NotPlain
        else:
            found[name] = read(value)
    if len(columns) - missed != len(data):
        raise NotPlain  # a key is not known
    return found


def _called(method: Callable[..., Any], takes_original: bool, values: Any, original: Any) -> Any:  # noqa: FBT001
    return method(values, original) if takes_original else method(values)


def _reader(field: fields.Field[Any]) -> Reader:
    """Give what reads a field's value, which is not null: it raises NotPlain, or ValidationError."""
    if type(field) is fields.Nested and isinstance(field.schema, Plain) and not field.schema.many:
        read = field.schema.plainly
    elif isinstance(field, fields.List) and type(field) in {fields.List, Few}:
        read = partial(_all, field, _reader(field.inner), bool(field.inner.allow_none))
    elif hasattr(field, "plainly"):
        read = field.plainly
    else:
        read = partial(_by_itself, field)
    return partial(_validated, field, read) if field.validators else read


def _by_itself(field: fields.Field[Any], value: Any) -> Any:
    return field._deserialize(value, None, None)  # noqa: SLF001  # what is around it are the books


def _validated(field: fields.Field[Any], read: Reader, value: Any) -> Any:
    found = read(value)
    field._validate(found)  # noqa: SLF001
    return found


def _all(field: fields.List[Any], read: Reader, takes_null: bool, values: Any) -> list[Any]:  # noqa: FBT001
    if type(values) is not list or (not takes_null and None in values):
        raise NotPlain
    if isinstance(field, Few):
        field._validate(values)  # noqa: SLF001
    return [None if value is None else read(value) for value in values]
