"""Says whose a run is, in its row and once in the audit log.

The launching process, the launcher and reconciliation each come to know of a run, in any order,
and each of them can die.
"""

from typing import Any

from sqlalchemy.orm import Session

from control_plane.audit.reading import is_recorded
from control_plane.audit.service import Actor, AuditLog
from control_plane.runs.models import Launch, Run
from control_plane.runs.repository import LaunchRepository, RunRepository


def find_launch(session: Session, org_id: int, run_id: str, tag: str | None) -> Launch | None:
    """Returns the launch that led to a run.

    Args:
        session: Inside the org.
        org_id: The org.
        run_id: The run.
        tag: The launch's id, as the run's tag says; a copied tag names nobody, since its launch
            has a run.
    """
    if tag is None or not tag.isdecimal():
        return None
    launch = LaunchRepository(session, org_id).find(int(tag))
    return None if launch is None or launch.run_id not in {None, run_id} else launch


def actor_of_launch(launch: Launch) -> Actor:
    """Returns who launched."""
    return Actor(
        launch.actor_kind,
        launch.actor_id,
        launch.actor_name,
        launch.ip_address,
        launch.request_id,
    )


def attribute(session: Session, row: Run, launch: Launch) -> None:
    """Writes down who launched a run, and why: through the API, in the Dagster UI, or by itself."""
    row.trigger, row.actor_name, row.targets = launch.trigger, launch.actor_name, launch.targets
    launch.run_id = row.id
    new = {"trigger": launch.trigger, "targets": launch.targets}
    record_run(session, actor_of_launch(launch), row, new)


def record_run(session: Session, actor: Actor, row: Run, new: dict[str, Any]) -> None:
    """Records that a run started, unless that is on record.

    Args:
        session: Inside the org.
        actor: Who started it.
        row: The run, locked here: whoever else knows of it waits.
        new: What it is of.
    """
    RunRepository(session, row.org_id).lock(row.id)
    if not is_recorded(session, row.org_id, "run", "run", row.id):
        AuditLog(session, row.org_id, actor).record("run", "run", row.id, new=new)
