"""Compares an upload's configuration with what its source has: every name must exist.

Pure: it is given the discovered tables and answers with what is wrong, naming each value and the
names that come close to it.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from control_plane.core.errors import FieldError
from control_plane.uploads.config import UploadConfig, UploadMode
from datanika_manifest.uploads import WriteDisposition

MAXIMUM_SUGGESTIONS = 3
LOADED_KINDS = frozenset({"table", "foreign_table"})
"""What a whole schema consists of; views are loaded only when they are named."""


@dataclass(frozen=True)
class SourceTable:
    """What is known of one source table."""

    name: str
    kind: str
    columns: Sequence[str]
    primary_key: Sequence[str]


@dataclass(frozen=True)
class SourceSchema:
    """What is known of the schema that an upload reads.

    Attributes:
        tables: Its tables by name.
        schemas: Every schema of the source.
    """

    tables: Mapping[str, SourceTable]
    schemas: Sequence[str]

    def chosen(self, config: UploadConfig) -> list[str]:
        """Returns the names of the tables that the upload loads, in a fixed order."""
        if config.mode is UploadMode.SINGLE_TABLE:
            return [config.table] if config.table else []
        if config.table_names is not None:
            return config.table_names
        return sorted(name for name, table in self.tables.items() if table.kind in LOADED_KINDS)


def find_problems(config: UploadConfig, source: SourceSchema) -> list[FieldError]:
    """Returns what of the configuration the source does not have; empty when all is well."""
    if config.source_schema not in source.schemas:
        return [_unknown("/config/source_schema", "schema", config.source_schema, source.schemas)]
    chosen = source.chosen(config)
    if not chosen:
        detail = f"the schema '{config.source_schema}' has no table that could be loaded"
        return [FieldError("/config/source_schema", detail)]
    missing = [
        _unknown(_table_pointer(config, index), "table", name, source.tables)
        for index, name in enumerate(chosen)
        if name not in source.tables
    ]
    if missing:
        return missing
    return list(_column_problems(config, [source.tables[name] for name in chosen]))


def _column_problems(config: UploadConfig, tables: Sequence[SourceTable]) -> Iterator[FieldError]:
    for pointer, column in _named_columns(config):
        table = next((table for table in tables if column not in table.columns), None)
        if table is not None:
            yield _unknown(pointer, f"column of table '{table.name}'", column, table.columns)
    if config.write_disposition is WriteDisposition.MERGE and config.primary_key is None:
        keyless = [table.name for table in tables if not table.primary_key]
        if keyless:
            detail = (
                "'merge' needs a primary key, which the source does not have for "
                f"{_quoted(keyless[:MAXIMUM_SUGGESTIONS])}; name its columns here"
            )
            yield FieldError("/config/primary_key", detail)


def _named_columns(config: UploadConfig) -> Iterator[tuple[str, str]]:
    if config.incremental is not None:
        yield "/config/incremental/cursor", config.incremental.cursor
    for index, row_filter in enumerate(config.filters or []):
        yield f"/config/filters/{index}/column", row_filter.column
    for index, column in enumerate(config.primary_key or []):
        yield f"/config/primary_key/{index}", column


def _table_pointer(config: UploadConfig, index: int) -> str:
    if config.mode is UploadMode.SINGLE_TABLE:
        return "/config/table"
    return f"/config/table_names/{index}"


def _unknown(pointer: str, noun: str, name: str, known: Iterable[str]) -> FieldError:
    names = list(known)
    # Letters of another case are what is mistaken most often; difflib alone would rank them low.
    by_lower = {known_name.lower(): known_name for known_name in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=MAXIMUM_SUGGESTIONS)
    detail = f"unknown {noun} '{name}'"
    if close:
        detail += f"; close to it: {_quoted(by_lower[match] for match in close)}"
    elif names:
        detail += f"; there are {len(names)}, for example {_quoted(names[:MAXIMUM_SUGGESTIONS])}"
    return FieldError(pointer, detail)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
