"""`/api/v1/orgs/{org}/api-keys`."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control_plane.access.api_keys.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyView
from control_plane.access.api_keys.service import ApiKeyService
from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep
from control_plane.core.pagination import (
    DEFAULT_LIMIT,
    CursorText,
    Limit,
    Page,
    cursor_id,
    page_of,
)

router = APIRouter(prefix="/orgs/{org}/api-keys", tags=["API keys"])

Reader = Annotated[Caller, Depends(Require(Permission.API_KEYS_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.API_KEYS_WRITE))]


@router.post("", status_code=201)
def create_api_key(body: ApiKeyCreate, caller: Writer, session: SessionDep) -> ApiKeyCreated:
    """Makes a key; its secret is shown in this answer only."""
    row, secret = ApiKeyService(session, caller).create_key(body.name, body.scopes, body.expires_at)
    view = ApiKeyView.model_validate(row)
    return ApiKeyCreated(**view.model_dump(), key=secret)


@router.get("")
def list_api_keys(
    caller: Reader, session: SessionDep, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None
) -> Page[ApiKeyView]:
    """Lists the keys that work."""
    rows = ApiKeyService(session, caller).page_keys(cursor_id(cursor), limit + 1)
    return page_of(rows, limit, ApiKeyView)


@router.delete("/{key_id}", status_code=204)
def revoke_api_key(key_id: int, caller: Writer, session: SessionDep) -> None:
    """Revokes a key."""
    ApiKeyService(session, caller).revoke_key(key_id)
