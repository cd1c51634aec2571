"""The job behind the real launcher: as a step of a Dagster run, and as an interactive task."""

from functools import partial

import dagster as dg
import pytest

from datanika_dagster.launcher import run_side
from datanika_dagster.launcher.job_processes import Terms
from datanika_dagster.transformations.events import translate
from datanika_manifest.transformations import DbtProject
from tests.datanika_dagster.support.tasks import ask
from tests.datanika_dagster.transformations import projects


@pytest.fixture(scope="module")
def parsed(task_host, projects_dir):
    """The project as the interactive task `dbt_parse` returns it, and where it is kept."""
    source = projects.source(
        projects.model("base", "select n from {{ source('raw', 'numbers') }}"),
        projects.model(
            "doubled",
            "select 2 * n as n from {{ ref('base') }}",
            materialization="table",
            tests=[
                projects.test("unique", "n"),
                projects.test("accepted_values", "n", values=[2], severity="warn"),
            ],
        ),
        tables=(("raw", "numbers"),),
    )
    answer = ask(task_host, "dbt_parse", projects.payload(source, projects_dir))
    assert answer["ok"], answer
    return DbtProject(connection="warehouse", **answer["value"]), projects_dir


@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
@pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id:DeprecationWarning")
def test_a_step_materializes_and_checks(parsed, warehouse, tmp_path, monkeypatch):
    project, directory = parsed
    monkeypatch.setenv("DATANIKA_HOME", str(tmp_path))
    warehouse.execute("CREATE SCHEMA raw")
    warehouse.execute("CREATE TABLE raw.numbers AS SELECT generate_series(1, 3) AS n")
    keys = {node.unique_id: dg.AssetKey(list(node.asset_key)) for node in project.nodes}
    tests = [(node, test) for node in project.nodes for test in node.tests]

    @dg.multi_asset(
        specs=[dg.AssetSpec(key) for key in keys.values()],
        check_specs=[
            dg.AssetCheckSpec(test.check_name, asset=keys[node.unique_id]) for node, test in tests
        ],
    )
    def step(context: dg.AssetExecutionContext):
        payload = {
            "project": project.model_dump(mode="json"),
            "nodes": list(keys),
            "tests": [test.unique_id for _, test in tests],
            "projects_dir": str(directory),
            "org": "acme",
            "org_id": 7,
            "run_id": context.run.run_id,
        }
        yield from run_side.run_job(
            context,
            "dbt_build",
            payload,
            {"warehouse": warehouse.secret},
            Terms(7, 60),
            partial(translate, project),
        )

    with dg.instance_for_test() as instance:
        result = dg.materialize([step], instance=instance)

    assert result.success
    rows = {
        event.asset_key.path[-1]: event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
    }
    assert rows == {"base": 3, "doubled": 3}
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks["unique_n"].passed
    assert not checks["accepted_values_n"].passed
    assert checks["accepted_values_n"].severity is dg.AssetCheckSeverity.WARN
    assert checks["accepted_values_n"].metadata["datanika/failures"].value == 2
