"""Whether a model's compiled SQL is SQL at all, as early as it can be known.

Two ways. Where the warehouse can be reached PostgreSQL itself answers, from its grammar alone
(`grammar_error`): exact, and nothing of the model is executed or looked up. Elsewhere
`obvious_error` recognises only what no PostgreSQL query looks like, because refusing a
working model is worse than a late error (docs/decisions/0030).
"""

import re
from typing import Any

import psycopg

# gram.y and scan.l are where PostgreSQL raises what it knows without looking anything up.
_GRAMMAR_SOURCES = frozenset({"gram.y", "scan.l", "scan.c", "parser.c", "scansup.c"})
_GUARD = "SELECT 1/0;"
_QUERY_STARTS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_LEADING = re.compile(
    r"(?P<open>/\*)|(?P<close>\*/)|(?P<line>--[^\n]*)|(?P<word>[^\s(/*-]+|[/*-])|(?P<space>[\s(]+)"
)


def grammar_error(connection: psycopg.Connection[Any], sql: str) -> str | None:
    """Asks a PostgreSQL server whether a model's compiled SQL is grammatical.

    The server parses a simple query's whole text before it executes the first statement of it
    (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT).
    The first statement here divides by zero, so the model's part is parsed and never executed.

    Args:
        connection: Any session; its transaction is rolled back.
        sql: Compiled SQL of one model.

    Returns:
        The server's message with the line, or None.
    """
    # Alone, and as dbt-postgres writes it: together they allow exactly one query, without a
    # semicolon, and no parenthesis that closes dbt's.
    for before, after in (("", ""), ("CREATE VIEW datanika_syntax AS (", ");")):
        problem = _parse(connection, f"{_GUARD} {before}\n", sql, f"\n{after}")
        if problem is not None:
            return problem
    return None


def _parse(connection: psycopg.Connection[Any], before: str, sql: str, after: str) -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute((before + sql + after).encode())
    except psycopg.Error as error:
        connection.rollback()
        diagnostic = error.diag
        if diagnostic.sqlstate is None:
            raise  # not the server's word: the connection is gone
        if diagnostic.source_file not in _GRAMMAR_SOURCES:
            return None
        return f"{diagnostic.message_primary}{_line(before + sql, diagnostic.statement_position)}"
    raise AssertionError("the guard statement did not fail")


def obvious_error(sql: str) -> str | None:
    """Returns why a model's SQL cannot be a query, None where it may be one.

    Args:
        sql: Compiled SQL, or as its author wrote it: what begins with Jinja may become a query.
    """
    word = _first_word(sql)
    if word.startswith("{") or word.upper() in _QUERY_STARTS:
        return None
    return f"a model is one query and starts with SELECT or WITH, not with {word[:40]!r}"


def _first_word(sql: str) -> str:
    """Returns the first word behind white space, opening parentheses and (nested) comments."""
    depth = 0
    for token in _LEADING.finditer(sql):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind == "word" and depth == 0:
            return token.group()
    return ""


def _line(text: str, position: str | None) -> str:
    if not position:
        return ""
    # One line feed stands before the model's first line. What is missing at its end is noticed
    # behind it; the slice then ends with the model's last line.
    return f" (line {text[: int(position) - 1].count(chr(10))})"
