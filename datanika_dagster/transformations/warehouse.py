"""How a connection's settings reach dbt and previews: profile, environment, read-only session.

The profile in a project names environment variables only. The password's has dbt's prefix for
secrets, so dbt refuses it in models and masks its value in everything it logs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import yaml

from datanika_dagster import settings
from datanika_dagster.connectors import registry
from datanika_dagster.connectors.endpoint import CONNECTION_CHECK, Endpoint
from datanika_dagster.transformations.errors import TransformationError

APPLICATION_NAME = "datanika dbt"
TARGET = "warehouse"
PARSE_DATABASE = "datanika_warehouse"
"""The database in a manifest that was parsed without credentials; builds put in the real one."""

THREADS = 4
_PASSWORD = "DBT_ENV_SECRET_DATANIKA_PASSWORD"  # noqa: S105 - a variable's name
_PREFIX = "DATANIKA_WAREHOUSE"
_FROM_ENVIRONMENT = (
    "hostaddr",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "gssencmode",
    "require_auth",
)
_ADAPTERS = {"managed_warehouse": "postgres", "postgres": "postgres"}


def profiles_yml(profile: str, connector: str) -> str:
    """Returns a dbt profile without any setting of the connection.

    Args:
        profile: The profile's name, as dbt_project.yml has it.
        connector: The connection's kind.

    Raises:
        TransformationError: dbt cannot run on that kind of connection.
    """
    if connector not in _ADAPTERS:
        known = ", ".join(sorted(_ADAPTERS))
        raise TransformationError(
            f"Transformations do not run on a connection of kind '{connector}'; known: {known}."
        )
    output = {
        "type": _ADAPTERS[connector],
        "host": _variable(f"{_PREFIX}_HOST", "x"),
        "port": f"{{{{ env_var('{_PREFIX}_PORT', '5432') | as_number }}}}",
        "dbname": _variable(f"{_PREFIX}_DATABASE", PARSE_DATABASE),
        "user": _variable(f"{_PREFIX}_USER", "x"),
        "password": _variable(_PASSWORD, "x"),
        "sslmode": _variable(f"{_PREFIX}_SSLMODE", "prefer"),
        "application_name": _variable(f"{_PREFIX}_APPLICATION", APPLICATION_NAME),
        "schema": "public",
        "threads": THREADS,
    }
    return yaml.safe_dump({profile: {"target": TARGET, "outputs": {TARGET: output}}})


def endpoint(secret: Mapping[str, Any], payload: Mapping[str, Any]) -> Endpoint:
    """Returns the checked address of a job's connection.

    Args:
        secret: The connection, `{"connector": …, "config": {…}}`.
        payload: The job's; `allowed_networks` is what the operator opened,
            `refused_endpoints` what nobody may reach.

    Raises:
        JobError: The host cannot or may not be reached.
    """
    return registry.of_payload(secret, payload).pinned()


def set_environment(
    warehouse: Endpoint,
    *,
    application_name: str = APPLICATION_NAME,
    is_read_only: bool = False,
) -> None:
    """Puts a connection's settings where the profile (and libpq under it) reads them.

    dbt reads credentials from its process's environment and from nowhere else. This process is
    a job child of one run that holds this one connection, so nobody else can see them there;
    they are set after its start and were never given to exec.

    Args:
        warehouse: Where dbt connects to.
        application_name: What the server shows in pg_stat_activity; cut at 63 characters.
        is_read_only: Transactions begin read-only.
    """
    libpq = warehouse.connection_parameters()
    variables = {
        f"{_PREFIX}_HOST": warehouse.host,
        f"{_PREFIX}_PORT": str(warehouse.port),
        f"{_PREFIX}_DATABASE": warehouse.database,
        f"{_PREFIX}_USER": warehouse.user,
        f"{_PREFIX}_SSLMODE": warehouse.sslmode,
        f"{_PREFIX}_APPLICATION": application_name[:63],
        _PASSWORD: warehouse.password,
    }
    # dbt-postgres knows no such settings, but libpq takes what it is not given from these: the
    # address that the network policy checked, and no file of the operating-system user.
    for parameter in _FROM_ENVIRONMENT:
        if parameter in libpq:
            variables[f"PG{parameter.upper().replace('_', '')}"] = str(libpq[parameter])
    if options := _options(warehouse, is_read_only=is_read_only):
        variables["PGOPTIONS"] = options
    settings.put_into_environment(variables)


def _options(warehouse: Endpoint, *, is_read_only: bool) -> str:
    """Returns settings of dbt's sessions, for start-up: dbt has no other place for them.

    A model can take the time limit off its statement. That its job was killed must end it all
    the same, so the server is told to look, unless it knows no such setting or is behind a pooler
    that takes no options.
    """
    required = "-c default_transaction_read_only=on" if is_read_only else ""
    wanted = f"{required} -c client_connection_check_interval={CONNECTION_CHECK}".strip()
    try:
        psycopg.connect(**warehouse.connection_parameters(), options=wanted).close()
    except psycopg.Error:
        return required
    return wanted


@contextmanager
def read_only(
    warehouse: Endpoint, *, statement_timeout_seconds: float
) -> Iterator[psycopg.Connection[Any]]:
    """Opens a session in one read-only transaction that ends with a rollback.

    Args:
        warehouse: Where; `Endpoint.as_reader()` for the SELECT-only role.
        statement_timeout_seconds: After how long the server cancels a statement.

    Raises:
        JobError: The server cannot be reached or refuses the login.
    """
    with warehouse.connect(application_name=APPLICATION_NAME) as connection:
        begin_read_only(connection, statement_timeout_seconds)
        try:
            yield connection
        finally:
            connection.rollback()


def begin_read_only(connection: psycopg.Connection[Any], statement_timeout_seconds: float) -> None:
    """Ends the session's transaction and begins one that is read-only and limited in time."""
    connection.rollback()
    connection.execute("SET TRANSACTION READ ONLY")
    timeout = f"{int(statement_timeout_seconds * 1000)}ms"
    connection.execute("SELECT set_config('statement_timeout', %s, true)", (timeout,))


def _variable(name: str, default: str) -> str:
    return f"{{{{ env_var('{name}', '{default}') }}}}"
