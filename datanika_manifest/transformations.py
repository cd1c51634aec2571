"""What one dbt project does: the models of one org on one connection, as dbt parsed them."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from datanika_manifest.base import Frozen
from datanika_manifest.names import AssetKey, Slug

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Materialization(StrEnum):
    """How a model is stored in the warehouse."""

    VIEW = "view"
    TABLE = "table"
    INCREMENTAL = "incremental"
    EPHEMERAL = "ephemeral"


class TestSeverity(StrEnum):
    """What a failing test means: a warning, or an error that fails the run."""

    WARN = "warn"
    ERROR = "error"


class ColumnTest(Frozen):
    """A test on one column of a model, as its author declares it."""

    type: Literal["not_null", "unique", "accepted_values", "relationships"]
    column: str = Field(min_length=1, description="A column of the model.")
    severity: TestSeverity = TestSeverity.ERROR
    values: tuple[str | int | float | bool, ...] = Field(
        default=(), description="accepted_values: the values."
    )
    to: str | None = Field(
        default=None,
        description="relationships: a model's name, or `schema.table` of an uploaded table.",
    )
    field: str | None = Field(
        default=None, description="relationships: the referenced column; default: the same name."
    )


class ModelSource(Frozen):
    """A model as it goes into the generated dbt project."""

    transformation_id: int | None = None
    name: str
    schema_name: Slug
    sql: str
    materialization: Materialization
    description: str = ""
    tests: tuple[ColumnTest, ...] = ()


class SourceTable(Frozen):
    """A table that models can `source('<schema>', '<table>')`: some upload's asset."""

    schema_name: Slug
    table: Slug
    asset_key: AssetKey


class ProjectSource(Frozen):
    """Everything that a generated dbt project is made of; its SHA-256 names the directory."""

    org_id: int
    org: Slug
    connection: Slug
    connector: str
    models: tuple[ModelSource, ...]
    sources: tuple[SourceTable, ...]


class DbtTest(Frozen):
    """A dbt test, run as an asset check of the node that it belongs to."""

    unique_id: str
    check_name: str
    severity: TestSeverity
    description: str = ""


class DbtNode(Frozen):
    """A node of the parsed dbt project that is an asset."""

    unique_id: str
    transformation_id: int | None
    resource_type: Literal["model", "seed", "snapshot"]
    name: str
    asset_key: AssetKey
    materialization: str
    description: str = ""
    depends_on: tuple[AssetKey, ...] = ()
    tests: tuple[DbtTest, ...] = ()


class DbtProject(Frozen):
    """One parsed dbt project: an org's models on one connection."""

    connection: Slug
    sha256: Sha256
    nodes: tuple[DbtNode, ...]
