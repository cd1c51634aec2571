"""What the API takes and gives for transformations."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from control_plane.core.etags import VersionedView
from control_plane.core.schema_names import SchemaName
from datanika_manifest.names import SLUG_MAX_LENGTH
from datanika_manifest.transformations import ColumnTest, DbtNode, Materialization, Sha256

NAME_PATTERN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*")
MAXIMUM_SQL_BYTES = 200_000
MAXIMUM_TESTS = 200
DEFAULT_SCHEMA = "analytics"
DEFAULT_PREVIEW_ROWS = 20
MAXIMUM_PREVIEW_ROWS = 100


def _check_name(text: str) -> str:
    has_content = re.search("[a-zA-Z0-9]", text) is not None
    if not NAME_PATTERN.fullmatch(text) or len(text) > SLUG_MAX_LENGTH or not has_content:
        raise PydanticCustomError(
            "model_name",
            "'{text}' is not allowed: a letter or '_' first, then letters, digits, '_' and '-', "
            "at least one letter or digit, at most {maximum} characters",
            {"text": text[:SLUG_MAX_LENGTH], "maximum": SLUG_MAX_LENGTH},
        )
    return text


def _check_sql(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("sql_empty", "has no SQL")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAXIMUM_SQL_BYTES:
        raise PydanticCustomError(
            "sql_too_long",
            "has {size} bytes; at most {maximum} are allowed",
            {"size": size, "maximum": MAXIMUM_SQL_BYTES},
        )
    if "\0" in text:
        raise PydanticCustomError("sql_null", "has a null byte")
    return text


ModelName = Annotated[str, AfterValidator(_check_name)]
Sql = Annotated[str, AfterValidator(_check_sql)]
Tests = Annotated[list[ColumnTest], Field(max_length=MAXIMUM_TESTS)]


class TransformationCreate(BaseModel):
    """A new transformation."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: ModelName = Field(description="The model's name; `ref()` uses it.")
    connection_id: int | None = Field(
        default=None, description="Where it runs; default: the managed warehouse."
    )
    schema_name: SchemaName = Field(
        default=DEFAULT_SCHEMA, alias="schema", description="The schema that it is stored in."
    )
    sql: Sql = Field(description="One SELECT, with dbt's Jinja.")
    materialization: Materialization = Field(default=Materialization.VIEW)
    description: str = Field(default="", max_length=5_000)
    tests: Tests = Field(default=[], description="Tests of its columns.")


class TransformationUpdate(BaseModel):
    """What changes; what is left out stays."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: ModelName | None = None
    schema_name: SchemaName | None = Field(default=None, alias="schema")
    sql: Sql | None = None
    materialization: Materialization | None = None
    description: str | None = Field(default=None, max_length=5_000)
    tests: Tests | None = None


class TransformationView(VersionedView):
    """A transformation."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    id: int
    name: str
    connection_id: int
    schema_name: str = Field(alias="schema")
    sql: str
    materialization: Materialization
    description: str
    tests: list[ColumnTest]
    created_at: datetime
    updated_at: datetime


class PreviewRequest(BaseModel):
    """A query to look at before it becomes a model."""

    model_config = ConfigDict(extra="forbid")

    sql: Sql = Field(description="One SELECT, with dbt's Jinja.")
    connection_id: int | None = Field(
        default=None, description="Where it runs; default: the managed warehouse."
    )
    limit: int = Field(default=DEFAULT_PREVIEW_ROWS, ge=1, le=MAXIMUM_PREVIEW_ROWS)


class PreviewColumn(BaseModel):
    """A column of a preview."""

    name: str
    type: str


class Preview(BaseModel):
    """The first rows of a query."""

    compiled_sql: str
    columns: list[PreviewColumn]
    rows: list[list[Any]]
    is_cut: bool = Field(default=False, description="Whether rows were too large to be given.")


class ParsedProject(BaseModel):
    """The answer of the task `dbt_parse`."""

    sha256: Sha256
    nodes: list[DbtNode]
