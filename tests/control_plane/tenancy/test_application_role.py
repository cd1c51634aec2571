"""The application's role has no power over the policies, and five functions look across orgs."""

import ast
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.orm import Session

from control_plane.core.database import enter_org, make_session_factory, transaction
from tests.architecture.test_tables import LOOKUPS
from tests.factories.access import make_member, make_user

ROOT = Path(__file__).parents[3]
# Which columns each function returns: a new one would show more of other orgs to every caller.
RESULTS = {
    "memberships_of": {"org_id", "slug", "name", "role", "is_suspended"},
    "key_by_hash": {
        "key_id",
        "name",
        "scopes",
        "org_id",
        "slug",
        "is_suspended",
        "creator_id",
        "creator_role",
    },
    "active_orgs": {"org_id", "slug"},
    "all_orgs": {
        "org_id",
        "slug",
        "name",
        "is_suspended",
        "created_at",
        "deleted_at",
        "parallel_runs",
        "runs_per_hour",
    },
    "data_key_counts": {"key_encryption_key_id", "data_keys"},
}
# The only modules that call them. Whose memberships are looked up is never what a request says:
# the id is that of the token's own user, read from the session that the token names.
CALLERS = {
    "memberships_of": {"access/users/repository.py", "access/sessions/members.py"},
    "key_by_hash": {"access/key_store/repository.py"},
    "active_orgs": {"tenancy/service.py", "system/service.py"},
    "all_orgs": {"tenancy/service.py"},
    "data_key_counts": {"keys/repository.py"},
}


class TestRole:
    def test_is_nothing_special(self, session: Session):
        row = session.execute(
            text(
                "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication"
                " FROM pg_roles WHERE rolname = current_user"
            )
        ).one()
        assert tuple(row) == (False,) * 5

    @pytest.mark.parametrize(
        ("catalog", "owner"),
        [
            ("pg_class", "relowner"),
            ("pg_proc", "proowner"),
            ("pg_namespace", "nspowner"),
            ("pg_database", "datdba"),
            ("pg_type", "typowner"),
        ],
    )
    def test_owns_nothing(self, session: Session, catalog: str, owner: str):
        statement = f"SELECT count(*) FROM {catalog} WHERE {owner} = current_user::regrole"
        assert session.scalar(text(statement)) == 0

    def test_is_in_no_role(self, session: Session):
        statement = "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
        assert session.scalar(text(statement)) == 0

    def test_cannot_become_another(self, session: Session):
        roles = session.scalars(text("SELECT rolname FROM pg_roles WHERE rolname <> current_user"))
        for role in roles.all():
            with pytest.raises(ProgrammingError, match="permission denied to set role"):  # noqa: SIM117
                with session.begin_nested():
                    session.execute(text(f'SET LOCAL ROLE "{role}"'))

    @pytest.mark.parametrize(
        "statement",
        [
            "ALTER ROLE CURRENT_USER SET app.org_id = '1'",
            "ALTER DATABASE datanika SET app.org_id = '1'",
            "ALTER TABLE uploads DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE uploads NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY own_org ON uploads",
            "CREATE POLICY every_org ON uploads USING (true)",
            "CREATE FUNCTION leak() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            "CREATE TABLE copied AS TABLE uploads",
            "CREATE OR REPLACE FUNCTION all_orgs() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            "TRUNCATE uploads",
            "SET LOCAL session_replication_role = replica",
            "SELECT pg_read_file('/etc/passwd')",
            "COPY uploads TO PROGRAM 'cat'",
        ],
    )
    def test_cannot_change_what_it_may_see(self, session: Session, statement: str):
        with pytest.raises(ProgrammingError), session.begin_nested():
            session.execute(text(statement))

    def test_row_security_off_is_an_error_and_no_way_round(self, session: Session, vault):
        make_member(session, vault)
        session.execute(text("SET LOCAL row_security = off"))
        with pytest.raises(ProgrammingError, match="row-level security"):
            session.execute(text("SELECT * FROM memberships"))
        session.rollback()


class TestSetting:
    def test_a_transaction_is_in_its_own_org_or_in_none_whatever_the_connection_was_told(
        self, app_engine: Engine, vault
    ):
        """What nothing in the code does (see below): a setting that outlives its transaction."""
        engine = create_engine(app_engine.url, pool_size=1, max_overflow=0)
        factory = make_session_factory(engine)
        org_ids = []
        for _ in range(2):
            with factory() as session:
                org_ids.append(make_member(session, vault).org.id)
        with engine.begin() as connection:
            connection.execute(text(f"SELECT set_config('app.org_id', '{org_ids[0]}', false)"))
        with transaction(factory, org_ids[1]) as session:
            assert session.scalars(text("SELECT id FROM organizations")).all() == [org_ids[1]]
        with transaction(factory) as session:
            assert session.scalars(text("SELECT id FROM organizations")).all() == []
        engine.dispose()

    @pytest.mark.parametrize("value", ["", "0", "-1", "9223372036854775807"])
    def test_an_org_that_is_none_sees_nothing(self, session: Session, vault, value: str):
        make_member(session, vault)
        session.execute(text("SELECT set_config('app.org_id', :v, true)"), {"v": value})
        assert session.scalars(text("SELECT id FROM organizations")).all() == []

    @pytest.mark.parametrize("value", ["1 OR true", "1; SELECT 1", "NULL", "9223372036854775808"])
    def test_what_is_no_number_is_an_error(self, session: Session, vault, value: str):
        make_member(session, vault)
        session.execute(text("SELECT set_config('app.org_id', :v, true)"), {"v": value})
        with pytest.raises(DataError, match="bigint"):
            session.execute(text("SELECT id FROM organizations"))
        session.rollback()


class TestLookups:
    def test_are_all_that_the_role_may_execute(self, session: Session):
        statement = (
            "SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
            " AND has_function_privilege(current_user, p.oid, 'EXECUTE')"
        )
        assert set(session.scalars(text(statement))) == LOOKUPS

    def test_are_nobody_elses_and_read_their_own_schema_only(self, session: Session):
        rows = session.execute(
            text(
                "SELECT p.proname, p.proconfig, p.provolatile,"
                " EXISTS (SELECT 1 FROM aclexplode(p.proacl) a WHERE a.grantee = 0) AS is_public"
                " FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef"
            )
        ).all()
        assert {row.proname for row in rows} == LOOKUPS
        for row in rows:
            assert row.proconfig == ["search_path=public, pg_temp"], row.proname
            assert not row.is_public, row.proname
            assert row.provolatile == "s", "reads only"

    @pytest.mark.parametrize("name", sorted(LOOKUPS))
    def test_return_what_is_listed_and_no_secret(self, session: Session, name: str):
        argument = {"memberships_of": "0", "key_by_hash": "'x'"}.get(name, "")
        assert (
            set(session.execute(text(f"SELECT * FROM {name}({argument})")).keys()) == RESULTS[name]
        )

    def test_memberships_are_those_of_the_one_user(self, session: Session, vault):
        first, second = make_member(session, vault), make_member(session, vault)
        enter_org(session, None)
        statement = text("SELECT slug FROM memberships_of(:id)")
        assert session.scalars(statement, {"id": first.user.id}).all() == [first.org.slug]
        assert session.scalars(statement, {"id": second.user.id}).all() == [second.org.slug]
        assert session.scalars(statement, {"id": make_user(session).id}).all() == []

    def test_a_key_is_found_by_its_whole_hash_only(self, session: Session):
        for wanted in ("%", "", "' OR true --", "_" * 64):
            rows = session.execute(text("SELECT * FROM key_by_hash(:w)"), {"w": wanted}).all()
            assert rows == []

    def test_their_owner_sees_no_more_than_they_need(self, session: Session):
        statement = (
            "SELECT c.relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
            " WHERE p.polname <> 'own_org'"
        )
        assert set(session.scalars(text(statement))) <= {
            "api_keys",
            "data_keys",
            "memberships",
            "organizations",
        }

    @pytest.mark.parametrize("name", sorted(LOOKUPS))
    def test_are_called_where_it_is_known_for_whom(self, name: str):
        package = ROOT / "control_plane"
        found = {
            str(path.relative_to(package))
            for path in package.rglob("*.py")
            if any(f"{name}(" in one for one in literals(path.read_text()))
        }
        assert found <= CALLERS[name]
        assert found

    def test_another_users_orgs_are_not_to_be_had(self, client, anonymous, session, vault):
        """No route takes the id of the user whose orgs it names."""
        stranger = make_member(session, vault)
        for path in (f"/api/v1/auth/me?user_id={stranger.user.id}", "/api/v1/auth/me"):
            answer = client.get(path, headers={"X-User-Id": str(stranger.user.id)})
            assert stranger.org.slug not in answer.text
        assert anonymous.get("/api/v1/auth/me").status_code == 401


def literals(source: str) -> list[str]:
    """Returns the text literals of a module that are no docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def session_settings(source: str) -> list[str]:
    """Returns the SQL in a module that sets something for longer than a transaction."""
    lasting = re.compile(
        r"(?:^|;)\s*(?:SET\s+(?!LOCAL\b)(?:SESSION\s+)?(?:ROLE\b|AUTHORIZATION\b|[\w.]+\s*(?:=|TO\b))"
        r"|RESET\s+[\w.]+\s*(?:;|$)|DISCARD\s+\w+\s*(?:;|$))",
        re.IGNORECASE,
    )
    config = re.compile(r"set_config\((?:[^()]|\([^()]*\))*\)", re.IGNORECASE)
    return [
        one
        for one in literals(source)
        if lasting.search(one)
        or any(not call.lower().endswith(", true)") for call in config.findall(one))
    ]


class TestNoSettingOutlivesItsTransaction:
    def test_in_the_whole_control_plane(self):
        found = {
            str(path.relative_to(ROOT)): lines
            for path in (ROOT / "control_plane").rglob("*.py")
            if (lines := session_settings(path.read_text()))
        }
        assert found == {}

    @pytest.mark.parametrize(
        ("source", "is_found"),
        [
            ('text("SET app.org_id = 1")', True),
            ('text("SET SESSION app.org_id = 1")', True),
            ('text("SELECT 1; set role other")', True),
            ("text(\"SELECT set_config('app.org_id', '1', false)\")", True),
            ("text(\"SELECT set_config('app.org_id', k.org_id::text, true)\")", False),
            ("text(\"SELECT set_config('app.org_id', cast(1 as text), true)\")", False),
            ('text("SET LOCAL lock_timeout = 1")', False),
            ('text("UPDATE x SET y = 1")', False),
            ('text("RESET app.org_id")', True),
            ('text("DISCARD ALL")', True),
            ('text("SET TRANSACTION READ ONLY")', False),
            ('"Set a password first."', False),
            ('"Reset the password."', False),
        ],
    )
    def test_the_test_can_fail(self, source: str, is_found: bool):
        assert bool(session_settings(source)) == is_found
