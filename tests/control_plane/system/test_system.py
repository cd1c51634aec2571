"""Health, documentation and platform operators."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from control_plane.access.users.service import create_user, make_operator
from control_plane.core.clock import utc_now
from control_plane.core.vault import Vault
from control_plane.system.service import check_readiness

PASSWORD = "correct horse battery"


def test_is_healthy_and_ready(anonymous: TestClient):
    assert anonymous.get("/health").json() == {"status": "ok"}
    answer = anonymous.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["checks"]["database"] == "ok"
    assert answer.json()["checks"]["keys"] == "ok"
    assert answer.json()["checks"]["isolation"].startswith("unknown")


@pytest.mark.parametrize("level", ["users", "namespaces", "none"])
def test_ready_says_what_keeps_jobs_apart(level: str, vault: Vault):
    assert check_readiness(True, vault, level).checks["isolation"].startswith(f"{level}: ")


def test_the_documentation_needs_no_other_server(anonymous: TestClient):
    page = anonymous.get("/docs").text
    scripts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert scripts
    for script in scripts:
        assert script.startswith("/"), script
        assert anonymous.get(script).status_code == 200


def test_openapi_is_3_1_and_keeps_internal_routes_out(anonymous: TestClient):
    document = anonymous.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert not [path for path in document["paths"] if path.startswith("/internal")]
    operations = [
        operation for methods in document["paths"].values() for operation in methods.values()
    ]
    assert all(operation.get("summary") for operation in operations)
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    assert document["paths"]["/api/v1/orgs/{org}/runs"]["get"]["security"]


def test_answers_carry_security_headers_and_a_trace_id(anonymous: TestClient):
    answer = anonymous.get("/health")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Trace-Id"])


def test_errors_are_problem_documents(anonymous: TestClient):
    answer = anonymous.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    answer = anonymous.get("/api/v1/auth/me")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["instance"] == "/api/v1/auth/me"


class TestOperators:
    def test_only_operators_make_operators(self, anonymous: TestClient, session: Session):
        for email in ("ann@example.com", "bob@example.com"):
            create_user(session, email, PASSWORD).email_verified_at = utc_now()
        make_operator(session, "ann@example.com")
        session.commit()

        def promote(who: str, whom: str) -> int:
            body = {"email": who, "password": PASSWORD}
            token = anonymous.post("/api/v1/auth/login", json=body).json()["access_token"]
            answer = anonymous.post(
                "/api/v1/system/operators",
                json={"email": whom},
                headers={"Authorization": f"Bearer {token}"},
            )
            return answer.status_code

        assert promote("bob@example.com", "bob@example.com") == 403
        assert promote("ann@example.com", "nobody@example.com") == 404
        assert promote("ann@example.com", "bob@example.com") == 201
        assert promote("bob@example.com", "ann@example.com") == 201
