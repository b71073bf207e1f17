"""The command: parses, asks the service, prints.

A refusal goes to standard error, each fault with the option it is about, and the command ends with 2. What it prints
on standard output is an answer and nothing else, so that it can be piped. A command's module is imported when it is
called: the dates come without loading a web server.

- `dates`    `schedule`, `posting`
- `books`    `check`, `diff`
- `batch`    `batch`
- `serving`  `serve`
- `listed`   `deadlines`
- `reminders`  `remind`
- `stored`   `db`, `user`, `team`, `token`, `grant`, `import`, `export`, `demo`
- `later`    what of their modules is made when it is first asked
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import click

from ebill.cli import later
from ebill.errors import Fault, Refusal, TableRefused, did_you_mean

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "schedule": ("dates", "schedule"),
    "posting": ("dates", "posting"),
    "check": ("books", "check"),
    "diff": ("books", "diff"),
    "batch": ("batch", "batch"),
    "serve": ("serving", "serve"),
    "import": ("stored", "import_"),
    "export": ("stored", "export"),
    "deadlines": ("listed", "deadlines"),
    "remind": ("reminders", "remind"),
    "user": ("stored", "user"),
    "team": ("stored", "team"),
    "token": ("stored", "token"),
    "grant": ("stored", "grant"),
    "db": ("stored", "db"),
    "demo": ("stored", "make_demo"),
}
"""Where each command is: its module, and its name there."""


class Commands(click.Group):
    """A group whose commands are imported when they are called, and whose refusals end the command with 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of this module."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module, called = COMMANDS[name]
        found: click.Command = getattr(_loaded(f"ebill.cli.{module}"), called)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or fail with the nearest name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Call a command."""
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            click.echo(f"ebill: {refusal}", err=True)
            for fault in refusal.faults:
                if fault.detail != str(refusal):
                    is_column = isinstance(refusal, TableRefused)
                    place = f"{fault.pointer.removeprefix('/')}: " if is_column else self._place(ctx, fault)
                    click.echo(f"  {place}{fault.detail}", err=True)
            ctx.exit(2)

    def _place(self, ctx: click.Context, fault: Fault) -> str:
        """Say where a fault is: by an option, where the command has it, or as a file or the API names it."""
        place = option(fault.pointer)
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        named = re.match(r"--[^\s:/.,]+", place)
        if not named or not command or named[0] in _options(command):
            return place
        if "." in place:
            return place[2:]
        return f"{fault.pointer.removeprefix('/')}: "


def _loaded(name: str) -> ModuleType:
    """Import a module, without what takes a third of a short command's time and is of no use to any.

    Nobody looks for garbage in what modules are made of, then or later; numpy makes no threads for its algebra; a
    pattern that takes long waits until it is asked.
    """
    if name in sys.modules:
        return sys.modules[name]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    was_looked_for = gc.isenabled()
    gc.disable()
    try:
        with later.compiling():
            return import_module(name)
    finally:
        gc.freeze()
        if was_looked_for:
            gc.enable()


def _options(command: click.Command) -> set[str]:
    """Give the options of a command, and of those in it."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return {name for each in command.params for name in each.opts}.union(*map(_options, inner))


def option(pointer: str) -> str:
    """Say which option a JSON pointer is about.

    >>> option("/rules/grace/days"), option("/exceptions/0/due_date"), option("/last_coverage_month"), option("")
    ('--rule grace.days: ', '--exception 1, due_date: ', '--last-coverage-month: ', '')
    >>> option("/4/rule"), option("/4/")  # of an imported file
    ('line 4, rule: ', 'line 4: ')
    """
    if not pointer:
        return ""
    first, *rest = pointer.removeprefix("/").split("/")
    if first.isdigit():
        return ", ".join([f"line {first}", *filter(None, rest)]) + ": "
    if first == "rules":
        return f"--rule {'.'.join(rest)}: " if rest else "--rule: "
    if first == "exceptions" and rest:
        return ", ".join([f"--exception {int(rest[0]) + 1}", *rest[1:]]) + ": "
    return f"--{'/'.join([first, *rest]).replace('_', '-')}: "


def fitting(value: str) -> int | bool | str:
    """Read an option's value as JSON would write it: a whole number, true, false, or else text."""
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,9})", value):
        return int(value)
    return {"true": True, "false": False}.get(value, value)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ebill", prog_name="ebill", message="%(prog)s %(version)s")
def main() -> None:
    """Tell when invoices are generated, due and out of grace, and by when to pay."""
