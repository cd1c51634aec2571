"""What an upload's `config` may say, before anything is compared with the source.

The keys and modes that a later version adds are known by name, so that they are refused for what
they are and never silently ignored.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from control_plane.core.errors import FieldError, Invalid
from control_plane.core.problems import validation_field_errors
from control_plane.core.schema_names import SchemaName, SlugName
from datanika_manifest.uploads import (
    FilterOperator,
    Incremental,
    RowFilter,
    SchemaContract,
    WriteDisposition,
)

LATER_MODES = ("query", "resources", "files")
LATER_KEYS = ("query", "resources", "files", "columns", "masking", "sync_mode")
MAXIMUM_TABLES = 5_000
MAXIMUM_FILTERS = 50
MAXIMUM_FILTER_VALUES = 1_000
MAXIMUM_BATCH_SIZE = 1_000_000


class UploadMode(StrEnum):
    """What an upload reads."""

    SINGLE_TABLE = "single_table"
    FULL_DATABASE = "full_database"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _distinct(values: list[str]) -> list[str]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise PydanticCustomError("duplicate", "'{value}' is named twice", {"value": value})
    return values


Identifier = Annotated[str, Field(min_length=1, max_length=128)]
Identifiers = Annotated[list[Identifier], AfterValidator(_distinct)]


class UploadConfig(BaseModel):
    """A valid configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    mode: UploadMode = Field(description="One table, or several of a schema.")
    table: Identifier | None = Field(default=None, description="single_table: the source table.")
    table_names: Identifiers | None = Field(
        default=None,
        min_length=1,
        max_length=MAXIMUM_TABLES,
        description="full_database: the source tables; left out: all, also those to come.",
    )
    source_schema: Identifier = Field(default="public", description="The schema to read.")
    target_schema: SchemaName | None = Field(
        default=None, description="The schema to load into; default: the source connection's slug."
    )
    target_table: SlugName | None = Field(
        default=None, description="single_table: the table to load into; default: the same name."
    )
    write_disposition: WriteDisposition = Field(
        default=WriteDisposition.APPEND, description="What happens to rows that are there already."
    )
    primary_key: Annotated[Identifiers | None, BeforeValidator(_as_list)] = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="Columns that identify a row; default: the source table's own primary key.",
    )
    incremental: Incremental | None = Field(
        default=None, description="Loads only rows that are new since the last run."
    )
    filters: list[RowFilter] | None = Field(
        default=None, max_length=MAXIMUM_FILTERS, description="Only rows that meet all of these."
    )
    schema_contract: SchemaContract | None = Field(
        default=None, description="What happens to new tables, columns and types."
    )
    batch_size: int = Field(
        default=10_000, ge=1, le=MAXIMUM_BATCH_SIZE, description="Rows per batch."
    )


KNOWN_KEYS = tuple(UploadConfig.model_fields)


def parse_config(config: dict[str, Any]) -> UploadConfig:
    """Validates a configuration as far as that goes without the source.

    Raises:
        Invalid: Names each field that is missing, unknown, not known yet or wrong.
    """
    errors = _unknown_keys(config) + _unknown_mode(config)
    if errors:
        raise _invalid(errors)
    try:
        valid = UploadConfig.model_validate(config)
    except ValidationError as error:
        found = validation_field_errors(error.errors(include_input=False, include_url=False))
        raise _invalid(
            [FieldError(f"/config{e.pointer.rstrip('/')}", e.detail) for e in found]
        ) from None
    errors = _mode_errors(valid) + _filter_errors(valid) + _incremental_errors(valid)
    if errors:
        raise _invalid(errors)
    return valid


def stored_form(config: UploadConfig) -> dict[str, Any]:
    """Returns a configuration as it is stored and shown: JSON, with its defaults filled in."""
    return config.model_dump(mode="json", exclude_none=True)


def _unknown_keys(config: dict[str, Any]) -> list[FieldError]:
    return [
        FieldError(f"/config/{key}", f"'{key}' {_refusal(key, LATER_KEYS, KNOWN_KEYS)}")
        for key in config
        if key not in KNOWN_KEYS
    ]


def _unknown_mode(config: dict[str, Any]) -> list[FieldError]:
    mode = config.get("mode")
    if not isinstance(mode, str) or mode in set(UploadMode):
        return []  # the model says what is wrong with one that is missing or no text
    return [
        FieldError("/config/mode", f"'{mode}' {_refusal(mode, LATER_MODES, tuple(UploadMode))}")
    ]


def _refusal(name: str, later: tuple[str, ...], known: tuple[str, ...]) -> str:
    what = "is not known yet in this version" if name in later else "is not known"
    return f"{what}; known: {', '.join(known)}"


def _mode_errors(config: UploadConfig) -> list[FieldError]:
    is_single = config.mode is UploadMode.SINGLE_TABLE
    foreign = (
        {"table_names": config.table_names}
        if is_single
        else {
            "table": config.table,
            "target_table": config.target_table,
        }
    )
    errors = [
        FieldError(f"/config/{key}", f"cannot be set in the mode '{config.mode}'")
        for key, value in foreign.items()
        if value is not None
    ]
    if is_single and config.table is None:
        errors.append(FieldError("/config/table", "is required in the mode 'single_table'"))
    return errors


def _filter_errors(config: UploadConfig) -> list[FieldError]:
    return [
        FieldError(f"/config/filters/{index}/value", problem)
        for index, row_filter in enumerate(config.filters or [])
        if (problem := _value_problem(row_filter)) is not None
    ]


def _incremental_errors(config: UploadConfig) -> list[FieldError]:
    if config.incremental is None:
        return []
    errors: list[FieldError] = []
    if config.write_disposition == WriteDisposition.REPLACE:
        detail = "goes with 'append' or 'merge'; a 'replace' loads every row"
        errors.append(FieldError("/config/incremental", detail))
    value = config.incremental.initial_value
    if value is not None and not _is_scalar(value):
        detail = "needs one text or number"
        errors.append(FieldError("/config/incremental/initial_value", detail))
    return errors


def _value_problem(row_filter: RowFilter) -> str | None:
    wants_list = row_filter.op in {FilterOperator.IN, FilterOperator.NOT_IN}
    value = row_filter.value
    if not wants_list:
        return None if _is_scalar(value) else f"'{row_filter.op}' needs one text, number or boolean"
    if not isinstance(value, list) or not value:
        return f"'{row_filter.op}' needs a list with at least one value"
    if len(value) > MAXIMUM_FILTER_VALUES:
        return f"has {len(value)} values; at most {MAXIMUM_FILTER_VALUES} are allowed"
    return None if all(map(_is_scalar, value)) else "has a value that is no text, number or boolean"


def _is_scalar(value: JsonValue) -> bool:
    return isinstance(value, str | int | float | bool)


def _invalid(errors: list[FieldError]) -> Invalid:
    details = "; ".join(f"{e.pointer.removeprefix('/config/')}: {e.detail}" for e in errors[:5])
    return Invalid(f"Check the configuration of the upload: {details}", errors=tuple(errors))
