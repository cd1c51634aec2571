import pytest

from tests.datanika_dagster.transformations import projects


@pytest.fixture(scope="module")
def parsed(jobs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("projects")
    answer = jobs("parse_job", projects.payload(projects.airline(), directory))
    assert answer.error is None
    return answer, directory


def test_the_graph_has_models_and_uploaded_tables(parsed):
    answer, _ = parsed
    nodes = {node["name"]: node for node in answer.value["nodes"]}

    assert list(nodes) == ["stg_flights", "stg_planes", "flights_by_origin", "flight_log"]
    flights = nodes["stg_flights"]
    assert flights["asset_key"] == ["acme", "warehouse", "staging", "stg_flights"]
    assert flights["depends_on"] == [["acme", "warehouse", "raw", "flights"]]
    assert flights["transformation_id"] == 11
    assert nodes["flights_by_origin"]["depends_on"] == [flights["asset_key"]]
    assert nodes["flight_log"]["materialization"] == "incremental"


def test_tests_belong_to_the_model_that_declares_them(parsed):
    answer, _ = parsed
    checks = {n["name"]: {t["check_name"]: t for t in n["tests"]} for n in answer.value["nodes"]}

    assert list(checks["stg_flights"]) == [
        "not_null_flight_id",
        "unique_flight_id",
        "accepted_values_origin",
        "relationships_tailnum_stg_planes",
    ]
    assert checks["stg_flights"]["relationships_tailnum_stg_planes"]["severity"] == "warn"
    assert checks["stg_flights"]["unique_flight_id"]["severity"] == "error"
    assert checks["stg_planes"] == {}


def test_the_project_is_kept_for_runs(parsed):
    answer, directory = parsed
    project = directory / "tenant_7" / "warehouse" / answer.value["sha256"]

    assert (project / "parsed" / "partial_parse.msgpack").stat().st_size > 0
    assert (project / "models" / "staging" / "stg_flights.sql").is_file()
    assert {path.name for path in project.parent.iterdir()} == {answer.value["sha256"]}
    assert project.stat().st_mode & 0o777 == 0o700


def test_a_second_parse_answers_the_same(parsed, jobs):
    answer, directory = parsed

    assert jobs("parse_job", projects.payload(projects.airline(), directory)).value == answer.value
