"""Creates, changes and deletes freshness policies."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.core.clock import utc_now
from control_plane.core.errors import Conflict, FieldError, Invalid
from control_plane.freshness.models import FreshnessPolicy
from control_plane.freshness.repository import FreshnessPolicyRepository
from control_plane.freshness.schemas import FreshnessPolicyCreate, FreshnessPolicyUpdate
from control_plane.targets.service import Target, TargetRef, TargetService, TargetType
from control_plane.uploads.service import tables_made_by
from datanika_manifest.names import slugify

MAXIMUM_NAMED_TABLES = 10


class FreshnessService:
    """The freshness policies of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        self._session = session
        self._org_id = caller.org_id
        self._audit = caller.audit(session)
        self._rows = FreshnessPolicyRepository(session, caller.org_id)
        self._targets = TargetService(session, caller.org_id)

    def create_policy(self, body: FreshnessPolicyCreate) -> FreshnessPolicy:
        """Creates a policy.

        Raises:
            Invalid: The target or its table does not exist, or not exactly one limit is given.
            Conflict: The target, or that table of it, has a policy already.
        """
        target = self._targets.require_target(TargetRef(body.target_type, body.target_id), "target")
        _require_one_limit(body.max_age_seconds, body.deadline_cron)
        values = body.model_dump(mode="json")
        values["table_name"] = self._table(target, body.table_name)
        row = FreshnessPolicy(org_id=self._org_id, **values)
        try:
            with self._session.begin_nested():
                self._rows.add(row)
        except IntegrityError:
            raise Conflict(
                f"The {_described(target, row)} has a freshness policy already."
            ) from None
        self._audit.record("create", "freshness_policy", row.id, new=_audit_values(row))
        return row

    def update_policy(self, policy_id: int, body: FreshnessPolicyUpdate) -> FreshnessPolicy:
        """Changes what `body` names; a new limit takes the place of the other kind.

        Raises:
            NotFound: The org has no such policy.
            Invalid: Both limits are given.
        """
        row = self._rows.get(policy_id)
        old = _audit_values(row)
        values = body.model_dump(mode="json", exclude_none=True)
        if {"max_age_seconds", "deadline_cron"} & values.keys():
            _require_one_limit(body.max_age_seconds, body.deadline_cron)
            row.max_age_seconds = row.deadline_cron = None
        for name, value in values.items():
            setattr(row, name, value)
        self._session.flush()
        self._audit.record("update", "freshness_policy", row.id, old=old, new=_audit_values(row))
        return row

    def delete_policy(self, policy_id: int) -> None:
        """Deletes a policy softly.

        Raises:
            NotFound: The org has no such policy.
        """
        row = self._rows.get(policy_id)
        row.deleted_at = utc_now()
        self._audit.record("delete", "freshness_policy", row.id, old=_audit_values(row))

    def get_policy(self, policy_id: int) -> FreshnessPolicy:
        """Returns a policy.

        Raises:
            NotFound: The org has no such policy.
        """
        return self._rows.get(policy_id)

    def list_policies(self) -> Sequence[FreshnessPolicy]:
        """Returns every live policy."""
        return self._rows.list_all()

    def page_policies(self, after_id: int | None, limit: int) -> Sequence[FreshnessPolicy]:
        """Returns the policies after `after_id`."""
        return self._rows.page_after(after_id, limit)

    def _table(self, target: Target, name: str | None) -> str | None:
        """Returns the target table that a request names by its own or its source's name."""
        if name is None:
            return None
        if target.ref.type != TargetType.UPLOAD:
            raise Invalid.field("/table", f"a {target.ref.type} is one table; leave it out")
        made = tables_made_by(self._session, self._org_id, target.ref.id)
        tables = {table for _, _, table in made}
        table = name if name in tables else slugify(name)
        if table not in tables:
            known = ", ".join(sorted(tables)[:MAXIMUM_NAMED_TABLES])
            raise Invalid.field("/table", f"the {target} has no table '{name}'; it has: {known}")
        return table


def policies_using(
    session: Session, org_id: int, resource_type: str, resource_id: int
) -> Sequence[str]:
    """Names the freshness policies of a target, for `core.usages`."""
    rows = FreshnessPolicyRepository(session, org_id).list_of(resource_type, resource_id)
    return [f"freshness policy {row.id}" for row in rows]


def _require_one_limit(max_age_seconds: int | None, deadline_cron: str | None) -> None:
    if (max_age_seconds is None) == (deadline_cron is None):
        detail = "give exactly one of max_age_seconds and deadline_cron"
        raise Invalid(
            f"A freshness policy has one limit: {detail}.",
            errors=(FieldError("/max_age_seconds", detail), FieldError("/deadline_cron", detail)),
        )


def _described(target: Target, row: FreshnessPolicy) -> str:
    return f"table '{row.table_name}' of {target}" if row.table_name else str(target)


def _audit_values(row: FreshnessPolicy) -> dict[str, Any]:
    return {
        "target": f"{row.target_type} {row.target_id}",
        "table": row.table_name,
        "max_age_seconds": row.max_age_seconds,
        "deadline_cron": row.deadline_cron,
        "timezone": row.timezone,
        "severity": row.severity,
    }
