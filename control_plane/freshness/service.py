"""Creates, changes and deletes freshness policies."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.caller import Caller
from control_plane.audit.resources import ResourceService
from control_plane.core.errors import Conflict, FieldError, Invalid
from control_plane.core.etags import ANY_VERSION, IfMatch
from control_plane.freshness.models import FreshnessPolicy
from control_plane.freshness.repository import FreshnessPolicyRepository
from control_plane.freshness.schemas import FreshnessPolicyCreate, FreshnessPolicyUpdate
from control_plane.targets.service import Target, TargetRef, TargetService, TargetType
from control_plane.tenancy.repository import Deleted
from control_plane.uploads.service import tables_made_by
from datanika_manifest import selection
from datanika_manifest.code_location import CodeLocation
from datanika_manifest.names import AssetKey, slugify

MAXIMUM_NAMED_TABLES = 10


class FreshnessService(ResourceService[FreshnessPolicy]):
    """The freshness policies of one org.

    Args:
        session: Inside the org.
        caller: In whose name; the org is the caller's.
    """

    def __init__(self, session: Session, caller: Caller) -> None:
        super().__init__(FreshnessPolicyRepository(session, caller.org_id), caller.audit(session))
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
        return self._create(FreshnessPolicy(org_id=self._org_id, **values))

    def update_policy(
        self, policy_id: int, body: FreshnessPolicyUpdate, if_match: IfMatch = ANY_VERSION
    ) -> FreshnessPolicy:
        """Changes what `body` names; a new limit takes the place of the other kind.

        Raises:
            NotFound: The org has no such policy.
            PreconditionFailed: It is another version by now.
            Invalid: Both limits are given.
        """
        values = body.model_dump(mode="json", exclude_none=True)
        if {"max_age_seconds", "deadline_cron"} & values.keys():
            _require_one_limit(body.max_age_seconds, body.deadline_cron)
            values = {"max_age_seconds": None, "deadline_cron": None, **values}
        return self._update(self._lock(policy_id, if_match), values)

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

    def _check_restorable(self, row: FreshnessPolicy) -> None:
        target = self._targets.require_live_target(_target_of(row), hold=False)
        self._table(target, row.table_name)

    def _hold_references(self, row: FreshnessPolicy) -> None:
        self._targets.require_live_target(_target_of(row), hold=True)

    def _audit_values(self, row: FreshnessPolicy) -> dict[str, Any]:
        return {
            "target": f"{row.target_type} {row.target_id}",
            "table": row.table_name,
            "max_age_seconds": row.max_age_seconds,
            "deadline_cron": row.deadline_cron,
            "timezone": row.timezone,
            "severity": row.severity,
            "reaction": row.reaction,
            "maximum_launches": row.maximum_launches,
        }

    def _taken(self, row: FreshnessPolicy, name: str) -> Conflict:
        target = self._targets.find_target(_target_of(row))
        described = f"table '{row.table_name}' of {target}" if row.table_name else str(target)
        return Conflict(f"The {described} has a freshness policy already.")


def list_policies(session: Session, org_id: int) -> Sequence[FreshnessPolicy]:
    """Returns every policy of an org."""
    return FreshnessPolicyRepository(session, org_id).list_all()


def watched_assets(
    rows: Iterable[FreshnessPolicy], location: CodeLocation
) -> dict[AssetKey, FreshnessPolicy]:
    """Returns the policy of each asset of a manifest that has one."""
    found: dict[AssetKey, FreshnessPolicy] = {}
    # A policy of one table goes before one of the whole upload, so it is put in last.
    for row in sorted(rows, key=lambda row: row.table_name or ""):
        for key in selection.target_asset_keys(location, row.target_type, row.target_id):
            if row.table_name is None or row.table_name == key[-1]:
                found[key] = row
    return found


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


def select_deleted_policies(session: Session, org_id: int) -> Deleted:
    """Returns the select of an org's deleted freshness policies."""
    return FreshnessPolicyRepository(session, org_id).select_deleted()


def _target_of(row: FreshnessPolicy) -> TargetRef:
    return TargetRef(row.target_type, row.target_id)
