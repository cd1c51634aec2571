"""Closes the logins of deleted orgs' databases, as the worker's job `deleted orgs`.

Deleting keeps the data, since an operator may bring the org back
(docs/decisions/0067-a-deleted-org-can-come-back-its-keys-cannot.md). People are shut out at once. Runs
that were under way have their credentials and may end first; after a day nothing has. Whoever restores an
org has its warehouse provisioned again, which opens it.
"""

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.clock import utc_now
from control_plane.core.database import transaction
from control_plane.core.errors import DatanikaError, Unavailable
from control_plane.tenancy.service import DeletedOrg, list_deleted_orgs, lock_organization
from control_plane.warehouses.provisioner import Provisioner

logger = logging.getLogger(__name__)
INTERVAL_SECONDS = 15.0
RUNS_END_WITHIN = timedelta(days=1)


class Closing:
    """One worker's closing of logins; several at once do no harm, and it can be repeated.

    Args:
        factory: Makes sessions; each org is a transaction of its own.
        provisioner: Closes them.
    """

    def __init__(self, factory: sessionmaker[Session], provisioner: Provisioner) -> None:
        self._factory = factory
        self._provisioner = provisioner
        self._next_at = 0.0
        # Whether also what runs use has been closed, by org and deletion.
        self._closed: dict[DeletedOrg, bool] = {}

    def run_if_due(self) -> None:
        """Closes what is due, four times a minute; the worker asks far more often.

        Raises:
            Unavailable: One or more could not be closed, after all were tried.
        """
        if time.monotonic() < self._next_at:
            return
        self.run_once()
        self._next_at = time.monotonic() + INTERVAL_SECONDS

    def run_once(self) -> None:
        """Closes what is due.

        Raises:
            Unavailable: One or more could not be closed, after all were tried.
        """
        with transaction(self._factory) as session:
            orgs = list_deleted_orgs(session)
        self._closed = {org: self._closed[org] for org in orgs if org in self._closed}
        now, failed = utc_now(), 0
        for org in orgs:
            is_late = now - org.deleted_at > RUNS_END_WITHIN
            if self._closed.get(org) is is_late:
                continue
            try:
                self._close(org, is_late=is_late)
            except DatanikaError as error:
                logger.warning("the logins of org %s stay: %s", org.id, error.detail)
                failed += 1
        if failed:
            raise Unavailable(f"The logins of {failed} deleted organizations could not be closed.")

    def _close(self, org: DeletedOrg, *, is_late: bool) -> None:
        with transaction(self._factory, org.id) as session:
            # Whoever restores it waits for this lock, and what it opens is opened afterwards.
            if not _is_still_deleted(session, org.id, org.deleted_at):
                return
            if is_late:
                self._provisioner.close_logins(org.id)
            else:
                self._provisioner.close_reader(org.id)
        self._closed[org] = is_late


def _is_still_deleted(session: Session, org_id: int, deleted_at: datetime) -> bool:
    return lock_organization(session, org_id).deleted_at == deleted_at
