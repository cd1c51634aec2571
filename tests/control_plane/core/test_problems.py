"""What cannot be read or stored is the input's fault, and is said without failing."""

import json

import pytest

HALF = "\ud800"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("auth/login", {"email": "a@example.com", "password": HALF}),
        ("auth/refresh", {"refresh_token": HALF}),
        ("orgs/{org}/connections", {"connector": HALF}),
        ("orgs/{org}/connections", {"name": HALF}),
        ("orgs/{org}/connections", {"config": {HALF: HALF}}),
    ],
)
def test_half_a_character_is_refused(client, path: str, body: dict):
    valid = {"name": "a", "connector": "postgres", "direction": "source", "config": {}}
    path = path.format(org=client.org)
    if path.endswith("connections"):
        body = {**valid, **body}
    answer = client.post(f"/api/v1/{path}", content=json.dumps(body))
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid"


def test_deep_json_is_refused(client):
    deep = b"[" * 100_000 + b"]" * 100_000
    answer = client.post("/api/v1/auth/login", content=deep)
    assert answer.status_code in {400, 422}
