"""Runs whose log has their success and whose status has not: killed between the two."""

from datetime import UTC, datetime

from dagster import DagsterEventType, DagsterInstance


def settle(instance: DagsterInstance, run_id: str) -> bool:
    """Gives a run whose process has ended the success that it had told before.

    Args:
        instance: Where the run is.
        run_id: A run without a process that is not finished.

    Returns:
        False where it had told none: it has failed.
    """
    told = instance.get_records_for_run(run_id, of_type=DagsterEventType.RUN_SUCCESS, limit=1)
    for record in told.records:
        entry = record.event_log_entry
        at = datetime.fromtimestamp(entry.timestamp, UTC)
        instance.run_storage.handle_run_event(run_id, entry.get_dagster_event(), at)
        return True
    return False
