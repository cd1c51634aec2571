"""What the platform decides cannot be written by naming it in a body: generated over the API.

The other half, that the database refuses it as well, is test_every_table.py.
"""

import hashlib
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.orm import Session

from control_plane.core.database import Base
from control_plane.main import create_app
from tests.control_plane.tenancy.resources import KINDS

# Each is a column of some table, or says who may do what.
FORBIDDEN = (
    "id",
    "org_id",
    "org_slug",
    "slug",
    "user_id",
    "created_by_user_id",
    "is_platform_operator",
    "is_suspended",
    "role",
    "permissions",
    "version",
    "created_at",
    "updated_at",
    "deleted_at",
    "secrets",
    "secrets_key_id",
    "password_hash",
    "key_hash",
    "email_verified_at",
    "__class__",
    "$ref",
)
# Free-form by design: what a connector or an upload takes is checked by its own declaration.
FREE_FORM = {
    "ConnectionCreate.config",
    "ConnectionUpdate.config",
    "UploadCreate.config",
    "UploadUpdate.config",
}
# They change with every request, whatever it asks for.
UNRELATED = {"throttle_counters", "user_sessions", "refresh_tokens", "platform_audit_entries"}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def document(make_settings) -> Document:
    return create_app(make_settings()).openapi()


def bodies(document: Document) -> list[tuple[str, str, str]]:
    """Returns method, path and schema of each operation that takes JSON."""
    return [
        (method, path, content["schema"]["$ref"].rpartition("/")[2])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if (content := operation.get("requestBody", {}).get("content", {}).get("application/json"))
    ]


def reachable(document: Document, name: str) -> dict[str, Document]:
    """Returns the object schemas inside a body, by name, the body's own included."""
    schemas = document["components"]["schemas"]
    found: dict[str, Document] = {}
    pending = [name]
    while pending:
        one = pending.pop()
        if one not in found:
            found[one] = schemas[one]
            pending += _referred(schemas[one])
    return {key: value for key, value in found.items() if value.get("type") == "object"}


def _referred(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _referred(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"].rpartition("/")[2]] if "$ref" in node else []
    return own + [name for value in node.values() for name in _referred(value)]


def open_objects(document: Document) -> set[str]:
    """Names every place of a body that takes properties which it does not declare."""
    found = set()
    for _, _, body in bodies(document):
        for name, schema in reachable(document, body).items():
            if schema.get("additionalProperties") is not False:
                found.add(name)
            for field, property_ in schema.get("properties", {}).items():
                options = [property_, *property_.get("anyOf", [])]
                if any(one.get("additionalProperties") not in {None, False} for one in options):
                    found.add(f"{name}.{field}")
    return found


def test_no_body_takes_what_it_does_not_declare(document: Document):
    assert len(bodies(document)) > 20
    assert open_objects(document) == FREE_FORM


def test_no_body_of_an_org_declares_what_the_platform_decides(document: Document):
    declared = {
        f"{name}.{field}"
        for _, path, body in bodies(document)
        if path.startswith("/api/v1/orgs/")
        for name, schema in reachable(document, body).items()
        for field in schema.get("properties", {})
        if field in FORBIDDEN
    }
    # Whoever may change members says which role, and a run says what it is of: what others may
    # get, and whether the org has such a target, is checked by the services.
    assert declared == {"InvitationCreate.role", "MemberUpdate.role", "RunTarget.id"}


def contents(session: Session) -> dict[str, str]:
    """Returns a fingerprint of each table, as the session sees it."""
    found = {}
    for name in sorted(set(Base.metadata.tables) - UNRELATED):
        rows = session.scalars(text(f"SELECT t::text FROM {name} t ORDER BY 1")).all()
        found[name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def test_every_operation_refuses_it_and_changes_nothing(
    client, session: Session, member, document: Document
):
    """As an owner who is a platform operator, on resources of the caller's own org."""
    rows = {kind.collection: kind.make(session, member.org.id).id for kind in KINDS.values()}
    member.user.is_platform_operator = True
    session.commit()
    before = contents(session)
    for method, path, name in bodies(document):
        declared = document["components"]["schemas"][name].get("properties", {})
        url = _filled_in(path, client.org, rows, member.user.id)
        fields = [field for field in FORBIDDEN if field not in declared]
        answer = client.request(method, url, json=dict.fromkeys(fields, 1))
        if path.startswith("/api/v1/system/") and answer.status_code == 409:
            continue  # Not possible in the present state, which is looked at before the body.
        assert answer.status_code == 422, f"{method} {path}: {answer.text}"
        errors = {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
        for field in fields:
            assert errors[f"/{field}"] == "Extra inputs are not permitted", f"{method} {path}"
    session.expire_all()
    assert contents(session) == before


def _filled_in(path: str, org: str, rows: dict[str, int], user_id: int) -> str:
    parts = path.replace("{org}", org).replace("{user_id}", str(user_id)).split("/")
    for position, part in enumerate(parts):
        if part.startswith("{"):
            parts[position] = str(rows.get(parts[position - 1], 1))
    return "/".join(parts)


class TestFreeForm:
    """The two fields that take any object name what they do not know."""

    @pytest.mark.parametrize("field", ["org_id", "secrets_key_id", "slug", "__class__"])
    def test_a_connections_settings(self, client, field: str):
        config = {"host": "db.example.com", "database": "d", "user": "u", "password": "p", field: 1}
        body = {"name": "x", "connector": "postgres", "direction": "source", "config": config}
        answer = client.post(f"/api/v1/orgs/{client.org}/connections", json=body)
        assert answer.status_code == 422
        assert f"/config/{field}" in {error["pointer"] for error in answer.json()["errors"]}

    @pytest.mark.parametrize("field", ["org_id", "id", "__class__"])
    def test_an_uploads_settings(self, client, session, member, field: str):
        row = KINDS["upload"].make(session, member.org.id)
        url = f"/api/v1/orgs/{client.org}/uploads/{row.id}"
        answer = client.patch(url, json={"config": {field: 1}})
        assert answer.status_code == 422
        assert f"/config/{field}" in {error["pointer"] for error in answer.json()["errors"]}


def test_the_schema_test_can_fail():
    app = FastAPI()

    @app.post("/open")
    def takes(body: dict[str, int]) -> None:
        pass

    document = app.openapi()
    content = document["paths"]["/open"]["post"]["requestBody"]["content"]["application/json"]
    document["components"] = {"schemas": {"Open": {**content["schema"], "type": "object"}}}
    content["schema"] = {"$ref": "#/components/schemas/Open"}
    assert open_objects(document) == {"Open"}
