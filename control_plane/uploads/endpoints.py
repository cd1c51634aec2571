"""`/api/v1/orgs/{org}/uploads`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.access.task_tokens.tasks import OrgTasks
from control_plane.core.dependencies import SessionDep, SessionFactoryDep, TaskRunnerDep, VaultDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.core.usages import UsagesDep
from control_plane.uploads.schemas import UploadCreate, UploadUpdate, UploadView
from control_plane.uploads.service import UploadService

router = APIRouter(prefix="/orgs/{org}/uploads", tags=["uploads"])

Reader = Annotated[Caller, Depends(Require(Permission.UPLOADS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.UPLOADS_WRITE))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]


async def _services(
    session: SessionDep, factory: SessionFactoryDep, vault: VaultDep, runner: TaskRunnerDep
) -> Callable[[Caller], UploadService]:
    return lambda caller: UploadService.of(
        session, caller, vault, OrgTasks.of(factory, runner, vault, caller)
    )


ServiceDep = Annotated[Callable[[Caller], UploadService], Depends(_services)]


@router.post("", status_code=201)
def create_upload(
    body: UploadCreate, caller: Writer, service: ServiceDep, etag: ETagDep
) -> UploadView:
    """Creates an upload; every table and column that it names must exist in the source."""
    return etag(UploadView.model_validate(service(caller).create_upload(body)))


@router.get("")
def list_uploads(
    caller: Reader, service: ServiceDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[UploadView]:
    """Lists the uploads."""
    return page_of(service(caller).page(cursor_id(cursor), limit + 1), limit, UploadView)


@router.get("/{upload_id}")
def get_upload(upload_id: int, caller: Reader, service: ServiceDep, etag: ETagDep) -> UploadView:
    """Returns an upload."""
    return etag(UploadView.model_validate(service(caller).get(upload_id)))


@router.patch("/{upload_id}")
def update_upload(
    upload_id: int,
    body: UploadUpdate,
    caller: Writer,
    service: ServiceDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> UploadView:
    """Changes an upload; it takes effect with the next publish."""
    row = service(caller).update_upload(upload_id, body, if_match)
    return etag(UploadView.model_validate(row))


@router.delete("/{upload_id}", status_code=204)
def delete_upload(
    upload_id: int, caller: Writer, service: ServiceDep, if_match: IfMatchDep, usages: UsagesDep
) -> None:
    """Deletes an upload that nothing uses; what it has loaded stays."""
    service(caller).delete(upload_id, if_match, usages)


@router.post("/{upload_id}/restore")
def restore_upload(
    upload_id: int, caller: Restorer, service: ServiceDep, etag: ETagDep
) -> UploadView:
    """Makes a deleted upload live again, checked against its source as when it was created."""
    return etag(UploadView.model_validate(service(caller).restore(upload_id)))
