"""Exchanges the task token of a run or a task for the credentials that it names."""

from sqlalchemy.orm import Session

from control_plane.access.task_tokens.models import TaskToken
from control_plane.audit.service import SYSTEM, AuditLog
from control_plane.connections.schemas import RedeemedConnection
from control_plane.connections.service import ConnectionService
from control_plane.core.errors import Forbidden
from control_plane.core.vault import Vault
from control_plane.runs.repository import RunRepository
from control_plane.runs.status import ENDED


def connections_of(
    session: Session, vault: Vault, token: TaskToken
) -> dict[str, RedeemedConnection]:
    """Returns the connections of a token, with their secrets; deleted ones are left out.

    Args:
        session: Inside the token's org.
        vault: Opens the secrets.
        token: Redeemed in this transaction.

    Raises:
        Forbidden: Its run has ended, or every connection was deleted meanwhile.
        Sealed: The keys that were given do not open the secrets.
    """
    if token.run_id is not None:
        _refuse_ended(session, token.org_id, token.run_id)
    audit = AuditLog(session, token.org_id, SYSTEM)
    service = ConnectionService(session, token.org_id, vault, audit)
    found = service.redeem_connections(token.connection_ids)
    if token.connection_ids and not found:
        raise Forbidden("The connections of this token were deleted.")
    return found


def _refuse_ended(session: Session, org_id: int, run_id: str) -> None:
    row = RunRepository(session, org_id).find(run_id)
    if row is None or row.status in ENDED:
        raise Forbidden(f"The run {run_id} has ended.")
