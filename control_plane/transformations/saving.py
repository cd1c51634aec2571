"""Has dbt read a project with a model that is about to be saved, and finds whose fault a failure is.

A model that was broken by something else (its upload is gone) must not keep others from being
saved, least of all the one that would repair it.
"""

from control_plane.connections.models import Connection
from control_plane.core.tasks import TaskFailed
from control_plane.transformations.dbt_tasks import DbtTasks, failure
from control_plane.transformations.references import models_in
from datanika_manifest.transformations import ModelSource, ProjectSource


def check_parses(
    dbt: DbtTasks,
    connection: Connection,
    project: ProjectSource,
    *,
    name: str,
    old_name: str | None,
) -> None:
    """Lets a model be saved only when dbt accepts it.

    Args:
        dbt: Parses.
        connection: Whose project it is.
        project: With the model as it will be.
        name: The model.
        old_name: What it was called; None for a new one.

    Raises:
        Invalid: dbt refuses the model, or another one because of it.
        Upstream: The task died or passed its deadline.
    """
    failed = _parse(dbt, connection, project)
    if failed is not None and _is_elsewhere(project, failed.field, {name, old_name}):
        failed = _parse(dbt, connection, with_ancestors(project, name))
    if failed is not None:
        is_renamed = old_name is not None and old_name != name
        is_other = failed.field is not None and failed.field != name
        raise failure(connection, failed, "/name" if is_renamed and is_other else "/sql")


def with_ancestors(project: ProjectSource, name: str) -> ProjectSource:
    """Returns the project with only the model `name` and what it selects from, near and far."""
    by_name = {model.name: model for model in project.models}
    wanted: set[str] = set()
    pending = {name}
    while pending:
        wanted |= pending
        named = {other for one in pending for other in _named_in(by_name[one])}
        pending = named & by_name.keys() - wanted
    models = tuple(model for model in project.models if model.name in wanted)
    return project.model_copy(update={"models": models})


def _parse(dbt: DbtTasks, connection: Connection, project: ProjectSource) -> TaskFailed | None:
    try:
        dbt.parse(connection, project)
    except TaskFailed as error:
        return error
    return None


def _is_elsewhere(project: ProjectSource, blamed: str | None, own: set[str | None]) -> bool:
    """Tells whether the blamed model is another one that does not name this one."""
    if blamed is None or blamed in own:
        return False
    return any(model.name == blamed and not _named_in(model) & own for model in project.models)


def _named_in(model: ModelSource) -> set[str]:
    return models_in(model.sql) | {test.to for test in model.tests if test.to}
