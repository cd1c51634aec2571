"""What goes wrong is said at the earliest moment, names what is wrong, and shows no secret."""

import pytest

from tests.end_to_end.conftest import Org, RunningStack
from tests.end_to_end.test_publishing import upload_body

CANARY = "canary-password-17"


def connection_body(stack: RunningStack, **config: object) -> dict:
    return {
        "name": f"broken {sorted(config.items())}",
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
    body = upload_body(acme, "airlines", "breaking")
    row = acme.post("connections", **connection_body(stack, database="airline"))
    good = acme.row("connections", "Airline database")
    upload = acme.post("uploads", **body)
    acme.post("publish", expected=200)
    # The upload now reads with a connection whose password is wrong.
    answer = acme.api.patch(f"connections/{good['id']}", json={"config": {"port": 1}})
    assert answer.status_code == 200, answer.text
    try:
        run = acme.post(f"uploads/{upload['id']}/runs", expected=202)
        done = acme.wait_for_run(run["id"])
    finally:
        port = {"port": stack.port + 3}
        acme.api.patch(f"connections/{good['id']}", json={"config": port})
        acme.api.delete(f"connections/{row['id']}")
    assert done["status"] == "failed"
    assert "refused" in done["error"].lower()
    log = " ".join(
        line["message"] for line in acme.get(f"runs/{run['id']}/logs", limit=1000)["data"]
    )
    assert "refused" in log.lower()
    assert "password" not in log.lower()
    view = acme.api.post(f"uploads/{upload['id']}/runs")
    assert acme.wait_for_run(view.json()["id"])["status"] == "success", "and recovers"


def test_launching_what_is_not_published_is_refused(acme: Org):
    upload = acme.post("uploads", **upload_body(acme, "airports", "unpublished"))
    answer = acme.api.post(f"uploads/{upload['id']}/runs")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_published")
    assert acme.api.delete(f"uploads/{upload['id']}").status_code == 204
