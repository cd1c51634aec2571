"""`/api/v1/orgs/{org}/warehouse`."""

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request

from control_plane.access.caller import Caller, Require
from control_plane.access.permissions import Permission
from control_plane.core.dependencies import SessionDep, VaultDep
from control_plane.warehouses.provisioner import Provisioner
from control_plane.warehouses.schemas import ReaderCredentials, WarehouseView
from control_plane.warehouses.service import create_reader, view_warehouse

router = APIRouter(prefix="/orgs/{org}/warehouse", tags=["warehouse"])

Reader = Annotated[Caller, Depends(Require(Permission.WAREHOUSE_READ))]
Writer = Annotated[Caller, Depends(Require(Permission.WAREHOUSE_WRITE))]


async def _get_provisioner(request: Request) -> Provisioner:
    return cast("Provisioner", request.app.state.provisioner)


@router.get("")
def get_warehouse(caller: Reader, session: SessionDep, vault: VaultDep) -> WarehouseView:
    """Tells how far the managed warehouse is and where it is."""
    return view_warehouse(session, caller.org_id, vault)


@router.post("/credentials", status_code=201)
def create_reader_credentials(
    caller: Writer,
    session: SessionDep,
    vault: VaultDep,
    provisioner: Annotated[Provisioner, Depends(_get_provisioner)],
) -> ReaderCredentials:
    """Makes a read-only login for people and BI tools; a new call replaces its password."""
    return create_reader(session, caller, vault, provisioner)
