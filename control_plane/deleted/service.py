"""Lists what was deleted in an org, newest first, over all kinds of resources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from control_plane.connections.service import select_deleted_connections
from control_plane.deleted.schemas import ResourceType
from control_plane.dependencies.service import select_deleted_dependencies
from control_plane.freshness.service import select_deleted_policies
from control_plane.schedules.service import select_deleted_schedules
from control_plane.tenancy.repository import Deleted
from control_plane.transformations.service import select_deleted_transformations
from control_plane.uploads.service import select_deleted_uploads

SELECTS: dict[ResourceType, Callable[[Session, int], Deleted]] = {
    ResourceType.CONNECTION: select_deleted_connections,
    ResourceType.UPLOAD: select_deleted_uploads,
    ResourceType.TRANSFORMATION: select_deleted_transformations,
    ResourceType.DEPENDENCY: select_deleted_dependencies,
    ResourceType.SCHEDULE: select_deleted_schedules,
    ResourceType.FRESHNESS_POLICY: select_deleted_policies,
}


@dataclass(frozen=True)
class Position:
    """Where a page ends: no two deleted rows have the same one."""

    deleted_at: datetime
    resource_type: str
    id: int


def page_deleted(
    session: Session,
    org_id: int,
    wanted: ResourceType | None,
    before: Position | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Returns an org's deleted rows, newest first, those before `before` where it is given.

    Args:
        session: Inside the org.
        org_id: The org.
        wanted: Only this kind.
        before: The last row of the page before.
        limit: How many rows.
    """
    kinds = [wanted] if wanted else list(ResourceType)
    rows = union_all(*(SELECTS[kind](session, org_id) for kind in kinds)).subquery()
    order = (rows.c.deleted_at, rows.c.resource_type, rows.c.id)
    statement = select(rows).order_by(*(column.desc() for column in order)).limit(limit)
    if before is not None:
        position = (literal(before.deleted_at), literal(before.resource_type), literal(before.id))
        statement = statement.where(tuple_(*order) < tuple_(*position))
    return session.execute(statement).all()
