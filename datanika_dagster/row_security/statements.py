"""The SQL that puts Dagster's tables under row-level security. Pure: connects to nothing.

Policies read `session_user`, which SET ROLE does not change, and look its org up in a table that
only the owner of the tables writes.
"""

import re
from collections.abc import Iterator
from typing import Final

from datanika_dagster.row_security.owners import BACKFILL, OWNER_TABLES
from datanika_dagster.row_security.quota_tables import QUOTA_TABLES
from datanika_dagster.row_security.run_rules import (
    IS_OWN_KEY,
    IS_OWN_TAG,
    RULE_FUNCTIONS,
    RULE_SIGNATURES,
    run_trigger,
)
from datanika_dagster.row_security.slots import SLOT_FUNCTIONS, SLOT_SIGNATURES
from datanika_dagster.row_security.tables import TABLES, VISIBLE, Owned, Table

RUNS: Final = "datanika_dagster_runs"
"""Group of the logins of runs."""

READERS: Final = "datanika_dagster_readers"
"""Group of the logins of code servers."""

_BOTH: Final = f"{RUNS}, {READERS}"
_PLAIN_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_FUNCTIONS: Final = (
    """
    CREATE OR REPLACE FUNCTION datanika.org() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT org FROM datanika.logins WHERE login = session_user $$
    """,
    """
    CREATE OR REPLACE FUNCTION datanika.asset_key_prefix() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT '["' || org || '", ' FROM datanika.logins WHERE login = session_user $$
    """,
    """
    CREATE OR REPLACE FUNCTION datanika.pool_prefix() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT org || '__' FROM datanika.logins WHERE login = session_user $$
    """,
    # An org's slug is for ever, and so is what a login is for (names: `run_logins.py`).
    """
    CREATE OR REPLACE FUNCTION datanika.register_logins(number bigint, slug text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF number IS NULL OR number < 1 OR slug !~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$' THEN
            RAISE EXCEPTION 'an org is a positive number and a slug';
        END IF;
        IF EXISTS (SELECT FROM datanika.logins AS known
                   WHERE (known.org_id = number) <> (known.org = slug)) THEN
            RAISE EXCEPTION 'org % and the slug % are not each other''s', number, slug;
        END IF;
        INSERT INTO datanika.logins (login, org_id, org)
        VALUES ('datanika_run_' || number, number, slug),
               ('datanika_read_' || number, number, slug)
        ON CONFLICT DO NOTHING;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION datanika.forget_logins(number bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ DELETE FROM datanika.logins WHERE org_id = number $$
    """,
    *RULE_FUNCTIONS,
    *SLOT_FUNCTIONS,
)


def statements(owner: str, provisioner: str) -> Iterator[str]:
    """Yields everything, in order; can be repeated, as the owner of Dagster's tables.

    Args:
        owner: That role.
        provisioner: The role that makes orgs' logins.

    Raises:
        ValueError: A role's name would need quoting.
    """
    for name in (owner, provisioner):
        if not _PLAIN_NAME.fullmatch(name):
            raise ValueError(f"the role name {name!r} is not lower-case letters, digits and _")
    yield from OWNER_TABLES
    yield from QUOTA_TABLES
    yield from _FUNCTIONS
    yield from _schema_grants(provisioner)
    for name, table in TABLES.items():
        yield from _of_table(name, table)
    yield from _special_policies(owner)
    yield from BACKFILL


def _schema_grants(provisioner: str) -> Iterator[str]:
    yield "REVOKE ALL ON SCHEMA public, datanika FROM PUBLIC"
    yield "REVOKE ALL ON ALL TABLES IN SCHEMA public, datanika FROM PUBLIC"
    yield "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public, datanika FROM PUBLIC"
    for schema in ("public", "datanika"):
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            yield f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {_BOTH}"
    yield f"GRANT USAGE ON SCHEMA public, datanika TO {_BOTH}"
    for function in ("org", "asset_key_prefix", "pool_prefix"):
        yield f"GRANT EXECUTE ON FUNCTION datanika.{function}() TO {_BOTH}"
    for signature in (*RULE_SIGNATURES, *SLOT_SIGNATURES):
        yield f"GRANT EXECUTE ON FUNCTION datanika.{signature} TO {RUNS}"
    yield f"GRANT USAGE ON SCHEMA datanika TO {provisioner}"
    for signature in ("register_logins(bigint, text)", "forget_logins(bigint)"):
        yield f"GRANT EXECUTE ON FUNCTION datanika.{signature} TO {provisioner}"
    for name in ("run_owners", "snapshot_owners"):
        yield from _policy(f"datanika.{name}", "own", f"FOR SELECT TO {_BOTH}", "org = ({org})")
        yield f"GRANT SELECT ON datanika.{name} TO {_BOTH}"
    owned = "EXISTS (SELECT FROM datanika.run_owners AS owner WHERE owner.run_id = {table}.run_id)"
    yield from _policy("datanika.run_claims", "own", f"FOR SELECT TO {RUNS}", owned)
    yield from _policy("datanika.run_claims", "claim", f"FOR INSERT TO {RUNS}", "", owned)
    yield f"GRANT SELECT, INSERT ON datanika.run_claims TO {RUNS}"
    for name, visible in (("quotas", "org IN (({org}), '')"), ("launches", "org = ({org})")):
        yield from _policy(f"datanika.{name}", "own", f"FOR SELECT TO {READERS}", visible)
        yield f"GRANT SELECT ON datanika.{name} TO {READERS}"


def _of_table(name: str, table: Table) -> Iterator[str]:
    if table.owned is Owned.WITHHELD:
        return
    if table.owned is not Owned.SHARED:
        yield from _policy(name, "visible", f"FOR SELECT TO {_BOTH}", VISIBLE[table.owned])
        yield from _write_policies(name, table)
    for right in table.runs:
        yield f"GRANT {right} ON public.{name} TO {RUNS}"
    if any(right.startswith("INSERT") for right in table.runs):
        yield f"GRANT USAGE ON SEQUENCE public.{name}_id_seq TO {RUNS}"
    if table.is_read:
        yield f"GRANT SELECT ON public.{name} TO {READERS}"


def _write_policies(name: str, table: Table) -> Iterator[str]:
    visible = VISIBLE[table.owned]
    check = table.check or visible
    rights = {right.split(" ")[0] for right in table.runs}
    for right in ("INSERT", "UPDATE", "DELETE"):
        using = "" if right == "INSERT" else visible
        with_check = "" if right == "DELETE" else check
        kind = f"FOR {right} TO {RUNS}"
        yield f"DROP POLICY IF EXISTS {right.lower()} ON public.{name}"
        if right in rights:
            yield from _policy(f"public.{name}", right.lower(), kind, using, with_check)


def _special_policies(owner: str) -> Iterator[str]:
    """Yields what keeps the platform's stamps: in the tags' table and in the runs' bodies."""
    restrictive = f"AS RESTRICTIVE FOR {{}} TO {RUNS}"
    for name, right, using in (("no_stamp", "INSERT", ""), ("keep_stamp", "UPDATE", IS_OWN_KEY)):
        kind = restrictive.format(right)
        yield from _policy("public.run_tags", name, kind, using, IS_OWN_TAG)
    yield run_trigger(owner)


def _policy(table: str, name: str, kind: str, using: str, check: str = "") -> Iterator[str]:
    """Yields one policy, in place of what had its name."""
    plain = table.removeprefix("public.")
    names = {"table": plain.rpartition(".")[2], "org": "SELECT datanika.org()"}
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"DROP POLICY IF EXISTS {name} ON {table}"
    parts = [f"CREATE POLICY {name} ON {table} {kind}"]
    if using:
        parts.append(f"USING ({using.format(**names)})")
    if check:
        parts.append(f"WITH CHECK ({check.format(**names)})")
    yield " ".join(parts)
