"""What a run is told about a table: progress while it is copied, metadata once it is committed."""

import time
from typing import Any

from datanika_dagster.launcher.job import Job
from datanika_dagster.uploads.source_table import LOAD_ID_COLUMN
from datanika_dagster.uploads.transfer import TableTransfer
from datanika_manifest import run_records
from datanika_manifest.uploads import UploadTable

BACKEND = "copy_pipe"
REASON = (
    "both sides are PostgreSQL: binary COPY keeps every type, needs no staging and constant memory"
)


class TableReport:
    """Speaks about one table."""

    def __init__(self, job: Job, table: UploadTable) -> None:
        self._job, self._table = job, table
        self._started = time.monotonic()
        self._name = f"{table.source_schema}.{table.source_table}"

    def started(self) -> None:
        """Says that the table's turn has come."""
        self._job.log("info", f"{self._name} → {self._table.target_table}: started")

    def progress(self, rows: int, size_bytes: int) -> None:
        """Says how far the copy is."""
        self._job.log("info", f"{self._name}: {rows:,} rows, {_megabytes(size_bytes)} so far")

    def committed(self, transfer: TableTransfer) -> dict[str, Any]:
        """Reports the asset; returns the same facts for the job's result."""
        assert transfer.result is not None  # noqa: S101 - a committed transfer has one
        result, seconds = transfer.result, time.monotonic() - self._started
        self._job.materialized(
            list(self._table.asset_key),
            {
                run_records.ROW_COUNT: result.rows,
                run_records.COLUMN_SCHEMA: _column_schema(transfer),
                run_records.DURATION_SECONDS: round(seconds, 3),
                "datanika/copy_seconds": round(transfer.seconds, 3),
                "datanika/size_bytes": result.bytes,
                "datanika/load_id": transfer.load_id,
                run_records.BACKEND: BACKEND,
                "datanika/backend_reason": REASON,
            },
        )
        self._job.log(
            "info",
            f"{self._name} → {self._table.target_table}: {result.rows:,} rows, "
            f"{_megabytes(result.bytes)} in {seconds:.1f} s",
        )
        self._warn(transfer)
        return {
            "table": self._table.target_table,
            "rows": result.rows,
            "seconds": round(seconds, 3),
        }

    def _warn(self, transfer: TableTransfer) -> None:
        for column in transfer.plan.discarded:
            self._job.log(
                "warning", f'{self._name}: the schema contract leaves out column "{column}"'
            )
        if transfer.cursor_range.has_endless:
            self._job.log("warning", f"{self._name}: {_endless_rows(transfer)}")
        if transfer.cursor_range.has_nulls:
            self._job.log(
                "warning",
                f'{self._name}: rows whose cursor "{transfer.cursor}" is NULL are left out',
            )
        if transfer.source.is_itself_loaded:
            self._job.log(
                "warning", f"{self._name}: its own {LOAD_ID_COLUMN} is replaced by this load's"
            )

    def failed(self, message: str) -> None:
        """Says why the table was not loaded."""
        self._job.log("error", f"{self._name} → {self._table.target_table}: {message}")


def _column_schema(transfer: TableTransfer) -> dict[str, Any]:
    columns = [
        {
            "name": column.source.name,
            "type": column.target_type,
            "description": column.source.carried.widening
            and f"{column.source.source_type} in the source; {column.source.carried.widening}",
            "constraints": {"nullable": True},
        }
        for column in transfer.columns
    ]
    return {"type": "table_schema", "raw_value": {"columns": columns}}


def _endless_rows(transfer: TableTransfer) -> str:
    rows = f'rows whose cursor "{transfer.cursor}" is infinite or NaN'
    if not transfer.loads_endless:
        return f"{rows} are left out"
    return f"{rows} are loaded in this run; they do not move the cursor"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
