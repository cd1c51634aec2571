"""What the API gives for discovered tables, and what the task `discover` answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DiscoveredColumn(BaseModel):
    """A column as the database describes it."""

    name: str
    type: str = Field(description="The database's own name of the type.")
    nullable: bool


class TableDescription(BaseModel):
    """A table as the task `discover` describes it."""

    model_config = ConfigDict(populate_by_name=True)

    schema_name: str = Field(alias="schema")
    table_name: str = Field(alias="table")
    kind: str
    row_estimate: int | None = None
    columns: list[DiscoveredColumn]
    primary_key: list[str]


class Discovery(BaseModel):
    """The answer of the task `discover`."""

    tables: list[TableDescription]


class TableView(TableDescription):
    """A cached table."""

    discovered_at: datetime


class SyncResult(BaseModel):
    """What a discovery found."""

    tables: int = Field(description="How many tables and views.")


class SampleColumn(BaseModel):
    """A column of a sample."""

    name: str
    type: str = Field(description="The database's own name of the type.")


class Sample(BaseModel):
    """The first rows of a table, as its database says them; also the answer of the task."""

    columns: list[SampleColumn]
    rows: list[list[Any]] = Field(
        description="Decimals, large integers and what JSON has no type for are text."
    )
    is_cut: bool = Field(description="Whether rows were too large to be given.")
