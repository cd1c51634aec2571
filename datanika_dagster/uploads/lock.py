"""One run of an upload at a time, and one change of a schema's tables at a time.

Advisory locks belong to a session: they go when the process that holds them is killed.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from datanika_dagster.connectors.endpoint import Endpoint
from datanika_dagster.launcher.job import Job
from datanika_dagster.uploads import errors

LOADS_TABLE = "_dlt_loads"
WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.5


def lock_key(*parts: str) -> int:
    """Returns the 64-bit key of a lock that `parts` name."""
    digest = hashlib.sha256("\x00".join(("datanika", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def settle(destination: Endpoint, schema: str) -> None:
    """Waits until what a killed run had sent to the server has happened, or never will.

    The record of a load may still be on its way when its client is dead. Whether a load counts
    must be settled before its cursor is read and its rows are kept or purged; the queue of a
    table lock is first come, first served.

    Args:
        destination: The database that the upload writes.
        schema: The upload's schema; nothing is done where it has no loads yet.

    Raises:
        JobError: The destination refused.
    """
    loads = sql.Identifier(schema, LOADS_TABLE)
    with destination.connect() as connection:
        try:
            row = connection.execute(
                "select to_regclass(%s)", (loads.as_string(connection),)
            ).fetchone()
            if row and row[0]:
                connection.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(loads)
                )
        except psycopg.Error as error:
            raise errors.from_database(error, "destination") from None


class UploadLock:
    """The lock of one upload.

    Args:
        connection: A session of its own, without a transaction.
        key: What `lock_key` returned.
        name: The upload, for messages.
    """

    def __init__(self, connection: psycopg.Connection, key: int, name: str) -> None:
        self._connection, self._key, self._name = connection, key, name
        self._session_pid: int | None = None

    def acquire(self) -> bool:
        """Takes the lock unless somebody else has it.

        Raises:
            JobError: The destination refused.
        """
        try:
            row = self._connection.execute(
                "select pg_try_advisory_lock(%s), pg_backend_pid()", (self._key,)
            ).fetchone()
        except psycopg.Error as error:
            raise errors.from_database(error, "destination") from None
        is_held = bool(row and row[0])
        self._session_pid = row[1] if row and is_held else None
        return is_held

    def verify(self) -> None:
        """Looks whether the lock is still held: a session can end while nobody uses it.

        A session's advisory lock lives exactly as long as the session, so the same backend still
        has it. (`pg_locks` would show every session's locks; warehouses do not let roles see it.)

        Raises:
            JobError: `upload.lock_lost`.
        """
        try:
            row = self._connection.execute("select pg_backend_pid()").fetchone()
        except psycopg.Error:
            row = None
        if row is None or row[0] != self._session_pid:
            raise errors.lock_lost(self._name)


@contextmanager
def upload_lock(
    job: Job, destination: Endpoint, key: int, name: str, wait_seconds: float = WAIT_SECONDS
) -> Iterator[UploadLock]:
    """Holds the lock of an upload on a connection of its own.

    Args:
        job: Hears that another run is waited for.
        destination: The database that the upload writes.
        key: What `lock_key` returned.
        name: The upload, for messages.
        wait_seconds: How long another run is waited for.

    Yields:
        The lock, to look whether it is still held.

    Raises:
        JobError: `upload.busy` after that time.
    """
    with destination.connect(application_name=f"{name} lock") as connection:
        connection.autocommit = True
        held = UploadLock(connection, key, name)
        deadline = time.monotonic() + wait_seconds
        is_told = False
        while not held.acquire():
            if time.monotonic() >= deadline:
                raise errors.busy(name, wait_seconds)
            if not is_told:
                job.log("info", f"Waiting for another run of upload '{name}' to end")
                is_told = True
            time.sleep(_POLL_SECONDS)
        yield held
