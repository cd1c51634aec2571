"""Hears what PostgreSQL tells whoever listens (`NOTIFY`), over a connection of its own.

A signal may be lost with the connection: whoever is told when it is there again looks then, and
looks from time to time without one.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

logger = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.5
_RECONNECT_SECONDS: Final = 1.0
# A connection whose server is gone without a word is noticed after about this long.
_KEEPALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


class Listener:
    """Listens in a thread until it is closed.

    Args:
        database_url: SQLAlchemy URL of the control plane's database.
        channel: What is listened to; the connection is named after it.
        on_signal: Called in the thread with what a signal carries.
        on_connected: Called in the thread whenever a connection listens anew.
    """

    def __init__(
        self,
        database_url: str,
        channel: str,
        on_signal: Callable[[str], None],
        on_connected: Callable[[], None],
    ) -> None:
        url = make_url(database_url).set(drivername="postgresql")
        self._dsn = url.render_as_string(hide_password=False)
        self._channel = channel
        self._on_signal = on_signal
        self._on_connected = on_connected
        self._stopped = threading.Event()
        self._is_listening = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def is_listening(self) -> bool:
        """Whether signals arrive now."""
        return self._is_listening.is_set()

    def start(self) -> None:
        """Begins to listen; does nothing where that was done before, or it was closed."""
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name=self._channel, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        with self._lock:
            self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                logger.warning("%s: signals are lost for now: %s", self._channel, _kind(error))
            finally:
                self._is_listening.clear()
            self._stopped.wait(_RECONNECT_SECONDS)

    def _listen(self) -> None:
        with psycopg.connect(
            self._dsn,
            autocommit=True,
            application_name=self._channel,
            **_KEEPALIVE,  # pyright: ignore[reportArgumentType]
        ) as connection:
            connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
            self._is_listening.set()
            self._on_connected()
            while not self._stopped.is_set():
                for notice in connection.notifies(timeout=_LOOK_SECONDS):
                    self._on_signal(notice.payload)


def _kind(error: psycopg.Error) -> str:
    # Only the class: a message may repeat the URL.
    return type(error).__name__
