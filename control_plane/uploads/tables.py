"""Which source tables an upload loads, and into which target tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.uploads.config import UploadConfig, UploadMode
from control_plane.uploads.errors import TargetConflict
from control_plane.uploads.source_check import SourceSchema
from datanika_manifest.names import Slug, slugify


@dataclass(frozen=True)
class ResolvedTable:
    """One table of an upload.

    Attributes:
        source_schema: The schema that is read.
        source_table: The table that is read.
        target_table: The table that is loaded, a slug.
        primary_key: Columns that identify a row; empty where there are none.
    """

    source_schema: str
    source_table: str
    target_table: Slug
    primary_key: tuple[str, ...]


def resolve(config: UploadConfig, source: SourceSchema) -> list[ResolvedTable]:
    """Returns the tables of an upload.

    Raises:
        TargetConflict: Two source tables would become the same target table.
    """
    tables = [_resolved(config, source, name) for name in source.chosen(config)]
    _refuse_same_target(tables)
    return tables


def _resolved(config: UploadConfig, source: SourceSchema, name: str) -> ResolvedTable:
    target = config.target_table if config.mode is UploadMode.SINGLE_TABLE else None
    known = source.tables.get(name)
    own_key: Sequence[str] = known.primary_key if known else ()
    return ResolvedTable(
        source_schema=config.source_schema,
        source_table=name,
        target_table=target or slugify(name),
        primary_key=tuple(config.primary_key or own_key),
    )


def _refuse_same_target(tables: Sequence[ResolvedTable]) -> None:
    by_target: dict[str, str] = {}
    for table in tables:
        other = by_target.setdefault(table.target_table, table.source_table)
        if other != table.source_table:
            raise TargetConflict(
                f"The tables '{other}' and '{table.source_table}' would both be loaded into "
                f"'{table.target_table}'; load one of them with an upload of its own and a "
                "target_table."
            )
