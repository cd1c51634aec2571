"""Puts a Dagster database under row-level security, and tells whether it still is.

What is there is read from PostgreSQL's catalogues, so that a grant that somebody has added by hand,
or a database that was restored without its roles, is set right at the next start.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from datanika_dagster.row_security.statements import READERS, RUNS, statements

_LOCK_TIMEOUT: Final = "30s"

# Rights, policies, functions and triggers of both schemas, one text for each.
_CATALOGUE: Final = """
    SELECT 'table', c.oid::regclass::text, c.relrowsecurity::text,
           (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(c.relacl) AS a)
    FROM pg_class AS c WHERE c.relnamespace = ANY (%(schemas)s::regnamespace[])
      AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'column', a.attrelid::regclass::text, a.attname::text,
           (SELECT string_agg(e::text, ',' ORDER BY e::text) FROM unnest(a.attacl) AS e)
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE c.relnamespace = ANY (%(schemas)s::regnamespace[]) AND a.attacl IS NOT NULL
    UNION ALL
    SELECT 'policy', p.polrelid::regclass::text,
           concat_ws(' ', p.polname, p.polcmd::text, p.polpermissive),
           concat_ws(' ', p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
                     pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy AS p
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', p.prosecdef, p.proconfig::text),
           p.prosrc || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text)
                                 FROM unnest(p.proacl) AS a), '')
    FROM pg_proc AS p WHERE p.pronamespace = ANY (%(schemas)s::regnamespace[])
    UNION ALL
    SELECT 'trigger', t.tgrelid::regclass::text, t.tgenabled::text, pg_get_triggerdef(t.oid)
    FROM pg_trigger AS t WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'schema', n.nspname::text, '',
           (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(n.nspacl) AS a)
    FROM pg_namespace AS n WHERE n.oid = ANY (%(schemas)s::regnamespace[])
    ORDER BY 1, 2, 3
"""


class GroupsMissing(Exception):
    """The server lacks the roles that orgs' logins are members of."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"the server lacks the roles {', '.join(names)}")


def install(connection: psycopg.Connection, provisioner: str) -> None:
    """Puts the database under row-level security, in one transaction; can be repeated.

    Args:
        connection: To Dagster's database, as the owner of its tables.
        provisioner: The role that makes orgs' logins.

    Raises:
        GroupsMissing: Only a role that may make roles can help.
        psycopg.Error: The server refused.
    """
    _check_groups(connection)
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
        for statement in statements(connection.info.user, provisioner):
            connection.execute(sql.SQL(statement))  # pyright: ignore[reportArgumentType]
        for group in (RUNS, READERS):
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                    sql.Identifier(connection.info.dbname), sql.Identifier(group)
                )
            )
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(provisioner)
            )
        )


def state_of(connection: psycopg.Connection, provisioner: str) -> str:
    """Returns a short text that changes with what is installed and with what should be."""
    wanted = "\0".join(statements(connection.info.user, provisioner))
    installed = "\0".join(str(row) for row in catalogue(connection))
    return hashlib.sha256(f"{wanted}\0{installed}".encode()).hexdigest()[:16]


def catalogue(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Returns every right, policy, function and trigger of the database, in a fixed order."""
    known = connection.execute(
        "SELECT array_agg(oid) FROM pg_namespace WHERE nspname IN ('public', 'datanika')"
    ).fetchone()
    return connection.execute(_CATALOGUE, {"schemas": known[0] if known else []}).fetchall()


def _check_groups(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "SELECT wanted FROM unnest(%s::text[]) AS wanted"
        " WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted)",
        [[RUNS, READERS]],
    ).fetchall()
    if rows:
        raise GroupsMissing([row[0] for row in rows])
