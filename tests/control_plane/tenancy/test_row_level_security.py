"""Row-level security holds without any help from the application."""

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from control_plane.core.database import enter_org, make_session_factory, transaction
from control_plane.core.vault import Vault
from control_plane.tenancy.models import Organization
from control_plane.tenancy.service import create_organization, list_active_orgs
from tests.factories.access import make_member


@pytest.fixture
def two_orgs(session: Session, vault: Vault) -> tuple[Organization, Organization]:
    first = make_member(session, vault).org
    second = make_member(session, vault).org
    return first, second


def test_sql_without_where_returns_only_the_orgs_rows(session: Session, two_orgs):
    for org in two_orgs:
        enter_org(session, org.id)
        assert session.scalars(text("SELECT slug FROM organizations")).all() == [org.slug]
        assert session.scalars(text("SELECT DISTINCT org_id FROM memberships")).all() == [org.id]


def test_without_an_org_nothing_is_visible(session: Session, two_orgs):
    enter_org(session, None)
    assert session.scalars(text("SELECT id FROM organizations")).all() == []
    assert session.scalars(text("SELECT id FROM memberships")).all() == []


def test_foreign_rows_cannot_be_written(session: Session, two_orgs):
    own, foreign = two_orgs
    enter_org(session, own.id)
    changed = session.execute(
        text("UPDATE organizations SET name = 'x' WHERE id = :id"), {"id": foreign.id}
    )
    assert changed.rowcount == 0  # type: ignore[attr-defined]
    with pytest.raises(ProgrammingError, match="row-level security"), session.begin_nested():
        session.execute(
            text(
                "INSERT INTO audit_entries (org_id, occurred_at, actor_kind, actor_name, action,"
                " resource_type) VALUES (:id, now(), 'user', 'x', 'x', 'x')"
            ),
            {"id": foreign.id},
        )


def test_the_org_survives_an_error_in_a_nested_transaction(session: Session, two_orgs):
    own, _ = two_orgs
    enter_org(session, own.id)
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("SELECT 1/0"))
    assert session.scalars(text("SELECT id FROM organizations")).all() == [own.id]


def test_a_pooled_connection_never_carries_an_org_over(app_engine: Engine, vault: Vault):
    engine = create_engine(app_engine.url, pool_size=1, max_overflow=0)
    factory = make_session_factory(engine)
    with transaction(factory) as session:
        org_id = create_organization(session, vault, "Pooled").id
    with transaction(factory) as session:
        assert session.scalars(text("SELECT id FROM organizations")).all() == []
    with transaction(factory, org_id) as session:
        assert session.scalars(text("SELECT id FROM organizations")).all() == [org_id]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM organizations")).all() == []
    engine.dispose()


def test_the_audit_log_is_append_only(session: Session, two_orgs):
    enter_org(session, two_orgs[0].id)
    for statement in ("UPDATE audit_entries SET action = 'x'", "DELETE FROM audit_entries"):
        with pytest.raises(ProgrammingError, match="permission denied"), session.begin_nested():
            session.execute(text(statement))


def test_the_application_role_has_no_power_over_the_policies(session: Session):
    row = session.execute(
        text(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,"
            " (SELECT count(*) FROM pg_class WHERE relowner = r.oid)"
            " FROM pg_roles r WHERE rolname = current_user"
        )
    ).one()
    assert tuple(row) == (False, False, False, False, 0)
    with pytest.raises(ProgrammingError, match="must be owner"), session.begin_nested():
        session.execute(text("ALTER TABLE organizations DISABLE ROW LEVEL SECURITY"))


def test_same_names_get_different_slugs(session: Session, vault: Vault):
    slugs = [create_organization(session, vault, "Ünited Ärlines").slug for _ in range(3)]
    assert slugs == ["united_arlines", "united_arlines_2", "united_arlines_3"]


def test_active_orgs_are_listed_across_orgs(session: Session, two_orgs):
    enter_org(session, None)
    assert {org.slug for org in two_orgs} <= {org.slug for org in list_active_orgs(session)}
