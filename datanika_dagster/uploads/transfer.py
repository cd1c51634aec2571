"""The copy of one table: planned first, executed when dlt's load step reaches it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads import errors, query
from datanika_dagster.uploads.copy_pipe import CopyPipe, CopyResult, Destination, Progress
from datanika_dagster.uploads.pending import Load
from datanika_dagster.uploads.query import CursorBounds, CursorRange
from datanika_dagster.uploads.source_table import SourceColumn, SourceTable, read_source_table
from datanika_dagster.uploads.target_table import ColumnCopy, TargetPlan, plan_target
from datanika_manifest.uploads import Upload, UploadTable, WriteDisposition


@dataclass(frozen=True)
class Connections:
    """The two databases, the source in one read-only snapshot."""

    source: psycopg.Connection
    destination: psycopg.Connection


class TableTransfer:
    """One table of an upload, planned and ready to be copied.

    Attributes:
        table: Name of the destination table.
        source: The source table as it is now.
        plan: What is copied, and into what.
        result: What the copy did, once it has.
        error: Why it failed, if it did.
        loads_endless: Whether rows with an infinite cursor are read, if there are any.
        load_id: dlt's id of the load, once it runs.
        seconds: How long the copy took.
        cursor_range: What the source's cursor holds, once `fix_bounds` has looked.
    """

    def __init__(
        self,
        upload: Upload,
        table: UploadTable,
        connections: Connections,
        progress: Progress,
        name: str,
    ) -> None:
        """Reads both catalogs and plans the copy; nothing is written.

        Args:
            upload: What the table is a part of.
            table: What is copied.
            connections: Both databases.
            progress: Hears how far the copy is.
            name: The upload's name with its org, which its loads are recorded under.

        Raises:
            JobError: The table, a column or a type does not allow the copy.
        """
        self._upload, self._connections, self._progress = upload, connections, progress
        self._name = name
        self.table = table.target_table
        self.source = _read_source(connections.source, table)
        self.plan = _plan(connections.destination, upload, table, self.source)
        self._key = _merge_key(upload, table, self.source)
        self._bounds: CursorBounds | None = None
        self._is_empty = False
        self.loads_endless = False
        self.result: CopyResult | None = None
        self.error: JobError | None = None
        self.load_id = ""
        self.cursor_range = CursorRange()
        self.seconds = 0.0
        self._check_names()

    @property
    def columns(self) -> Sequence[ColumnCopy]:
        """The columns that are copied."""
        return self.plan.columns

    @property
    def cursor(self) -> str | None:
        """The cursor column; None where every row is read."""
        return self._upload.incremental.cursor if self._upload.incremental else None

    def fix_bounds(self, last: str | None) -> str | None:
        """Fixes which rows are read, before any is; returns the cursor for the next run.

        The upper bound is the greatest cursor in the snapshot that the copy will read. An append
        reads above the last cursor. A merge reads from it on, since rows with an equal cursor may
        have been added since, and what comes twice is merged.

        Infinities and NaN would be the last cursor for ever, so they never become one.

        Args:
            last: The cursor of the last completed load, in PostgreSQL's own text. It says
                nothing any more where somebody has dropped the table that it tells about.

        Raises:
            JobError: The source refuses to read the cursor.
        """
        if not self.plan.exists:
            last = None
        incremental = self._upload.incremental
        assert incremental is not None  # noqa: S101 - only called when it is
        column = self.source.column(incremental.cursor, "the incremental cursor")
        initial = incremental.initial_value
        lower = last if last is not None else (None if initial is None else str(initial))
        is_closed = last is None or self._upload.write_disposition is WriteDisposition.MERGE
        self.cursor_range = self._read_cursor_range(column)
        upper = self.cursor_range.greatest
        if upper is None:
            self._is_empty = True
            return last
        # Appending them again in each run would repeat them.
        self.loads_endless = self.cursor_range.has_endless and is_closed
        endless = query.endless(column) if self.loads_endless else None
        self._bounds = CursorBounds(column.name, lower, is_closed, upper, endless)
        return upper

    def execute(self, load_id: str) -> None:
        """Copies the rows in one transaction of the destination.

        Raises:
            JobError: The copy failed and nothing was written.
        """
        started = time.monotonic()
        self.load_id = load_id
        try:
            self.result = self._pipe().copy(
                self._query(load_id), self._upload.write_disposition, self._key
            )
        except JobError as error:
            self.error = error
            raise
        finally:
            self.seconds = time.monotonic() - started

    def vacuum(self) -> None:
        """Frees the space of the rows that a replace or a merge has deleted."""
        if self._upload.write_disposition is WriteDisposition.APPEND:
            return
        statement = sql.SQL("VACUUM (ANALYZE, SKIP_LOCKED) {}").format(self._into.identifier)
        connection = self._connections.destination
        connection.autocommit = True
        try:
            connection.execute(statement)
        finally:
            connection.autocommit = False

    @property
    def _into(self) -> Destination:
        return Destination(self._upload.target_schema, self.table, self.columns)

    def _pipe(self) -> CopyPipe:
        load = Load(self.load_id, self._name, self._into.schema, self.table)
        return CopyPipe(
            self._connections.source,
            self._connections.destination,
            self._into,
            load,
            self._progress,
        )

    def _query(self, load_id: str) -> sql.Composed:
        columns = [(column.source, column.target_type) for column in self.columns]
        return query.select(self.source, columns, self._condition(), load_id)

    def _condition(self) -> sql.Composable:
        extra: list[sql.Composable] = [
            sql.SQL("{} IS NULL").format(sql.Identifier(name))
            for name in self.plan.without_values_in
        ]
        if self._is_empty:
            extra.append(sql.SQL("false"))
        return query.where(self.source, self._upload.filters, self._bounds, extra)

    def _read_cursor_range(self, cursor: SourceColumn) -> CursorRange:
        statement = query.cursor_range(self.source, cursor, self._upload.filters)
        try:
            row = self._connections.source.execute(statement).fetchone()
        except psycopg.Error as error:
            self.error = errors.from_database(error, "source")
            raise self.error from None
        return CursorRange(*row) if row else CursorRange()

    def _check_names(self) -> None:
        """Refuses filters and cursors that cannot work before dlt is asked for anything."""
        query.where(self.source, self._upload.filters)
        if self._upload.incremental is not None:
            self.source.column(self._upload.incremental.cursor, "the incremental cursor")
            if self._upload.write_disposition is WriteDisposition.REPLACE:
                raise errors.invalid(
                    "An incremental upload cannot replace: it would drop the rows of earlier runs.",
                    "incremental",
                )


def _read_source(connection: psycopg.Connection, table: UploadTable) -> SourceTable:
    try:
        return read_source_table(connection, table.source_schema, table.source_table)
    except psycopg.Error as error:
        raise errors.from_database(error, "source") from None


def _plan(
    connection: psycopg.Connection, upload: Upload, table: UploadTable, source: SourceTable
) -> TargetPlan:
    try:
        with connection.transaction():
            return plan_target(
                connection, upload.target_schema, table.target_table, source, upload.schema_contract
            )
    except psycopg.Error as error:
        raise errors.from_database(error, "destination") from None


def _merge_key(upload: Upload, table: UploadTable, source: SourceTable) -> Sequence[str]:
    if upload.write_disposition is not WriteDisposition.MERGE:
        return ()
    key = table.primary_key or source.primary_key
    if not key:
        raise errors.invalid(
            f'A merge needs a primary key, and "{source.name}" has none.', "primary_key"
        )
    for name in key:
        source.column(name, "the primary key")
    return key
