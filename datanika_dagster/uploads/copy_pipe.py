"""PostgreSQL to PostgreSQL: COPY … TO STDOUT into COPY … FROM STDIN, binary, nothing in between.

One table is one transaction of the destination, whatever the write disposition:

- replace: DELETE, then COPY. Readers see the old rows until the commit and then the new ones,
  are never blocked, and views that select from the table stay. A VACUUM follows. (TRUNCATE would
  block readers and show older snapshots an empty table; dropping would take the views along.)
- append: rows of this upload's loads that never completed are purged, then COPY.
- merge: COPY into a table that only this transaction sees, delete what has the same key, insert.

The source is read in one snapshot. Both servers count the rows, and the counts have to be equal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from datanika_dagster.launcher.job import JobError
from datanika_dagster.uploads import errors
from datanika_dagster.uploads.pending import Load
from datanika_dagster.uploads.source_table import LOAD_ID_COLUMN
from datanika_dagster.uploads.target_table import ColumnCopy, require_exact_types
from datanika_manifest.uploads import WriteDisposition

_WRITE_BYTES = 256 * 1024
_PROGRESS_SECONDS = 5.0

Progress = Callable[[int, int], None]
"""Called every few seconds with the rows and bytes that have been sent so far."""


@dataclass(frozen=True)
class CopyResult:
    """What a copy did.

    Attributes:
        rows: Rows that were read and written.
        bytes: Size of the binary stream.
    """

    rows: int
    bytes: int


@dataclass(frozen=True)
class Destination:
    """The table that a copy writes."""

    schema: str
    table: str
    columns: Sequence[ColumnCopy]

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.table)

    @property
    def column_list(self) -> sql.Composed:
        """The quoted columns, the load id last."""
        names = [column.source.name for column in self.columns]
        return sql.SQL(", ").join(map(sql.Identifier, [*names, LOAD_ID_COLUMN]))


class CopyPipe:
    """Copies one table."""

    def __init__(
        self,
        source: psycopg.Connection,
        destination: psycopg.Connection,
        into: Destination,
        load: Load,
        progress: Progress,
    ) -> None:
        """Takes two open connections.

        Args:
            source: In the snapshot to read from.
            destination: Without an open transaction.
            into: Where the rows go.
            load: The load that this copy is a part of.
            progress: Hears how far it is.
        """
        self._source, self._destination = source, destination
        self._into, self._load, self._progress = into, load, progress

    def copy(
        self, query: sql.Composed, disposition: WriteDisposition, key: Sequence[str]
    ) -> CopyResult:
        """Copies the rows of `query` in one transaction of the destination.

        Args:
            query: The SELECT, its columns in the order of `into.columns` and the load id.
            disposition: What happens with rows that are already there.
            key: The primary key, for merge.

        Raises:
            JobError: Either side failed, or the two counts differ; nothing has been written.
        """
        try:
            with self._destination.transaction():
                return self._write_rows(query, disposition, key)
        except psycopg.Error as error:
            raise errors.from_database(error, "destination") from None

    def _write_rows(
        self, query: sql.Composed, disposition: WriteDisposition, key: Sequence[str]
    ) -> CopyResult:
        self._prepare_columns()
        if disposition is WriteDisposition.MERGE:
            return self._merge(query, key)
        if disposition is WriteDisposition.REPLACE:
            self._destination.execute(sql.SQL("DELETE FROM {}").format(self._into.identifier))
        else:
            self._load.purge_unfinished(self._destination)
            self._load.begin(self._destination)
        return self._transfer(query, self._into.identifier)

    def _prepare_columns(self) -> None:
        """Locks the table against DDL, widens columns that have grown, and checks all types."""
        into = self._into
        self._destination.execute(
            sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(into.identifier)
        )
        self._widen_columns()
        require_exact_types(self._destination, into.schema, into.table, into.columns)

    def _widen_columns(self) -> None:
        for column in self._into.columns:
            if column.alter_from is not None:
                self._destination.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(
                        self._into.identifier,
                        sql.Identifier(column.source.name),
                        sql.SQL(column.target_type),  # pyright: ignore[reportArgumentType] - a type that the destination knows
                    )
                )

    def _merge(self, query: sql.Composed, key: Sequence[str]) -> CopyResult:
        # A plain table, not a temporary one: roles may lack TEMP. Nobody else ever sees it.
        stage = sql.Identifier(self._into.schema, f"_datanika_stage_{self._into.table}"[:63])
        target = self._into.identifier
        self._destination.execute(
            sql.SQL("CREATE UNLOGGED TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(
                stage, self._into.column_list, target
            )
        )
        result = self._transfer(query, stage)
        self._require_key(stage, key)
        self._destination.execute(sql.SQL("ANALYZE {}").format(stage))
        same_key = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("s", name))
            for name in key
        )
        self._destination.execute(
            sql.SQL("DELETE FROM {} t USING {} s WHERE {}").format(target, stage, same_key)
        )
        self._destination.execute(
            sql.SQL("INSERT INTO {} ({columns}) SELECT {columns} FROM {}").format(
                target, stage, columns=self._into.column_list
            )
        )
        self._destination.execute(sql.SQL("DROP TABLE {}").format(stage))
        return result

    def _require_key(self, stage: sql.Identifier, key: Sequence[str]) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, key))
        row = self._destination.execute(
            sql.SQL(
                "SELECT count(*) FILTER (WHERE num_nulls({columns}) > 0),"
                " count(*) - count(DISTINCT ({columns})) FROM {}"
            ).format(stage, columns=columns)
        ).fetchone()
        nulls, duplicates = row or (0, 0)
        if nulls or duplicates:
            what = f"{nulls} rows with NULL in it" if nulls else f"{duplicates} rows that share one"
            raise errors.invalid(
                f'The primary key ({", ".join(key)}) of "{self._into.table}" does not identify '
                f"rows: the source has {what}.",
                "primary_key",
            )

    def _transfer(self, query: sql.Composed, into: sql.Identifier) -> CopyResult:
        read = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
        write = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            into, self._into.column_list
        )
        with self._source.cursor() as reader, self._destination.cursor() as writer:
            sent = self._pump(reader, writer, read, write)
            if reader.rowcount != writer.rowcount:
                raise JobError(
                    "upload.count_differs",
                    f'"{self._into.table}": the source sent {reader.rowcount} rows, the '
                    f"destination took {writer.rowcount}; nothing was written.",
                )
            return CopyResult(rows=writer.rowcount, bytes=sent)

    def _pump(
        self,
        reader: psycopg.Cursor,
        writer: psycopg.Cursor,
        read: sql.Composed,
        write: sql.Composed,
    ) -> int:
        """Moves the stream; returns its size in bytes.

        An error on one side cancels the other, so the source's is the one to be told.
        """
        try:
            with writer.copy(write) as sink:
                try:
                    with reader.copy(read) as stream:
                        return self._forward(stream, sink)
                except psycopg.Error as error:
                    raise _SourceError(error) from None
        except _SourceError as failed:
            raise errors.from_database(failed.error, "source") from None
        except psycopg.Error as error:
            raise errors.from_database(error, "destination") from None

    def _forward(self, stream: psycopg.Copy, sink: psycopg.Copy) -> int:
        sent = held = 0
        blocks: list[bytes | bytearray | memoryview] = []
        told_at = time.monotonic()
        for rows, block in enumerate(stream, start=1):  # a block is a row
            blocks.append(block)
            held += len(block)
            if held >= _WRITE_BYTES:
                _write(sink, blocks)
                sent, held = sent + held, 0
                blocks.clear()
                if time.monotonic() - told_at >= _PROGRESS_SECONDS:
                    told_at = time.monotonic()
                    self._progress(rows, sent)
        _write(sink, blocks)
        return sent + held


def _write(sink: psycopg.Copy, blocks: Sequence[bytes | bytearray | memoryview]) -> None:
    try:
        sink.write(b"".join(blocks))
    except psycopg.Error as error:
        # Told apart here: one level up it would look like an error of the source.
        raise errors.from_database(error, "destination") from None


class _SourceError(Exception):
    """Carries an error of the source past the destination's COPY, which it cancels."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__()
        self.error = error
