"""Every grant to an org's login and every policy, word for word, on each version of PostgreSQL.

After a change that is meant, the failing test says what the file should hold.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datanika_dagster.row_security.statements import READERS, RUNS
from datanika_dagster.row_security.tables import TABLES
from tests.datanika_dagster.row_security.conftest import ACME, GLOBEX, Secured, secure
from tests.datanika_dagster.row_security.rows import CHANGED, make_owned
from tests.datanika_dagster.row_security.test_attacks_on_others import try_to_lock
from tests.datanika_dagster.row_security.test_matrix import NOTHING, READER_LOGIN, RUN_LOGIN, can
from tests.fixtures.external_postgres import SERVERS, running_external

SNAPSHOT = Path(__file__).parent / "grants_and_policies.txt"
_OBJECTS = """
    SELECT g.rolname, o.name, a.privilege_type FROM (
        SELECT 'table ' || oid::regclass::text, relacl FROM pg_class
        WHERE relnamespace = ANY (%(schemas)s)
        UNION ALL
        SELECT 'column ' || attrelid::regclass::text || '.' || attname, attacl FROM pg_attribute
        JOIN pg_class AS c ON c.oid = attrelid WHERE c.relnamespace = ANY (%(schemas)s)
        UNION ALL
        SELECT 'function ' || oid::regprocedure::text, proacl FROM pg_proc
        WHERE pronamespace = ANY (%(schemas)s)
        UNION ALL
        SELECT 'schema ' || nspname, nspacl FROM pg_namespace WHERE oid = ANY (%(schemas)s)
        UNION ALL
        SELECT 'database', datacl FROM pg_database WHERE datname = current_database()
    ) AS o (name, acl), aclexplode(o.acl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
    WHERE a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolname IN (%(owner)s, 'postgres'))
    ORDER BY 1, 2, 3
"""
_POLICIES = """
    SELECT tablename, policyname, permissive, cmd, array_to_string(roles, ','), qual, with_check
    FROM pg_policies ORDER BY 1, 2
"""


def snapshot(secured: Secured) -> str:
    with secured.as_owner() as owner:
        found = owner.execute(
            "SELECT array_agg(oid) FROM pg_namespace WHERE nspname IN ('public', 'datanika')"
        ).fetchone()
        assert found
        rights = owner.execute(
            _OBJECTS, {"schemas": found[0], "owner": secured.owner.username}
        ).fetchall()
        policies = owner.execute(_POLICIES).fetchall()
    lines = [f"{who or 'PUBLIC'}: {right} on {what}" for who, what, right in rights]
    lines += [" | ".join(" ".join(str(part).split()) for part in row) for row in policies]
    return "\n".join([*lines, ""])


def test_on_the_stacks_own_version(secured: Secured):
    assert snapshot(secured) == SNAPSHOT.read_text()


def test_nobody_else_has_any_right(secured: Secured):
    grantees = {line.split(":")[0] for line in snapshot(secured).splitlines() if "|" not in line}
    assert grantees == {RUNS, READERS, "rows_provisioner"}


@pytest.fixture(params=SERVERS)
def older(request: pytest.FixtureRequest) -> Iterator[Secured]:
    with running_external(request.param, "postgres") as port:
        yield secure(f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres", port)


def test_on_an_older_version(older: Secured):
    assert snapshot(older) == SNAPSHOT.read_text()
    own, foreign = make_owned(older, ACME), make_owned(older, GLOBEX)
    for login, expected in (("as_run", RUN_LOGIN), ("as_reader", READER_LOGIN)):
        with getattr(older, login)(ACME) as connection:
            connection.execute("SET default_transaction_read_only = off")
            for table in TABLES:
                try_to_lock(connection, table)
            found = {
                table: tuple(can(older, connection, table, of) for of in (own, foreign))
                for table in CHANGED
            }
        assert found == {table: expected.get(table, NOTHING) for table in CHANGED}
