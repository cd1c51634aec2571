"""`/api/v1/orgs/{org}/dependencies`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.dependencies.schemas import (
    DependencyCreate,
    DependencyUpdate,
    DependencyView,
    Neighbours,
    TargetView,
)
from control_plane.dependencies.service import DependencyService
from control_plane.targets.service import TargetRef, TargetType

router = APIRouter(prefix="/orgs/{org}/dependencies", tags=["dependencies"])

Reader = Annotated[Caller, Depends(Require(Permission.DEPENDENCIES_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.DEPENDENCIES_WRITE))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]


async def _ends(
    upstream_type: TargetType | None = None,
    upstream_id: int | None = None,
    downstream_type: TargetType | None = None,
    downstream_id: int | None = None,
) -> dict[str, object]:
    given = {
        "upstream_type": upstream_type,
        "upstream_id": upstream_id,
        "downstream_type": downstream_type,
        "downstream_id": downstream_id,
    }
    return {name: value for name, value in given.items() if value is not None}


@router.post("", status_code=201)
def create_dependency(
    body: DependencyCreate, caller: Writer, session: SessionDep, etag: ETagDep
) -> DependencyView:
    """Creates an edge; one that would close a circle is refused."""
    row = DependencyService(session, caller).create_dependency(body)
    return etag(DependencyView.model_validate(row))


@router.get("")
def list_dependencies(
    caller: Reader,
    session: SessionDep,
    ends: Annotated[dict[str, object], Depends(_ends)],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Page[DependencyView]:
    """Lists the edges, those at one target where it is given."""
    service = DependencyService(session, caller)
    rows = service.page_dependencies(ends, cursor_id(cursor), limit + 1)
    return page_of(rows, limit, DependencyView)


@router.get("/neighbours")
def get_neighbours(
    target_type: TargetType, target_id: int, caller: Reader, session: SessionDep
) -> Neighbours:
    """Returns what runs before and after a target by declared edges."""
    service = DependencyService(session, caller)
    ref = TargetRef(target_type, target_id)
    return Neighbours(
        upstream=[TargetView.model_validate(one) for one in service.upstream_of(ref)],
        downstream=[TargetView.model_validate(one) for one in service.downstream_of(ref)],
    )


@router.get("/{dependency_id}")
def get_dependency(
    dependency_id: int, caller: Reader, session: SessionDep, etag: ETagDep
) -> DependencyView:
    """Returns an edge."""
    return etag(
        DependencyView.model_validate(DependencyService(session, caller).get(dependency_id))
    )


@router.patch("/{dependency_id}")
def update_dependency(
    dependency_id: int,
    body: DependencyUpdate,
    caller: Writer,
    session: SessionDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> DependencyView:
    """Changes whether a success of the upstream target launches the downstream one; at once."""
    row = DependencyService(session, caller).update_dependency(dependency_id, body, if_match)
    return etag(DependencyView.model_validate(row))


@router.delete("/{dependency_id}", status_code=204)
def delete_dependency(
    dependency_id: int, caller: Writer, session: SessionDep, if_match: IfMatchDep
) -> None:
    """Deletes an edge."""
    DependencyService(session, caller).delete(dependency_id, if_match)


@router.post("/{dependency_id}/restore")
def restore_dependency(
    dependency_id: int, caller: Restorer, session: SessionDep, etag: ETagDep
) -> DependencyView:
    """Makes a deleted edge live again; one that would close a circle now is refused."""
    row = DependencyService(session, caller).restore(dependency_id)
    return etag(DependencyView.model_validate(row))
