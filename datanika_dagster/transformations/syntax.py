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
    # As dbt-postgres writes it, so that a semicolon or a second statement is found as well.
    prefix = "SELECT 1/0; CREATE VIEW datanika_syntax AS (\n"
    try:
        with connection.cursor() as cursor:
            cursor.execute((prefix + sql + "\n);").encode())
    except psycopg.Error as error:
        connection.rollback()
        diagnostic = error.diag
        if diagnostic.sqlstate is None:
            raise  # not the server's word: the connection is gone
        if diagnostic.source_file not in _GRAMMAR_SOURCES:
            return None
        line = _line(prefix + sql, diagnostic.statement_position)
        return f"{diagnostic.message_primary}{line}"
    raise AssertionError("the guard statement did not fail")


def obvious_error(sql: str) -> str | None:
    """Returns why the compiled SQL cannot be a query, None where it may be one."""
    word = _first_word(sql)
    if word.upper() in _QUERY_STARTS:
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
    # The prefix ends with the first line feed, so the model's own first line is number 1.
    return f" (line {text[: int(position) - 1].count(chr(10))})"
