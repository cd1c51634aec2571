"""The pool replaces connections that died while they were idle."""

import pytest
from sqlalchemy import Engine, create_engine, text

from control_plane.core import database
from control_plane.core.database import make_engine
from tests.fixtures.control_plane import Databases


@pytest.fixture
def pool_of_one(databases: Databases):
    engine = make_engine(databases.app, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def backend_of(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


def terminate(databases: Databases, pid: int) -> None:
    admin = create_engine(databases.endpoints.admin)
    with admin.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    admin.dispose()


def test_a_connection_that_died_while_idle_is_replaced(
    databases: Databases, pool_of_one: Engine, monkeypatch: pytest.MonkeyPatch
):
    first = backend_of(pool_of_one)
    terminate(databases, first)
    monkeypatch.setattr(database, "PING_AFTER_IDLE_SECONDS", 0.0)
    assert backend_of(pool_of_one) != first


def test_one_that_was_in_use_a_moment_ago_is_used_as_it_is(
    pool_of_one: Engine, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_connection: object) -> bool:
        raise AssertionError("pinged")

    first = backend_of(pool_of_one)
    monkeypatch.setattr(pool_of_one.dialect, "do_ping", refuse)
    assert backend_of(pool_of_one) == first


def test_no_statement_may_take_longer_than_the_limits_of_a_request(pool_of_one: Engine):
    with pool_of_one.connect() as connection:
        names = ("statement_timeout", "lock_timeout", "timezone")
        limits = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert limits == ["30s", "10s", "UTC"]
