"""Job `dbt_build`: runs selected nodes and tests of a parsed project and reports each as it ends.

Runs in a job child with the credentials of one connection. It says what dbt did, reduced to ids,
times and counts; what that means to Dagster is decided on the other side, in `events.py`.
"""

from pathlib import Path
from typing import Any

from pydantic import JsonValue

from datanika_dagster.launcher.job import Secrets
from datanika_dagster.transformations import (
    dbt_process,
    parsed_manifest,
    project,
    selection,
    warehouse,
)
from datanika_dagster.transformations.reporter import DbtJob, Reporter
from datanika_dagster.transformations.row_counts import RowCounter
from datanika_manifest.transformations import DbtProject


def run(job: DbtJob, payload: dict[str, Any], secrets: Secrets) -> JsonValue:
    """Builds the selected nodes and runs the selected tests.

    Args:
        job: The channel and the working directory.
        payload: `{"project": DbtProject, "nodes": [unique ids], "tests": [unique ids],
            "projects_dir": path, "org": slug, "org_id": id, "run_id": id}`, and
            `allowed_networks`.
        secrets: The project's connection.

    Returns:
        `{"nodes": n, "tests": n}`: how many ran.

    Raises:
        ProjectMissingError: The project's directory is not on this machine.
        BuildFailedError: A model or a test failed; the message names each.
        JobError: The connection's host cannot or may not be reached.
    """
    declared = DbtProject.model_validate(payload["project"])
    selected = [*payload["nodes"], *payload["tests"]]
    if not selected:
        return {"nodes": 0, "tests": 0}  # to dbt an empty selection means everything
    directory = project.existing(
        Path(payload["projects_dir"]), payload["org_id"], declared.connection, declared.sha256
    )
    endpoint = warehouse.endpoint(secrets[declared.connection], payload)
    with endpoint.connect():
        pass  # a wrong password is an error of ours, with a code, not one of dbt's
    warehouse.set_environment(
        endpoint, application_name=f"datanika dbt {payload['org']} {payload['run_id'][:8]}"
    )
    manifest = parsed_manifest.load(directory, database=endpoint.database)
    reporter = Reporter(job, declared, RowCounter(endpoint))
    outcome = dbt_process.invoke(
        "build",
        project_dir=directory,
        work_dir=job.work_dir,
        manifest=manifest,
        on_event=reporter.on_event,
        options={
            "select": selection.selectors(declared, selected),
            # Exactly the listed tests, not all that hang on the listed nodes.
            "indirect_selection": "empty",
            # Nobody reads what dbt would write: results come from its events and its answer.
            "write_json": False,
        },
    )
    return reporter.finish(outcome, selected)
