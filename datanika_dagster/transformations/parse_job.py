"""Job `dbt_parse`: from declared models to a parsed dbt project that runs can use as it is.

Runs in a task child. It writes the project under the projects directory, has dbt compile it in
this process without credentials, and returns the assets and checks that it is made of.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from datanika_dagster.launcher.job import Job, Secrets
from datanika_dagster.transformations import blame, dbt_process, nodes, project, syntax_check
from datanika_manifest.transformations import ProjectSource

MANIFEST_FILE = "manifest.json"
COMPILED_FILE = "compiled.json"


def run(job: Job, payload: dict[str, Any], secrets: Secrets) -> JsonValue:
    """Parses a project and keeps it.

    Args:
        job: The channel and the working directory.
        payload: `{"project": ProjectSource, "projects_dir": path}`; `allowed_networks` with
            secrets.
        secrets: The project's connection or nothing. With it the warehouse checks the SQL's
            grammar; dbt never sees it.

    Returns:
        `{"sha256": …, "nodes": [DbtNode…]}`.

    Raises:
        TransformationError: The project does not work; the message names the model.
    """
    source = ProjectSource.model_validate(payload["project"])
    syntax_check.check_obvious({model.name: model.sql for model in source.models})
    files = project.render(source)
    sha256 = project.sha256_of(files)
    target = project.directory(
        Path(payload["projects_dir"]), source.org_id, source.connection, sha256
    )
    secret = secrets.get(source.connection)
    is_known = (target / project.PARSED / MANIFEST_FILE).is_file()
    staged = None if is_known else project.stage(files, target)
    try:
        if staged is not None:
            _parse(source, staged, job.work_dir)
        parsed = (staged or target) / project.PARSED
        found = nodes.nodes_of(source, _read_json(parsed / MANIFEST_FILE))
        compiled = _read_json(parsed / COMPILED_FILE)
        syntax_check.check_obvious(compiled)
        if secret is not None:
            syntax_check.check_grammar(compiled, secret, payload, job)
        if staged is not None:
            project.publish(staged, target)
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
    return {"sha256": sha256, "nodes": [node.model_dump(mode="json") for node in found]}


def _parse(source: ProjectSource, directory: Path, work_dir: Path) -> None:
    """Puts what dbt makes of the project into its folder `parsed`."""
    compiled = _compile(source, directory, work_dir)
    parsed = directory / project.PARSED
    parsed.mkdir(mode=0o700)
    (parsed / COMPILED_FILE).write_text(json.dumps(compiled), encoding="utf-8")
    for name in (MANIFEST_FILE, project.PARTIAL_PARSE_FILE):
        shutil.copyfile(work_dir / "target" / name, parsed / name)


def _compile(source: ProjectSource, staged: Path, work_dir: Path) -> dict[str, str]:
    """Returns the compiled SQL of each model that compiles without a database."""
    outcome = dbt_process.invoke(
        "compile",
        project_dir=staged,
        work_dir=work_dir,
        options={
            "introspect": False,
            "populate_cache": False,
            "select": ("resource_type:model",),
        },
    )
    if outcome.error is not None:
        raise blame.error(outcome.error, source.models)
    compiled: dict[str, str] = {}
    for result in outcome.results:
        if result.status == "success":
            compiled[result.node.name] = result.node.compiled_code
        elif dbt_process.NO_DATABASE not in str(result.message):
            message = dbt_process.clean_message(str(result.message))
            raise blame.error(message, source.models)
    return compiled


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
