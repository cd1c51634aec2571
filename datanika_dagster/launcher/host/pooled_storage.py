"""Dagster's storage in a run's process: kept connections, shared by its storages.

Connecting is most of what Dagster's storage costs a short run. A kept connection may have died with
its server, so one that has rested is asked before it is used.
"""

import time
from typing import Any

from dagster import DagsterInstance
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from datanika_dagster.storage import StampingRunStorage

STATEMENT_TIMEOUT_MILLISECONDS = 300_000
RECYCLE_SECONDS = 300
KEPT_CONNECTIONS = 2
FURTHER_CONNECTIONS = 5
ASK_AFTER_SECONDS = 1.0
_POSTGRES = PostgresRunStorage | PostgresEventLogStorage | PostgresScheduleStorage


def keep_connections(instance: DagsterInstance) -> None:
    """Makes the storages of an instance share kept connections; does nothing for other storages."""
    storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    engines: dict[str, Engine] = {}
    for storage in storages:
        if isinstance(storage, _POSTGRES):
            url = storage.postgres_url
            storage._engine = engines[url] = engines.get(url) or _engine(url)
    if isinstance(instance.run_storage, StampingRunStorage):
        for engine in engines.values():
            event.listen(engine, "handle_error", instance.run_storage.note_loss)


def _engine(url: str) -> Engine:
    given = str(make_url(url).query.get("options", ""))
    options = f"{given} -c statement_timeout={STATEMENT_TIMEOUT_MILLISECONDS}"
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT_CONNECTIONS,
        max_overflow=FURTHER_CONNECTIONS,
        pool_recycle=RECYCLE_SECONDS,
        connect_args={"options": options.strip()},
    )
    event.listen(engine, "checkin", _note_rest)
    event.listen(engine, "checkout", _ask)
    return engine


def _note_rest(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["rests_since"] = time.monotonic()


def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Raises for a dead connection: the pool replaces it (SQLAlchemy, "Disconnect handling")."""
    rests_since = record.info.get("rests_since")
    if rests_since is None or time.monotonic() - rests_since < ASK_AFTER_SECONDS:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error:
        raise DisconnectionError from None
