"""The routes of reminders: users choose what they are reminded of, administrators say where that goes."""

from __future__ import annotations

from typing import Any, Final

from ebill.service import reminders
from ebill.web.routes import OF_USER, Change, Given, Route, Signed


def chosen_reminders(asked: Signed) -> Any:
    """Tell what you are reminded of, and by what: so many days before deadlines of each kind."""
    return reminders.chosen(asked.connection, asked.user)


def choose_reminders(asked: Change) -> Any:
    """Choose what you are reminded of, in place of what you chose before. An administrator says where it goes."""
    return reminders.choose(asked.write, asked.user, asked.body)


def get_targets(asked: Signed) -> Any:
    """Tell where a user's reminders go."""
    return reminders.targets(asked.connection, asked.path["user_id"])


def put_targets(asked: Change) -> Any:
    """Say where a user's reminders go. The secret of a new webhook is in this answer and nowhere else."""
    return reminders.set_targets(asked.write, asked.path["user_id"], asked.body)


def remove_targets(asked: Change) -> Given:
    """Let a user's reminders go nowhere."""
    reminders.remove_targets(asked.write, asked.path["user_id"])
    return Given(None, 204)


_CHOICE_AT: Final = "/v1/me/reminders"
_TARGETS_AT: Final = "/v1/users/{user_id}/reminder-targets"

ROUTES: Final = (
    Route(
        method="GET",
        path=_CHOICE_AT,
        allows="own",
        view=chosen_reminders,
        summary="What you are reminded of",
        gives=reminders.ChosenReminders,
    ),
    Route(
        method="PUT",
        path=_CHOICE_AT,
        allows="own",
        view=choose_reminders,
        summary="Choose what you are reminded of",
        gives=reminders.ChosenReminders,
        body=reminders.ReminderSchema,
        example={"lead_days": {"due": [7, 1], "grace_end": [10, 3, 0], "posts_by": [0]}, "names": False},
    ),
    Route(
        method="GET",
        path=_TARGETS_AT,
        allows="administer",
        view=get_targets,
        summary="Where a user's reminders go",
        gives=reminders.ReminderTargets,
        parameters=OF_USER,
    ),
    Route(
        method="PUT",
        path=_TARGETS_AT,
        allows="administer",
        view=put_targets,
        summary="Say where a user's reminders go",
        gives=reminders.NewReminderTargets,
        body=reminders.TargetSchema,
        example={"email": "jo.doe@example.com", "webhook_url": "https://hooks.example.com/ebill"},
        parameters=OF_USER,
    ),
    Route(
        method="DELETE",
        path=_TARGETS_AT,
        allows="administer",
        view=remove_targets,
        summary="Let a user's reminders go nowhere",
        gives=None,
        parameters=OF_USER,
        statuses=(204,),
    ),
)
