import pytest

from tests.datanika_dagster.transformations import projects

NOT_MATCHING = "relationships_tailnum_stg_planes"


@pytest.fixture(scope="module")
def project(jobs, warehouse, tmp_path_factory):
    """The parsed airline project, its raw tables, and the payload to build all of it."""
    directory = tmp_path_factory.mktemp("projects")
    warehouse.execute("CREATE SCHEMA raw")
    warehouse.execute(
        "CREATE TABLE raw.flights AS SELECT g AS flight_id, 'N' || g AS tailnum,"
        " CASE WHEN g = 3 THEN 'O''Hare' ELSE 'JFK' END AS origin FROM generate_series(1, 5) g"
    )
    warehouse.execute(
        "CREATE TABLE raw.planes AS SELECT 'N' || g AS tailnum FROM generate_series(1, 3) g"
    )
    parsed = jobs("parse_job", projects.payload(projects.airline(), directory))
    return {
        "project": {"connection": "warehouse", **parsed.value},
        "projects_dir": str(directory),
        "org": "acme",
        "org_id": 7,
        "run_id": "5b0f6c8e",
    }


def everything(project: dict) -> dict:
    nodes = project["project"]["nodes"]
    return project | {
        "nodes": [node["unique_id"] for node in nodes],
        "tests": [test["unique_id"] for node in nodes for test in node["tests"]],
    }


def build(jobs, warehouse, payload):
    return jobs("build_job", payload, {"warehouse": warehouse.secret})


@pytest.fixture(scope="module")
def built(jobs, warehouse, project):
    return build(jobs, warehouse, everything(project))


def test_models_and_tests_are_reported_with_rows_and_failures(built, project):
    assert built.error is None
    assert built.value == {"nodes": 4, "tests": 5}
    rows = {name: result.get("rows") for name, result in built.results.items()}
    assert rows["model.datanika.stg_flights"] == 5
    assert rows["model.datanika.flights_by_origin"] == 2
    assert rows["model.datanika.flight_log"] == 5
    flights = project["project"]["nodes"][0]
    statuses = {t["check_name"]: built.results[t["unique_id"]]["status"] for t in flights["tests"]}
    assert statuses == {
        "not_null_flight_id": "pass",
        "unique_flight_id": "pass",
        "accepted_values_origin": "pass",
        NOT_MATCHING: "warn",
    }
    warned = next(t["unique_id"] for t in flights["tests"] if t["check_name"] == NOT_MATCHING)
    assert built.results[warned]["failures"] == 2


def test_the_warehouse_has_what_was_built(built, warehouse):
    assert warehouse.rows("SELECT * FROM mart.flights_by_origin ORDER BY 2") == [
        ("O'Hare", 1),
        ("JFK", 4),
    ]
