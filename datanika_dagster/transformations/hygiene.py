"""What a model's text may not contain, whatever dbt thinks of it.

This is hygiene, not the boundary: a job's fences are the operating system's and the database
role's. It keeps a model to being a model: no custom materialization (dbt runs those as code),
no second resource inside the file, no reading of other files.
"""

import re

import jinja2
import jinja2.lexer

from datanika_dagster.transformations.errors import TransformationError

MODEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*")
MODEL_NAME_MAX_LENGTH = 63  # PostgreSQL's longest identifier

REFUSED_TAGS = frozenset(
    {"materialization", "snapshot", "test", "data_test", "docs"}  # dbt's: another resource
    | {"include", "import", "from", "extends"}  # Jinja's: other files
)


def check_name(name: str) -> None:
    """Refuses a model name that could not be a file's and a table's name.

    Raises:
        TransformationError: The name is empty, too long or has other characters than letters,
            digits, `_` and `-`.
    """
    if len(name) > MODEL_NAME_MAX_LENGTH or not MODEL_NAME.fullmatch(name):
        raise TransformationError(
            f"The model name {name[:80]!r} is not allowed: a name starts with a letter or '_', "
            f"has only letters, digits, '_' and '-', and at most {MODEL_NAME_MAX_LENGTH} of them.",
            field=name,
        )


def check_sql(name: str, sql: str) -> None:
    """Refuses a model's text that is not one SQL model.

    Args:
        name: The model's name, for the message.
        sql: The text as its author wrote it.

    Raises:
        TransformationError: The text is empty, has a null byte, is Python, or has a refused tag.
    """
    if not sql.strip():
        raise TransformationError(f"Model '{name}' has no SQL.", field=name)
    if "\0" in sql:
        raise TransformationError(f"The SQL of model '{name}' has a null byte.", field=name)
    if re.search(r"^\s*def\s+model\s*\(", sql, re.MULTILINE):
        raise TransformationError(
            f"Model '{name}' is a Python model; models are written in SQL.", field=name
        )
    for tag in sorted(_tags(sql) & REFUSED_TAGS):
        raise TransformationError(
            f"Model '{name}' has {{% {tag} %}}, not allowed here.", field=name
        )


def _tags(sql: str) -> set[str]:
    """Returns the names of the Jinja block tags, as Jinja itself reads them."""
    tags: set[str] = set()
    try:
        tokens = list(jinja2.Environment(autoescape=False).lex(sql))  # noqa: S701 - never rendered
    except jinja2.TemplateSyntaxError:
        return tags  # dbt names the model and the line when it parses
    expects_tag = False
    for _, kind, value in tokens:
        if kind == jinja2.lexer.TOKEN_BLOCK_BEGIN:
            expects_tag = True
        elif expects_tag and kind == jinja2.lexer.TOKEN_NAME:
            tags.add(value)
            expects_tag = False
    return tags
