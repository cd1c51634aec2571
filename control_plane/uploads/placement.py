"""Where an upload reads and writes: its connections, its source's tables, its targets."""

from collections.abc import Sequence

from control_plane.connections.models import Connection
from control_plane.connections.service import ConnectionService
from control_plane.core.errors import FieldError, Invalid
from control_plane.metadata.errors import DiscoveryFailed
from control_plane.metadata.service import KnownTables, MetadataService
from control_plane.uploads.config import UploadConfig
from control_plane.uploads.errors import TargetConflict
from control_plane.uploads.models import Upload
from control_plane.uploads.source_check import SourceSchema, SourceTable, find_problems
from control_plane.uploads.tables import ResolvedTable, resolve
from datanika_manifest.connectors.base import Direction
from datanika_manifest.connectors.registry import CONNECTORS


class Placement:
    """Checks uploads against the connections and the discovered tables of one org."""

    def __init__(self, connections: ConnectionService, metadata: MetadataService) -> None:
        self._connections = connections
        self._metadata = metadata

    def check(self, upload: Upload, config: UploadConfig, others: Sequence[Upload]) -> UploadConfig:
        """Returns the configuration with its target schema once everything that it names exists.

        Args:
            upload: The upload to save, with its connections.
            config: Its new configuration.
            others: The other uploads into the same destination.

        Raises:
            Invalid: A connection or a name does not exist or does not fit.
            TargetConflict: Another upload loads into the same table.
        """
        source = self._connection(upload.source_connection_id, Direction.SOURCE)
        destination = self._connection(upload.destination_connection_id, Direction.DESTINATION)
        config = config.model_copy(update={"target_schema": config.target_schema or source.slug})
        tables = resolve(config, self._checked_schema(source, config))
        if source.id == destination.id and config.source_schema == config.target_schema:
            _refuse_own_source(tables)
        self._refuse_taken_targets(config, tables, others)
        return config

    def require_connections(self, upload: Upload, *, hold: bool) -> None:
        """Lets an upload be only while its connections are, with `hold` so that they stay.

        Raises:
            Conflict: One of them is deleted; the detail names it.
        """
        for connection_id in sorted(
            {upload.source_connection_id, upload.destination_connection_id}
        ):
            self._connections.require_live(connection_id, hold=hold)

    def _connection(self, connection_id: int, side: Direction) -> Connection:
        pointer = f"/{side}_connection_id"
        row = self._connections.find(connection_id)
        if row is None:
            raise Invalid.field(pointer, f"There is no connection {connection_id}.")
        if row.direction not in {side, Direction.BOTH}:
            raise Invalid.field(
                pointer,
                f"The connection '{row.name}' has the direction '{row.direction}' and cannot be "
                f"a {side}; allowed: {side}, both.",
            )
        declaration = CONNECTORS[row.connector]
        if not declaration.directions & {side, Direction.BOTH}:
            raise Invalid.field(pointer, f"{declaration.title} cannot be a {side}.")
        return row

    def _checked_schema(self, source: Connection, config: UploadConfig) -> SourceSchema:
        """Returns the schema that is read; what is not known is looked for in the source once."""
        schema = read_schema(self._metadata, source.id, config.source_schema)
        problems = find_problems(config, schema)
        if problems:
            self._sync(source)
            schema = read_schema(self._metadata, source.id, config.source_schema)
            problems = find_problems(config, schema)
        if problems:
            details = "; ".join(problem.detail for problem in problems[:5])
            raise Invalid(f"Connection '{source.name}': {details}", errors=tuple(problems))
        return schema

    def _sync(self, source: Connection) -> None:
        try:
            self._metadata.sync_metadata(source)
        except DiscoveryFailed as error:
            raise Invalid(
                error.detail, errors=(FieldError("/source_connection_id", error.detail),)
            ) from None

    def _refuse_taken_targets(
        self, config: UploadConfig, tables: Sequence[ResolvedTable], others: Sequence[Upload]
    ) -> None:
        wanted = {table.target_table for table in tables}
        for other in others:
            if other.config["target_schema"] != config.target_schema:
                continue
            taken = wanted & {table.target_table for table in resolve_tables(self._metadata, other)}
            if taken:
                raise TargetConflict(
                    f"The upload '{other.name}' loads into "
                    f"'{config.target_schema}.{min(taken)}' already; choose another target_schema.",
                    errors=(FieldError("/config/target_schema", "has a table of that upload"),),
                )


def resolve_tables(known: KnownTables, upload: Upload) -> list[ResolvedTable]:
    """Returns the tables of a saved upload, as its source is known now.

    Raises:
        TargetConflict: Two source tables would become the same target table.
    """
    config = UploadConfig.model_validate(upload.config)
    return resolve(config, read_schema(known, upload.source_connection_id, config.source_schema))


def read_schema(known: KnownTables, connection_id: int, schema: str) -> SourceSchema:
    """Returns what the last discovery saw of a schema."""
    tables = [
        SourceTable(
            name=row.table_name,
            kind=row.kind,
            columns=[column["name"] for column in row.columns],
            primary_key=row.primary_key,
        )
        for row in known.tables_of(connection_id, schema)
    ]
    return SourceSchema(
        tables={table.name: table for table in tables}, schemas=known.schemas_of(connection_id)
    )


def _refuse_own_source(tables: Sequence[ResolvedTable]) -> None:
    for table in tables:
        if table.source_table == table.target_table:
            raise Invalid.field(
                "/config/target_schema",
                f"the table '{table.source_table}' would be loaded onto itself",
            )
