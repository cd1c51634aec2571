"""Health, documentation, the login page and platform operators."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from control_plane.access.users.service import create_user, make_operator
from control_plane.system.login_page import safe_next

DAGSTER = "http://127.0.0.1:8701/dagster"
PASSWORD = "correct horse battery"


def test_is_healthy_and_ready(anonymous: TestClient):
    assert anonymous.get("/health").json() == {"status": "ok"}
    answer = anonymous.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["checks"]["database"] == "ok"
    assert answer.json()["checks"]["keys"] == "ok"
    assert answer.json()["checks"]["isolation"].startswith("single-trust")


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


class TestLoginPage:
    @pytest.fixture
    def user(self, session: Session):
        made = create_user(session, "ann@example.com", PASSWORD)
        session.commit()
        return made

    def test_signs_in_for_the_dagster_ui(self, anonymous: TestClient, user):
        form = {"email": "ann@example.com", "password": PASSWORD, "next": f"{DAGSTER}/runs"}
        answer = anonymous.post("/login", data=form, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{DAGSTER}/runs")
        assert "datanika_session" in answer.cookies

    def test_says_no_without_a_cookie(self, anonymous: TestClient, user):
        form = {"email": "ann@example.com", "password": "wrong" * 4}
        answer = anonymous.post("/login", data=form, follow_redirects=False)
        assert answer.status_code == 401
        assert "datanika_session" not in answer.cookies
        assert "wrongwrong" not in answer.text

    def test_escapes_what_it_shows(self, anonymous: TestClient):
        answer = anonymous.get("/login", params={"next": f'{DAGSTER}/"><script>'})
        assert "<script>" not in answer.text

    @pytest.mark.parametrize(
        "target",
        [
            "https://evil.example/dagster",
            "//evil.example",
            "/\\evil.example",
            "\t//evil.example",
            f"{DAGSTER}@evil.example",
            "http://127.0.0.1:8701/other",
            "javascript:alert(1)",
            "http://127.0.0.1:8701.evil.example/dagster",
        ],
    )
    def test_leads_nowhere_else(self, target: str):
        result = safe_next(target, DAGSTER)
        assert result == DAGSTER or result.startswith(f"{DAGSTER}/")


class TestOperators:
    def test_only_operators_make_operators(self, anonymous: TestClient, session: Session):
        for email in ("ann@example.com", "bob@example.com"):
            create_user(session, email, PASSWORD)
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
