"""Provisions warehouses in the background and tells their state."""

import logging

from sqlalchemy import URL
from sqlalchemy.orm import Session, sessionmaker

from control_plane.access.caller import Caller
from control_plane.audit.service import SYSTEM, AuditLog
from control_plane.connections.service import ConnectionService
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError, InvalidState, Unavailable
from control_plane.core.vault import Vault
from control_plane.tenancy.service import list_active_orgs
from control_plane.warehouses.models import Warehouse, WarehouseState
from control_plane.warehouses.provisioner import Provisioner
from control_plane.warehouses.repository import WarehouseRepository
from control_plane.warehouses.schemas import ReaderCredentials, WarehouseView

logger = logging.getLogger(__name__)


def provision_warehouses(
    factory: sessionmaker[Session], vault: Vault, provisioner: Provisioner
) -> int:
    """Provisions the warehouse of every org that has none yet, and returns how many.

    Safe to run in several processes and after a crash at any point: the provisioner repeats its
    work without harm, and the row is locked while it does.

    Raises:
        Sealed: There is something to provision, and its password could not be encrypted.
        Unavailable: One or more failed, after all were tried: the worker then slows down.
        Sealed: Their passwords could not be stored; nothing was tried.
    """
    vault.require_keys()
    with transaction(factory) as session:
        orgs = list_active_orgs(session)
    states = [_provision_one(factory, vault, provisioner, org.id) for org in orgs]
    failed = states.count(WarehouseState.FAILED)
    if failed:
        raise Unavailable(f"{failed} warehouses could not be provisioned.")
    return states.count(WarehouseState.READY)


def _provision_one(
    factory: sessionmaker[Session], vault: Vault, provisioner: Provisioner, org_id: int
) -> WarehouseState | None:
    """Returns what became of it, None where there was nothing to do."""
    with transaction(factory, org_id) as session:
        repository = WarehouseRepository(session, org_id)
        if repository.find_own() is None:
            repository.add(Warehouse(org_id=org_id))
    with transaction(factory, org_id) as session:
        row = WarehouseRepository(session, org_id).lock_own()
        if row is None or row.state == WarehouseState.READY:
            return None
        # Before the provisioner, which gives the database's role another password each time.
        vault.require_keys()
        try:
            config = provisioner.ensure_warehouse(org_id)
        except DatanikaError as error:
            logger.warning("warehouse of org %s: %s", org_id, error.detail)
            row.state, row.error = WarehouseState.FAILED, error.detail
            return WarehouseState.FAILED
        service = ConnectionService(session, org_id, vault, AuditLog(session, org_id, SYSTEM))
        row.connection_id = service.save_managed_warehouse(config).id
        row.state, row.error = WarehouseState.READY, None
    return WarehouseState.READY


def provision_again(session: Session, org_id: int) -> None:
    """Has an org's warehouse opened again, with fresh passwords: its logins are closed. Its data stay.

    Args:
        session: Inside the org, which comes back.
        org_id: The org.
    """
    row = WarehouseRepository(session, org_id).find_own()
    if row is not None:
        row.state = WarehouseState.PENDING
        session.flush()


def view_warehouse(session: Session, org_id: int, vault: Vault) -> WarehouseView:
    """Returns the state of the org's warehouse."""
    row = WarehouseRepository(session, org_id).find_own()
    if row is None:
        return WarehouseView(state=WarehouseState.PENDING)
    if row.connection_id is None:
        return WarehouseView(state=WarehouseState(row.state), error=row.error)
    service = ConnectionService(session, org_id, vault, AuditLog(session, org_id, SYSTEM))
    config = service.get(row.connection_id).config
    return WarehouseView(
        state=WarehouseState(row.state),
        connection_id=row.connection_id,
        host=config["host"],
        port=config["port"],
        database=config["database"],
        user=config["user"],
        error=row.error,
    )


def create_reader(
    session: Session, caller: Caller, vault: Vault, provisioner: Provisioner
) -> ReaderCredentials:
    """Makes the read-only login of the org's warehouse; an earlier password ends.

    Raises:
        InvalidState: The warehouse is not ready.
        Unavailable: The provisioner cannot be reached.
        Upstream: It failed.
    """
    warehouse = view_warehouse(session, caller.org_id, vault)
    if warehouse.state != WarehouseState.READY:
        raise InvalidState(f"The warehouse is {warehouse.state}; try again when it is ready.")
    reader = provisioner.create_reader(caller.org_id)
    caller.audit(session).record("create", "warehouse_reader", reader["user"])
    url = URL.create(
        "postgresql",
        reader["user"],
        reader["password"],
        warehouse.host,
        warehouse.port,
        warehouse.database,
    )
    return ReaderCredentials(
        user=reader["user"],
        password=reader["password"],
        url=url.render_as_string(hide_password=False),
    )
