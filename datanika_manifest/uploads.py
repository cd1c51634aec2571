"""What one upload (extract and load) does: which tables, from where, to where, how."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from datanika_manifest.base import Frozen
from datanika_manifest.names import AssetKey, Slug


class WriteDisposition(StrEnum):
    """What happens to the rows that are already in the destination table."""

    APPEND = "append"
    REPLACE = "replace"
    MERGE = "merge"


class FilterOperator(StrEnum):
    """The operators of a row filter, all pushed down into the source query."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"


class RowFilter(Frozen):
    """One condition on a source column; several are joined with AND."""

    column: str = Field(min_length=1, description="A column of the source table.")
    op: FilterOperator = Field(description="How the column is compared with the value.")
    value: JsonValue = Field(description="The value; a list for `in` and `not_in`.")


class Incremental(Frozen):
    """Loads only rows whose cursor column has grown since the last successful run."""

    cursor: str = Field(min_length=1, description="A column that only grows.")
    initial_value: JsonValue = Field(
        default=None, description="Rows below this value are never loaded."
    )


class SchemaContract(Frozen):
    """What happens when the source has tables, columns or types that were not there before."""

    tables: Literal["evolve", "freeze", "discard_row", "discard_value"] = "evolve"
    columns: Literal["evolve", "freeze", "discard_row", "discard_value"] = "evolve"
    data_type: Literal["evolve", "freeze", "discard_row", "discard_value"] = "evolve"


class UploadTable(Frozen):
    """One source table and the asset that its copy is."""

    source_schema: str
    source_table: str
    target_table: Slug
    asset_key: AssetKey
    primary_key: tuple[str, ...] = ()


class Upload(Frozen):
    """An extract-and-load job; each of its tables is one asset."""

    id: int
    slug: Slug
    name: str
    source: Slug = Field(description="The source connection.")
    destination: Slug = Field(description="The destination connection.")
    target_schema: Slug
    tables: tuple[UploadTable, ...]
    write_disposition: WriteDisposition
    filters: tuple[RowFilter, ...] = ()
    incremental: Incremental | None = None
    schema_contract: SchemaContract = SchemaContract()
    batch_size: int = Field(default=10_000, description="Rows per batch.")
    depends_on: tuple[AssetKey, ...] = Field(
        default=(), description="Assets that an explicit dependency puts upstream."
    )
