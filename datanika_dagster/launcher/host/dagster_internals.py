"""Everything of Dagster's own interior that a run child uses, in one place (dagster 1.13.27, pinned).

A test names what is missing after an upgrade (tests/datanika_dagster/launcher/host/test_internals.py).
"""

from dagster import DagsterInstance
from dagster._cli.api import _execute_run_command_body
from dagster._core.executor import in_process
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import deserialize_value
from dagster._utils.interrupts import capture_interrupts

from datanika_dagster.launcher.pool_claims import PromptClaims

__all__ = ["capture_interrupts", "execute_run", "open_instance"]


def open_instance(instance_ref: str) -> DagsterInstance:
    """Returns the instance that a serialized reference describes; a context manager.

    Args:
        instance_ref: As `serialize_value(instance.get_ref())` wrote it.
    """
    return DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef))


def execute_run(run_id: str, instance: DagsterInstance) -> int:
    """Executes a run in this process and returns its exit code: 0, or 1 for a failed run."""
    # The executor looks it up when it starts.
    in_process.InstanceConcurrencyContext = PromptClaims  # pyright: ignore[reportPrivateImportUsage]
    return _execute_run_command_body(run_id, instance, lambda _: None, True)
