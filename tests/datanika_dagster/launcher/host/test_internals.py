"""Names of Dagster's interior that a run child and the launcher use: an upgrade that moves one fails here."""

import importlib
import inspect

import pytest

from datanika_dagster.launcher.host import dagster_internals

# module, name, the parameters that we rely on
USED = [
    ("dagster._cli.api", "_execute_run_command_body",
     ["run_id", "instance", "write_stream_fn", "set_exit_code_on_failure"]),
    ("dagster._core.executor.in_process", "InstanceConcurrencyContext.claim",
     ["self", "concurrency_key", "step_key", "step_priority"]),
    ("dagster._core.executor.in_process",
     "InstanceConcurrencyContext.interval_to_next_pending_claim_check", ["self"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage.has_unassigned_slots",
     ["self", "concurrency_key"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage.assign_pending_steps",
     ["self", "concurrency_keys"]),
    ("dagster._core.instance.ref", "InstanceRef", []),
    ("dagster._serdes", "deserialize_value", ["val", "as_type"]),
    ("dagster._serdes", "serialize_value", ["val"]),
    ("dagster._utils.interrupts", "capture_interrupts", []),
    ("dagster_postgres.run_storage", "PostgresRunStorage.optimize_for_webserver",
     ["self", "statement_timeout", "pool_recycle", "max_overflow"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage.optimize_for_webserver",
     ["self", "statement_timeout", "pool_recycle", "max_overflow"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage._remove_pending_steps",
     ["self", "run_id", "step_key"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage._free_concurrency_slots",
     ["self", "run_id", "step_key"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage._allocate_concurrency_slots",
     ["self", "conn", "concurrency_key", "num"]),
    ("dagster_postgres.event_log", "PostgresEventLogStorage.get_logs_for_all_runs_by_log_id",
     ["self", "after_cursor", "dagster_event_type", "limit"]),
    ("dagster._core.errors", "DagsterUserCodeUnreachableError", []),
    ("dagster._core.launcher.base", "CheckRunHealthResult", []),
    ("dagster._core.launcher.base", "WorkerStatus", []),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "parameters"), USED)
def test_it_is_there(module, name, parameters):
    found = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(found, part), f"{module}.{name} is gone: see {dagster_internals.__name__}"
        found = getattr(found, part)
    if parameters:
        assert list(inspect.signature(found).parameters)[: len(parameters)] == parameters


@pytest.mark.parametrize(
    "storage", ["run_storage.PostgresRunStorage", "event_log.PostgresEventLogStorage"]
)
def test_the_pool_hangs_on_the_engine_that_the_storage_uses(storage):
    module, name = storage.split(".")
    source = inspect.getsource(getattr(importlib.import_module(f"dagster_postgres.{module}"), name))
    assert "self._engine = create_pg_engine(" in source


def test_a_missing_name_is_found():
    with pytest.raises(AssertionError, match="is gone"):
        test_it_is_there("dagster._cli.api", "no_such_function", [])
