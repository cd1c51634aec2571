"""Which models and tables a model names.

Read from the text, without dbt: good enough to say what would break when something is deleted or
whether an edge closes a circle. The exact graph is dbt's, which publishing parses.
"""

import re

from control_plane.transformations.models import Transformation

_TEXT = r"""\s*['"]([^'"]+)['"]\s*"""
_REF = re.compile(rf"\bref\s*\({_TEXT}[,)]")
_SOURCE = re.compile(rf"\bsource\s*\({_TEXT},{_TEXT}\)")


def models_in(sql: str) -> set[str]:
    """Returns the names in `ref('…')`."""
    return set(_REF.findall(sql))


def tables_in(sql: str) -> set[tuple[str, str]]:
    """Returns schema and table of each `source('…', '…')`."""
    return set(_SOURCE.findall(sql))


def names_model(row: Transformation, name: str) -> bool:
    """Tells whether a model selects from the model `name` or tests against it."""
    return name in models_in(row.sql) or name in _tested_against(row)


def names_table(row: Transformation, schema: str, table: str) -> bool:
    """Tells whether a model selects from an uploaded table or tests against it."""
    return (schema, table) in tables_in(row.sql) or f"{schema}.{table}" in _tested_against(row)


def _tested_against(row: Transformation) -> set[str]:
    return {test["to"] for test in row.tests if test.get("to")}
