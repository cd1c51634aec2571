"""Puts together what a connection's dbt project is generated from."""

from collections.abc import Sequence

from control_plane.access.caller import Caller
from control_plane.connections.models import Connection
from control_plane.transformations.models import Transformation
from control_plane.uploads.service import UploadService
from datanika_manifest.transformations import (
    ColumnTest,
    Materialization,
    ModelSource,
    ProjectSource,
    SourceTable,
)


def assemble(
    caller: Caller,
    connection: Connection,
    rows: Sequence[Transformation],
    sources: Sequence[SourceTable],
) -> ProjectSource:
    """Returns the project of a connection.

    Args:
        caller: Whose org it is.
        connection: Where the models run.
        rows: The models.
        sources: The tables that they may select from.
    """
    return ProjectSource(
        org_id=caller.org_id,
        org=caller.org,
        connection=connection.slug,
        connector=connection.connector,
        models=tuple(_model_source(row) for row in rows),
        sources=tuple(sources),
    )


def source_tables(
    caller: Caller, connection: Connection, uploads: UploadService
) -> list[SourceTable]:
    """Returns the tables that uploads make in a connection, by name.

    Raises:
        Conflict: Two tables of an upload would become the same target table.
    """
    names = {
        (uploads.target_schema_of(upload), table.target_table)
        for upload in uploads.uploads_into(connection)
        for table in uploads.resolve_tables(upload)
    }
    return [
        SourceTable(
            schema_name=schema,
            table=table,
            asset_key=(caller.org, connection.slug, schema, table),
        )
        for schema, table in sorted(names)
    ]


def declared_tests(row: Transformation) -> list[ColumnTest]:
    """Returns the tests of a model."""
    return [ColumnTest.model_validate(test) for test in row.tests]


def _model_source(row: Transformation) -> ModelSource:
    return ModelSource(
        transformation_id=row.id,
        name=row.name,
        schema_name=row.schema_name,
        sql=row.sql,
        materialization=Materialization(row.materialization),
        description=row.description,
        tests=tuple(declared_tests(row)),
    )
