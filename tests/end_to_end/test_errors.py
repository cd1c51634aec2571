"""What goes wrong is said at the earliest moment, names what is wrong, and shows no secret."""

import pytest
from sqlalchemy import make_url

from tests.end_to_end.conftest import Org, RunningStack
from tests.end_to_end.test_publishing import upload_body

CANARY = "canary-password-17"


def connection_body(stack: RunningStack, **config: object) -> dict:
    return {
        "name": f"broken {sorted(config)}",
        "connector": "postgres",
        "direction": "source",
        "config": {
            "host": "127.0.0.1",
            "port": stack.port + 3,
            "database": "airline",
            "user": "datanika_reader",
            "password": CANARY,
            "sslmode": "disable",
            **config,
        },
    }


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({}, "connection.auth"),
        ({"host": "no-such-host.invalid"}, "connection.dns"),
        ({"port": 1}, "connection.refused"),
        ({"host": "169.254.169.254"}, "connection.network_denied"),
    ],
)
def test_a_connection_that_does_not_work_says_why(
    stack: RunningStack, acme: Org, config: dict, code: str
):
    row = acme.post("connections", **connection_body(stack, **config))
    result = acme.post(f"connections/{row['id']}/test", expected=200)
    assert (result["ok"], result["code"]) == (False, code)
    assert CANARY not in str(result)
    acme.api.delete(f"connections/{row['id']}")


def test_an_upload_from_a_source_that_cannot_be_read_is_refused(stack: RunningStack, acme: Org):
    row = acme.post("connections", **connection_body(stack))
    body = upload_body(acme, "airlines", "nowhere") | {"source_connection_id": row["id"]}
    answer = acme.api.post("uploads", json=body)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == ["/source_connection_id"]
    assert "connection.auth" in answer.text
    assert CANARY not in answer.text
    acme.api.delete(f"connections/{row['id']}")


def test_an_unknown_table_is_refused_when_saved(acme: Org):
    answer = acme.api.post("uploads", json=upload_body(acme, "flightz", "nowhere"))
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["pointer"] == "/config/table"
    assert "flightz" in error["detail"]
    assert "flights" in error["detail"], "a close name is suggested"


@pytest.mark.parametrize("cron", ["* * * *", "61 * * * *", "every day", "* * * * * *"])
def test_a_bad_cron_is_refused_when_saved(acme: Org, cron: str):
    upload = acme.row("uploads", "Airline")
    answer = acme.api.post(
        "schedules",
        json={"cron": cron, "target_type": "upload", "target_id": upload["id"]},
    )
    assert answer.status_code == 422
    assert "/cron" in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    "sql",
    [
        "selct * form {{ source('airline', 'flights') }}",
        "select * from {{ source('airline', 'flightz') }}",
        "select * from {{ ref('nothing') }}",
        "select {{ 1 + }}",
    ],
)
def test_a_model_that_cannot_work_is_refused_when_saved(acme: Org, sql: str):
    answer = acme.api.post(
        "transformations",
        json={"name": "broken_model", "schema": "staging", "sql": sql, "materialization": "view"},
    )
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert "/sql" in [error["pointer"] for error in body["errors"]]
    assert "/tmp" not in answer.text
    assert "Traceback" not in answer.text


def test_a_source_that_breaks_later_shows_in_the_run(stack: RunningStack, acme: Org):
    """The password is changed after publishing: the run's status and log say so."""
    password = make_url(stack.demo["source_url"]).password
    source = acme.post("connections", **connection_body(stack, password=password))
    body = upload_body(acme, "airlines", "breaking") | {"source_connection_id": source["id"]}
    upload = acme.post("uploads", **body)
    acme.post("publish", expected=200)
    path = f"connections/{source['id']}"
    answer = acme.api.patch(path, json={"config": {"password": CANARY}})
    assert answer.status_code == 200, answer.text
    run = acme.post(f"uploads/{upload['id']}/runs", expected=202)
    broken = acme.wait_for_run(run["id"])
    assert broken["status"] == "failed"
    log = " ".join(line["message"] for line in acme.get(f"runs/{run['id']}/logs")["data"])
    for text in (broken["error"], log):
        assert "password" in text.lower(), "the reason is the log-in"
        assert CANARY not in text
    answer = acme.api.patch(path, json={"config": {"password": password}})
    assert answer.status_code == 200, answer.text
    again = acme.post(f"uploads/{upload['id']}/runs", expected=202)
    assert acme.wait_for_run(again["id"])["status"] == "success", "and recovers"


@pytest.mark.parametrize(
    "change", [{"host": "db.example.com"}, {"port": 1}, {"user": "x"}, {"sslmode": "prefer"}]
)
def test_a_stored_password_is_not_sent_to_another_place(acme: Org, change: dict):
    source = acme.row("connections", "Airline database")
    answer = acme.api.patch(f"connections/{source['id']}", json={"config": change})
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/config/password"]
    assert acme.get(f"connections/{source['id']}")["config"] == source["config"]


def test_launching_what_is_not_published_is_refused(acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airports", "unpublished"))
    answer = acme.api.post(f"uploads/{upload['id']}/runs")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_published")
    assert acme.api.delete(f"uploads/{upload['id']}").status_code == 204
