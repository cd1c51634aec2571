"""A run, in a child of the host: Dagster executes it, its steps start their jobs through the host.

It speaks to Dagster's storage and evaluates nothing that a tenant wrote.
"""

import os
import socket

from dagster import DagsterInstance, DagsterRunStatus

from datanika_dagster import settings
from datanika_dagster.errors import ExecutionError
from datanika_dagster.launcher import task_token
from datanika_dagster.launcher.host import order, own_connection
from datanika_dagster.launcher.host.client import HostConnection
from datanika_dagster.launcher.host.dagster_internals import (
    capture_interrupts,
    execute_run,
    open_instance,
)
from datanika_dagster.launcher.host.ground import RunStart
from datanika_dagster.launcher.host.order import RunOrder
from datanika_dagster.launcher.host.pooled_storage import keep_connections
from datanika_dagster.storage import StampingRunStorage

HOST_ANSWER_SECONDS = 60.0
"""There is no other host that could start this run's jobs: one that is busy is waited for."""

STORAGE_URL = "DATANIKA_DAGSTER_STORAGE_URL"


def run(start: RunStart) -> int:
    """Executes a run and returns its exit code: 0, or 1 for one that has failed.

    Args:
        start: The descriptors of its order and of its connection to the host.
    """
    with capture_interrupts():
        told = order.read(start.order_fd)
        os.close(start.order_fd)
        own_connection.keep(
            HostConnection(socket.socket(fileno=start.control_fd), HOST_ANSWER_SECONDS)
        )
        task_token.keep(told.task_token.get_secret_value())
        with instance_of(told) as instance:
            keep_connections(instance)
            if not _is_ours(instance, told):
                return 0
            return execute_run(told.run_id, instance)


def instance_of(told: RunOrder) -> DagsterInstance:
    """Returns Dagster's instance with this run's own login, and the environment of the run.

    Args:
        told: The run's order.
    """
    settings.put_into_environment(
        {
            **told.environment,
            "DATANIKA_ORG": told.org,
            "DATANIKA_MANIFEST": told.manifest_sha256,
            STORAGE_URL: told.storage_url.get_secret_value(),
        }
    )
    instance = open_instance(told.instance_ref)
    # The storages have read it; nothing that this process starts may inherit it.
    settings.drop_from_environment(STORAGE_URL)
    return instance


def storage_of(instance: DagsterInstance) -> StampingRunStorage:
    """Returns the platform's own run storage, which knows claims.

    Raises:
        ExecutionError: The instance has another one.
    """
    storage = instance.run_storage
    if not isinstance(storage, StampingRunStorage):
        raise ExecutionError("A worker host executes runs of the platform's own storage only.")
    return storage


def _is_ours(instance: DagsterInstance, told: RunOrder) -> bool:
    """Claims the run.

    It may be cancelled by now, back in the queue because nobody heard that it was launched, or
    launched twice.
    """
    storage, run_id = storage_of(instance), told.run_id
    if storage.claim(run_id, told.claimant):
        return True
    run = instance.get_run_by_id(run_id)
    if run is None:
        return False
    if run.status is DagsterRunStatus.CANCELING and not storage.is_claimed(run_id):
        instance.report_run_canceled(run, "The run was cancelled before it had started.")
    return False
