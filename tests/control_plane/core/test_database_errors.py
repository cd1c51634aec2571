"""What the database refuses is an answer of the API, never an internal error."""

import threading

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm.exc import StaleDataError

from control_plane.core import problems
from control_plane.core.database import make_session_factory, transaction
from control_plane.core.database_errors import translate
from control_plane.core.errors import Conflict, Unavailable
from tests.factories.access import make_user


def answer_of(error: Exception):
    app = FastAPI()
    problems.install(app)

    @app.get("/raises")
    def raises() -> None:
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        return client.get("/raises")


def failure(engine: Engine, *statements: str) -> SQLAlchemyError:
    """Returns the error of the first statement that fails."""
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    except SQLAlchemyError as error:
        return error
    raise AssertionError("nothing failed")


def test_a_deadlock_is_503_with_retry_after(app_engine: Engine):
    factory = make_session_factory(app_engine)
    with factory() as session:
        ids = [make_user(session).id for _ in range(2)]
        session.commit()
    meeting = threading.Barrier(2)
    errors: list[Exception] = []

    def lock_in_order(first: int, second: int) -> None:
        try:
            with transaction(factory) as session:
                session.execute(
                    text("UPDATE users SET updated_at = now() WHERE id = :i"), {"i": first}
                )
                meeting.wait(10)
                session.execute(
                    text("UPDATE users SET updated_at = now() WHERE id = :i"), {"i": second}
                )
        except OperationalError as error:
            errors.append(error)

    threads = [threading.Thread(target=lock_in_order, args=pair) for pair in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 1
    answer = answer_of(errors[0])
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "statements",
    [
        ("SET LOCAL statement_timeout = 50", "SELECT pg_sleep(5)"),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$",),
        ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$",),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$",),
        ("SELECT pg_terminate_backend(pg_backend_pid())",),
    ],
)
def test_what_passes_is_503(app_engine: Engine, statements):
    engine = create_engine(app_engine.url)
    answer = answer_of(failure(engine, *statements))
    engine.dispose()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "SELECT" not in answer.text


def test_a_database_that_is_away_is_503(app_engine: Engine):
    engine = create_engine(app_engine.url.set(port=1))
    assert answer_of(failure(engine, "SELECT 1")).status_code == 503


def test_an_unexpected_clash_is_409(app_engine: Engine):
    insert = "INSERT INTO users (email, is_platform_operator, created_at, updated_at) VALUES ('a@b', false, now(), now())"
    answer = answer_of(failure(app_engine, insert, insert))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_stale_version_is_409():
    assert isinstance(translate(StaleDataError("x")), Conflict)
    assert answer_of(StaleDataError("x")).status_code == 409


def test_a_full_pool_is_503(app_engine: Engine):
    engine = create_engine(app_engine.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with engine.connect():
        found = translate(failure(engine, "SELECT 1"))
    engine.dispose()
    assert isinstance(found, Unavailable)


def test_a_mistake_of_our_own_stays_one(app_engine: Engine):
    error = failure(app_engine, "SELECT * FROM nowhere")
    assert isinstance(error, ProgrammingError)
    assert answer_of(error).status_code == 500
    error = failure(app_engine, "INSERT INTO users DEFAULT VALUES")
    assert answer_of(error).status_code == 500
