"""What a worker host has imported before it forks, so that no run and no job pays for it.

Importing must start no thread: a fork copies only the one that forks. What is imported here is in
every child's memory, so none of it may hold a secret.
"""

import importlib

from datanika_dagster.launcher.jobs import JOBS

PRELOADED = (
    # A run: Dagster with its storage, the code location, the launcher's own side.
    "dagster",
    "dagster_pipes",
    "dagster_postgres",
    "psycopg2",
    "datanika_dagster.storage",
    "datanika_dagster.definitions",
    "datanika_dagster.launcher.host.run_child",
    "datanika_dagster.launcher.host.post_mortem",
    "datanika_dagster.launcher.run_coordinator",
    "datanika_dagster.step_logs",
    # What these import only when they are used.
    "anyio",
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.system_config.composite_descent",
    "dagster._core.utility_ops",
    "dagster._core.workspace.autodiscovery",
    "dagster._utils.test.definitions",
    "fsspec.implementations.local",
    "httpcore",
    "psycopg2.extras",
    "upath.implementations.local",
    "watchdog.observers.polling",
    # A job: the engines.
    "dlt",
    "dlt.destinations.impl.postgres.postgres",
    "dlt.sources.sql_database",
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "dbt.contracts.graph.manifest",
    "dbt.task.build",
    "dbt.task.compile",
    "datanika_dagster.uploads.naming",
    "datanika_dagster.uploads.pipeline",
    "babel.dates",
    "dbt_common.clients.agate_helper",
    "dlt.common.libs.sql_alchemy_compat",
    "dlt.sources.helpers.requests",
    "pendulum.locales.en.locale",
    "psycopg",
    "datanika_dagster.launcher.job_child",
)


PREPARED = (
    "datanika_dagster.transformations.warm_up:warm_up",
    "datanika_dagster.control_plane_client:trusted_authorities",
)
"""What is done once besides, before the first fork."""


def preload() -> None:
    """Imports everything, and prepares what importing does not.

    Raises:
        ImportError: A module is not installed; a host without it would fail run by run.
    """
    jobs = (target.partition(":")[0] for target in JOBS.values())
    for module in (*PRELOADED, *jobs):
        importlib.import_module(module)
    for target in PREPARED:
        module, _, function = target.partition(":")
        getattr(importlib.import_module(module), function)()
