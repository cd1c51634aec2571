"""Decides on intents by the same roles as REST, and does what REST would have done to the rows."""

import re
from typing import Final

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.access.permissions import Permission, Role
from control_plane.access.task_tokens.service import revoke_run_tokens
from control_plane.core.errors import Forbidden, Invalid, NotFound
from control_plane.intents.schemas import IntentCreate, IntentTarget
from control_plane.runs.launching import note_ui_launch
from control_plane.schedules.schemas import ScheduleUpdate
from control_plane.schedules.service import ScheduleService
from datanika_manifest.intents import INTENTS, TARGET_KINDS, Effect, Intent

MOST_RECORDED_TARGETS: Final = 50
LONGEST_RECORDED_ID: Final = 100
_SCHEDULE: Final = re.compile(r"schedule_([1-9][0-9]{0,17})")
_RANKS: Final = tuple(Role)


class IntentService:
    """Decides on the intents of one person.

    Args:
        session: Inside the org.
        caller: Whose intents.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._audit = caller.audit(session)

    def declare(self, body: IntentCreate) -> list[int]:
        """Allows an intent, puts it on record, and does its effect.

        Returns:
            The launches for its runs.

        Raises:
            Forbidden: The caller's role does not allow it, or nobody's does.
            NotFound: The org has no such schedule.
            Invalid: The targets are not what the mutation is about.
        """
        intent = self._allowed(body.field)
        if any(target.kind not in TARGET_KINDS for target in body.targets):
            raise Invalid.field("/targets", f"must be of these kinds: {sorted(TARGET_KINDS)}")
        if intent.effect is Effect.LAUNCH:
            launches = [note_ui_launch(self._session, self._caller) for _ in range(body.launches)]
            return [launch.id for launch in launches]
        if intent.effect is Effect.END_RUNS:
            self._end_runs(body, intent)
        elif intent.effect is Effect.RECORD:
            self._record(body, intent)
        else:
            self._switch(body, is_active=intent.effect is Effect.SWITCH_ON)
        return []

    def _allowed(self, field: str) -> Intent:
        intent = INTENTS.get(field)
        if intent is None:
            raise Forbidden(f"Nobody in an organization may use {field}.")
        role = self._caller.role
        if Permission(intent.permission) not in self._caller.permissions or _RANKS.index(
            role
        ) < _RANKS.index(Role(intent.role)):
            raise Forbidden(
                f"{field} needs the role '{intent.role}'; {self._caller.actor.name} is '{role}'."
            )
        return intent

    def _record(self, body: IntentCreate, intent: Intent) -> None:
        named = [target for target in body.targets if target.kind != "code_location"]
        first = next(iter(named or body.targets), None)
        recorded = [f"{target.kind} {target.id}" for target in body.targets]
        self._audit.record(
            intent.action,
            first.kind if first else "code_location",
            first.id[:LONGEST_RECORDED_ID] if first else None,
            new={"by": body.field, "targets": recorded[:MOST_RECORDED_TARGETS]}
            | ({"targets_in_all": len(recorded)} if len(recorded) > MOST_RECORDED_TARGETS else {}),
        )

    def _end_runs(self, body: IntentCreate, intent: Intent) -> None:
        for target in body.targets:
            if target.kind == "run":
                # As when it is cancelled by REST: a run that has not started gets no credentials.
                revoke_run_tokens(self._session, self._caller.org_id, target.id)
                self._audit.record(intent.action, "run", target.id[:LONGEST_RECORDED_ID])

    def _switch(self, body: IntentCreate, *, is_active: bool) -> None:
        schedules = ScheduleService(self._session, self._caller)
        for schedule_id in map(_schedule_id, _schedules(body.targets)):
            schedules.update_schedule(schedule_id, ScheduleUpdate(is_active=is_active))


def _schedules(targets: list[IntentTarget]) -> list[IntentTarget]:
    found = [target for target in targets if target.kind == "schedule"]
    if not found:
        raise Invalid.field("/targets", "must name a schedule")
    return found


def _schedule_id(target: IntentTarget) -> int:
    match = _SCHEDULE.fullmatch(target.id)
    if match is None:
        raise NotFound(f"There is no schedule '{target.id[:LONGEST_RECORDED_ID]}'.")
    return int(match[1])
