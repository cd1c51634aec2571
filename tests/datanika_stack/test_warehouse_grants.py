"""What an org's roles may do in their warehouse, and nowhere else (security tests 23 to 27)."""

from collections.abc import Iterator

import psycopg
import pytest

from datanika_stack.databases import WAREHOUSE_TEMPLATE, ensure_databases
from datanika_stack.endpoints import DatabaseEndpoints
from datanika_stack.postgres import EmbeddedPostgres
from datanika_stack.provision import Provisioner, Warehouse

OTHER_DATABASES = ["datanika", "dagster", "postgres", "template1", WAREHOUSE_TEMPLATE]


@pytest.fixture(scope="module")
def warehouse(provisioner: Provisioner) -> Iterator[Warehouse]:
    yield provisioner.ensure_warehouse(1)
    provisioner.drop_warehouse(1)


@pytest.fixture(scope="module")
def writer(stack_cluster: EmbeddedPostgres, warehouse: Warehouse) -> str:
    return stack_cluster.dsn(warehouse.database, warehouse.user, warehouse.password)


@pytest.fixture(scope="module")
def reader(stack_cluster: EmbeddedPostgres, warehouse: Warehouse) -> str:
    return stack_cluster.dsn(
        warehouse.database, warehouse.readonly_user, warehouse.readonly_password
    )


@pytest.fixture(scope="module")
def loaded(writer: str) -> str:
    with psycopg.connect(writer) as connection:
        connection.execute("CREATE SCHEMA raw")
        connection.execute("CREATE TABLE raw.flights AS SELECT 1 AS id")
    return writer


def run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("database", OTHER_DATABASES)
@pytest.mark.parametrize("who", ["writer", "reader", "bi"])
def test_connects_nowhere_else(
    stack_cluster: EmbeddedPostgres,
    provisioner: Provisioner,
    warehouse: Warehouse,
    database: str,
    who: str,
) -> None:
    logins = {
        "writer": (warehouse.user, warehouse.password),
        "reader": (warehouse.readonly_user, warehouse.readonly_password),
    }
    if who == "bi":
        login = provisioner.create_reader(1)
        logins["bi"] = (login.user, login.password)
    with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
        psycopg.connect(stack_cluster.dsn(database, *logins[who]))


def test_does_not_connect_to_another_orgs_warehouse(
    stack_cluster: EmbeddedPostgres, provisioner: Provisioner, warehouse: Warehouse
) -> None:
    other = provisioner.ensure_warehouse(2)
    try:
        for user, password in (
            (warehouse.user, warehouse.password),
            (warehouse.readonly_user, warehouse.readonly_password),
        ):
            with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
                psycopg.connect(stack_cluster.dsn(other.database, user, password))
    finally:
        provisioner.drop_warehouse(2)


def test_names_are_opaque(warehouse: Warehouse, provisioner: Provisioner) -> None:
    names = {warehouse.database, warehouse.user, warehouse.readonly_user}
    assert all(name.startswith("w_") and len(name) <= 17 for name in names)
    assert warehouse.database.removeprefix("w_") not in ("1", "000000000001")
    assert str(warehouse) == repr(warehouse)
    assert warehouse.password not in repr(warehouse)


def test_the_writer_loads_and_transforms(loaded: str) -> None:
    run(loaded, "CREATE TEMP TABLE staged AS SELECT 1 AS a")
    run(loaded, "CREATE TABLE public.t AS SELECT 1 AS a")
    run(loaded, "CREATE OR REPLACE VIEW raw.v AS SELECT * FROM raw.flights")
    run(loaded, "ALTER TABLE raw.flights ADD COLUMN b int")


def test_the_writer_may_take_the_lock_of_an_upload(loaded: str, reader: str) -> None:
    assert run(loaded, "SELECT pg_try_advisory_lock(1::bigint)") == [(True,)]
    run(loaded, "SELECT pg_advisory_xact_lock(1::bigint)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(reader, "SELECT pg_try_advisory_lock(1::bigint)")


WITHDRAWN = [
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_database",
    "SELECT * FROM pg_locks",
    "SELECT pg_advisory_lock(1, 2)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SET ROLE datanika_provisioner",
    "SET SESSION AUTHORIZATION postgres",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE EXTENSION vector",
    "ALTER SYSTEM SET fsync = off",
    "SET temp_file_limit = -1",
    "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
    "ALTER ROLE CURRENT_USER RESET temp_file_limit",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "CREATE SCHEMA pg_mine",
    "CREATE TABLE pg_catalog.mine (a int)",
]


@pytest.mark.parametrize("statement", WITHDRAWN)
def test_the_writer_is_refused(loaded: str, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        run(loaded, statement)
    assert refused.value.sqlstate in ("42501", "42939")


def test_the_writer_does_not_rule_its_database(loaded: str, warehouse: Warehouse) -> None:
    for statement in (
        f"ALTER DATABASE {warehouse.database} CONNECTION LIMIT -1",
        f"ALTER DATABASE {warehouse.database} OWNER TO {warehouse.user}",
        f"DROP DATABASE {warehouse.database}",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(loaded, statement)


def test_the_reader_reads_what_is_made_now_and_later(loaded: str, reader: str) -> None:
    assert run(reader, "SELECT id FROM raw.flights") == [(1,)]
    run(loaded, "CREATE SCHEMA marts CREATE TABLE marts.daily (day int)")
    run(loaded, "CREATE VIEW marts.weekly AS SELECT * FROM marts.daily")
    assert run(reader, "SELECT * FROM marts.daily") == []
    assert run(reader, "SELECT * FROM marts.weekly") == []


READ_ONLY = [
    "INSERT INTO raw.flights VALUES (2)",
    "UPDATE raw.flights SET id = 2",
    "DELETE FROM raw.flights",
    "TRUNCATE raw.flights",
    "CREATE TABLE raw.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE TEMP TABLE mine (a int)",
    "SELECT 1 AS a INTO TEMP mine",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DROP TABLE raw.flights",
]


@pytest.mark.parametrize("statement", READ_ONLY)
def test_the_reader_cannot_write_even_if_it_says_so(
    loaded: str, reader: str, statement: str
) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        run(reader, statement)
    with psycopg.connect(reader, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_the_reader_gets_no_power_from_the_writers_functions(loaded: str, reader: str) -> None:
    run(
        loaded,
        "CREATE FUNCTION raw.wipe() RETURNS void LANGUAGE sql SECURITY DEFINER "
        "AS 'DELETE FROM raw.flights'",
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(reader, "SELECT raw.wipe()")


def test_a_login_for_people_only_reads(
    stack_cluster: EmbeddedPostgres, provisioner: Provisioner, warehouse: Warehouse, loaded: str
) -> None:
    first, second = provisioner.create_reader(1), provisioner.create_reader(1)
    assert first.user == second.user
    with pytest.raises(psycopg.OperationalError, match="authentication"):
        psycopg.connect(stack_cluster.dsn(warehouse.database, first.user, first.password))
    dsn = stack_cluster.dsn(warehouse.database, second.user, second.password)
    assert run(dsn, "SELECT id FROM raw.flights") == [(1,)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        run(dsn, "DELETE FROM raw.flights")


def test_the_connection_limit_bites(reader: str) -> None:
    opened: list[psycopg.Connection] = []
    try:
        opened += [psycopg.connect(reader) for _ in range(10)]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            psycopg.connect(reader)
    finally:
        for connection in opened:
            connection.close()


def test_the_limit_of_temporary_files_bites(
    stack_cluster: EmbeddedPostgres, loaded: str, warehouse: Warehouse
) -> None:
    assert run(loaded, "SHOW temp_file_limit") == [("4GB",)]
    run(stack_cluster.dsn(), f"ALTER ROLE {warehouse.user} SET temp_file_limit = '1MB'")
    try:
        run(loaded, "ALTER ROLE CURRENT_USER RESET ALL")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            run(
                loaded,
                "SET work_mem = '64kB'; SELECT * FROM generate_series(1, 300000) ORDER BY random()",
            )
    finally:
        run(stack_cluster.dsn(), f"ALTER ROLE {warehouse.user} SET temp_file_limit = '4GB'")


GRANTS = """
    WITH listed (object, acl) AS (
        SELECT 'database', datacl FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT 'schema ' || nspname, nspacl FROM pg_namespace WHERE nspname = 'public'
        UNION ALL SELECT 'later ' || defaclobjtype::text, defaclacl FROM pg_default_acl
    )
    SELECT object || ': ' || coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC') || ' '
           || string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) AS line
    FROM listed, aclexplode(acl) a GROUP BY object, a.grantee
    UNION ALL SELECT 'member: ' || member::regrole || ' of ' || roleid::regrole
    FROM pg_auth_members
    WHERE starts_with(member::regrole::text, current_database()::text)
"""


def test_grants_of_a_fresh_warehouse(
    stack_cluster: EmbeddedPostgres, provisioner: Provisioner
) -> None:
    """Security test 24: a snapshot; a change of it is a change of what a tenant may do."""
    fresh = provisioner.ensure_warehouse(3)
    try:
        rows = run(stack_cluster.dsn(fresh.database), GRANTS)
    finally:
        provisioner.drop_warehouse(3)
    assert sorted(str(row[0]).replace(fresh.database, "w") for row in rows) == [
        "database: datanika_provisioner CONNECT CREATE TEMPORARY",
        "database: w CONNECT CREATE TEMPORARY",
        "database: w_read CONNECT",
        "later S: w SELECT UPDATE USAGE",
        "later S: w_read SELECT",
        "later f: w EXECUTE",
        "later n: w CREATE USAGE",
        "later n: w_read USAGE",
        "later r: w DELETE INSERT MAINTAIN REFERENCES SELECT TRIGGER TRUNCATE UPDATE",
        "later r: w_read SELECT",
        "member: w of datanika_warehouse_writers",
        "member: w_ro of w_read",
        "schema public: pg_database_owner CREATE USAGE",
        "schema public: w CREATE USAGE",
        "schema public: w_read USAGE",
    ]


def test_public_may_enter_no_database(
    stack_cluster: EmbeddedPostgres, warehouse: Warehouse
) -> None:
    open_to_public = """
        SELECT d.datname FROM pg_database d,
               aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0
    """
    assert run(stack_cluster.dsn(), open_to_public) == []


def test_provisioning_can_be_repeated_and_resumed(
    stack_cluster: EmbeddedPostgres, provisioner: Provisioner
) -> None:
    first = provisioner.ensure_warehouse(4)
    try:
        # As after a crash between the steps: no rights inside, no twin, nobody may connect.
        run(stack_cluster.dsn(first.database), "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        run(stack_cluster.dsn(), f"ALTER DATABASE {first.database} CONNECTION LIMIT 0")
        run(stack_cluster.dsn(first.database), f"DROP OWNED BY {first.readonly_user}")
        run(stack_cluster.dsn(), f"DROP ROLE {first.readonly_user}")
        second = provisioner.ensure_warehouse(4)
        assert (second.database, second.user) == (first.database, first.user)
        assert second.password != first.password
        dsn = stack_cluster.dsn(second.database, second.user, second.password)
        run(dsn, "CREATE TABLE public.t AS SELECT 7 AS a")
        twin = stack_cluster.dsn(second.database, second.readonly_user, second.readonly_password)
        assert run(twin, "SELECT a FROM public.t") == [(7,)]
    finally:
        provisioner.drop_warehouse(4)
        provisioner.drop_warehouse(4)


def may_be(provisioner: Provisioner, login: str) -> bool:
    """Tells whether who works as the provisioner may act as a login, or has what it has."""
    with provisioner._connect() as connection:
        question = "SELECT pg_has_role(%s, 'USAGE') OR pg_has_role(%s, 'SET')"
        row = connection.execute(question, [login, login]).fetchone()
    assert row is not None
    return bool(row[0])


class TestADeletedOrg:
    """Its data stay; nobody enters until it comes back."""

    @pytest.fixture
    def made(self, provisioner: Provisioner) -> Iterator[Warehouse]:
        yield provisioner.ensure_warehouse(5)
        provisioner.drop_warehouse(5)

    def test_people_go_first(
        self, stack_cluster: EmbeddedPostgres, provisioner: Provisioner, made: Warehouse
    ) -> None:
        person = provisioner.create_reader(5)
        of_person = stack_cluster.dsn(made.database, person.user, person.password)
        with psycopg.connect(of_person, autocommit=True) as session:
            session.execute("SELECT 1")
            provisioner.close_reader(5)
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            psycopg.connect(of_person)
        # What runs goes on to its end.
        run(stack_cluster.dsn(made.database, made.user, made.password), "SELECT 1")

    def test_then_everybody_and_all_come_back(
        self, stack_cluster: EmbeddedPostgres, provisioner: Provisioner, made: Warehouse
    ) -> None:
        person = provisioner.create_reader(5)
        logins = [
            (made.user, made.password),
            (made.readonly_user, made.readonly_password),
            (person.user, person.password),
        ]
        assert may_be(provisioner, made.user), "as who sets its default privileges"
        writer = stack_cluster.dsn(made.database, made.user, made.password)
        run(writer, "CREATE TABLE public.kept AS SELECT 7 AS a")
        with psycopg.connect(writer, autocommit=True) as session:
            session.execute("SELECT 1")
            provisioner.close_logins(5)
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        for user, password in logins:
            with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
                psycopg.connect(stack_cluster.dsn(made.database, user, password))
        provisioner.close_logins(5)
        assert [may_be(provisioner, user) for user, _ in logins] == [False] * 3
        again = provisioner.ensure_warehouse(5)
        fresh = [
            (again.user, again.password),
            (again.readonly_user, again.readonly_password),
            (person.user, person.password),
        ]
        for user, password in fresh:
            found = run(stack_cluster.dsn(again.database, user, password), "SELECT a FROM kept")
            assert found == [(7,)]

    def test_without_a_warehouse(self, provisioner: Provisioner) -> None:
        provisioner.close_reader(6)
        provisioner.close_logins(6)


def test_preparing_the_server_can_be_repeated(endpoints: DatabaseEndpoints) -> None:
    ensure_databases(endpoints)
    ensure_databases(endpoints)


def test_application_role_is_neither_owner_nor_superuser(
    stack_cluster: EmbeddedPostgres,
) -> None:
    """Security test 29, the roles' part."""
    powers = """
        SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication
        FROM pg_roles WHERE rolname IN ('datanika_app', 'datanika_owner', 'dagster') ORDER BY 1
    """
    rows = run(stack_cluster.dsn(), powers)
    assert len(rows) == 3
    assert all(not any(row[1:]) for row in rows)
    owned = "SELECT datname FROM pg_database WHERE datdba = 'datanika_app'::regrole"
    assert run(stack_cluster.dsn(), owned) == []
