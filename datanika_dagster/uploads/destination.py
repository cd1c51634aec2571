"""dlt's PostgreSQL destination with one more kind of load job: the copy pipe.

The extract step yields a ticket, a file that names a table and holds neither rows nor
credentials; dlt stages it as a `csv` load job of its own load package, and the job made here
runs the copy. To dlt every ticket is an append: what happens with rows that are already there is
the copy's own transaction. Written against dlt 1.31 (`dlt/destinations/impl/postgres`).
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob, RunnableLoadJob
from dlt.common.destination.exceptions import DestinationTerminalException
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema.typing import TColumnSchema, TColumnType, TSchemaTables
from dlt.destinations.impl.postgres.factory import PostgresTypeMapper, postgres
from dlt.destinations.impl.postgres.postgres import PostgresClient

from datanika_dagster.connectors.endpoint import CONNECTION_CHECK
from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads import pending
from datanika_dagster.uploads.lock import lock_key

TYPE_HINT = "x-postgres-type"
TICKET_FORMAT = "csv"
_TICKET_KEY = "datanika_ticket"


class Transfer(Protocol):
    """The copy of one table, waiting for dlt's load step."""

    def execute(self, load_id: str) -> None:
        """Copies the rows in one transaction, marked with `load_id`."""
        ...


class TransferFailedError(DestinationTerminalException):
    """The copy failed. dlt must not repeat it: Dagster decides about retries of a run."""


def write_ticket(directory: Path, table: str) -> Path:
    """Writes the file that stands for the rows of `table`."""
    path = directory / "ticket.csv"
    path.write_text(json.dumps({_TICKET_KEY: table}), encoding="utf-8")
    return path


class ExactTypeMapper(PostgresTypeMapper):
    """Gives a column the very type that its hint names."""

    def to_destination_type(self, column: TColumnSchema, table: PreparedTableSchema) -> str:
        """Returns the exact type, dlt's own choice for columns without a hint."""
        exact = column.get(TYPE_HINT)
        return str(exact) if exact else super().to_destination_type(column, table)

    def from_destination_type(
        self, db_type: str, precision: int | None = None, scale: int | None = None
    ) -> TColumnType:
        """Returns dlt's name of a type; the types that dlt does not know are `text` to it."""
        if db_type not in self.dbt_to_sct and not db_type.startswith(("json", "numeric")):
            return {"data_type": "text"}
        return super().from_destination_type(db_type, precision, scale)


class CopyPipeJob(RunnableLoadJob):
    """Runs the transfer that a ticket names."""

    def __init__(self, file_path: str, transfers: Mapping[str, Transfer]) -> None:
        super().__init__(file_path)
        self._transfers = transfers

    def run(self) -> None:
        """Runs it once.

        Raises:
            TransferFailedError: The transfer failed; its reason is with the transfer.
        """
        ticket = json.loads(Path(self._file_path).read_text(encoding="utf-8"))
        try:
            self._transfers[ticket[_TICKET_KEY]].execute(self._load_id)
        except JobError as error:
            raise TransferFailedError(error.message) from None


class CopyPipeClient(PostgresClient):
    """A PostgreSQL client whose `csv` jobs are tickets."""

    transfers: ClassVar[Mapping[str, Transfer]] = {}

    def __enter__(self) -> "CopyPipeClient":
        super().__enter__()
        # The server notices that this job was killed, whatever its statement waits for.
        self.sql_client.execute_sql(
            "SELECT set_config(name, %s, false) FROM pg_settings"
            " WHERE name = 'client_connection_check_interval'",
            CONNECTION_CHECK,
        )
        return self

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        """Makes the job of a file in the load package."""
        if file_path.endswith(f".{TICKET_FORMAT}"):
            return CopyPipeJob(file_path, self.transfers)
        return super().create_load_job(table, file_path, load_id, restore)

    def initialize_storage(self, truncate_tables: Iterable[str] | None = None) -> None:
        """Makes the schema; two uploads that need the same new one do not collide."""
        with self.sql_client.begin_transaction():
            self._lock_schema()
            names: Any = truncate_tables  # dlt declares None as its default, not in its type
            super().initialize_storage(names)

    def update_stored_schema(
        self,
        only_tables: Iterable[str] = (),
        expected_update: TSchemaTables | None = None,
        force: bool = False,
    ) -> TSchemaTables | None:
        """Always compares with what is really there.

        dlt skips the DDL when it has stored the same schema before, so a table that somebody
        dropped would stay missing.
        """
        update: Any = expected_update  # dlt declares None as its default, not in its type
        applied = super().update_stored_schema(only_tables, update, force=True)
        with self.sql_client.begin_transaction():
            self._lock_schema()
            self.sql_client.execute_sql(
                f"CREATE TABLE IF NOT EXISTS {self._pending_loads()} ({pending.COLUMNS})"
            )
        return applied

    def complete_load(self, load_id: str) -> None:
        """Writes dlt's record of a load, and takes ours that it is pending away with it."""
        with self.sql_client.begin_transaction():
            super().complete_load(load_id)
            # The name is quoted by dlt, and the value a parameter.
            delete = f"DELETE FROM {self._pending_loads()} WHERE load_id = %s"  # noqa: S608
            self.sql_client.execute_sql(delete, load_id)

    def _pending_loads(self) -> str:
        return self.sql_client.make_qualified_table_name(pending.TABLE)

    def _execute_schema_update_sql(
        self, only_tables: Iterable[str], store_schema: bool = True
    ) -> TSchemaTables:
        # Inside dlt's own transaction: CREATE TABLE IF NOT EXISTS alone is not safe against itself.
        self._lock_schema()
        return super()._execute_schema_update_sql(only_tables, store_schema)

    def _lock_schema(self) -> None:
        key = lock_key("schema", self.sql_client.dataset_name)
        self.sql_client.execute_sql("SELECT pg_advisory_xact_lock(%s)", key)


class copy_pipe(postgres):  # noqa: N801 - dlt names destinations like functions
    """The destination of an upload."""

    def __init__(self, credentials: str, transfers: Mapping[str, Transfer], **kwargs: Any) -> None:
        """Takes complete credentials: nothing is left for dlt to look up.

        Args:
            credentials: libpq URL.
            transfers: The transfers of this run by table; read when a ticket is loaded.
            kwargs: Passed on to dlt.
        """
        self._transfers = transfers
        super().__init__(credentials=credentials, create_indexes=False, **kwargs)

    @property
    def client_class(self) -> type[PostgresClient]:
        """The client, bound to this run's transfers."""
        return type("BoundCopyPipeClient", (CopyPipeClient,), {"transfers": self._transfers})

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities: Any = super()._raw_capabilities()
        capabilities.type_mapper = ExactTypeMapper
        capabilities.casefold_identifier = str
        capabilities.supported_loader_file_formats = ["insert_values", TICKET_FORMAT]
        capabilities.loader_file_format_selector = None  # it would ask for an ADBC driver
        return capabilities
