"""Dagster's storage in a run's process: one kept connection instead of a new one for each statement.

Connecting is most of what Dagster's storage costs a short run. A kept connection may have died with
its server, so each is asked before it is used.
"""

from typing import Any

from dagster import DagsterInstance
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

STATEMENT_TIMEOUT_MILLISECONDS = 300_000
RECYCLE_SECONDS = 300
FURTHER_CONNECTIONS = 5


def keep_connections(instance: DagsterInstance) -> None:
    """Makes the storages of an instance keep their connections; does nothing for other storages."""
    for storage in (instance.run_storage, instance.event_log_storage):
        if isinstance(storage, PostgresRunStorage | PostgresEventLogStorage):
            storage.optimize_for_webserver(
                statement_timeout=STATEMENT_TIMEOUT_MILLISECONDS,
                pool_recycle=RECYCLE_SECONDS,
                max_overflow=FURTHER_CONNECTIONS,
            )
            event.listen(storage._engine, "checkout", _ask)


def _ask(connection: Any, *_: object) -> None:
    """Raises for a dead connection: the pool replaces it (SQLAlchemy, "Disconnect handling")."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error:
        raise DisconnectionError from None
