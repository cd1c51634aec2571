"""Keeps the connections of a long-lived process to Dagster's storage, and outlives their loss.

Dagster opens a connection for each look otherwise, which takes longer than the look.
"""

from typing import Any, Final

import psycopg2
from dagster import DagsterInstance
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

_NO_LIMIT_MILLISECONDS: Final = 0
_RECYCLE_SECONDS: Final = 600
_MOST_CONNECTIONS: Final = 20


def keep_connections(instance: DagsterInstance) -> None:
    """Makes the storages of an instance keep their connections, and try each before its use.

    Args:
        instance: On PostgreSQL.
    """
    instance.optimize_for_webserver(_NO_LIMIT_MILLISECONDS, _RECYCLE_SECONDS, _MOST_CONNECTIONS)
    storages: tuple[Any, ...] = (
        instance.run_storage,
        instance.event_log_storage,
        instance.schedule_storage,
    )
    for storage in storages:
        event.listen(storage._engine, "checkout", _try)


def _try(connection: Any, *_: object) -> None:
    """Has a connection replaced that was lost while nobody used it, as after a restart of the server.

    https://docs.sqlalchemy.org/en/20/core/events.html#sqlalchemy.events.PoolEvents.checkout

    Raises:
        DisconnectionError: The pool is to make a new one.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error as error:
        raise DisconnectionError(str(error)) from error
