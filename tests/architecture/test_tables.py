"""Every table belongs to an org and is under forced row-level security, or is listed as global."""

import importlib
import pkgutil

import pytest
from sqlalchemy import Table, UniqueConstraint, text
from sqlalchemy.orm import Session

import control_plane
from control_plane.core.database import Base

for module in pkgutil.walk_packages(control_plane.__path__, "control_plane."):
    if module.name.endswith(".models"):
        importlib.import_module(module.name)

# Users and the platform belong to nobody's org (architecture, decision 19).
GLOBAL_TABLES = {
    "users",
    "user_sessions",
    "refresh_tokens",
    "oauth_identities",
    "oauth_codes",
    "password_resets",
    "throttle_counters",
    "platform_audit_entries",
    "key_encryption_keys",
    "key_rotations",
}
# Not ours: Alembic's; the application role has no right on it.
FOREIGN_TABLES = {"alembic_version"}
ORG_TABLES = sorted(set(Base.metadata.tables) - GLOBAL_TABLES)
APPEND_ONLY = {"audit_entries", "manifests", "platform_audit_entries"}
LOOKUPS = {"memberships_of", "key_by_hash", "active_orgs", "all_orgs", "data_key_counts"}


def table_facts(session: Session) -> dict[str, tuple[bool, bool, int]]:
    rows = session.execute(
        text(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,"
            " (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own_org')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
        )
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def test_the_database_has_exactly_the_declared_tables(session: Session):
    assert set(table_facts(session)) == set(Base.metadata.tables) | FOREIGN_TABLES


@pytest.mark.parametrize("name", ORG_TABLES)
def test_org_tables_have_forced_row_level_security(session: Session, name: str):
    assert table_facts(session)[name] == (True, True, 1)


@pytest.mark.parametrize("name", sorted(GLOBAL_TABLES))
def test_global_tables_hold_no_org(session: Session, name: str):
    assert "org_id" not in Base.metadata.tables[name].columns
    assert table_facts(session)[name] == (False, False, 0)


@pytest.mark.parametrize("name", [n for n in ORG_TABLES if n != "organizations"])
def test_unique_constraints_and_foreign_keys_stay_in_the_org(name: str):
    table = Base.metadata.tables[name]
    assert not table.columns["org_id"].nullable
    assert leaks(table) == []


def leaks(table: Table) -> list[str]:
    """Names constraints that would reveal other orgs' values, or point into them."""
    found = []
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and "org_id" not in constraint.columns:
            found.append(f"unique {list(constraint.columns.keys())}")
    for index in table.indexes:
        if index.unique and "org_id" not in index.columns:
            found.append(f"unique index {index.name}")
    for key in table.foreign_key_constraints:
        target = key.referred_table
        if target.name in GLOBAL_TABLES or target.name == "organizations":
            continue
        if "org_id" not in key.column_keys:
            found.append(f"foreign key {key.column_keys}")
    return found


def test_append_only_tables_cannot_be_changed(session: Session):
    for name in APPEND_ONLY:
        rights = session.execute(
            text(
                "SELECT has_table_privilege(current_user, CAST(:t AS text), 'UPDATE'),"
                " has_table_privilege(current_user, CAST(:t AS text), 'DELETE')"
            ),
            {"t": name},
        ).one()
        assert tuple(rights) == (False, False), name


def test_only_four_functions_see_more_than_one_org(session: Session):
    rows = session.execute(
        text(
            "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = 'public' AND p.prosecdef"
        )
    )
    assert set(rows.scalars()) == LOOKUPS


def test_the_leak_test_can_fail():
    metadata = Base.metadata.__class__()
    bad = Table("bad", metadata, *[c._copy() for c in Base.metadata.tables["connections"].columns])
    bad.append_constraint(UniqueConstraint("name"))
    assert leaks(bad) == ["unique ['name']"]
