"""Whose fault an error of dbt's is: its messages name models in many ways, and sometimes not."""

import re
from collections.abc import Sequence

from datanika_dagster.transformations.errors import TransformationError
from datanika_dagster.transformations.project import PROJECT_NAME
from datanika_manifest.transformations import ModelSource

_NAMED = re.compile(rf"model\.{PROJECT_NAME}\.([\w-]+)|\b[Mm]odel '?([\w-]+)'? \(")
_QUOTED = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"")


def error(message: str, models: Sequence[ModelSource]) -> TransformationError:
    """Returns dbt's message as an error that names its model.

    Args:
        message: dbt's message, without paths.
        models: The project's models.
    """
    name = _named(message, models) or _only_one_that_says(message, models)
    if name is not None and not re.search(rf"\b{re.escape(name)}\b", message):
        message = f"Model '{name}': {message}"
    return TransformationError(message, field=name)


def _named(message: str, models: Sequence[ModelSource]) -> str | None:
    known = {model.name for model in models}
    found = (first or second for first, second in _NAMED.findall(message))
    return next((name for name in found if name in known), None)


def _only_one_that_says(message: str, models: Sequence[ModelSource]) -> str | None:
    """Returns the one model whose text has a word that dbt quotes, None when several have."""
    for single, double in _QUOTED.findall(message):
        saying = [model.name for model in models if (single or double) in model.sql]
        if len(saying) == 1:
            return saying[0]
    return None
