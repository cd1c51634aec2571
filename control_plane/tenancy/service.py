"""Makes organizations and answers which there are."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.core.database import enter_org
from control_plane.core.errors import Conflict, NotFound
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.repository import OrganizationRepository
from control_plane.tenancy.secrets import OrgSecrets
from datanika_manifest.names import slugify

NUMBERED_SLUGS = 4
RANDOM_SLUGS = 4


@dataclass(frozen=True)
class ActiveOrg:
    """An org that is neither suspended nor deleted, as background work sees it."""

    id: int
    slug: str


@dataclass(frozen=True)
class DeletedOrg:
    """An org that was deleted then, and is still there for whoever brings it back."""

    id: int
    deleted_at: datetime


@dataclass(frozen=True)
class PlatformOrg:
    """An org as platform operators see it: that it is there, and nothing that is inside."""

    id: int
    slug: str
    name: str
    is_suspended: bool
    created_at: datetime
    deleted_at: datetime | None
    parallel_runs: int | None
    runs_per_hour: int | None


def create_organization(session: Session, vault: Vault, name: str) -> Organization:
    """Creates an org with its own data key and leaves the session inside it.

    Its slug comes from the name; a taken one gets a number, later ones something random.

    Raises:
        Conflict: No free slug was found for this name.
        Sealed: There is no key to wrap the org's data key with.
    """
    repository = OrganizationRepository(session)
    base = slugify(name, fallback="org")[:55].rstrip("_")
    for slug in _candidates(base):
        org_id = repository.next_id()
        enter_org(session, org_id)
        row = Organization(id=org_id, slug=slug, name=name)
        try:
            with session.begin_nested():
                repository.add(row)
        except IntegrityError:
            continue
        OrgSecrets(session, row.id, vault).add_data_key()
        return row
    raise Conflict(f"Too many organizations are called '{name}'.")


def _candidates(base: str) -> list[str]:
    numbered = [f"{base}_{number}" for number in range(2, 2 + NUMBERED_SLUGS)]
    # Whoever takes all the numbers must not keep others from using the name.
    return [base, *numbered, *(f"{base}_{secrets.token_hex(4)}" for _ in range(RANDOM_SLUGS))]


def get_organization(session: Session, org_id: int) -> Organization:
    """Returns the org that the session is in.

    Raises:
        NotFound: It is another one, or none.
    """
    return OrganizationRepository(session).get(org_id)


def lock_organization(session: Session, org_id: int) -> Organization:
    """Returns the org that the session is in, as it is now; nobody else changes it meanwhile.

    Raises:
        NotFound: It is another one, or none.
    """
    return OrganizationRepository(session).lock(org_id)


def is_active(session: Session, org_id: int) -> bool:
    """Tells whether the org that the session is in is neither suspended nor deleted."""
    row = OrganizationRepository(session).find(org_id)
    return row is not None and not row.is_suspended and row.deleted_at is None


def list_active_orgs(session: Session) -> list[ActiveOrg]:
    """Returns every org that is neither suspended nor deleted, for work that goes org by org.

    One of the SECURITY DEFINER functions (architecture, decision 19).
    """
    rows = session.execute(text("SELECT org_id, slug FROM active_orgs() ORDER BY org_id"))
    return [ActiveOrg(row.org_id, row.slug) for row in rows]


def list_org_ids(session: Session) -> list[int]:
    """Returns the id of every org, also of suspended and deleted ones, for what cleans up."""
    return list(session.scalars(text("SELECT org_id FROM all_orgs() ORDER BY org_id")))


def list_deleted_orgs(session: Session) -> list[DeletedOrg]:
    """Returns every deleted org, for what is closed behind them."""
    statement = (
        "SELECT org_id, deleted_at FROM all_orgs() WHERE deleted_at IS NOT NULL ORDER BY org_id"
    )
    return [DeletedOrg(row.org_id, row.deleted_at) for row in session.execute(text(statement))]


def get_active_org(session: Session, slug: str) -> ActiveOrg:
    """Returns the active org with this slug.

    Raises:
        NotFound: None has it.
    """
    row = session.execute(
        text("SELECT org_id, slug FROM active_orgs() WHERE slug = :slug"), {"slug": slug}
    ).one_or_none()
    if row is None:
        raise _no_such_org(slug)
    return ActiveOrg(row.org_id, row.slug)


def list_quotas(session: Session) -> list[tuple[str, int | None, int | None]]:
    """Returns the slug, the runs at once and the runs per hour of each org with a quota of its own."""
    rows = session.execute(
        text(
            "SELECT slug, parallel_runs, runs_per_hour FROM all_orgs()"
            " WHERE num_nonnulls(parallel_runs, runs_per_hour) > 0"
        )
    )
    return [(row.slug, row.parallel_runs, row.runs_per_hour) for row in rows]


def page_platform_orgs(session: Session, after_id: int | None, limit: int) -> Sequence[PlatformOrg]:
    """Returns orgs by id, suspended and deleted ones too, those after `after_id`."""
    rows = session.execute(
        text("SELECT * FROM all_orgs() WHERE org_id > :after_id ORDER BY org_id LIMIT :limit"),
        {"after_id": after_id or 0, "limit": limit},
    )
    return [_platform_org(row) for row in rows]


def get_platform_org(session: Session, slug: str) -> PlatformOrg:
    """Returns the org with this slug, also a suspended or a deleted one.

    Raises:
        NotFound: None has it.
    """
    row = session.execute(
        text("SELECT * FROM all_orgs() WHERE slug = :slug"), {"slug": slug}
    ).one_or_none()
    if row is None:
        raise _no_such_org(slug)
    return _platform_org(row)


def _platform_org(row: Row[Any]) -> PlatformOrg:
    return PlatformOrg(
        id=row.org_id,
        slug=row.slug,
        name=row.name,
        is_suspended=row.is_suspended,
        created_at=row.created_at,
        deleted_at=row.deleted_at,
        parallel_runs=row.parallel_runs,
        runs_per_hour=row.runs_per_hour,
    )


def _no_such_org(slug: str) -> NotFound:
    return NotFound(f"There is no organization '{slug}'.")
