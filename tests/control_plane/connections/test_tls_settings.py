"""TLS settings through the REST API: the key is a secret, and goes only where it went."""

import pytest

from tests.control_plane.source_database import field_errors
from tests.datanika_dagster.certificates import Authority, Certified, authority


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority("CA")


@pytest.fixture(scope="module")
def pair(ca: Authority) -> Certified:
    return ca.issue("etl")


@pytest.fixture
def url(client) -> str:
    return f"/api/v1/orgs/{client.org}/connections"


@pytest.fixture
def body(ca, pair):
    config = {"host": "db.example.com", "database": "d", "user": "u", "password": "canary-p"}
    tls = {
        "sslmode": "verify-full",
        "ssl_root_certificate": ca.pem,
        "ssl_client_certificate": pair.certificate,
        "ssl_client_key": pair.key,
    }
    given = {**config, **tls}
    return {"name": "TLS", "connector": "postgres", "direction": "source", "config": given}


def test_the_key_is_never_shown_and_the_certificates_are(client, url, body, ca, pair):
    made = client.post(url, json=body)
    assert made.status_code == 201, made.text
    assert made.json()["secrets_set"] == ["password", "ssl_client_key"]
    assert made.json()["config"]["ssl_root_certificate"] == ca.pem
    log = client.get(f"/api/v1/orgs/{client.org}/audit").text
    for text in (made.text, client.get(url).text, log):
        assert "PRIVATE KEY" not in text
        assert "canary-p" not in text


def test_without_certificates_there_is_no_key(client, url, body):
    config = {name: body["config"][name] for name in ("host", "database", "user", "password")}
    made = client.post(url, json={**body, "config": config}).json()
    assert made["secrets_set"] == ["password"]
    assert not [name for name in made["config"] if name.startswith("ssl_")]


def test_stored_secrets_are_not_sent_to_whom_another_authority_vouches_for(client, url, body):
    made = client.post(url, json=body).json()
    config = {"ssl_root_certificate": authority("Another").pem}
    answer = client.patch(f"{url}/{made['id']}", json={"config": config})
    assert set(field_errors(answer)) == {"/config/password", "/config/ssl_client_key"}
    given = {"password": "canary-p", "ssl_client_key": body["config"]["ssl_client_key"]}
    again = client.patch(f"{url}/{made['id']}", json={"config": {**config, **given}})
    assert again.status_code == 200, again.text


def test_both_can_be_taken_away(client, url, body):
    made = client.post(url, json=body).json()
    config = {"ssl_client_certificate": None, "ssl_client_key": None}
    changed = client.patch(f"{url}/{made['id']}", json={"config": config})
    assert changed.json()["secrets_set"] == ["password"]


def test_a_refusal_names_the_field_and_shows_nothing(client, url, body, ca):
    body["config"]["ssl_client_key"] = ca.issue("other").key
    answer = client.post(url, json=body)
    assert field_errors(answer) == {
        "/config/ssl_client_key": "does not belong to ssl_client_certificate"
    }
    assert "PRIVATE" not in answer.text
