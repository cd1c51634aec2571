"""Row-level security and foreign keys hold for every table of the orgs, whatever SQL is sent.

Each table has rows of two orgs, which are committed, and no statement here has a WHERE for the org.
"""

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import pytest
from psycopg import errors as pg
from sqlalchemy import (
    Engine,
    Table,
    UniqueConstraint,
    create_engine,
    func,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from control_plane.core.database import Base, enter_org, make_session_factory, transaction
from control_plane.tenancy.models import Organization
from tests.control_plane.tenancy.rows import (
    OWNER_COLUMN,
    TABLES,
    Row,
    fill,
    link_column,
    links,
    new_row,
)
from tests.factories.access import make_user

NAMES = [table.name for table in TABLES]
LINKS = sorted(
    ((table, key) for table in TABLES for key in links(table)),
    key=lambda link: (link[0].name, str(link[1].name)),
)
THREADS = 8
TRANSACTIONS = 300


@dataclass(frozen=True)
class Filled:
    """Two orgs with a row in every table."""

    org_ids: tuple[int, int]
    rows: tuple[dict[str, Row], dict[str, Row]]
    user_id: int


@pytest.fixture(scope="module")
def admin(databases) -> Iterator[Engine]:
    """The superuser, who sees everything."""
    url = databases.endpoints.admin.set(drivername="postgresql+psycopg")
    engine = create_engine(url.set(database=make_url(databases.app).database))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def filled(app_engine: Engine, admin: Engine) -> Iterator[Filled]:
    factory = make_session_factory(app_engine)
    org_ids: list[int] = []
    rows: list[dict[str, Row]] = []
    with transaction(factory) as session:
        user_id = make_user(session).id
        for _ in range(2):
            sequence = func.pg_get_serial_sequence("organizations", "id")
            org_id = session.execute(select(func.nextval(sequence))).scalar_one()
            enter_org(session, org_id)
            session.add(Organization(id=org_id, slug=f"filled_{org_id}", name="Filled"))
            session.flush()
            rows.append(fill(session.connection(), org_id, user_id))
            org_ids.append(org_id)
    yield Filled((org_ids[0], org_ids[1]), (rows[0], rows[1]), user_id)
    with admin.begin() as connection:
        for table in reversed(TABLES):
            column = table.columns[OWNER_COLUMN[table.name]]
            connection.execute(table.delete().where(column.in_(org_ids)))


@pytest.fixture
def small_pool(app_engine: Engine) -> Iterator[sessionmaker[Session]]:
    """Sessions that share one connection, one after the other."""
    engine = create_engine(app_engine.url, pool_size=1, max_overflow=0)
    yield make_session_factory(engine)
    engine.dispose()


def owners(session: Session, name: str) -> set[int]:
    """Returns whose rows SQL without a WHERE sees."""
    return set(session.scalars(text(f"SELECT {OWNER_COLUMN[name]} FROM {name}")))


def refused(session: Session, statement) -> type[Exception]:
    """Returns what the database says to a statement, in a savepoint."""
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(statement)
    assert caught.value.orig is not None
    return type(caught.value.orig)


def reached(session: Session, statement) -> int:
    """Returns how many rows a statement finds; none where the role may not send it at all."""
    try:
        return max(session.execute(statement).rowcount, 0)
    except DBAPIError as error:
        if not isinstance(error.orig, pg.InsufficientPrivilege):
            raise
        return 0


def test_every_table_has_rows_of_both_orgs(admin: Engine, filled: Filled):
    with admin.connect() as connection:
        for name in NAMES:
            seen = set(connection.scalars(text(f"SELECT {OWNER_COLUMN[name]} FROM {name}")))
            assert set(filled.org_ids) <= seen, name


class TestReading:
    @pytest.mark.parametrize("name", NAMES)
    def test_only_the_orgs_own_rows(self, small_pool, filled: Filled, name: str):
        """On one connection of a pool, which each of these transactions uses again."""
        for org_id in (*filled.org_ids, *reversed(filled.org_ids)):
            with transaction(small_pool, org_id) as session:
                assert owners(session, name) == {org_id}
        with transaction(small_pool) as session:
            assert owners(session, name) == set()

    @pytest.mark.parametrize("name", NAMES)
    def test_also_around_errors_savepoints_and_rollbacks(
        self, small_pool, filled: Filled, name: str
    ):
        own, other = filled.org_ids
        with small_pool() as session:
            enter_org(session, own)
            with pytest.raises(DBAPIError), session.begin_nested():
                session.execute(text("SELECT 1/0"))
            assert owners(session, name) == {own}
            with session.begin_nested(), session.begin_nested():
                assert owners(session, name) == {own}
            savepoint = session.begin_nested()
            savepoint.rollback()
            assert owners(session, name) == {own}
            session.rollback()
            assert owners(session, name) == {own}
            with pytest.raises(DBAPIError):
                session.execute(text("SELECT 1/0"))
            session.rollback()
            assert owners(session, name) == {own}
            session.commit()
            assert owners(session, name) == {own}
            # A savepoint's rollback takes back what was told inside it; the session still knows.
            savepoint = session.begin_nested()
            enter_org(session, other)
            assert owners(session, name) == {other}
            savepoint.rollback()
            assert owners(session, name) <= {own, other}
            session.rollback()
            assert owners(session, name) == {other}
        with transaction(small_pool) as session:
            assert owners(session, name) == set()

    def test_a_join_and_a_table_expression_see_no_more(self, small_pool, filled: Filled):
        own = filled.org_ids[0]
        with transaction(small_pool, own) as session:
            statement = "SELECT m.org_id FROM users u JOIN memberships m ON m.user_id = u.id"
            assert set(session.scalars(text(statement))) == {own}
            statement = "WITH all_of_them AS (TABLE uploads) SELECT count(*) FROM all_of_them"
            assert session.scalar(text(statement)) == 1

    def test_a_copy_out_sees_no_more(self, small_pool, filled: Filled):
        with transaction(small_pool, filled.org_ids[0]) as session:
            raw = session.connection().connection.driver_connection
            with raw.cursor() as cursor, cursor.copy("COPY uploads (org_id) TO STDOUT") as copy:  # type: ignore[union-attr]
                rows = list(copy.rows())
        assert rows == [(str(filled.org_ids[0]),)]

    def test_with_many_threads_on_few_connections(self, app_engine: Engine, filled: Filled):
        engine = create_engine(app_engine.url, pool_size=3, max_overflow=0, pool_timeout=60)
        factory = make_session_factory(engine)
        wrong: list[str] = []

        def work(seed: int) -> None:
            choose = random.Random(seed)
            for name, _ in zip(
                cycle(choose.sample(NAMES, len(NAMES))), range(TRANSACTIONS), strict=False
            ):
                org_id = choose.choice((*filled.org_ids, None))
                wrong.extend(_one_transaction(factory, name, org_id, choose.randrange(4)))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        engine.dispose()
        assert wrong == []


def _one_transaction(
    factory: sessionmaker[Session], name: str, org_id: int | None, ending: int
) -> Iterator[str]:
    """Reads a table and ends in one of four ways; yields what was wrong."""
    expected = set() if org_id is None else {org_id}
    with factory() as session:
        enter_org(session, org_id)
        if ending == 0:
            with pytest.raises(DBAPIError), session.begin_nested():
                session.execute(text("SELECT 1/0"))
        seen = owners(session, name)
        if ending == 1:
            session.rollback()
            seen |= owners(session, name)
        elif ending == 2:
            with pytest.raises(DBAPIError):
                session.execute(text("SELECT 1/0"))
        else:
            session.commit()
    if seen != expected:
        yield f"{name} in {org_id}: {seen}"


class TestWriting:
    @pytest.mark.parametrize("table", TABLES, ids=NAMES)
    def test_a_row_of_another_org_is_refused(self, small_pool, filled: Filled, table):
        own, other = filled.org_ids
        row = new_row(table, other, filled.user_id, filled.rows[1])
        with transaction(small_pool, own) as session:
            assert refused(session, insert(table).values(row)) is pg.InsufficientPrivilege

    @pytest.mark.parametrize("table", TABLES, ids=NAMES)
    def test_a_row_cannot_be_given_to_another_org(self, small_pool, filled: Filled, table):
        own, other = filled.org_ids
        with transaction(small_pool, own) as session:
            statement = update(table).values({OWNER_COLUMN[table.name]: other})
            assert refused(session, statement) is pg.InsufficientPrivilege

    @pytest.mark.parametrize("table", TABLES, ids=NAMES)
    def test_another_orgs_rows_are_out_of_reach(self, small_pool, filled: Filled, table):
        own, other = filled.org_ids
        column = table.columns[OWNER_COLUMN[table.name]]
        for statement in (
            update(table).values({column.name: column}).where(column == other),
            table.delete().where(column == other),
            select(table).where(column == other).with_for_update(),
        ):
            with small_pool() as session:
                enter_org(session, own)
                assert reached(session, statement) == 0

    @pytest.mark.parametrize(
        ("table", "key"), LINKS, ids=[f"{table.name}.{link_column(key)}" for table, key in LINKS]
    )
    def test_a_foreign_key_never_leads_into_another_org(
        self, small_pool, filled: Filled, table, key
    ):
        own, other = filled.rows
        row = new_row(table, filled.org_ids[0], filled.user_id, own)
        row[link_column(key)] = other[key.referred_table.name]["id"]
        with transaction(small_pool, filled.org_ids[0]) as session:
            found = refused(session, insert(table).values(row))
            if is_one_for_each_org(table):
                # That there is a second one is found before where it leads.
                assert found is pg.UniqueViolation
            else:
                assert found is pg.ForeignKeyViolation
            statement = update(table).values({link_column(key): row[link_column(key)]})
            assert refused(session, statement) is pg.ForeignKeyViolation

    def test_every_reference_between_tables_of_an_org_is_composite(self):
        assert len(LINKS) >= 6
        assert {table.name for table, _ in LINKS} >= {"uploads", "connections", "transformations"}


def is_one_for_each_org(table: Table) -> bool:
    return any(
        isinstance(constraint, UniqueConstraint) and constraint.columns.keys() == ["org_id"]
        for constraint in table.constraints
    )


def test_a_table_without_row_level_security_would_be_found(admin: Engine, filled: Filled):
    """The canary: the same statement as a role that is not under the policies sees both orgs."""
    with Session(admin) as session:
        assert owners(session, "uploads") >= set(filled.org_ids)
    assert set(NAMES) <= set(Base.metadata.tables)
