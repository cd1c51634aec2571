"""What every migration uses to give the application role its rights, and no more.

Row-level security is enabled *and forced*: also the owner of the tables sees nothing without a
policy. The application role reads `app.org_id`, which each transaction sets for itself.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from alembic import op

APPLICATION_ROLE = "datanika_app"
CURRENT_ORG = "nullif(current_setting('app.org_id', true), '')::bigint"


def protect(
    table: str, *, rights: str = "SELECT, INSERT, UPDATE, DELETE", key: str = "org_id"
) -> None:
    """Puts a table of the orgs under row-level security.

    Args:
        table: The table.
        rights: What the application role may do with rows of its org.
        key: The column that holds the org's id.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY own_org ON {table} TO {APPLICATION_ROLE} "
        f"USING ({key} = {CURRENT_ORG}) WITH CHECK ({key} = {CURRENT_ORG})"
    )
    grant(table, rights)


def grant(table: str, rights: str) -> None:
    """Gives the application role rights on a table and on its identity column's sequence."""
    # What default privileges may have given is taken back first: rights are what is written here.
    op.execute(f"REVOKE ALL ON {table} FROM {APPLICATION_ROLE}")
    op.execute(f"GRANT {rights} ON {table} TO {APPLICATION_ROLE}")
    op.execute(
        f"""DO $$ DECLARE s text := pg_get_serial_sequence('{table}', 'id'); BEGIN
        IF s IS NOT NULL THEN
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO {APPLICATION_ROLE}', s);
        END IF; END $$"""
    )


def let_owner_read(tables: Iterable[str]) -> None:
    """Lets the owner, in whose name the SECURITY DEFINER functions run, read these tables."""
    for table in tables:
        op.execute(f"CREATE POLICY lookup ON {table} FOR SELECT TO CURRENT_USER USING (true)")


@contextmanager
def without_row_level_security(*tables: str) -> Generator[None]:
    """Lets the owner change the rows of every org while data move; application roles never notice.

    Row-level security stays enabled for everybody else; only the owner is not forced under it, in
    this transaction.
    """
    for table in tables:
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    yield
    for table in tables:
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
