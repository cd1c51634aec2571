import threading

import pytest
import yaml

from datanika_dagster.launcher.job import JobError
from datanika_dagster.transformations import project
from datanika_dagster.transformations.checks import named_tests
from datanika_dagster.transformations.properties import exact_column
from tests.datanika_dagster.transformations import projects


def render(*models, tables=()):
    return project.render(projects.source(*models, tables=tables))


def test_sql_is_written_verbatim_behind_the_header():
    sql = "  select 1 -- é {{ ref('x') }}\r\n\tfrom y  \n\n"
    files = render(projects.model("odd", sql))

    text = files["models/mart/odd.sql"]
    assert text.endswith(sql)
    assert text.removesuffix(sql) == "{{ config(materialized='view', schema='mart') }}"


def test_no_path_leaves_the_project(tmp_path):
    staged = project.stage(project.render(projects.airline()), tmp_path / "tenant_7" / "abc")

    outside = [p for p in staged.rglob("*") if not p.resolve().is_relative_to(staged)]
    assert not outside
    assert all(p.stat().st_mode & 0o077 == 0 for p in [staged, *staged.rglob("*")])


def test_the_name_depends_on_every_file_and_on_no_credential():
    files = render(projects.model("a", "select 1"))

    assert project.sha256_of(files) == project.sha256_of(dict(reversed(files.items())))
    assert project.sha256_of(files) != project.sha256_of(render(projects.model("a", "select 2")))
    assert "DBT_ENV_SECRET_" in files["profiles.yml"]
    assert "dbt-core==" in files["dbt-versions.txt"]


def test_concurrent_writers_agree(tmp_path):
    files = render(projects.model("a", "select 1"))
    target = tmp_path / "tenant_7" / "warehouse" / project.sha256_of(files)
    failures = []

    def write():
        try:
            project.publish(project.stage(files, target), target)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert (target / "models" / "mart" / "a.sql").read_text().endswith("select 1")


def test_sources_carry_the_key_of_the_uploaded_table():
    document = yaml.safe_load(render(tables=projects.RAW)["models/sources.yml"])

    (schema,) = document["sources"]
    assert schema["name"] == "raw"
    meta = schema["tables"][0]["config"]["meta"]
    assert meta == {"dagster": {"asset_key": ["acme", "warehouse", "raw", "flights"]}}


def test_check_names_are_readable_stable_and_unique():
    tests = [
        projects.test("not_null", "Flight ID"),
        projects.test("accepted_values", "origin", values=["a"]),
        projects.test("accepted_values", "origin", values=["b"]),
        projects.test("accepted_values", "origin_2", values=["b"]),
        projects.test("relationships", "tailnum", to="raw.planes"),
        projects.test("relationships", "tailnum", to="stg_planes"),
    ]
    source = projects.source(projects.model("m", "select 1", tests=tests))

    assert [named.check_name for named in named_tests(source.models[0])] == [
        "not_null_flight_id",
        "accepted_values_origin",
        "accepted_values_origin_2",
        "accepted_values_origin_2_2",
        "relationships_tailnum_planes",
        "relationships_tailnum_stg_planes",
    ]


@pytest.mark.parametrize(
    ("column", "exact"),
    [
        ("Flight_ID", "flight_id"),
        ('"Flight_ID"', "Flight_ID"),
        ("arr delay", "arr delay"),
        ("order", "order"),
    ],
)
def test_a_column_is_read_as_in_sql(column, exact):
    assert exact_column(column, "m") == exact


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        (projects.test("accepted_values", "a"), "has no values"),
        (projects.test("relationships", "a"), "does not say to which table"),
        (projects.test("relationships", "a", to="nowhere"), "neither a model"),
        (projects.test("relationships", "a", to="raw.nowhere"), "neither a model"),
        (projects.test("relationships", "a", to="env_var('HOME')"), "neither a model"),
        (projects.test("not_null", "{{ env_var('HOME') }}"), "not allowed"),
        (projects.test("not_null", 'a" or "b'), "not allowed"),
    ],
)
def test_a_wrong_test_names_its_model(test, problem):
    with pytest.raises(JobError, match=problem) as caught:
        render(projects.model("m", "select 1", tests=[test]))

    assert caught.value.field == "m"


@pytest.mark.parametrize("other", ["twice", "Twice", "twice_", "twi-ce"])
def test_names_that_would_collide_are_refused(other):
    first = projects.model("twi_ce" if other == "twi-ce" else "twice", "select 1")
    with pytest.raises(JobError, match="Two models"):
        render(first, projects.model(other, "select 1"))


def test_an_unknown_connector_is_refused():
    source = projects.source().model_copy(update={"connector": "mysql"})
    with pytest.raises(JobError, match=r"'mysql'; known: managed_warehouse, postgres"):
        project.render(source)
