"""Each operation by who calls by whose org and object: the status that the permission table says.

What belongs to another org is told apart from what does not exist by nothing: neither by the body
nor by the number of SQL statements.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from control_plane.core.slots import Slots
from control_plane.main import create_app
from control_plane.routes import Operation, list_operations
from control_plane.settings import Settings
from tests.control_plane.access.matrix.cases import Case, cases_of
from tests.control_plane.access.matrix.objects import Request, Stage
from tests.control_plane.access.matrix.rows import ROWS, Row
from tests.control_plane.access.matrix.world import (
    FOREIGN,
    MISSING,
    OWN,
    Caller,
    World,
    make_world,
)

OPERATIONS = {operation.name: operation for operation in list_operations()}
MISSING_NUMBER = 9_000_000_001
MISSING_TEXT = "00000000-0000-4000-8000-000000000000"
# Nothing listens there: what asks Dagster is refused by the real client.
NO_DAGSTER_URL = "http://127.0.0.1:9/dagster"


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """Without the requests' log lines: thousands, and a failure shows what it needs itself."""
    logger = logging.getLogger("control_plane.requests")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.fixture(scope="module")
def world(
    make_settings: Callable[..., Settings], app_engine: Engine, quiet: None
) -> Iterator[World]:
    """Two orgs and everybody who calls, on one transaction that is taken back at the end."""
    app = create_app(make_settings(dagster_url=NO_DAGSTER_URL))
    # No task is started: each finds all places taken, after everything before it was checked.
    app.state.task_runner = replace(app.state.task_runner, slots=Slots(total=0))
    with app_engine.connect() as connection:
        outer = connection.begin()
        made = make_world(app, connection)
        app.state.session_factory = made.factory
        yield made
        outer.rollback()


@pytest.fixture(scope="module")
def http(world: World) -> Iterator[TestClient]:
    with TestClient(world.app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@dataclass
class Attempts:
    """The requests of one operation.

    Attributes:
        prepared: The request's parts in each of the two orgs.
    """

    operation: Operation
    world: World
    http: TestClient
    prepared: dict[str, Request]

    def send(self, case: Case) -> tuple[httpx.Response, int]:
        """Sends a case's request and returns the answer and the number of SQL statements."""
        in_org = self.prepared[FOREIGN if case.slug == FOREIGN else OWN]
        path = self.operation.path.format(org=self.world.slug(case.slug), **self.values(case))
        with self.world.savepoint(), self.world.counted_queries() as count:
            self.http.cookies.clear()
            answer = self.http.request(
                self.operation.method,
                path,
                json=in_org.body,
                data=in_org.form,
                params=in_org.query,
                headers={**in_org.headers, **case.caller.headers},
            )
            return answer, count()

    def values(self, case: Case) -> dict[str, Any]:
        """Returns the values of the path's parameters."""
        if case.object != MISSING:
            return self.prepared[case.object].path
        return {name: missing(value) for name, value in self.prepared[OWN].path.items()}

    def normalized(self, case: Case, answer: httpx.Response) -> Any:
        """Returns an answer without what must differ: trace id, and the id and slug asked for."""
        text = answer.text
        if answer.headers["Content-Type"] == "application/problem+json":
            body = {name: value for name, value in answer.json().items() if name != "trace_id"}
            text = json.dumps(body, sort_keys=True)
        names = {str(value): "«id»" for value in self.values(case).values()}
        names[self.world.slug(case.slug)] = "«org»"
        for value, name in names.items():
            text = re.sub(rf"(?<![\w-]){re.escape(value)}(?![\w-])", name, text)
        return text


def missing(value: Any) -> Any:
    """Returns an id of the same kind that nothing has."""
    return MISSING_NUMBER if isinstance(value, int) else MISSING_TEXT


@pytest.fixture
def attempts(request: pytest.FixtureRequest, world: World, http: TestClient) -> Iterator[Attempts]:
    """Prepares what the operation's row says, in both orgs, and takes it back afterwards."""
    operation = OPERATIONS[request.param]
    row = ROWS[operation.name]
    with world.savepoint():
        prepared: dict[str, Request] = {}
        for which, member in world.orgs.items():
            with world.inside(which) as session:
                request_parts = row.prepare(Stage(world, session, member))
                body = request_parts.body if row.body is None else row.body
                prepared[which] = Request(**{**vars(request_parts), "body": body})
        yield Attempts(operation, world, http, prepared)


def test_every_operation_has_a_row():
    assert sorted(set(OPERATIONS) - set(ROWS)) == [], "add a row to matrix/rows.py"
    assert sorted(set(ROWS) - set(OPERATIONS)) == [], "these operations do not exist"


def test_a_row_that_is_refused_says_why():
    assert [name for name, row in ROWS.items() if row.status and not row.because] == []


@pytest.mark.parametrize("attempts", sorted(OPERATIONS.keys() & ROWS.keys()), indirect=True)
def test_who_may(attempts: Attempts):
    row = ROWS[attempts.operation.name]
    wrong: list[str] = []
    refused: list[Refused] = []
    for case in cases_of(attempts.operation, row, attempts.world):
        answer, queries = attempts.send(case)
        if answer.status_code != case.status:
            wrong.append(f"{case}: {answer.status_code}, not {case.status}: {answer.text[:300]}")
        elif answer.status_code == 404:
            refused.append(Refused(case, attempts.normalized(case, answer), queries))
    wrong += told_apart(refused)
    assert not wrong, "\n" + "\n".join(wrong)


@dataclass(frozen=True)
class Refused:
    """What a caller sees of a 404."""

    case: Case
    body: str
    queries: int

    @property
    def twin(self) -> tuple[str, str, str]:
        """The case in which the same thing does not exist: it must look the same."""
        case = self.case
        if case.slug != case.caller.org:
            return (case.caller.name, MISSING, case.object)
        return (case.caller.name, case.slug, MISSING)


def told_apart(refused: Sequence[Refused]) -> Iterator[str]:
    """Names the cases in which another org's thing does not look like a missing one."""
    known = {(r.case.caller.name, r.case.slug, r.case.object): r for r in refused}
    for one in refused:
        twin = known.get(one.twin)
        if twin and (one.body, one.queries) != (twin.body, twin.queries):
            yield f"{one.case}: {one.body}, {one.queries} statements\n{twin.body}, {twin.queries}"


class TestTheMatrixCanFail:
    @pytest.mark.parametrize(("body", "queries"), [("y", 3), ("x", 4)])
    def test_a_difference_is_found(self, body: str, queries: int):
        caller = Caller("somebody", {}, OWN)
        refused = [
            Refused(Case(caller, OWN, FOREIGN, 404), "x", 3),
            Refused(Case(caller, OWN, MISSING, 404), body, queries),
        ]
        assert len(list(told_apart(refused))) == 1
        slugs = [
            Refused(Case(caller, FOREIGN, OWN, 404), "x", 3),
            Refused(Case(caller, MISSING, OWN, 404), body, queries),
        ]
        assert len(list(told_apart(slugs))) == 1

    def test_a_route_that_forgets_its_permission_is_found(self, world: World, http: TestClient):
        name = "GET /api/v1/orgs/{org}/audit"
        operation = OPERATIONS[name]
        lax = OPERATIONS["GET /api/v1/orgs/{org}/connections"]
        attempts = Attempts(lax, world, http, {OWN: Request(), FOREIGN: Request()})
        cases = cases_of(operation, Row(), world)
        wrong = [str(c) for c in cases if attempts.send(c)[0].status_code != c.status]
        assert "viewer, own slug, own id" in wrong
