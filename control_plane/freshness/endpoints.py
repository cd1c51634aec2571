"""`/api/v1/orgs/{org}/freshness-policies`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.etags import ETagDep, IfMatchDep
from control_plane.core.pagination import DEFAULT_LIMIT, CursorText, Limit, Page, cursor_id, page_of
from control_plane.freshness.schemas import (
    FreshnessPolicyCreate,
    FreshnessPolicyUpdate,
    FreshnessPolicyView,
)
from control_plane.freshness.service import FreshnessService

router = APIRouter(prefix="/orgs/{org}/freshness-policies", tags=["freshness policies"])

Reader = Annotated[Caller, Depends(Require(Permission.FRESHNESS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.FRESHNESS_WRITE))]
Restorer = Annotated[Caller, Depends(Require(Permission.DELETED_WRITE))]


@router.post("", status_code=201)
def create_policy(
    body: FreshnessPolicyCreate, caller: Writer, session: SessionDep, etag: ETagDep
) -> FreshnessPolicyView:
    """Creates a freshness policy; it is watched from the next publish on."""
    row = FreshnessService(session, caller).create_policy(body)
    return etag(FreshnessPolicyView.model_validate(row))


@router.get("")
def list_policies(
    caller: Reader, session: SessionDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[FreshnessPolicyView]:
    """Lists the freshness policies."""
    rows = FreshnessService(session, caller).page(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, FreshnessPolicyView)


@router.get("/{policy_id}")
def get_policy(
    policy_id: int, caller: Reader, session: SessionDep, etag: ETagDep
) -> FreshnessPolicyView:
    """Returns a freshness policy."""
    row = FreshnessService(session, caller).get(policy_id)
    return etag(FreshnessPolicyView.model_validate(row))


@router.patch("/{policy_id}")
def update_policy(
    policy_id: int,
    body: FreshnessPolicyUpdate,
    caller: Writer,
    session: SessionDep,
    if_match: IfMatchDep,
    etag: ETagDep,
) -> FreshnessPolicyView:
    """Changes a freshness policy; it takes effect with the next publish."""
    row = FreshnessService(session, caller).update_policy(policy_id, body, if_match)
    return etag(FreshnessPolicyView.model_validate(row))


@router.delete("/{policy_id}", status_code=204)
def delete_policy(
    policy_id: int, caller: Writer, session: SessionDep, if_match: IfMatchDep
) -> None:
    """Deletes a freshness policy."""
    FreshnessService(session, caller).delete(policy_id, if_match)


@router.post("/{policy_id}/restore")
def restore_policy(
    policy_id: int, caller: Restorer, session: SessionDep, etag: ETagDep
) -> FreshnessPolicyView:
    """Makes a deleted freshness policy live again."""
    row = FreshnessService(session, caller).restore(policy_id)
    return etag(FreshnessPolicyView.model_validate(row))
