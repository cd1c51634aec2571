"""The URLs of a stack's databases, one per role that opens them. Pure: connects to nothing."""

from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr
from sqlalchemy import URL, make_url

from datanika_stack.errors import StackError
from datanika_stack.secrets import Secrets
from datanika_stack.settings import StackSettings

CONTROL_PLANE_DATABASE: Final = "datanika"
DAGSTER_DATABASE: Final = "dagster"
# The database that every server has, from which databases are made.
MAINTENANCE_DATABASE: Final = "postgres"


@dataclass(frozen=True)
class DatabaseEndpoints:
    """How each part of the stack reaches its database.

    Attributes:
        app: Control plane, under row-level security.
        owner: The same database with the role that owns the tables: migrations only.
        dagster: Dagster's storage, with the role that owns its tables.
        provisioner: The server that holds the warehouses, with CREATEDB and CREATEROLE.
        admin: A superuser, who makes the others; None where somebody else has made them.
    """

    app: URL = field(repr=False)
    owner: URL = field(repr=False)
    dagster: URL = field(repr=False)
    provisioner: URL = field(repr=False)
    admin: URL | None = field(repr=False, default=None)

    def shown(self) -> str:
        """Returns the control plane's database without its password."""
        app = self.app
        plain = URL.create(app.drivername, app.username, None, app.host, app.port, app.database)
        return plain.render_as_string()


def embedded_endpoints(secrets: Secrets, port: int) -> DatabaseEndpoints:
    """Returns the endpoints of the stack's own cluster.

    Args:
        secrets: The home's generated passwords.
        port: TCP port of the cluster.
    """

    def url(user: str, password: str, database: str, driver: str = "psycopg") -> URL:
        scheme = f"postgresql+{driver}"
        return URL.create(scheme, user, password, "127.0.0.1", port, database)

    return DatabaseEndpoints(
        app=url("datanika_app", secrets.app_password, CONTROL_PLANE_DATABASE),
        owner=url("datanika_owner", secrets.owner_password, CONTROL_PLANE_DATABASE),
        # dagster-postgres needs psycopg2; SQLAlchemy 2.1 reads a plain scheme as psycopg 3.
        dagster=url("dagster", secrets.dagster_password, DAGSTER_DATABASE, "psycopg2"),
        provisioner=url("datanika_provisioner", secrets.provisioner_password, MAINTENANCE_DATABASE),
        admin=url("postgres", secrets.postgres_password, MAINTENANCE_DATABASE),
    )


def external_endpoints(settings: StackSettings) -> DatabaseEndpoints:
    """Returns the endpoints that the environment names.

    Raises:
        StackError: One of the four is missing.
    """
    admin = settings.admin_database_url
    return DatabaseEndpoints(
        app=_required(settings.database_url, "DATANIKA_DATABASE_URL"),
        owner=_required(settings.migration_database_url, "DATANIKA_MIGRATION_DATABASE_URL"),
        dagster=dagster_storage_endpoint(settings),
        provisioner=provisioner_endpoint(settings),
        admin=make_url(admin.get_secret_value()) if admin else None,
    )


def provisioner_endpoint(settings: StackSettings) -> URL:
    """Returns the server that holds the warehouses, as the environment names it.

    Raises:
        StackError: It does not.
    """
    return _required(settings.provisioner_database_url, "DATANIKA_PROVISIONER_DATABASE_URL")


def dagster_storage_endpoint(settings: StackSettings) -> URL:
    """Returns Dagster's storage, as the environment names it; it may come without a login.

    Raises:
        StackError: It does not.
    """
    return _required(settings.dagster_storage_url, "DATANIKA_DAGSTER_STORAGE_URL")


def text_of(url: URL) -> str:
    """Returns the URL with its password, for a process's environment."""
    return url.render_as_string(hide_password=False)


def dsn_of(url: URL, database: str | None = None) -> str:
    """Returns the URL for libpq, with its password.

    Args:
        url: A SQLAlchemy URL of any PostgreSQL driver.
        database: Another database of the same server.
    """
    plain = url.set(drivername="postgresql")
    return text_of(plain.set(database=database) if database else plain)


def _required(value: SecretStr | None, name: str) -> URL:
    if value is None:
        raise StackError(f"{name} must be set when PostgreSQL is not the stack's own")
    return make_url(value.get_secret_value())
