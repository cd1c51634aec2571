"""Every kind of resource, as the tests that hold for all of them make and change one.

`Kind`s are compared with the OpenAPI document: a new collection with a restore route without a
`Kind` fails a test.
"""

import secrets
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from control_plane.core.database import enter_org
from control_plane.dependencies.models import Dependency
from control_plane.freshness.models import FreshnessPolicy
from control_plane.schedules.models import Schedule
from tests.factories.targets import add, make_connection, make_transformation, make_upload


@dataclass(frozen=True)
class Kind:
    """A kind of resource.

    Attributes:
        collection: Its part of the URL.
        resource_type: What the audit log calls it.
        make: Inserts one into an org.
        change: The body of the n-th PATCH of a row, by its id; None without a PATCH that is quick.
    """

    collection: str
    resource_type: str
    make: Callable[[Session, int], Any]
    change: Callable[[str, int], dict[str, Any]] | None


def make_schedule(session: Session, org_id: int, **values: Any) -> Schedule:
    """An active schedule of a new upload."""
    target_id = values.pop("target_id", None) or make_upload(session, org_id).id
    defaults = {"name": f"Nightly {secrets.token_hex(3)}", "cron": "0 6 * * *", "timezone": "UTC"}
    row = Schedule(
        org_id=org_id, target_type="upload", target_id=target_id, **{**defaults, **values}
    )
    return add(session, row)


def make_policy(session: Session, org_id: int, **values: Any) -> FreshnessPolicy:
    """A policy of a whole new upload."""
    target_id = values.pop("target_id", None) or make_upload(session, org_id).id
    defaults = {"max_age_seconds": 3600, "timezone": "UTC", "severity": "warn"}
    row = FreshnessPolicy(
        org_id=org_id, target_type="upload", target_id=target_id, **{**defaults, **values}
    )
    return add(session, row)


def make_dependency(session: Session, org_id: int, **values: Any) -> Dependency:
    """An edge between two new uploads."""
    upstream = values.get("upstream_id") or make_upload(session, org_id).id
    downstream = values.get("downstream_id") or make_upload(session, org_id).id
    row = Dependency(
        org_id=org_id,
        upstream_type="upload",
        upstream_id=upstream,
        downstream_type="upload",
        downstream_id=downstream,
    )
    return add(session, row)


def _named(row_id: str, n: int) -> dict[str, Any]:
    return {"name": f"Name {n} of {row_id}"}


KINDS = {
    kind.resource_type: kind
    for kind in (
        Kind("connections", "connection", make_connection, _named),
        Kind("uploads", "upload", make_upload, _named),
        Kind("transformations", "transformation", make_transformation, None),
        Kind("dependencies", "dependency", make_dependency, None),
        Kind("schedules", "schedule", make_schedule, _named),
        Kind(
            "freshness-policies",
            "freshness_policy",
            make_policy,
            lambda _, n: {"max_age_seconds": 60 + n},
        ),
    )
}


@contextmanager
def inside(factory: Any, org_id: int):
    """A session inside an org, for the factories, which commit by themselves."""
    with factory() as session:
        enter_org(session, org_id)
        yield session
