"""`/api/v1/orgs/{org}/deleted`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import TypeAdapter, ValidationError

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.errors import Invalid
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cut,
    decode_cursor,
    encode_cursor,
)
from control_plane.deleted.schemas import DeletedView, ResourceType
from control_plane.deleted.service import Position, page_deleted

router = APIRouter(prefix="/orgs/{org}/deleted", tags=["deleted"])

Reader = Annotated[Caller, Depends(Require(Permission.DELETED_READ))]
_POSITION: TypeAdapter[tuple[datetime, ResourceType, int]] = TypeAdapter(
    tuple[datetime, ResourceType, int]
)


@router.get("")
def list_deleted(
    caller: Reader,
    session: SessionDep,
    resource_type: ResourceType | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[DeletedView]:
    """Lists what was deleted and can be restored, newest first."""
    before = None if cursor is None else _position(decode_cursor(cursor))
    rows, has_more = cut(
        page_deleted(session, caller.org_id, resource_type, before, limit + 1), limit
    )
    return Page(
        data=[DeletedView.model_validate(row) for row in rows],
        next_cursor=_cursor(rows[-1]) if has_more else None,
    )


def _cursor(row: Any) -> str:
    return encode_cursor(row.deleted_at.isoformat(), row.resource_type, row.id)


def _position(values: list[Any]) -> Position:
    try:
        return Position(*_POSITION.validate_python(values))
    except ValidationError:
        raise Invalid.field("/cursor", "is not a cursor of this list") from None
