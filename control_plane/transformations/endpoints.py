"""`/api/v1/orgs/{org}/transformations`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.core.dependencies import (
    SessionDep,
    SessionFactoryDep,
    SettingsDep,
    TaskRunnerDep,
    VaultDep,
)
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.core.usages import UsagesDep
from control_plane.transformations.dbt_tasks import DbtTasks
from control_plane.transformations.schemas import (
    Preview,
    PreviewRequest,
    TransformationCreate,
    TransformationUpdate,
    TransformationView,
)
from control_plane.transformations.service import TransformationService

router = APIRouter(prefix="/orgs/{org}/transformations", tags=["transformations"])

Reader = Annotated[Caller, Depends(Require(Permission.TRANSFORMATIONS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.TRANSFORMATIONS_WRITE))]
Runner = Annotated[Caller, Depends(Require(Permission.TRANSFORMATIONS_RUN))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]


async def _services(
    session: SessionDep,
    factory: SessionFactoryDep,
    vault: VaultDep,
    runner: TaskRunnerDep,
    settings: SettingsDep,
) -> Callable[[Caller], TransformationService]:
    return lambda caller: TransformationService.of(
        session,
        caller,
        vault,
        DbtTasks(OrgTasks.of(factory, runner, vault, caller), settings.dbt_projects_dir),
    )


ServiceDep = Annotated[Callable[[Caller], TransformationService], Depends(_services)]


@router.post("", status_code=201)
def create_transformation(
    body: TransformationCreate, caller: Writer, service: ServiceDep, etag: ETagDep
) -> TransformationView:
    """Creates a transformation; a model that dbt cannot parse is refused here."""
    return etag(TransformationView.model_validate(service(caller).create_transformation(body)))


@router.post("/preview")
def preview_transformation(body: PreviewRequest, caller: Runner, service: ServiceDep) -> Preview:
    """Compiles a query and returns its first rows, read-only."""
    return service(caller).preview(body)


@router.get("")
def list_transformations(
    caller: Reader, service: ServiceDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[TransformationView]:
    """Lists the transformations."""
    rows = service(caller).page(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, TransformationView)


@router.get("/{transformation_id}")
def get_transformation(
    transformation_id: int, caller: Reader, service: ServiceDep, etag: ETagDep
) -> TransformationView:
    """Returns a transformation."""
    return etag(TransformationView.model_validate(service(caller).get(transformation_id)))


@router.patch("/{transformation_id}")
def update_transformation(
    transformation_id: int,
    body: TransformationUpdate,
    caller: Writer,
    service: ServiceDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> TransformationView:
    """Changes a transformation; it takes effect with the next publish."""
    row = service(caller).update_transformation(transformation_id, body, if_match)
    return etag(TransformationView.model_validate(row))


@router.delete("/{transformation_id}", status_code=204)
def delete_transformation(
    transformation_id: int,
    caller: Writer,
    service: ServiceDep,
    if_match: IfMatchDep,
    usages: UsagesDep,
) -> None:
    """Deletes a transformation that nothing uses; what it has made stays."""
    service(caller).delete(transformation_id, if_match, usages)


@router.post("/{transformation_id}/restore")
def restore_transformation(
    transformation_id: int, caller: Restorer, service: ServiceDep, etag: ETagDep
) -> TransformationView:
    """Makes a deleted transformation live again after dbt has parsed the project with it."""
    return etag(TransformationView.model_validate(service(caller).restore(transformation_id)))
