"""Ends the sessions of orgs' logins in Dagster's database whose transaction has lasted too long.

A transaction that stays open keeps dead rows of every table from being cleared away, and each of its
locks. The roles' own time limits are defaults that a session may set aside; this one is outside of it.
Knows no org.
"""

import logging
import threading
from typing import Final

import psycopg
from sqlalchemy import URL

from datanika_stack.endpoints import dsn_of

_LOGGER: Final = logging.getLogger(__name__)
LONGEST_SECONDS: Final = 900.0
"""Longer than what one statement of theirs may take by default."""

_LOOK_SECONDS: Final = 30.0
_TIMEOUT_SECONDS: Final = 10
_END: Final = """
    SELECT usename, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename ~ '^datanika_(run|read)_[1-9][0-9]*$'
        AND xact_start < clock_timestamp() - make_interval(secs => %s)
"""


class OverdueTransactions:
    """Looks from time to time, in the background.

    Args:
        provisioner: The server, with a role that has pg_signal_backend and pg_read_all_stats.
        longest_seconds: So long a transaction may last.
        look_seconds: So often it looks.
    """

    def __init__(
        self,
        provisioner: URL,
        longest_seconds: float = LONGEST_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._dsn = dsn_of(provisioner)
        self._longest_seconds = longest_seconds
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overdue-transactions", daemon=True)
        self._last_error = ""

    def start(self) -> None:
        """Starts looking."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Returns whether it looks."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stops looking."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def end(self) -> list[str]:
        """Ends what is overdue now and returns whose it was.

        Raises:
            psycopg.Error: The server does not answer or refuses.
        """
        with psycopg.connect(
            self._dsn, autocommit=True, connect_timeout=_TIMEOUT_SECONDS
        ) as connection:
            rows = connection.execute(_END, [self._longest_seconds]).fetchall()
        return [name for name, is_told in rows if is_told]

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            try:
                for name in self.end():
                    _LOGGER.warning("a transaction of %s lasted too long and was ended", name)
                self._last_error = ""
            except psycopg.Error as error:
                said = str(error).strip()
                if said != self._last_error:
                    _LOGGER.warning("overdue transactions cannot be ended: %s", said)
                self._last_error = said
