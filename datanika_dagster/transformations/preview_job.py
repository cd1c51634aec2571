"""Job `preview`: the first rows of a query before it becomes a model.

Runs in a task child: as the warehouse's SELECT-only role where it has one, in a transaction that
is read-only in any case, with a time limit. It must not change or keep anything.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from pydantic import JsonValue

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.launcher.job import Job, Secrets
from datanika_dagster.transformations import (
    dbt_process,
    hygiene,
    parsed_manifest,
    project,
    result_rows,
    warehouse,
)
from datanika_dagster.transformations.errors import PreviewError, TransformationError
from datanika_manifest.transformations import ProjectSource

MAX_ROWS = 100
STATEMENT_TIMEOUT_SECONDS = 30.0
_JINJA = ("{{", "{%", "{#")


def run(job: Job, payload: dict[str, Any], secrets: Secrets) -> JsonValue:
    """Compiles a query and returns its first rows.

    Args:
        job: The channel and the working directory.
        payload: `{"connection": slug, "project": ProjectSource | null, "sql": text, "limit": n}`,
            `allowed_networks`, and `projects_dir` where a parsed project may be found.
        secrets: The connection.

    Returns:
        `{"compiled_sql": text, "columns": [{"name", "type"}], "rows": [[value…]…]}`; see
        `result_rows` for the values.

    Raises:
        TransformationError: The query or the project cannot be compiled.
        PreviewError: The warehouse refused the compiled query.
        JobError: The warehouse cannot be reached.
    """
    sql: str = payload["sql"]
    secret = secrets[payload["connection"]]
    hygiene.check_sql("preview", sql)
    reader = warehouse.endpoint(secret, payload).as_reader()
    if any(marker in sql for marker in _JINJA):
        sql = _compile(job.work_dir, sql, payload, str(secret["connector"]), reader)
    limit = min(max(int(payload.get("limit") or MAX_ROWS), 1), MAX_ROWS)
    return {"compiled_sql": sql, **_first_rows(reader, sql, limit)}


def _compile(
    work_dir: Path, sql: str, payload: Mapping[str, Any], connector: str, reader: Endpoint
) -> str:
    """Returns the query without Jinja. What it asks the warehouse meanwhile, the reader asks."""
    warehouse.set_environment(reader, is_read_only=True)
    source = _source(payload, connector)
    files = project.render(source)
    directory, manifest = _parsed(source, files, payload), None
    if directory is not None:
        manifest = parsed_manifest.load(directory, database=reader.database)
    outcome = dbt_process.invoke(
        "compile",
        project_dir=directory or project.stage(files, work_dir / "project" / "target"),
        work_dir=work_dir,
        manifest=manifest,
        options={"inline": sql, "populate_cache": False, "write_json": False},
    )
    if outcome.error is not None:
        raise TransformationError(outcome.error)
    result = outcome.results[0]
    if result.status != "success":
        raise TransformationError(dbt_process.clean_message(str(result.message)))
    return str(result.node.compiled_code)


def _source(payload: Mapping[str, Any], connector: str) -> ProjectSource:
    if payload.get("project") is not None:
        return ProjectSource.model_validate(payload["project"])
    return ProjectSource(
        org_id=0,
        org="preview",
        connection=payload["connection"],
        connector=connector,
        models=(),
        sources=(),
    )


def _parsed(
    source: ProjectSource, files: dict[str, str], payload: Mapping[str, Any]
) -> Path | None:
    if "projects_dir" not in payload:
        return None
    sha256 = project.sha256_of(files)
    directory = project.directory(
        Path(payload["projects_dir"]), source.org_id, source.connection, sha256
    )
    return directory if directory.is_dir() else None


def _first_rows(reader: Endpoint, sql: str, limit: int) -> dict[str, JsonValue]:
    with warehouse.read_only(
        reader, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS
    ) as session:
        try:
            return result_rows.fetch(session, sql, limit)
        except psycopg.errors.QueryCanceled:
            raise PreviewError(
                f"The query took longer than {STATEMENT_TIMEOUT_SECONDS:g} s."
            ) from None
        except psycopg.Error as error:
            raise PreviewError(error.diag.message_primary or "The query failed.") from None
