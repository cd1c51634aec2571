"""Event log storage that works with an org's own login, and outlives events that cannot be read.

A right to delete would be a right to lock the whole table: what a run's process has to remove is
removed by functions of the database (`row_security/slots.py`). Every process uses this class by
`dagster.yaml`.
"""

import logging
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, Self

import sqlalchemy as db
from dagster import DagsterEventType, EventLogEntry
from dagster._check import CheckError
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData, deserialize_value
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config
from dagster_shared.serdes.errors import DeserializationError

from datanika_dagster.run_logins import is_run_login

_LOGGER: Final = logging.getLogger(__name__)
# What Dagster's constructors and Python's JSON say to what somebody else has made up.
_UNREADABLE: Final = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(CheckError, DeserializationError),
)
# Of all orgs' events at once: each may be as large as `row_security/run_rules.py` lets it be.
_LARGEST_PAGE: Final = 100
_REMOVE_PENDING: Final = "SELECT datanika.remove_pending_steps(:run_id, :step_key)"
_FREE_SLOTS: Final = "SELECT datanika.free_slots(:run_id, :step_key)"
_SHRINK_POOL: Final = "SELECT datanika.shrink_pool(:pool, :number)"


class OrgsEventLogStorage(PostgresEventLogStorage):
    """PostgreSQL event log storage that also works with an org's own login."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told_of: dict[frozenset[DagsterEventType], int] = {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Makes the storage that `dagster.yaml` describes."""
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),  # type: ignore[arg-type]
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
        )

    def get_logs_for_all_runs_by_log_id(
        self,
        after_cursor: int = -1,
        dagster_event_type: DagsterEventType | Set[DagsterEventType] | None = None,
        limit: int | None = None,
    ) -> Mapping[int, EventLogEntry]:
        """Returns events of all orgs' runs after a cursor; one that cannot be read is left out.

        Dagster's own method stops at such a row, and with it whatever the daemon does for all orgs.
        """
        types = dagster_event_type or set[DagsterEventType]()
        if isinstance(types, DagsterEventType):
            types = {types}
        limit = limit and min(limit, _LARGEST_PAGE)
        while True:
            rows = self._rows_after(after_cursor, types, limit)
            events = self._readable(rows, frozenset(types))
            if events or limit is None or len(rows) < limit:
                return events
            after_cursor = rows[-1][0]

    def _readable(
        self, rows: Sequence[Any], types: frozenset[DagsterEventType]
    ) -> dict[int, EventLogEntry]:
        """Returns the events among rows, and says once of each other that it cannot be read.

        Who asks goes on from the last event that it was given: what follows that one comes at every look.
        """
        events: dict[int, EventLogEntry] = {}
        for id_, text in rows:
            event = _event_of(text)
            if isinstance(event, EventLogEntry):
                events[id_] = event
            elif id_ > self._told_of.get(types, -1):
                # Not the ids themselves: there may be as many as somebody likes to make.
                self._told_of[types] = id_
                _LOGGER.warning("The event %s cannot be read: %s", id_, event)
        return events

    def _rows_after(
        self, cursor: int, types: Set[DagsterEventType], limit: int | None
    ) -> Sequence[Any]:
        columns = SqlEventLogStorageTable.c
        query = db.select(columns.id, columns.event).where(columns.id > cursor).order_by(columns.id)
        if types:
            names = [one.value for one in types]
            query = query.where(columns.dagster_event_type.in_(names))
        with self.index_connection() as connection:
            return connection.execute(query.limit(limit)).fetchall()

    def _remove_pending_steps(self, run_id: str, step_key: str | None = None) -> Sequence[str]:
        if not self._is_of_run():
            return super()._remove_pending_steps(run_id, step_key)
        return self._ask(_REMOVE_PENDING, run_id=run_id, step_key=step_key)

    def _free_concurrency_slots(self, run_id: str, step_key: str | None = None) -> Sequence[str]:
        if not self._is_of_run():
            return super()._free_concurrency_slots(run_id, step_key)
        return self._ask(_FREE_SLOTS, run_id=run_id, step_key=step_key)

    def _allocate_concurrency_slots(self, conn: Any, concurrency_key: str, num: int) -> list[str]:
        if self._is_of_run():
            conn.execute(db.text(_SHRINK_POOL), {"pool": concurrency_key, "number": num})
            # Dagster goes on where slots are missing; where there were too many, none is by now.
        return super()._allocate_concurrency_slots(conn, concurrency_key, num)

    def _ask(self, question: str, **values: str | None) -> list[str]:
        with self.index_connection() as connection:
            return [row[0] for row in connection.execute(db.text(question), values)]

    def _is_of_run(self) -> bool:
        return is_run_login(str(self._engine.url.username))


def _event_of(text: str) -> EventLogEntry | str:
    """Returns an event, or what kind of error its text is."""
    try:
        return deserialize_value(text, EventLogEntry)
    except _UNREADABLE as error:
        return type(error).__name__
