"""Looks at what one request leaves in the audit logs, and in the whole database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.audit.models import AuditEntry, PlatformAuditEntry
from control_plane.core.database import Base, enter_org
from control_plane.routes import Operation
from tests.control_plane.access.matrix.cases import Case, cases_of
from tests.control_plane.access.matrix.objects import Request
from tests.control_plane.access.matrix.rows import Row
from tests.control_plane.access.matrix.world import FOREIGN, OWN, World
from tests.control_plane.access.test_matrix import Attempts

AUDIT_TABLES = (AuditEntry.__tablename__, PlatformAuditEntry.__tablename__)
# Attempts are counted before anything else happens, in transactions of their own, and stay counted
# where the rest fails.
COUNTERS = ("throttle_counters",)
Entry = AuditEntry | PlatformAuditEntry


def successful_case(operation: Operation, row: Row, world: World) -> Case:
    """Returns a case of a person, or a process, who may do this to what is theirs."""
    wanted = row.status or operation.status
    cases = [
        case
        for case in cases_of(operation, row, world)
        if (case.slug, case.object, case.status) == (OWN, OWN, wanted) and not case.caller.is_key
    ]
    return next((case for case in cases if case.caller.name == "owner"), cases[-1])


def key_case(operation: Operation, row: Row, world: World) -> Case | None:
    """Returns the case of an API key that may do this, None where no key may."""
    wanted = row.status or operation.status
    for case in cases_of(operation, row, world):
        if (case.slug, case.object, case.status) == (OWN, OWN, wanted) and case.caller.is_key:
            return case
    return None


class Logs:
    """Every org's audit entries and the platform's, as they are inside a test's transaction."""

    def __init__(self, world: World) -> None:
        self._world = world

    def entries(self) -> list[Entry]:
        """Returns all of them; those of orgs that a request made are the platform's to know."""
        found: list[Entry] = []
        with self._world.factory() as session:
            for org_id in _org_ids(session):
                enter_org(session, org_id)
                found += session.scalars(select(AuditEntry).order_by(AuditEntry.id))
            found += session.scalars(select(PlatformAuditEntry).order_by(PlatformAuditEntry.id))
        return found

    @contextmanager
    def new_entries(self) -> Iterator[list[Entry]]:
        """Fills the list with what the block left."""
        before = {(type(one), one.id) for one in self.entries()}
        new: list[Entry] = []
        yield new
        new += [one for one in self.entries() if (type(one), one.id) not in before]


def _org_ids(session: Session) -> Sequence[int]:
    return session.scalars(text("SELECT org_id FROM all_orgs() ORDER BY org_id")).all()


def state(world: World) -> dict[str, Any]:
    """Returns a digest of every table but the counters, seen from each org."""
    found: dict[str, Any] = {}
    tables = [t.name for t in Base.metadata.sorted_tables if t.name not in COUNTERS]
    with world.factory() as session:
        for org_id in [None, *_org_ids(session)]:
            enter_org(session, org_id)
            for table in tables:
                digest = f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
                found[f"{table} of {org_id}"] = session.scalar(text(digest))
    return found


def send(attempts: Attempts, case: Case, body: Any = None) -> httpx.Response:
    """Sends a case's request and keeps what it did, for the caller to take back."""
    prepared = attempts.prepared[FOREIGN if case.slug == FOREIGN else OWN]
    path = attempts.operation.path.format(
        org=attempts.world.slug(case.slug), **attempts.values(case)
    )
    request = Request(**{**vars(prepared), "body": prepared.body if body is None else body})
    attempts.http.cookies.clear()
    return attempts.http.request(
        attempts.operation.method,
        path,
        json=request.body,
        data=request.form,
        params=request.query,
        headers={**request.headers, **case.caller.headers},
    )


@contextmanager
def failing_commits(factory: sessionmaker[Session]) -> Iterator[list[str]]:
    """Makes each transaction fail that has written an audit entry, at its very end.

    The list tells how often.
    """
    failures: list[str] = []

    def note(session: Session, *_: object) -> None:
        if any(isinstance(one, AuditEntry | PlatformAuditEntry) for one in session.new):
            session.info["has_audit_entry"] = True

    def fail(session: Session) -> None:
        session.flush()
        if session.info.get("has_audit_entry"):
            failures.append("commit")
            raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    event.listen(factory, "before_flush", note)
    event.listen(factory, "before_commit", fail)
    try:
        yield failures
    finally:
        event.remove(factory, "before_flush", note)
        event.remove(factory, "before_commit", fail)
