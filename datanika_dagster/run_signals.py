"""Says, through PostgreSQL, that the run queue has something to do or that a run changed, and hears it.

A signal carries nothing and may be lost: whoever hears it looks for himself, and looks from time to
time without one. Knows no runs (docs/decisions/0110-the-queue-is-told.md).
"""

import logging
import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final, Self

import psycopg2
import psycopg2.extensions
import sqlalchemy
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

_LOGGER: Final = logging.getLogger(__name__)
CHANNEL: Final = "datanika_runs"
"""The run queue has something to do."""

CHANGES: Final = "datanika_run_changes"
"""A run has come, or has another status."""

TELL_CHANGE: Final = f"SELECT pg_notify('{CHANGES}', '')"
"""Told when its transaction commits, once for each transaction."""

_RECONNECT_SECONDS: Final = 1.0
# A connection whose server is gone without a word is noticed after about this long.
_KEEPALIVE: Final = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


def send(storage: PostgresRunStorage) -> None:
    """Wakes whoever listens to this storage's database; where that fails, they look later."""
    try:
        with storage.connect() as connection:
            connection.execute(
                sqlalchemy.text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL}
            )
    except (SQLAlchemyError, DagsterPostgresException) as error:
        _LOGGER.warning("The run queue was not told and looks by itself: %s", type(error).__name__)


class Listener:
    """Listens in a thread, over a connection of its own that is made anew whenever it is lost.

    Args:
        database_url: SQLAlchemy URL of Dagster's storage.
        channel: What is listened to.
    """

    def __init__(self, database_url: str, channel: str = CHANNEL) -> None:
        self._dsn = _dsn(database_url, channel)
        self._channel = channel
        self._heard = threading.Event()
        self._stopped = threading.Event()
        self._is_listening = threading.Event()
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="run-signals", daemon=True)

    @property
    def is_listening(self) -> bool:
        """Whether signals arrive now."""
        return self._is_listening.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        os.write(self._stop_writer, b"x")
        self._thread.join()
        os.close(self._stop_reader)
        os.close(self._stop_writer)

    def wait(self, timeout_seconds: float) -> bool:
        """Returns as soon as there is a signal that nobody has taken, and whether there is."""
        return self._heard.wait(timeout_seconds)

    def take(self) -> None:
        """Takes what has been heard; called before looking, so that what comes then counts."""
        self._heard.clear()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._listening() as connection:
                    # Something may have happened while nobody listened.
                    self._heard.set()
                    self._hear(connection)
            except psycopg2.Error as error:
                _LOGGER.warning("Run signals are lost for now: %s", str(error).strip())
            finally:
                self._is_listening.clear()
            self._stopped.wait(_RECONNECT_SECONDS)

    @contextmanager
    def _listening(self) -> Iterator[Any]:
        with ExitStack() as stack:
            connection = stack.enter_context(closing(psycopg2.connect(self._dsn)))
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {self._channel}")
            self._is_listening.set()
            yield connection

    def _hear(self, connection: Any) -> None:
        while not self._stopped.is_set():
            select.select([connection, self._stop_reader], [], [])
            connection.poll()
            if connection.notifies:
                connection.notifies.clear()
                self._heard.set()


def _dsn(database_url: str, channel: str) -> str:
    url = sqlalchemy.make_url(database_url).set(drivername="postgresql")
    named = {**_KEEPALIVE, "application_name": channel}
    return url.update_query_dict(named).render_as_string(hide_password=False)
