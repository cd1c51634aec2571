"""The YAML files of a generated dbt project: tests of models, and sources.

dbt renders strings in these files as Jinja. Everything that a person typed is therefore written
as an escaped Jinja string literal, so that it means itself and nothing else.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from datanika_dagster.transformations.checks import NamedTest, named_tests
from datanika_dagster.transformations.errors import TransformationError
from datanika_manifest.transformations import ModelSource, ProjectSource, SourceTable

_SIMPLE_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_QUOTED_IDENTIFIER = re.compile(r'"([^"]+)"')


def schema_yml(source: ProjectSource) -> str:
    """Returns `models/schema.yml`: every model with its tests.

    Raises:
        TransformationError: A test lacks what its type needs, names an unknown table, or names
            a column in a way that cannot be written.
    """
    tables = _Tables(source)
    return _yaml({"models": [_model(model, tables) for model in source.models]})


def sources_yml(sources: Iterable[SourceTable]) -> str:
    """Returns `models/sources.yml`: the uploaded tables, each with its asset key."""
    by_schema: dict[str, list[SourceTable]] = {}
    for table in sorted(sources, key=lambda table: (table.schema_name, table.table)):
        by_schema.setdefault(table.schema_name, []).append(table)
    return _yaml(
        {
            "sources": [
                {"name": name, "schema": name, "tables": [_source_table(t) for t in tables]}
                for name, tables in by_schema.items()
            ]
        }
    )


def exact_column(column: str, model: str) -> str:
    """Returns the column's exact name, read as PostgreSQL reads it in SQL.

    `Flight_ID` is `flight_id`, `"Flight_ID"` is itself, and what could not be written without
    quotes (`arr delay`) is itself as well.

    Args:
        column: The column as the test's author named it.
        model: The model's name, for the message.

    Raises:
        TransformationError: The name has a quote, a brace or a control character.
    """
    if _SIMPLE_IDENTIFIER.fullmatch(column):
        return column.lower()
    quoted = _QUOTED_IDENTIFIER.fullmatch(column)
    exact = quoted.group(1) if quoted else column
    if re.search(r'["{}]', exact) or not exact.isprintable():
        raise TransformationError(
            f"A test of model '{model}' names the column {column[:80]!r}: "
            "quotes, braces and control characters are not allowed.",
            field=model,
        )
    return exact


def jinja_literal(text: str) -> str:
    """Returns Jinja that evaluates to `text`, whatever `text` holds."""
    escaped = text.encode("unicode_escape").decode("ascii")
    for character in "'\"{}%#":
        escaped = escaped.replace(character, f"\\x{ord(character):02x}")
    return f"{{{{ '{escaped}' }}}}"


class _Tables:
    """What a relationships test can point to."""

    def __init__(self, source: ProjectSource) -> None:
        self._models = {model.name for model in source.models}
        self._sources = {(table.schema_name, table.table) for table in source.sources}

    def reference(self, to: str, model: str) -> str:
        schema, _, table = to.rpartition(".")
        if not schema and to in self._models:
            return f"ref('{to}')"
        if (schema, table) in self._sources:
            return f"source('{schema}', '{table}')"
        raise TransformationError(
            f"A relationships test of model '{model}' names {to[:120]!r}, which is neither a "
            "model of this connection nor an uploaded table (schema.table).",
            field=model,
        )


def _model(model: ModelSource, tables: _Tables) -> dict[str, Any]:
    columns: dict[str, list[dict[str, Any]]] = {}
    for named in named_tests(model):
        column = exact_column(named.test.column, model.name)
        columns.setdefault(column, []).append(_test(named, model, tables))
    entry: dict[str, Any] = {"name": model.name}
    if columns:
        # Always quoted: exact_column has already folded what SQL would fold.
        entry["columns"] = [
            {"name": name, "quote": True, "data_tests": tests} for name, tests in columns.items()
        ]
    return entry


def _test(named: NamedTest, model: ModelSource, tables: _Tables) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": named.dbt_name,
        "config": {"severity": named.test.severity.value},
    }
    arguments = _arguments(named, model, tables)
    if arguments:
        body["arguments"] = arguments
    return {named.test.type: body}


def _arguments(named: NamedTest, model: ModelSource, tables: _Tables) -> dict[str, Any]:
    test = named.test
    if test.type == "accepted_values":
        if not test.values:
            raise TransformationError(
                f"The accepted_values test of '{test.column}' in model '{model.name}' has no "
                "values.",
                field=model.name,
            )
        return {"values": [_sql_literal_body(value) for value in test.values]}
    if test.type == "relationships":
        if not test.to:
            raise TransformationError(
                f"The relationships test of '{test.column}' in model '{model.name}' does not say "
                "to which table (`to`).",
                field=model.name,
            )
        field = exact_column(test.field or test.column, model.name)
        return {
            "to": tables.reference(test.to, model.name),
            "field": jinja_literal(f'"{field}"'),
        }
    return {}


def _sql_literal_body(value: str | float | bool) -> str:
    # dbt's macro puts each value between single quotes; PostgreSQL then casts as it needs.
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return jinja_literal(text.replace("'", "''"))


def _source_table(table: SourceTable) -> dict[str, Any]:
    meta = {"dagster": {"asset_key": list(table.asset_key)}}
    return {"name": table.table, "config": {"meta": meta}}


def _yaml(document: dict[str, Any]) -> str:
    text = yaml.safe_dump({"version": 2, **document}, sort_keys=False, allow_unicode=True)
    return f"# Generated; do not edit.\n{text}"
