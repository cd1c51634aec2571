"""Another org's id is answered exactly as one that nobody has: same status, same words, same work.

Generated over every path parameter and every id in a body of the OpenAPI document: a new route or
field without a line here fails a test.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy.orm import Session

from control_plane.access.invitation_store.models import Invitation
from control_plane.access.key_store.models import ApiKey
from control_plane.core.clock import utc_now
from control_plane.core.database import enter_org
from control_plane.main import create_app
from control_plane.runs.models import Run
from tests.control_plane.tenancy.resources import KINDS
from tests.factories.access import make_member
from tests.factories.targets import add, make_connection, make_tables, make_upload

MISSING_ID = 987_654_321
MISSING_RUN = "00000000-0000-4000-8000-000000000000"
Document = dict[str, Any]


def _make_key(session: Session, org_id: int, user_id: int) -> int:
    key = ApiKey(
        org_id=org_id,
        name="ci",
        key_hash=secrets.token_hex(32),
        scopes=[],
        created_by_user_id=user_id,
    )
    return add(session, key).id


def _make_invitation(session: Session, org_id: int, user_id: int) -> int:
    invitation = Invitation(
        org_id=org_id,
        email=f"{secrets.token_hex(4)}@example.com",
        role="viewer",
        token_hash=secrets.token_hex(32),
        invited_by_user_id=user_id,
        expires_at=utc_now().replace(year=utc_now().year + 1),
    )
    return add(session, invitation).id


def _make_run(session: Session, org_id: int, user_id: int) -> str:
    run_id = f"11111111-1111-4111-8111-{secrets.token_hex(6)}"
    values = {"status": "success", "trigger": "api", "actor_name": "x", "targets": []}
    return add(session, Run(org_id=org_id, id=run_id, **values)).id


def _resource(resource_type: str) -> Callable[[Session, int, int], Any]:
    return lambda session, org_id, _user_id: KINDS[resource_type].make(session, org_id).id


# How another org comes to have one of what a path parameter names.
MAKERS: dict[str, Callable[[Session, int, int], Any]] = {
    "connection_id": _resource("connection"),
    "upload_id": _resource("upload"),
    "transformation_id": _resource("transformation"),
    "dependency_id": _resource("dependency"),
    "schedule_id": _resource("schedule"),
    "policy_id": _resource("freshness_policy"),
    "key_id": _make_key,
    "invitation_id": _make_invitation,
    "run_id": _make_run,
    "user_id": lambda _session, _org_id, user_id: user_id,
}
# A body that passes the schema, for the operations with a path parameter.
BODIES: dict[str, Document] = {
    "ConnectionUpdate": {"name": "x"},
    "UploadUpdate": {"name": "x"},
    "TransformationUpdate": {"description": "x"},
    "DependencyUpdate": {"runs_after_success": True},
    "ScheduleUpdate": {"name": "x"},
    "RunRetry": {},
    "FreshnessPolicyUpdate": {"severity": "error"},
    "MemberUpdate": {"role": "viewer"},
}


@dataclass(frozen=True)
class Orgs:
    """The caller's org, with one of everything, and another one likewise."""

    own: dict[str, Any]
    foreign: dict[str, Any]


@pytest.fixture
def orgs(session: Session, member, vault) -> Orgs:
    made = []
    for one in (make_member(session, vault), member):
        enter_org(session, one.org.id)
        ids = {name: make(session, one.org.id, one.user.id) for name, make in MAKERS.items()}
        source = make_connection(session, one.org.id)
        make_tables(session, source)
        ids["source"] = source.id
        ids["destination"] = make_connection(session, one.org.id, direction="destination").id
        made.append(ids)
    return Orgs(own=made[1], foreign=made[0])


@pytest.fixture(scope="module")
def document(make_settings) -> Document:
    return create_app(make_settings()).openapi()


def operations(document: Document) -> list[tuple[str, str, Document]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1/orgs/{org}/")
        for method, operation in methods.items()
    ]


def schema_of(operation: Document) -> str | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    return content["schema"]["$ref"].rpartition("/")[2] if content else None


def answer_and_work(client, statements, method: str, url: str, named: Any, **request: Any):
    """Returns status, body and number of statements; what differs by nature is left out."""
    with statements() as seen:
        answer = client.request(method, url, **request)
    body = answer.json() if answer.content else {}
    body.pop("trace_id", None)
    # As asked for; an own row's number in it may happen to be the foreign one's.
    said = repr(body).replace(url, "<path>")
    words = re.sub(rf"(?<![0-9a-zA-Z_]){re.escape(str(named))}(?![0-9a-zA-Z_])", "<id>", said)
    return answer.status_code, words, len(seen)


def same_answer(
    client, statements, method: str, ids: tuple[Any, Any], request: Callable[[Any], Any]
):
    """Asks for another org's id and for nobody's, and returns the status of both."""
    found = []
    for one in ids:
        url, options = request(one)
        found.append(answer_and_work(client, statements, method, url, one, **options))
    foreign, missing = found
    assert foreign == missing
    return foreign[0]


def required_of_query(operation: Any) -> dict[str, str]:
    """What an operation must be told in its query; any name will do for what is not there."""
    found = operation.get("parameters", [])
    return {one["name"]: "x" for one in found if one["in"] == "query" and one.get("required")}


class TestPaths:
    def test_every_parameter_has_a_maker(self, document: Document):
        names = {
            name
            for _, path, _ in operations(document)
            for name in re.findall(r"{(\w+)}", path)
            if name != "org"
        }
        assert names == set(MAKERS)

    def test_every_operation_answers_404(self, client, document, orgs: Orgs, statements):
        asked = 0
        for method, path, operation in operations(document):
            name = next((n for n in re.findall(r"{(\w+)}", path) if n != "org"), None)
            if name is None:
                continue
            schema = schema_of(operation)
            body = {"json": BODIES[schema]} if schema else {}
            body["params"] = required_of_query(operation)
            missing = MISSING_RUN if name == "run_id" else MISSING_ID

            def request(one: Any, path=path, name=name, body=body):
                url = path.replace("{org}", client.org).replace(f"{{{name}}}", str(one))
                return url, body

            status = same_answer(client, statements, method, (orgs.foreign[name], missing), request)
            assert status == 404, f"{method} {path}"
            asked += 1
        assert asked > 25

    @pytest.mark.parametrize("one", ["0", "-1", str(2**63), "9" * 40])
    def test_a_number_that_no_row_has_is_none(self, client, one: str):
        for kind in KINDS.values():
            answer = client.get(f"/api/v1/orgs/{client.org}/{kind.collection}/{one}")
            assert answer.status_code == 404, kind.collection


def _upload(own: dict[str, Any], **values: Any) -> Document:
    config = {"mode": "single_table", "table": "flights", "target_schema": "other"}
    ids = {"source_connection_id": own["source"], "destination_connection_id": own["destination"]}
    return {"name": f"New {secrets.token_hex(3)}", "config": config, **ids, **values}


def _schedule(**values: Any) -> Document:
    return {"cron": "0 6 * * *", **values}


def _model(**values: Any) -> Document:
    return {"name": "m", "sql": "select 1 as a", **values}


def _edge(own: dict[str, Any], **values: Any) -> Document:
    ends = {"upstream_type": "upload", "downstream_type": "upload"}
    ids = {"upstream_id": own["upload_id"], "downstream_id": own["upload_id"]}
    return {**ends, **ids, **values}


@dataclass(frozen=True)
class BodyId:
    """An id in a body, and the body around it."""

    schema: str
    field: str
    method: str
    path: str
    of: str
    body: Callable[[dict[str, Any], Any], Document]


FIELDS = [
    BodyId(
        "UploadCreate",
        "source_connection_id",
        "post",
        "uploads",
        "connection_id",
        lambda own, one: _upload(own, source_connection_id=one),
    ),
    BodyId(
        "UploadCreate",
        "destination_connection_id",
        "post",
        "uploads",
        "destination",
        lambda own, one: _upload(own, destination_connection_id=one),
    ),
    BodyId(
        "UploadUpdate",
        "source_connection_id",
        "patch",
        "uploads/{upload_id}",
        "connection_id",
        lambda _, one: {"source_connection_id": one},
    ),
    BodyId(
        "UploadUpdate",
        "destination_connection_id",
        "patch",
        "uploads/{upload_id}",
        "destination",
        lambda _, one: {"destination_connection_id": one},
    ),
    BodyId(
        "TransformationCreate",
        "connection_id",
        "post",
        "transformations",
        "destination",
        lambda _, one: _model(connection_id=one),
    ),
    BodyId(
        "PreviewRequest",
        "connection_id",
        "post",
        "transformations/preview",
        "destination",
        lambda _, one: {"sql": "select 1", "connection_id": one},
    ),
    *(
        BodyId(
            "DependencyCreate",
            f"{end}_id",
            "post",
            "dependencies",
            f"{kind}_id",
            lambda own, one, end=end, kind=kind: _edge(
                own, **{f"{end}_id": one, f"{end}_type": kind}
            ),
        )
        for end in ("upstream", "downstream")
        for kind in ("upload", "transformation")
    ),
    *(
        BodyId(
            schema,
            "target_id",
            method,
            path,
            f"{kind}_id",
            lambda _, one, kind=kind, base=base: {**base, "target_type": kind, "target_id": one},
        )
        for kind in ("upload", "transformation")
        for schema, method, path, base in (
            ("ScheduleCreate", "post", "schedules", _schedule()),
            ("ScheduleUpdate", "patch", "schedules/{schedule_id}", {}),
            ("FreshnessPolicyCreate", "post", "freshness-policies", {"max_age_seconds": 60}),
        )
    ),
    *(
        BodyId(
            "RunTarget",
            "id",
            "post",
            "runs",
            f"{kind}_id",
            lambda _, one, kind=kind: {"targets": [{"type": kind, "id": one}]},
        )
        for kind in ("upload", "transformation")
    ),
]


class TestBodies:
    def test_every_id_of_a_body_is_here(self, document: Document):
        schemas = document["components"]["schemas"]
        names = {schema_of(operation) for _, _, operation in operations(document)} - {None}
        names |= {"RunTarget"}
        declared = {
            (name, field)
            for name in names
            for field in schemas[name].get("properties", {})
            if field == "id" or field.endswith(("_id", "_ids"))
        }
        assert declared == {(one.schema, one.field) for one in FIELDS}

    @pytest.mark.parametrize(
        "one", FIELDS, ids=[f"{f.method} {f.path} {f.field} {f.of}" for f in FIELDS]
    )
    def test_is_like_nobodys(self, client, orgs: Orgs, statements, one: BodyId):
        path = one.path
        for name, own in orgs.own.items():
            path = path.replace(f"{{{name}}}", str(own))
        url = f"/api/v1/orgs/{client.org}/{path}"

        def request(id_: Any):
            return url, {"json": one.body(orgs.own, id_)}

        status = same_answer(
            client, statements, one.method, (orgs.foreign[one.of], MISSING_ID), request
        )
        assert status in {404, 409, 422}

    def test_an_id_of_the_own_org_would_do(self, client, orgs: Orgs):
        """Or the answers above would be about something else."""
        url = f"/api/v1/orgs/{client.org}"
        assert client.post(f"{url}/uploads", json=_upload(orgs.own)).status_code == 201
        body = _schedule(target_type="upload", target_id=orgs.own["upload_id"])
        assert client.post(f"{url}/schedules", json=body).status_code == 201

    def test_query_parameters(self, client, orgs: Orgs, statements):
        for name in ("upstream_id", "downstream_id"):
            for one in (orgs.foreign["upload_id"], MISSING_ID):
                answer = client.get(f"/api/v1/orgs/{client.org}/dependencies", params={name: one})
                assert answer.json()["data"] == []

        def request(one: Any):
            params = {"target_type": "upload", "target_id": one}
            return f"/api/v1/orgs/{client.org}/dependencies/neighbours", {"params": params}

        ids = (orgs.foreign["upload_id"], MISSING_ID)
        assert same_answer(client, statements, "get", ids, request) == 200


def test_the_comparison_can_fail(client, session, member, orgs: Orgs, statements):
    own = make_upload(session, member.org.id).id

    def request(one: Any):
        return f"/api/v1/orgs/{client.org}/uploads/{one}", {}

    with pytest.raises(AssertionError):
        same_answer(client, statements, "get", (own, MISSING_ID), request)
