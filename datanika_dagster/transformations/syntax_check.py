"""Checks the SQL of a whole project and names the model that is wrong.

It decides which of the two checks of `syntax` can be made; it must not know how models are
compiled.
"""

from collections.abc import Mapping
from typing import Any

import psycopg

from datanika_dagster.launcher.job import Job, JobError
from datanika_dagster.transformations import syntax, warehouse
from datanika_dagster.transformations.errors import TransformationError

TIMEOUT_SECONDS = 10.0


def check_obvious(models: Mapping[str, str]) -> None:
    """Refuses a project in which a model is visibly no query.

    Args:
        models: Model name → its SQL, compiled or not.

    Raises:
        TransformationError: Names the first such model and what is wrong.
    """
    for name, sql in models.items():
        _refuse(name, syntax.obvious_error(sql))


def check_grammar(
    compiled: Mapping[str, str], secret: Mapping[str, Any], payload: Mapping[str, Any], job: Job
) -> None:
    """Has the warehouse check each model's grammar, if it can be reached.

    Args:
        compiled: Model name → compiled SQL.
        secret: The project's connection.
        payload: The job's; it holds the network policy.
        job: For a warning where the warehouse cannot be asked: one that is away must not keep
            anybody from saving.

    Raises:
        TransformationError: Names the first model with a syntax error, and what is wrong.
    """
    try:
        reader = warehouse.endpoint(secret, payload).as_reader()
        with warehouse.read_only(reader, statement_timeout_seconds=TIMEOUT_SECONDS) as session:
            for name, sql in compiled.items():
                _refuse(name, syntax.grammar_error(session, sql))
    except TransformationError:
        raise
    except (JobError, psycopg.OperationalError):
        job.log("warning", "The warehouse could not be asked to check the models' syntax.")


def _refuse(name: str, problem: str | None) -> None:
    if problem is not None:
        raise TransformationError(f"Model '{name}' is not valid SQL: {problem}.", field=name)
