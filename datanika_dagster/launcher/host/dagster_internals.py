"""Everything of Dagster's own interior that a run child uses, in one place (dagster 1.13.27, pinned).

A test names what is missing after an upgrade (tests/datanika_dagster/launcher/host/test_internals.py).
"""

import yaml
from dagster import DagsterInstance
from dagster._cli.api import _execute_run_command_body
from dagster._core.executor import in_process
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster._utils.interrupts import capture_interrupts

from datanika_dagster.launcher.pool_claims import PromptClaims

__all__ = ["capture_interrupts", "execute_run", "open_instance"]


def open_instance(instance_ref: str) -> DagsterInstance:
    """Returns the instance that a serialized reference describes; a context manager.

    Its storages don't look whether their tables are there: whoever launched the run had them.

    Args:
        instance_ref: As `serialize_value(instance.get_ref())` wrote it.
    """
    ref = deserialize_value(instance_ref, InstanceRef)
    return DagsterInstance.from_ref(
        ref._replace(
            # Where it is set, it describes the same three once more, and comes first.
            storage_data=None,
            run_storage_data=_without_looking(ref.run_storage_data),
            event_storage_data=_without_looking(ref.event_storage_data),
            schedule_storage_data=_without_looking(ref.schedule_storage_data),
        )
    )


def _without_looking(storage: ConfigurableClassData | None) -> ConfigurableClassData | None:
    config = yaml.safe_load(storage.config_yaml) if storage is not None else {}
    if storage is None or "postgres_url" not in config:
        return storage
    config["should_autocreate_tables"] = False
    return storage._replace(config_yaml=yaml.safe_dump(config))


def execute_run(run_id: str, instance: DagsterInstance) -> int:
    """Executes a run in this process and returns its exit code: 0, or 1 for a failed run."""
    # The executor looks it up when it starts.
    in_process.InstanceConcurrencyContext = PromptClaims  # pyright: ignore[reportPrivateImportUsage]
    return _execute_run_command_body(run_id, instance, lambda _: None, True)
